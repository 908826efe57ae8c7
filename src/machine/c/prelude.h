/* What generated kernels are written in: a part of C that NVRTC compiles for a GPU and a C compiler for the processor.

   A kernel runs one lane in THREADS threads: a block, or a team of TEAM blocks where a lane is large, which then has no
   shared memory; RESIDENT lanes share a multiprocessor. It is a sequence of phases with a barrier after each: on the GPU all threads are in a phase at once, on the
   processor they take turns. Within a phase no thread reads what another writes. Threads stand in groups of 16, one for each
   column of a panel. A kernel of a single phase ends it with END_LAST, without a barrier: its blocks need not all be there
   at once. */

typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef __CUDACC__

#define BLOCK (THREADS / TEAM)
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT) name(const Args a)
#define DEVICE static __device__ __forceinline__
#define THREAD ((blockIdx.x % TEAM) * BLOCK + threadIdx.x)
#define BEGIN_LANE                      \
    const int lane = blockIdx.x / TEAM; \
    extern __shared__ float shared_memory[];
#define PHASE                        \
    {                                \
        const int tid = THREAD;
#define END_PHASE                    \
    }                                \
    barrier();
#define END_LAST }
#define GROUPS                       \
    {                                \
        const int g = THREAD >> 4;
#define EACH16                       \
    {                                \
        const int k = threadIdx.x & 15;
#define END16 }
#define FIRST16 if ((threadIdx.x & 15) == 0)
#define VAR16(x) float x = 0.0f
#define AT16(x) x
#define INF __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fffffff)
#define HIGH64(a, b) __umul64hi(a, b)

#if TEAM > 1
/* How often blocks have arrived at the barriers of their teams. It counts on from launch to launch and runs over, which does
   no harm: teams are a power of two. */
static __device__ u32 arrived[LANES];

/* All blocks of a team are there at once, which the launch sees to. What they wrote before is read after. */
DEVICE void barrier(void) {
    __syncthreads();
    if (threadIdx.x == 0) {
        u32 *const count = arrived + blockIdx.x / TEAM;
        __threadfence();
        const u32 wanted = (atomicAdd(count, 1u) / TEAM + 1u) * TEAM;
        while ((int)(*(volatile u32 *)count - wanted) < 0) {}
        __threadfence();
    }
    __syncthreads();
}
#else
DEVICE void barrier(void) { __syncthreads(); }
#endif

/* The same for all of a group; only its own 16 threads need be there. */
DEVICE float SUM16(float x) {
    const u32 mask = 0xffffu << (threadIdx.x & 16);
    for (int other = 8; other > 0; other >>= 1) x += __shfl_xor_sync(mask, x, other, 16);
    return x;
}

DEVICE float MAX16(float x) {
    const u32 mask = 0xffffu << (threadIdx.x & 16);
    for (int other = 8; other > 0; other >>= 1) {
        const float y = __shfl_xor_sync(mask, x, other, 16);
        x = x < y ? y : x;
    }
    return x;
}

#else

#include <math.h>
#include <stdbool.h>

#define KERNEL(name) void name(const Args *arguments, const int lane, float *shared_memory)
#define DEVICE static inline
#define BEGIN_LANE const Args a = *arguments;
#define PHASE for (int tid = 0; tid < THREADS; tid++) {
#define END_PHASE }
#define END_LAST }
#define GROUPS for (int g = 0; g < THREADS / 16; g++) {
#define EACH16 for (int k = 0; k < 16; k++) {
#define END16 }
#define FIRST16
#define VAR16(x) float x[16] = {0}
#define AT16(x) x[k]
#define INF INFINITY
#define NOT_A_NUMBER NAN
#define HIGH64(a, b) ((u64)(((unsigned __int128)(a) * (b)) >> 64))

/* In the order of the GPU's shuffles. */
DEVICE float SUM16(const float *x) {
    float y[16], z[16];
    for (int k = 0; k < 16; k++) y[k] = x[k];
    for (int other = 8; other > 0; other >>= 1) {
        for (int k = 0; k < 16; k++) z[k] = y[k] + y[k ^ other];
        for (int k = 0; k < 16; k++) y[k] = z[k];
    }
    return y[0];
}

DEVICE float MAX16(const float *x) {
    float top = x[0];
    for (int k = 1; k < 16; k++) top = top < x[k] ? x[k] : top;
    return top;
}

#endif

#define END_GROUPS END_PHASE

DEVICE float f_sigmoid(float x) {
    const float small = expf(x < 0.0f ? x : -x);
    return (x < 0.0f ? small : 1.0f) / (1.0f + small);
}

DEVICE float f_softplus(float x) {
    return (float)(fmax((double)x, 0.0) + log1p(exp(-fabs((double)x))));
}

DEVICE float f_clip(float x, float lo, float hi) {
    x = x < lo ? lo : x;
    return x > hi ? hi : x;
}

DEVICE float f_truth(int condition) { return condition ? 1.0f : 0.0f; }

DEVICE float f_larger(float a, float b) { return a < b ? b : a; }

/* Philox4x32-10, as src/ir/rng/philox.rs. */
typedef struct { u32 w[4]; } Block;

/* The place of a draw: all of its address but the index. */
typedef struct { u32 key[2], iteration, step, lane; } Place;

DEVICE Block philox(Block counter, u32 key0, u32 key1) {
    for (int round = 0; round < 10; round++) {
        if (round > 0) {
            key0 += 0x9E3779B9u;
            key1 += 0xBB67AE85u;
        }
        const u64 product0 = (u64)0xD2511F53u * counter.w[0];
        const u64 product1 = (u64)0xCD9E8D57u * counter.w[2];
        Block next;
        next.w[0] = (u32)(product1 >> 32) ^ counter.w[1] ^ key0;
        next.w[1] = (u32)product1;
        next.w[2] = (u32)(product0 >> 32) ^ counter.w[3] ^ key1;
        next.w[3] = (u32)product0;
        counter = next;
    }
    return counter;
}

DEVICE Place place_of(const u32 *key, u32 iteration, u32 step, u32 lane) {
    Place place;
    place.key[0] = key[0];
    place.key[1] = key[1];
    place.iteration = iteration;
    place.step = step;
    place.lane = lane;
    return place;
}

DEVICE Block place_block(const Place *p, u32 index) {
    Block counter;
    counter.w[0] = index;
    counter.w[1] = p->lane;
    counter.w[2] = p->step;
    counter.w[3] = p->iteration;
    return philox(counter, p->key[0], p->key[1]);
}

DEVICE u64 join(u32 low, u32 high) { return (u64)high << 32 | low; }

DEVICE double unit(u64 word) { return (double)(word >> 11) * (1.0 / 9007199254740992.0); }

DEVICE double place_uniform(const Place *p, u32 index) {
    const Block b = place_block(p, index);
    return unit(join(b.w[0], b.w[1]));
}

DEVICE double place_normal(const Place *p, u32 index) {
    const Block b = place_block(p, index / 2);
    const double radius = sqrt(-2.0 * log(1.0 - unit(join(b.w[0], b.w[1]))));
    const double angle = 6.283185307179586 * unit(join(b.w[2], b.w[3]));
    return index % 2 == 0 ? radius * cos(angle) : radius * sin(angle);
}

/* `word` scaled to 0..n into `out`; whether that favours no value. */
DEVICE int scaled(u64 word, u64 n, int *out) {
    const u64 low = word * n;
    if (low < n && low < (0 - n) % n) return 0;
    *out = (int)HIGH64(word, n);
    return 1;
}

DEVICE int place_below(const Place *p, u32 index, u64 n) {
    Block b = place_block(p, index);
    int value;
    for (;;) {
        if (scaled(join(b.w[0], b.w[1]), n, &value)) return value;
        if (scaled(join(b.w[2], b.w[3]), n, &value)) return value;
        b = philox(b, p->key[0], p->key[1]);
    }
}

/* The numbers of a place one after another. */
typedef struct { Place place; u32 index; Block block; int used; } Draws;

DEVICE Draws draws_of(const Place *p) {
    Draws d;
    d.place = *p;
    d.index = 0;
    d.used = 4;
    return d;
}

DEVICE u32 draws_word(Draws *d) {
    if (d->used == 4) {
        d->block = place_block(&d->place, d->index);
        d->index++;
        d->used = 0;
    }
    return d->block.w[d->used++];
}

DEVICE int draws_below(Draws *d, u64 n) {
    int value;
    for (;;) {
        const u32 low = draws_word(d);
        if (scaled(join(low, draws_word(d)), n, &value)) return value;
    }
}

/* The action in which `uniform` falls when their probabilities lie end to end, as src/learn/action.rs. */
DEVICE int choose(const float *logits, int n, double uniform) {
    double largest = -INF;
    for (int k = 0; k < n; k++) largest = fmax(largest, (double)logits[k]);
    double total = 0.0;
    for (int k = 0; k < n; k++) total += exp((double)logits[k] - largest);
    const double threshold = uniform * total;
    double below = 0.0;
    int last = n - 1;
    for (int k = 0; k < n; k++) {
        const double weight = exp((double)logits[k] - largest);
        below += weight;
        if (threshold < below) return k;
        if (weight > 0.0) last = k;
    }
    return last;
}

DEVICE int likeliest(const float *logits, int n) {
    int best = 0;
    for (int k = 1; k < n; k++) best = logits[k] > logits[best] ? k : best;
    return best;
}
