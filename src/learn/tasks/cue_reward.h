
/* The task of src/learn/tasks/cue_reward.rs. A lane's memory: step, last action, last reward, then for every step what it shows
   (0 nothing, 1 + cue, or -1 - answer where the agent answers) and whether a trial starts, then a trial's order, then the
   cues. */
#define TASK_CHANGES 3
#define TASK_SHOWS TASK_CHANGES
#define TASK_STARTS (TASK_SHOWS + TASK_STEPS)
#define TASK_ORDER (TASK_STARTS + TASK_STEPS)
#define TASK_MIDDLE (TASK_ORDER + TASK_CUES)
#define TASK_PATTERNS (TASK_MIDDLE + TASK_SHOWN + TASK_MAX_BLANKS)

DEVICE void task_shuffle(Draws *draws, int *items, int n) {
    for (int last = n - 1; last > 0; last--) {
        const int other = draws_below(draws, last + 1);
        const int kept = items[last];
        items[last] = items[other];
        items[other] = kept;
    }
}

DEVICE void task_reset(int *task, const Place *episode) {
    Draws draws = draws_of(episode);
    for (int cue = 0; cue < TASK_CUES; cue++) {
        int *own = task + TASK_PATTERNS + cue * TASK_BITS;
        int again = 1;
        while (again) {
            int ones = 0;
            for (int bit = 0; bit < TASK_BITS; bit++) {
                own[bit] = TASK_ONE_HOT ? bit == cue : 2 * draws_below(&draws, 2) - 1;
                ones += own[bit] == 1;
            }
            again = !TASK_ONE_HOT && TASK_GO < 0 && ones == TASK_BITS;
            for (int other = 0; other < cue && !TASK_ONE_HOT; other++) {
                const int *earlier = task + TASK_PATTERNS + other * TASK_BITS;
                int same = 0;
                while (same < TASK_BITS && earlier[same] == own[same]) same++;
                again |= same == TASK_BITS;
            }
        }
    }
    const int target = draws_below(&draws, TASK_CUES);
    int *order = task + TASK_ORDER, *middle = task + TASK_MIDDLE;
    int *shows = task + TASK_SHOWS, *starts = task + TASK_STARTS;
    for (int cue = 0; cue < TASK_CUES; cue++) order[cue] = cue;
    int step = 0;
    while (step < TASK_STEPS) {
        task_shuffle(&draws, order, TASK_CUES);
        const int blanks =
            TASK_MIN_BLANKS + draws_below(&draws, TASK_MAX_BLANKS - TASK_MIN_BLANKS + 1);
        const int n = TASK_SHOWN + blanks;
        int answer = 0;
        for (int k = 0; k < n; k++) middle[k] = k < TASK_SHOWN ? 1 + order[k] : 0;
        for (int k = 0; k < TASK_SHOWN; k++) answer |= order[k] == target;
        task_shuffle(&draws, middle, n);
        for (int k = 0; k < n + 3 && step < TASK_STEPS; k++, step++) {
            shows[step] = k >= 1 && k <= n ? middle[k - 1] : k == n + 1 ? -1 - answer : 0;
            starts[step] = k == 0;
        }
    }
    task[0] = 0;
    task[1] = -1;
    ((float *)task)[2] = 0.0f;
}

DEVICE int task_show(const int *task) {
    return task[0] < TASK_STEPS ? task[TASK_SHOWS + task[0]] : 0;
}

DEVICE float task_observation(const int *task, int i) {
    const int show = task_show(task);
    if (i < TASK_BITS) {
        if (show > 0) return (float)task[TASK_PATTERNS + (show - 1) * TASK_BITS + i];
        return show < 0 && TASK_GO < 0 ? 1.0f : 0.0f;
    }
    i -= TASK_BITS;
    if (i == TASK_ACTION + task[1] && task[1] >= 0 && task[1] < 2) return 1.0f;
    if (i == TASK_REWARD_AT) return ((const float *)task)[2];
    if (i == TASK_TIME) return (float)task[0] / (float)TASK_STEPS;
    if (i == TASK_BIAS) return 1.0f;
    return i == TASK_GO && show < 0 ? 1.0f : 0.0f;
}

DEVICE float task_signal(const int *task, int i) {
    return i == 0 ? ((const float *)task)[2] : f_truth(task_show(task) < 0);
}

DEVICE int task_trial_starts(const int *task) {
    return task[0] < TASK_STEPS && task[TASK_STARTS + task[0]];
}

DEVICE float task_act(int *task, const Place *chance, int action) {
    const int show = task_show(task);
    float reward = 0.0f;
    if (show < 0) {
        const int flipped = place_uniform(chance, 0) < TASK_FLIP;
        const int right = (action == -1 - show) != flipped;
        reward = right ? TASK_REWARD : -TASK_REWARD;
    }
    task[0] += 1;
    task[1] = action;
    ((float *)task)[2] = reward;
    return reward;
}
