
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

/* The number of free cells before a cell, counted row after row as if the centre were a wall like others in its place. */
DEVICE int task_index(const int *cell) {
    const int row = cell[0], column = cell[1], two_rows = TASK_SIZE + (TASK_SIZE + 1) / 2;
    return row / 2 * two_rows + (row % 2 == 0 ? column : TASK_SIZE + (column + 1) / 2);
}

/* Goes to the free cell with number `choice`, numbered row after row without one of them. */
DEVICE void task_go(int *cell, const int *taken, int choice) {
    const int two_rows = TASK_SIZE + (TASK_SIZE + 1) / 2;
    int centre[2], before = task_index(taken);
    centre[0] = TASK_SIZE / 2;
    centre[1] = TASK_SIZE / 2;
    /* In mazes whose centre has odd numbers it is one cell more. */
    const int more = task_index(centre), is_more = TASK_SIZE / 2 % 2;
    const int after = taken[0] > centre[0] || (taken[0] == centre[0] && taken[1] > centre[1]);
    before += is_more && after;
    choice += choice >= before;
    if (is_more && choice == more) {
        cell[0] = centre[0];
        cell[1] = centre[1];
        return;
    }
    choice -= is_more && choice > more;
    const int row = choice / two_rows * 2, rest = choice % two_rows;
    cell[0] = row + (rest >= TASK_SIZE);
    cell[1] = rest < TASK_SIZE ? rest : 2 * (rest - TASK_SIZE);
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
