
/* The action of the step before and what the task does with it, by one warp of each block. LOGIT(k) is the policy's output for
   action k; `own` has room for a weight of each action and a random number, then for the task. Weights, their order and the
   random number are those of `choose`, so actions are the same on every machine. */
DEVICE void act(const Args *a, const Context c, const int lane, const int step, const int blk, const int warp, float *own) {
    double *const weights = (double *)own;
    int *const task = (int *)(own + 2 * (ACTIONS + 1));
    (void)warp;
    /* Each lane weighs an action, and the last one draws. */
    LANES32
        double largest = -INF;
        for (int k = 0; k < ACTIONS; k++) largest = fmax(largest, (double)LOGIT(k));
        for (int k = l; k < ACTIONS; k += 32) weights[k] = exp((double)LOGIT(k) - largest);
        if (l == 31) {
            const Place place = place_of(a->keys + 2, a->iteration, step - 1, lane);
            weights[ACTIONS] = a->greedy ? 0.0 : place_uniform(&place, 0);
        }
    END32
    WARP_SYNC;
    LANES32
        if (l == 0) {
            int action = 0;
            if (a->greedy) {
                for (int k = 1; k < ACTIONS; k++) action = LOGIT(k) > LOGIT(action) ? k : action;
            } else {
                double total = 0.0, below = 0.0;
                for (int k = 0; k < ACTIONS; k++) total += weights[k];
                const double threshold = weights[ACTIONS] * total;
                int last = ACTIONS - 1;
                action = -1;
                for (int k = 0; k < ACTIONS; k++) {
                    below += weights[k];
                    if (action < 0 && threshold < below) action = k;
                    if (weights[k] > 0.0) last = k;
                }
                if (action < 0) action = last;
            }
            const Place chance = place_of(a->keys, a->iteration, step, lane);
            const float reward = task_act(task, &chance, action);
            if (blk == 0) {
                a->actions[c.row - 1] = action;
                a->rewards[c.row - 1] = reward;
            }
        }
    END32
    WARP_SYNC;
}
