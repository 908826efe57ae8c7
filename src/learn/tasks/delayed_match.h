/* The task of src/learn/tasks/delayed_match.rs. A lane's memory: the sample, the delay, the test, the phase of the trial, what
   is shown (-1 nothing), last action, last reward. The sample is shown in phase 0, the test in phase delay + 1. */

/* One of the other stimuli than `one`, the random number `index` of a place. */
DEVICE int task_other(const Place *place, int index, int one) {
    const int other = place_below(place, index, TASK_STIMULI - 1);
    return other + (other >= one);
}

DEVICE void task_trial(int *task, const Place *place) {
    task[0] = place_below(place, 0, TASK_STIMULI);
    task[1] = TASK_MIN_DELAY + place_below(place, 1, TASK_MAX_DELAY - TASK_MIN_DELAY + 1);
    task[2] = place_below(place, 2, 2) ? task[0] : task_other(place, 3, task[0]);
    task[3] = 0;
    task[4] = task[0];
}

DEVICE void task_reset(int *task, const Place *episode) {
    task_trial(task, episode);
    task[5] = -1;
    ((float *)task)[6] = 0.0f;
}

DEVICE int task_is_test(const int *task) { return task[3] == task[1] + 1; }

DEVICE float task_observation(const int *task, int i) {
    if (i < TASK_STIMULI) return f_truth(i == task[4]);
    i -= TASK_STIMULI;
    if (i == 0) return f_truth(task_is_test(task));
    if (i == 1) return ((const float *)task)[6];
    return f_truth(i == 4 || i - 2 == task[5]);
}

DEVICE float task_signal(const int *task, int i) {
    return i == 0 ? ((const float *)task)[6] : f_truth(task_is_test(task));
}

DEVICE int task_trial_starts(const int *task) { return task[3] == 0; }

DEVICE float task_act(int *task, const Place *chance, int action) {
    float reward = 0.0f;
    if (task_is_test(task)) {
        const int right = action == (task[2] == task[0]);
        reward = right ? (float)TASK_REWARD : -(float)TASK_REWARD;
    }
    task[3] += 1;
    if (task[3] > task[1] + 2) {
        task_trial(task, chance);
    } else if (task_is_test(task)) {
        task[4] = task[2];
    } else if (task[3] <= task[1] && place_uniform(chance, 4) < TASK_DISTRACTORS) {
        task[4] = task_other(chance, 5, task[0]);
    } else {
        task[4] = -1;
    }
    task[5] = action;
    ((float *)task)[6] = reward;
    return reward;
}
