
/* What a device can do at most. `steps` is how often. */

#define EIGHT(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)
#define BEGIN(k) float x##k = (float)(tid + k);
#define ADD(k) x##k = x##k * 0.5f + 1.0f;

/* Multiply-adds in registers: 64 of each thread. */
KERNEL(multiply_add) {
    BEGIN_LANE
    PHASE
        EIGHT(BEGIN)
        for (int t = 0; t < a.steps; t++) {
            EIGHT(ADD) EIGHT(ADD) EIGHT(ADD) EIGHT(ADD)
            EIGHT(ADD) EIGHT(ADD) EIGHT(ADD) EIGHT(ADD)
        }
        a.arena[(u64)lane * THREADS + tid] = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7;
    END_LAST
}

/* NEAR numbers of shared memory, changed in place. */
KERNEL(near) {
    BEGIN_LANE
    PHASE
        for (int i = tid; i < NEAR; i += THREADS) shared_memory[i] = (float)i;
    END_PHASE
    for (int t = 0; t < a.steps; t++) {
        PHASE
            for (int i = tid; i < NEAR; i += THREADS) shared_memory[i] += 1.0f;
        END_PHASE
    }
    PHASE
        if (tid == 0) a.arena[lane] = shared_memory[a.steps % NEAR];
    END_PHASE
}

/* `iteration` times 1024 numbers of the device's memory, changed in place by `lanes` blocks. */
KERNEL(far) {
    BEGIN_LANE
    const u64 all = (u64)a.iteration * 1024;
    for (int t = 0; t < a.steps; t++) {
        PHASE
            for (u64 i = (u64)lane * THREADS + tid; i < all; i += (u64)a.lanes * THREADS) a.arena[i] += 1.0f;
        END_LAST
    }
}
