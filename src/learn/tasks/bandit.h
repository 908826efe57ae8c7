/* The task of src/learn/tasks/bandit.rs. A lane's memory: step, last action, last reward, and how likely each arm pays. */

/* Draws how likely each arm pays, with another best arm than `before`, which is -1 where there was none. */
DEVICE void task_draw(float *chances, const Place *place, int before) {
    int best = -1;
    if (!TASK_UNIFORM) {
        best = place_below(place, 2, before < 0 ? TASK_ARMS : TASK_ARMS - 1);
        if (before >= 0 && best >= before) best++;
    }
    for (int arm = 0; arm < TASK_ARMS; arm++) {
        const double drawn = TASK_UNIFORM ? TASK_LOW + TASK_RANGE * place_uniform(place, 3 + arm) : TASK_LOW;
        chances[arm] = arm == best ? (float)TASK_HIGH : (float)drawn;
    }
}

DEVICE void task_reset(int *task, const Place *episode) {
    task_draw((float *)task + 3, episode, -1);
    task[0] = 0;
    task[1] = -1;
    ((float *)task)[2] = 0.0f;
}

DEVICE float task_observation(const int *task, int i) {
    if (i < TASK_ARMS) return f_truth(i == task[1]);
    i -= TASK_ARMS;
    if (i == 0) return ((const float *)task)[2];
    return i == 1 ? (float)task[0] / (float)TASK_STEPS : 1.0f;
}

DEVICE float task_signal(const int *task, int i) {
    (void)i;
    return ((const float *)task)[2];
}

DEVICE int task_trial_starts(const int *task) { return task[0] == 0; }

DEVICE float task_act(int *task, const Place *chance, int action) {
    float *chances = (float *)task + 3;
    const int exists = action >= 0 && action < TASK_ARMS;
    const double pays = exists ? (double)chances[action] : 0.0;
    const float reward = place_uniform(chance, 0) < pays ? (float)TASK_REWARD : 0.0f;
    if (place_uniform(chance, 1) < TASK_REVERSAL) {
        int best = 0;
        for (int arm = 1; arm < TASK_ARMS; arm++) {
            if (chances[arm] > chances[best]) best = arm;
        }
        task_draw(chances, chance, best);
    }
    task[0] += 1;
    task[1] = action;
    ((float *)task)[2] = reward;
    return reward;
}
