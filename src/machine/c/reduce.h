/* Gradient sums and rewards of all lanes, added in the order of the lanes. */
KERNEL(reduce) {
    BEGIN_LANE
    PHASE
        const int i = lane * THREADS + tid;
        if (i < SUMS) {
            double sum = 0.0;
            for (int l = 0; l < a.lanes; l++) sum += (double)a.sums[(u64)l * SUMS + i];
            a.total[i] = sum;
        }
#if A2C
        if (i < STEPS) {
            double sum = 0.0;
            for (int l = 0; l < a.lanes; l++) sum += (double)a.rewards[(u64)l * STEPS + i];
            a.step_rewards[i] = sum;
        }
#endif
    END_LAST
}
