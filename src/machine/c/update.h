
/* Whole iterations: the norm of the gradient and the step of the optimizer. What is not finite stops it, and everything
   launched later leaves the parameters as they were. LOSSES times five numbers are what the iteration gave. */

/* The gradient, and of each block the sum of its squares. */
KERNEL(gradient) {
    BEGIN_LANE
    double *squares = a.squares + (u64)lane * THREADS;
    PHASE
        double square = 0.0;
        for (int i = lane * THREADS + tid; i < TRAINED; i += GRADIENT_BLOCKS * THREADS) {
            const float scaled = grad_scaled(i, gradient_of(&a, i));
            a.gradients[i] = scaled;
            square += (double)scaled * (double)scaled;
        }
        squares[tid] = square;
    END_PHASE
    PHASE
        if (tid < 32) {
            double sum = 0.0;
            for (int k = tid; k < THREADS; k += 32) sum += squares[k];
            squares[tid] = sum;
        }
    END_PHASE
    PHASE
        if (tid == 0) {
            double sum = 0.0;
            for (int k = 0; k < 32; k++) sum += squares[k];
            a.norms[lane] = sum;
        }
    END_PHASE
}

/* What the iteration gave, and whether it may have its step: the terms of the loss and the reward of all lanes, the norm of
   the gradient, and the factor that clips it. */
KERNEL(tally) {
    BEGIN_LANE
    if (stopped(&a)) return;
    double *entry = a.history + (u64)a.slot * 8;
    double *sums = a.squares;
    PHASE
        for (int k = tid; k < 6 * 32; k += THREADS) {
            const int what = k / 32;
            double sum = 0.0;
            if (what < 5) {
                for (int l = k % 32; l < LOSSES; l += 32) sum += a.losses[(u64)l * 5 + what];
            } else {
                for (int b = k % 32; b < GRADIENT_BLOCKS; b += 32) sum += a.norms[b];
            }
            sums[k] = sum;
        }
    END_PHASE
    PHASE
        if (tid < 6) {
            double sum = 0.0;
            for (int k = 0; k < 32; k++) sum += sums[tid * 32 + k];
            entry[tid] = tid < 5 ? sum : sqrt(sum);
        }
    END_PHASE
    PHASE
        if (tid == 0) {
            const double loss = entry[0] + entry[1] + entry[2] + entry[3];
            const double norm = entry[5];
            entry[6] = CLIP_NORM > 0.0 && norm > CLIP_NORM ? CLIP_NORM / norm : 1.0;
            if (!(fabs(loss) < INF) || !(fabs(norm) < INF)) {
                a.status[0] = a.slot + 1;
                a.status[1] = fabs(loss) < INF ? STOPPED_BY_GRADIENT : STOPPED_BY_LOSS;
            }
        }
    END_PHASE
    (void)lane;
}

/* The step. A parameter that is not finite stops what is launched later, not the other blocks of this launch. */
KERNEL(update) {
    BEGIN_LANE
    if (stopped(&a)) return;
    const double factor = a.history[(u64)a.slot * 8 + 6];
    PHASE
        const int i = lane * THREADS + tid;
        if (i < TRAINED) {
            float gradient = a.gradients[i];
            if (factor != 1.0) gradient = (float)((double)gradient * factor);
            float moments[MOMENTS + 1];
            for (int k = 0; k < MOMENTS; k++) moments[k] = a.moments[(u64)k * TRAINED + i];
            float value = a.parameters[i];
            if (!a.burning) value = optimizer_step(value, gradient, a.rates, moments);
            for (int k = 0; k < MOMENTS; k++) a.moments_next[(u64)k * TRAINED + i] = moments[k];
            a.parameters_next[i] = value;
            if (!(fabsf(value) < INF)) a.status[2] = a.slot + 1;
        }
    END_LAST
}

/* The mean of the parameters over steps. */
KERNEL(average) {
    BEGIN_LANE
    if (a.status[0] != 0 || a.status[2] != 0) return;
    PHASE
        const int i = lane * THREADS + tid;
        if (i < TRAINED) {
            const float value = a.parameters_next[i];
            const float mean = a.averages[i];
            a.averages[i] = a.average == 1.0f ? value : mean + a.average * (value - mean);
        }
    END_LAST
}
