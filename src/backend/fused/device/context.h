
/* What a launch is given. */
typedef struct {
    const float *shared;
    float *arena, *records, *checkpoints, *segment, *sums, *outers;
    const float *inputs;
    float *outputs, *seeds, *carried;
    int *task, *actions;
    float *rewards;
    double *returns, *parts, *losses, *total, *step_rewards;
    const u32 *keys;
    double scale;
    int lanes, iteration, learn, greedy;
} Args;

/* What a step of a lane reads and writes: its memory, that of the step that ran before, what was kept of the step and of
   the step before, what is shared by all lanes; traces that enter and leave, and their adjoints; the number of the step's
   vectors among those of all lanes and steps. */
typedef struct {
    float *L, *B;
    const float *R, *RB, *S;
    float *scratch, *sums;
    const float *in;
    float *out, *adj, *outers;
    u64 row, vectors;
} Context;
