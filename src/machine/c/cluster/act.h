
/* The task, by one warp of each block. What the task does with an action and what it shows next are on the way from one step of
   the network to the next. So `ahead` takes every action on a copy of the task while the network works, and `act` draws the
   action and keeps its copy. LOGIT(k) is the policy's output for action k, shown(task, i) the i-th number that the task shows.

   The memory: DRAWN random numbers in f64 (one for every step, or one), the task, then for each action a copy of the task, a
   reward and SHOWN numbers. Only the first TASK_CHANGES words of a task change during an episode. */
#ifndef TASK_CHANGES
#define TASK_CHANGES TASK_WORDS
#endif
#define UNIFORM_OF(own, step) ((double *)(own))[DRAWN > 1 ? (step) : 0]
#define TASK_OF(own) ((int *)((own) + 2 * DRAWN))
#define COPY_OF(own, action) (TASK_OF(own) + (1 + (action)) * TASK_WORDS)
#define REWARDS_OF(own) ((float *)COPY_OF(own, ACTIONS))
#define SHOWS_OF(own, action) (REWARDS_OF(own) + ACTIONS + (action) * SHOWN)

/* The action whose share of the probabilities holds `uniform`, as `choose` of src/learn/action.rs. Numbers in f32 decide unless
   the edge of a share is so close that rounding could. */
DEVICE int draw_action(const Args *a, const Context c, const double uniform) {
    int action = 0;
    for (int k = 1; k < ACTIONS; k++) action = LOGIT(k) > LOGIT(action) ? k : action;
    if (a->greedy) return action;
    const float top = LOGIT(action);
    float sum = 0.0f, edge = 0.0f;
    for (int k = 0; k < ACTIONS; k++) sum += expf(LOGIT(k) - top);
    const float at = (float)uniform * sum;
    int clear = 1, found = -1;
    for (int k = 0; k < ACTIONS; k++) {
        edge += expf(LOGIT(k) - top);
        clear = clear && fabsf(at - edge) > 1e-5f * sum;
        if (found < 0 && at < edge) found = k;
    }
    if (clear && found >= 0) return found;
    double largest = -INF, total = 0.0, below = 0.0;
    for (int k = 0; k < ACTIONS; k++) largest = fmax(largest, (double)LOGIT(k));
    for (int k = 0; k < ACTIONS; k++) total += exp((double)LOGIT(k) - largest);
    const double threshold = uniform * total;
    int last = ACTIONS - 1;
    for (int k = 0; k < ACTIONS; k++) {
        const double weight = exp((double)LOGIT(k) - largest);
        below += weight;
        if (threshold < below) return k;
        if (weight > 0.0) last = k;
    }
    return last;
}

/* The random number of the action of `step`. */
DEVICE double uniform_of(const Args *a, const int lane, const int step) {
    const Place place = place_of(a->keys + 2, a->iteration, step, lane);
    return a->greedy ? 0.0 : place_uniform(&place, 0);
}

/* Begins the task, with a copy for each action. */
DEVICE void begin_task(const Args *a, const int lane, const int warp, float *own) {
    (void)warp;
    LANES32
        if (l == 0) {
            const Place episode = place_of(a->keys, a->iteration, 0, lane);
            task_reset(TASK_OF(own), &episode);
        }
    END32
    WARP_SYNC;
    LANES32
        for (int i = l; AHEAD && i < ACTIONS * TASK_WORDS; i += 32) COPY_OF(own, 0)[i] = TASK_OF(own)[i % TASK_WORDS];
    END32
}

/* Prepares the action of `step`: each action on a copy. Small tasks are copied into registers, a group of lanes for each action. */
#if AHEAD && TASK_WORDS <= 16 && ACTIONS <= 8
#define ACTION_LANES (ACTIONS <= 2 ? 16 : ACTIONS <= 4 ? 8 : 4)
DEVICE void ahead(const Args *a, const int lane, const int step, const int warp, float *own) {
    (void)warp;
    LANES32
        const int k = l / ACTION_LANES, first = l % ACTION_LANES;
        const Place chance = place_of(a->keys, a->iteration, step + 1, lane);
        int copy[TASK_WORDS];
        UNROLL
        for (int w = 0; w < TASK_WORDS; w++) copy[w] = TASK_OF(own)[w];
        if (DRAWN == 1 && l == 31) UNIFORM_OF(own, step) = uniform_of(a, lane, step);
        if (k < ACTIONS) {
            const float reward = task_act(copy, &chance, k);
            UNROLL
            for (int q = 0; q < (SHOWN + ACTION_LANES - 1) / ACTION_LANES; q++) {
                const int i = q * ACTION_LANES + first;
                if (i < SHOWN && step + 1 < a->steps) SHOWS_OF(own, k)[i] = shown(copy, i);
            }
            if (first == 0) {
                REWARDS_OF(own)[k] = reward;
                UNROLL
                for (int w = 0; w < TASK_WORDS; w++) COPY_OF(own, k)[w] = copy[w];
            }
        }
    END32
}
#else
DEVICE void ahead(const Args *a, const int lane, const int step, const int warp, float *own) {
    (void)warp;
    LANES32
        for (int i = l; AHEAD && i < ACTIONS * TASK_CHANGES; i += 32) {
            COPY_OF(own, i / TASK_CHANGES)[i % TASK_CHANGES] = TASK_OF(own)[i % TASK_CHANGES];
        }
    END32
    WARP_SYNC;
    LANES32
        const Place chance = place_of(a->keys, a->iteration, step + 1, lane);
        if (DRAWN == 1 && l == 31) UNIFORM_OF(own, step) = uniform_of(a, lane, step);
        for (int k = l; AHEAD && k < ACTIONS; k += 32) REWARDS_OF(own)[k] = task_act(COPY_OF(own, k), &chance, k);
    END32
    WARP_SYNC;
    if (step + 1 == a->steps) return;
    LANES32
        for (int i = l; AHEAD && i < ACTIONS * SHOWN; i += 32) SHOWS_OF(own, 0)[i] = shown(COPY_OF(own, i / SHOWN), i % SHOWN);
    END32
}
#endif

/* Takes the action of the step before `step`, and returns it. */
DEVICE int act(const Args *a, const Context c, const int lane, const int step, const int blk, const int warp, float *own) {
    const int action = draw_action(a, c, UNIFORM_OF(own, step - 1));
    (void)warp;
    LANES32
        if (!AHEAD && l == 0) {
            const Place chance = place_of(a->keys, a->iteration, step, lane);
            REWARDS_OF(own)[action] = task_act(TASK_OF(own), &chance, action);
        }
        for (int i = l; AHEAD && i < TASK_CHANGES; i += 32) TASK_OF(own)[i] = COPY_OF(own, action)[i];
        if (blk == 0 && l == 0) {
            a->actions[c.row - 1] = action;
            a->rewards[c.row - 1] = REWARDS_OF(own)[action];
        }
    END32
    WARP_SYNC;
    return action;
}
