
/* Loss of a text: the cross-entropy of the softmax over the words to be predicted, and penalties on the activity of the last
   layer. Values are read from the tables that stages share, and adjoints are added to theirs. A row has a block. */

/* The largest of THREADS numbers, after `of_32`. */
DEVICE float largest_of(const float *numbers) {
    float most = numbers[0];
    for (int k = 1; k < 32; k++) most = most < numbers[k] ? numbers[k] : most;
    return most;
}

/* Their sum. */
DEVICE float sum_of(const float *numbers) {
    float sum = 0.0f;
    for (int k = 0; k < 32; k++) sum += numbers[k];
    return sum;
}

/* -log p of the word that follows, of each row; 0 and no adjoint where none follows. */
KERNEL(words) {
    BEGIN_LANE
    const u64 rows = (u64)a.lanes * a.steps;
    const u32 target = a.targets[lane];
    const int counts = target < WORDS;
    const float *logits = a.inputs + rows * LOGITS + (u64)lane * WORDS;
    float *adjoints = a.seeds + rows * LOGITS + (u64)lane * WORDS;
    float *largest = shared_memory;
    float *sums = shared_memory + THREADS;
    PHASE
        float most = -INF;
        for (int k = tid; k < WORDS; k += THREADS) most = most < logits[k] ? logits[k] : most;
        largest[tid] = most;
    END_PHASE
    PHASE
        if (tid < 32) {
            float most = largest[tid];
            for (int k = tid + 32; k < THREADS; k += 32) most = most < largest[k] ? largest[k] : most;
            largest[tid] = most;
        }
    END_PHASE
    PHASE
        const float most = largest_of(largest);
        float sum = 0.0f;
        for (int k = tid; k < WORDS; k += THREADS) sum += expf(logits[k] - most);
        sums[tid] = sum;
    END_PHASE
    PHASE
        if (tid < 32) {
            float sum = sums[tid];
            for (int k = tid + 32; k < THREADS; k += 32) sum += sums[k];
            sums[tid] = sum;
        }
    END_PHASE
    PHASE
        const float most = largest_of(largest);
        const float total = sum_of(sums);
        if (tid == 0) a.parts[lane] = counts ? log((double)total) + (double)most - (double)logits[target] : 0.0;
        if (counts && a.learn) {
            const float scale = (float)a.scale;
            const float part = scale / total;
            for (int k = tid; k < WORDS; k += THREADS)
                adjoints[k] += part * expf(logits[k] - most) - (k == (int)target ? scale : 0.0f);
        }
    END_PHASE
}

/* What penalties cost each row: the mean square of the activity after dropout, and that of the change of the activity before
   from step to step. */
KERNEL(penalties) {
    BEGIN_LANE
    const u64 rows = (u64)a.lanes * a.steps;
    float *costs = shared_memory;
    PHASE
        float cost = 0.0f;
#if DROPPED_WIDTH > 0
        {
            const float scale = (float)(ACTIVITY / ((double)rows * DROPPED_WIDTH));
            const u64 at = rows * DROPPED + (u64)lane * DROPPED_WIDTH;
            for (int k = tid; k < DROPPED_WIDTH; k += THREADS) {
                const float x = a.inputs[at + k];
                cost += scale * (x * x);
                a.seeds[at + k] += 2.0f * scale * x;
            }
        }
#endif
#if STEADY_WIDTH > 0
        {
            const double pairs = (double)a.lanes * (a.steps - 1) * STEADY_WIDTH;
            const float scale = (float)(CHANGE / (pairs < 1.0 ? 1.0 : pairs));
            const u64 at = rows * STEADY + (u64)lane * STEADY_WIDTH;
            const int step = lane % a.steps;
            for (int k = tid; k < STEADY_WIDTH; k += THREADS) {
                const float x = a.inputs[at + k];
                float adjoint = 0.0f;
                if (step > 0) {
                    const float change = x - a.inputs[at + k - STEADY_WIDTH];
                    cost += scale * (change * change);
                    adjoint += 2.0f * scale * change;
                }
                if (step + 1 < a.steps) adjoint -= 2.0f * scale * (a.inputs[at + k + STEADY_WIDTH] - x);
                a.seeds[at + k] += adjoint;
            }
        }
#endif
        costs[tid] = cost;
    END_PHASE
    PHASE
        if (tid < 32) {
            float sum = costs[tid];
            for (int k = tid + 32; k < THREADS; k += 32) sum += costs[k];
            costs[tid] = sum;
        }
    END_PHASE
    PHASE
        if (tid == 0) a.parts[rows + lane] = (double)sum_of(costs);
    END_PHASE
    (void)rows;
}

/* The loss of all rows: in `total` the sum of -log p, in `losses` its mean and the penalties. */
KERNEL(loss) {
    BEGIN_LANE
    const u64 rows = (u64)a.lanes * a.steps;
    double *sums = a.squares;
    PHASE
        if (tid < 64) {
            double sum = 0.0;
            const u64 first = tid < 32 ? 0 : rows;
            if (tid < 32 || (PENALTIES && a.learn))
                for (u64 k = tid % 32; k < rows; k += 32) sum += a.parts[first + k];
            sums[tid] = sum;
        }
    END_PHASE
    PHASE
        if (tid == 0) {
            double words = 0.0, penalties = 0.0;
            for (int k = 0; k < 32; k++) {
                words += sums[k];
                penalties += sums[32 + k];
            }
            a.total[0] = words;
            a.losses[0] = words * a.scale;
            a.losses[1] = penalties;
            for (int k = 2; k < 5; k++) a.losses[k] = 0.0;
        }
    END_PHASE
    (void)lane;
}
