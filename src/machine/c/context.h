
/* What a launch is given. */
typedef struct {
    float *shared;
    float *arena, *records, *checkpoints, *segment, *sums, *outers;
    const float *inputs;
    float *outputs, *seeds, *carried;
    int *task, *actions;
    float *rewards;
    double *returns, *parts, *losses, *total, *step_rewards;
    const u32 *keys;
    float *carried_next;
    /* Where iterations follow each other without the host: the slot in which one stopped, from 1, and by what; the slot in
       which a parameter became not finite, from 1. */
    int *status;
    const float *parameters;
    float *parameters_next;
    const float *moments;
    float *moments_next;
    const float *fixed;
    float *values, *products;
    float *input_adjoints;
    /* The words read, and those to be predicted. */
    const u32 *words, *targets;
    float *gradients, *averages;
    double *squares, *norms, *history;
    double scale;
    int lanes, iteration, learn, greedy, slot, burning, steps, first;
    float rates[4];
    /* The part of a mean over steps that this one is; 0 where there is no mean. */
    float average;
    /* The first lane of a launch that runs some of the lanes. */
    int wave;
} Args;

#define STOPPED_BY_LOSS 1
#define STOPPED_BY_GRADIENT 2

/* Whether an earlier iteration stopped all. */
DEVICE int stopped(const Args *a) {
    return a->status[0] != 0 || (a->status[2] != 0 && a->status[2] != a->slot + 1);
}

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
