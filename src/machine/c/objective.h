#if A2C
/* Returns, loss and its adjoints, as src/learn/a2c.rs. */
DEVICE void objective(const Args *a, const int lane) {
    /* Policy and value of all lanes, one after the other. */
    const u64 first = (u64)lane * STEPS, all = (u64)a->lanes * STEPS;
    const float *policies = a->outputs + first * ACTIONS, *values = a->outputs + all * ACTIONS + first;
    const float *rewards = a->rewards + (u64)lane * STEPS;
    const int *actions = a->actions + (u64)lane * STEPS;
    double *returns = a->returns + (u64)lane * STEPS;
    float *seeds = a->seeds + first * ACTIONS, *value_seeds = a->seeds + all * ACTIONS + first;
    double *parts = a->parts + (u64)lane * THREADS * 4;
    PHASE
        if (tid == 0) {
            /* Rewards are read some steps ahead: reads wait for a write before them. */
            double later = 0.0;
            for (int last = STEPS - 1; last >= 0; last -= 8) {
                float some[8];
                for (int k = 0; k < 8; k++) some[k] = k <= last ? rewards[last - k] : 0.0f;
                for (int k = 0; k < 8 && k <= last; k++) {
                    later = (double)some[k] + GAMMA * later;
                    returns[last - k] = later;
                }
            }
        }
    END_PHASE
    PHASE
        double policy = 0.0, value = 0.0, concentration = 0.0, entropy = 0.0;
        for (int t = tid; t < STEPS; t += THREADS) {
            const float *logits = policies + (u64)t * ACTIONS;
            float *adjoints = seeds + (u64)t * ACTIONS;
            double largest = -INF, sum = 0.0;
            for (int k = 0; k < ACTIONS; k++) largest = fmax(largest, (double)logits[k]);
            for (int k = 0; k < ACTIONS; k++) sum += exp((double)logits[k] - largest);
            const double log_sum = log(sum);
            const double advantage = returns[t] - (double)values[t];
            double squares = 0.0, negative_entropy = 0.0;
            for (int k = 0; k < ACTIONS; k++) {
                const double log_probability = (double)logits[k] - largest - log_sum;
                const double probability = exp(log_probability);
                squares += probability * probability;
                negative_entropy += probability * log_probability;
            }
            policy -= a->scale * ((double)logits[actions[t]] - largest - log_sum) * advantage;
            value += a->scale * VALUE * advantage * advantage;
            concentration += a->scale * CONCENTRATION * squares;
            entropy += a->scale * ENTROPY * negative_entropy;
            for (int k = 0; k < ACTIONS; k++) {
                const double log_probability = (double)logits[k] - largest - log_sum;
                const double probability = exp(log_probability);
                const double chosen = k == actions[t] ? 1.0 : 0.0;
                adjoints[k] = (float)(a->scale * (advantage * (probability - chosen)
                    + CONCENTRATION * 2.0 * probability * (probability - squares)
                    + ENTROPY * probability * (log_probability - negative_entropy)));
            }
            value_seeds[t] = (float)(-2.0 * a->scale * VALUE * advantage);
        }
        parts[tid * 4] = policy;
        parts[tid * 4 + 1] = value;
        parts[tid * 4 + 2] = concentration;
        parts[tid * 4 + 3] = entropy;
    END_PHASE
    PHASE
        if (tid < 4) {
            /* Threads beyond the steps have no part. */
            double sum = 0.0;
            for (int k = 0; k < THREADS && k < STEPS; k++) sum += parts[k * 4 + tid];
            a->losses[lane * 5 + tid] = sum;
        } else if (tid == 4) {
            double sum = 0.0;
            for (int t = 0; t < STEPS; t++) sum += (double)rewards[t];
            a->losses[lane * 5 + 4] = sum;
        }
    END_PHASE
}
#endif
