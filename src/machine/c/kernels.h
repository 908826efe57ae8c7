/* A lane's episode forward and back, as src/engine/fused/lane runs it on the processor. What the network does is generated
   and stands above: first_states, observe, ahead, settle, move_states, keep_outputs, read_seeds, replay, early, opening, late,
   hand_on, main_back, closing. */

DEVICE float *record_of(const Args *a, int lane, int step) {
    return a->records + ((u64)lane * a->steps + step) * RECORD;
}

DEVICE float *checkpoint_of(const Args *a, int lane, int number) {
    return a->checkpoints + ((u64)lane * CHECKPOINTS + number) * TRACES;
}

DEVICE float *segment_of(const Args *a, int lane, int number) {
    return a->segment + ((u64)lane * INTERVAL + number) * TRACES;
}

KERNEL(forward) {
    BEGIN_LANE
    if (stopped(&a)) return;
    Context c = forward_memory(&a, lane, shared_memory);
    PHASE
        for (int i = tid; i < LANE; i += THREADS) c.L[i] = 0.0f;
    END_PHASE
    first_states(c, &a, lane);
#if DEVICE_TASK
    int *task = a.task + (u64)lane * TASK_WORDS;
    PHASE
        if (tid == 0) {
            const Place episode = place_of(a.keys, a.iteration, 0, lane);
            task_reset(task, &episode);
        }
    END_PHASE
#endif
    for (int step = 0; step < a.steps; step++) {
        c.row = (u64)lane * a.steps + step;
        observe(c, &a, lane, step);
#if TRACES
        if (step % INTERVAL == 0) {
            if (step > 0 && ONE_PASS) {
                c.R = record_of(&a, lane, step - 1);
                settle(c);
            }
            float *kept = checkpoint_of(&a, lane, step / INTERVAL);
            PHASE
                for (int i = tid; i < TRACES; i += THREADS) kept[i] = c.in[i];
            END_PHASE
        }
#endif
        c.RB = step > 0 ? record_of(&a, lane, step - 1) : 0;
        ahead(c, ONE_PASS && step % INTERVAL != 0);
        float *record = record_of(&a, lane, step);
        PHASE
            for (int i = tid; i < RECORD; i += THREADS) record[i] = c.L[i];
            keep_outputs(c, &a, tid);
        END_PHASE
        move_states(c);
#if TRACES
        if (!ONE_PASS) {
            c.R = record;
            settle(c);
        }
#endif
#if DEVICE_TASK
        PHASE
            if (tid == 0) {
                const float *outputs = a.outputs + c.row * ACTIONS;
                const Place place = place_of(a.keys + 2, a.iteration, step, lane);
                const int action = a.greedy ? likeliest(outputs, ACTIONS)
                                            : choose(outputs, ACTIONS, place_uniform(&place, 0));
                const Place chance = place_of(a.keys, a.iteration, step + 1, lane);
                a.actions[c.row] = action;
                a.rewards[c.row] = task_act(task, &chance, action);
            }
        END_PHASE
#endif
    }
#if TRACES
    if (ONE_PASS && CARRIED) {
        c.R = record_of(&a, lane, a.steps - 1);
        settle(c);
    }
#endif
    last_states(c, &a, lane);
#if A2C
    objective(&a, lane);
#endif
}

KERNEL(backward) {
    BEGIN_LANE
    if (stopped(&a)) return;
    Context c = backward_memory(&a, lane, shared_memory);
    PHASE
        for (int i = tid; i < ADJOINT; i += THREADS) {
            c.L[i] = 0.0f;
            c.B[i] = 0.0f;
        }
        for (int i = tid; i < TRACES; i += THREADS) c.adj[i] = 0.0f;
        for (int i = tid; i < SUMS; i += THREADS) c.sums[i] = 0.0f;
    END_PHASE
    int end = a.steps;
    while (end > 0) {
        const int start = (end - 1) / INTERVAL * INTERVAL;
#if TRACES
        for (int step = start; step < end - 1; step++) {
            Context r = c;
            r.R = record_of(&a, lane, step);
            r.in = step == start ? checkpoint_of(&a, lane, start / INTERVAL)
                                 : segment_of(&a, lane, step - start);
            r.out = segment_of(&a, lane, step + 1 - start);
            keep_constant(r);
            replay(r);
        }
#endif
        for (int step = end - 1; step >= start; step--) {
            const int later = step + 1 < a.steps;
            c.row = (u64)lane * a.steps + step;
            c.R = record_of(&a, lane, step);
            c.RB = later ? record_of(&a, lane, step + 1) : 0;
            c.in = step == start ? checkpoint_of(&a, lane, start / INTERVAL)
                                 : segment_of(&a, lane, step - start);
            read_seeds(c, &a);
            early(c);
            opening(c, later);
            if (later) {
                Context of_later = c;
                of_later.L = c.B;
                of_later.B = 0;
                of_later.R = c.RB;
                of_later.RB = 0;
                of_later.row = c.row + 1;
                late(of_later);
                hand_on(c, &a);
            }
            main_back(c);
            float *done = c.L;
            c.L = c.B;
            c.B = done;
        }
        end = start;
    }
    c.row = (u64)lane * a.steps;
    c.L = c.B;
    c.B = 0;
    c.R = record_of(&a, lane, 0);
    c.RB = 0;
    c.in = checkpoint_of(&a, lane, 0);
    closing(c);
    late(c);
    keep_input_adjoints(c, &a);
    PHASE
        float *sums = a.sums + (u64)lane * SUMS;
        for (int i = tid; i < SUMS; i += THREADS) sums[i] = c.sums[i];
    END_PHASE
}
