
/* The task of src/learn/tasks/maze.rs. A lane's memory: step, row and column of the agent, those of the reward, whether a trial
   starts, last action, last reward. */

DEVICE int task_wall(int row, int column) {
    const int centre = row == TASK_SIZE / 2 && column == TASK_SIZE / 2;
    return row % 2 == 1 && column % 2 == 1 && !centre;
}

/* Whether the agent can stand there. */
DEVICE int task_free(int row, int column) {
    const int inside = row >= 0 && column >= 0 && row < TASK_SIZE && column < TASK_SIZE;
    return inside && !task_wall(row, column);
}

/* Goes to the free cell with number `choice`, numbered row after row without one of them. */
DEVICE void task_go(int *cell, const int *taken, int choice) {
    int found = 0;
    for (int row = 0; row < TASK_SIZE; row++) {
        for (int column = 0; column < TASK_SIZE; column++) {
            if (task_wall(row, column) || (row == taken[0] && column == taken[1])) continue;
            if (found == choice) {
                cell[0] = row;
                cell[1] = column;
                return;
            }
            found++;
        }
    }
}

DEVICE void task_reset(int *task, const Place *episode) {
    int *position = task + 1, *goal = task + 3;
    int centre[2];
    centre[0] = TASK_SIZE / 2;
    centre[1] = TASK_SIZE / 2;
    task_go(goal, centre, place_below(episode, 0, TASK_FREE - 1));
    position[0] = centre[0];
    position[1] = centre[1];
    if (TASK_RANDOM_START) task_go(position, goal, place_below(episode, 1, TASK_FREE - 1));
    task[0] = 0;
    task[5] = 1;
    task[6] = -1;
    ((float *)task)[7] = 0.0f;
}

DEVICE float task_observation(const int *task, int i) {
    if (i < TASK_VIEW * TASK_VIEW) {
        const int row = task[1] + i / TASK_VIEW - TASK_VIEW / 2;
        const int column = task[2] + i % TASK_VIEW - TASK_VIEW / 2;
        return f_truth(!task_free(row, column));
    }
    i -= TASK_VIEW * TASK_VIEW;
    if (i == TASK_ACTION + task[6] && task[6] >= 0 && task[6] < 4) return 1.0f;
    if (i == TASK_REWARD_AT) return ((const float *)task)[7];
    if (i == TASK_TIME) return (float)task[0] / (float)TASK_STEPS;
    return i == TASK_BIAS ? 1.0f : 0.0f;
}

DEVICE float task_signal(const int *task, int i) {
    (void)i;
    return ((const float *)task)[7];
}

DEVICE int task_trial_starts(const int *task) { return task[5]; }

DEVICE float task_act(int *task, const Place *chance, int action) {
    const int row = task[1] + (action == 1) - (action == 0);
    const int column = task[2] + (action == 3) - (action == 2);
    float reward = 0.0f;
    if (task_free(row, column)) {
        task[1] = row;
        task[2] = column;
    } else {
        reward -= TASK_WALL_PENALTY;
    }
    task[5] = task[1] == task[3] && task[2] == task[4];
    if (task[5]) {
        reward += TASK_REWARD;
        task_go(task + 1, task + 3, place_below(chance, 0, TASK_FREE - 1));
    }
    task[0] += 1;
    task[6] = action;
    ((float *)task)[7] = reward;
    return reward;
}
