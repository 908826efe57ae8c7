
/* A lane in a cluster of CLUSTER blocks. Each warp holds a tile of connections in registers all episode; vectors are in every
   block's shared memory, and every block computes all of them. Sums over a tile's connections go to all blocks of the cluster.

   A kernel is a sequence of units with a barrier of the block after each. On the GPU all warps of a block are in a unit at once;
   on the processor they take turns, in an order that changes from unit to unit. Within a unit no thread reads what another warp
   writes. LANES32 is code of one thread; between such pieces is code of a warp. */

#ifdef __CUDACC__

#if CLUSTER > 1
#define CLUSTER_DIMENSIONS __cluster_dims__(CLUSTER, 1, 1)
#else
#define CLUSTER_DIMENSIONS
#endif
#define CLUSTER_KERNEL(name, warps) \
    extern "C" __global__ void CLUSTER_DIMENSIONS __launch_bounds__((warps) * 32, 1) name(const __grid_constant__ Args a)
#define CLUSTER_BEGIN                                       \
    const int lane = (int)(blockIdx.x / CLUSTER) + a.wave;  \
    extern __shared__ __align__(16) float shared_memory[];  \
    enum { warps_ = 0 };                                    \
    u32 exchanges = 0;
#define UNIT(warps)                                         \
    {                                                       \
        const int blk = block_rank(), warp = threadIdx.x >> 5; \
        (void)blk;                                          \
        (void)warp;                                         \
        {
#define END_UNIT                                            \
        }                                                   \
        unit_barrier<warps_>();                             \
    }
#define END_PART }}
/* Units of the first warps, and beside them code of the others. */
#define SPLIT(warps)                                        \
    {                                                       \
        if (threadIdx.x < (warps) * 32) {                   \
            enum { warps_ = (warps) };
#define BESIDE                                              \
        }                                                   \
        else {
#define JOIN                                                \
        }                                                   \
        __syncthreads();                                    \
    }
#define LANES32                                             \
    {                                                       \
        const int l = threadIdx.x & 31, tid = threadIdx.x;  \
        (void)l;                                            \
        (void)tid;
#define END32 }
#define VAR32(x) float x = 0.0f
#define AT32(x) x
#define VARS32(x, n) float x[n]
#define ATS32(x, k) x[k]
#define TILE(x, n) float x[n]
#define OF_TILE(x, q) x[q]
#define UNROLL _Pragma("unroll")
#define BASE shared_memory

/* A barrier of the first warps of a block, or of all. */
template <int WARPS> DEVICE void unit_barrier(void) {
    if (WARPS == 0)
        __syncthreads();
    else
        asm volatile("bar.sync 1, %0;" ::"n"(WARPS * 32) : "memory");
}

DEVICE int block_rank(void) {
#if CLUSTER > 1
    u32 rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return (int)rank;
#else
    return 0;
#endif
}

DEVICE u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

#if CLUSTER > 1
DEVICE void cluster_barrier(void) {
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* The first four floats of shared memory are two barriers, which exchanges take in turn. */
DEVICE void exchange_begin(float *memory) {
    if (threadIdx.x == 0) {
        const u32 at = shared_address(memory);
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(at) : "memory");
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(at + 8) : "memory");
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    cluster_barrier();
}

DEVICE void exchange_expect(float *memory, u32 exchanges, u32 bytes) {
    if (threadIdx.x == 0) {
        const u32 at = shared_address(memory) + 8 * (exchanges & 1);
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
    }
}

DEVICE void send(float *memory, u32 exchanges, int to, int index, float value) {
    u32 at, bar;
    const u32 here = shared_address(memory + index), own = shared_address(memory) + 8 * (exchanges & 1);
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"(here), "r"(to));
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(bar) : "r"(own), "r"(to));
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(at),
                 "r"(__float_as_uint(value)), "r"(bar)
                 : "memory");
}

DEVICE void exchange_wait(float *memory, u32 exchanges) {
    const u32 at = shared_address(memory) + 8 * (exchanges & 1), parity = (exchanges >> 1) & 1;
    u32 done = 0;
    while (!done) {
        asm volatile(
            "{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
            : "=r"(done)
            : "r"(at), "r"(parity)
            : "memory");
    }
}
#define SEND(to, index, value) send(shared_memory, exchanges, to, index, value)
#define EXPECT(bytes) exchange_expect(shared_memory, exchanges, bytes)
#define WAIT exchange_wait(shared_memory, exchanges)
#define EXCHANGE_BEGIN exchange_begin(shared_memory)
#define CLUSTER_END cluster_barrier()
#else
#define SEND(to, index, value) shared_memory[index] = value
#define EXPECT(bytes)
#define WAIT
#define EXCHANGE_BEGIN
#define CLUSTER_END
#endif

DEVICE float SUM32(float x) {
    for (int other = 16; other > 0; other >>= 1) x += __shfl_xor_sync(0xffffffffu, x, other);
    return x;
}

DEVICE float MAX32(float x) {
    for (int other = 16; other > 0; other >>= 1) {
        const float y = __shfl_xor_sync(0xffffffffu, x, other);
        x = x < y ? y : x;
    }
    return x;
}

/* Adds each of N columns over the lanes of a warp; lane l gets column l / (32 / N). Each step of the tree halves the columns that
   a lane holds. */
template <int N, bool TOP> DEVICE float columns32(float (&v)[N]) {
    int other = 16;
    UNROLL
    for (int half = N / 2; half > 0; half >>= 1) {
        const bool upper = threadIdx.x & other;
        UNROLL
        for (int k = 0; k < half; k++) {
            const float keep = upper ? v[k + half] : v[k], give = upper ? v[k] : v[k + half];
            const float got = __shfl_xor_sync(0xffffffffu, give, other);
            v[k] = TOP ? f_larger(keep, got) : keep + got;
        }
        other >>= 1;
    }
    float x = v[0];
    UNROLL
    for (; other > 0; other >>= 1) {
        const float got = __shfl_xor_sync(0xffffffffu, x, other);
        x = TOP ? f_larger(x, got) : x + got;
    }
    return x;
}
#define COLUMNS32(to, v, n) VAR32(to); to = columns32<n, false>(v)
#define TOP_COLUMNS32(to, v, n) VAR32(to); to = columns32<n, true>(v)

/* Four floats of a thread's own, to device memory and ahead of time from it. */
DEVICE void keep4(float *to, float a, float b, float c, float d) { __stcs((float4 *)to, make_float4(a, b, c, d)); }
DEVICE void fetch4(float *to, const float *from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
DEVICE void fetch1(float *to, const float *from) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
#define FETCHED asm volatile("cp.async.wait_all;" ::: "memory")
DEVICE void take4(float *to, const float *from) {
    const float4 four = *(const float4 *)from;
    to[0] = four.x;
    to[1] = four.y;
    to[2] = four.z;
    to[3] = four.w;
}
#define WARP_SYNC __syncwarp()
/* An addition that nothing waits for. No other thread of the launch adds to the same place. */
#define ADD_TO(to, value) atomicAdd(to, value)

#else

#include <stdlib.h>
#include <ucontext.h>

/* The blocks of a cluster are fibres: each runs until it waits, or until a random number at the end of a unit makes it give way.
   So blocks are ahead of each other as they are on a GPU, and an exchange that lacks a wait gives wrong numbers. */
typedef struct { int bytes, awaited; u32 done; } Barrier;

static __thread struct {
    ucontext_t caller, block[CLUSTER];
    void *stack[CLUSTER];
    Barrier barrier[CLUSTER][2];
    int arrived, running, ended[CLUSTER];
    u64 random;
    u32 idle;
    const Args *arguments;
    int lane;
    float *memory;
    void (*kernel)(const Args *, int, float *, int);
} cluster;

#define FIBRE_BYTES (1 << 20)

static u32 chance(void) {
    cluster.random = cluster.random * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(cluster.random >> 33);
}

static void give_way(void) { swapcontext(&cluster.block[cluster.running], &cluster.caller); }

static void run_block(void) {
    cluster.kernel(cluster.arguments, cluster.lane, cluster.memory, cluster.running);
    cluster.ended[cluster.running] = 1;
    give_way();
}

/* Runs a cluster: one block after another, whichever chance names. A cluster that waits for what never comes stops, with an
   iteration that counts as one that failed. */
static void run_cluster(void (*kernel)(const Args *, int, float *, int), const Args *arguments, int lane, float *memory) {
    cluster.kernel = kernel;
    cluster.arguments = arguments;
    cluster.lane = lane;
    cluster.memory = memory;
    cluster.arrived = 0;
    cluster.idle = 0;
    cluster.random = (u64)lane * 7919 + (u64)arguments->iteration + 1;
    for (int b = 0; b < CLUSTER; b++) {
        cluster.ended[b] = 0;
        for (int k = 0; k < 2; k++) cluster.barrier[b][k] = (Barrier){0, 1, 0};
        if (!cluster.stack[b]) cluster.stack[b] = malloc(FIBRE_BYTES);
        if (!cluster.stack[b]) abort();
        getcontext(&cluster.block[b]);
        cluster.block[b].uc_stack.ss_sp = cluster.stack[b];
        cluster.block[b].uc_stack.ss_size = FIBRE_BYTES;
        cluster.block[b].uc_link = &cluster.caller;
        makecontext(&cluster.block[b], run_block, 0);
    }
    for (int left = CLUSTER; left > 0;) {
        int b = (int)(chance() % CLUSTER);
        while (cluster.ended[b]) b = (b + 1) % CLUSTER;
        cluster.running = b;
        swapcontext(&cluster.caller, &cluster.block[b]);
        if (cluster.ended[b]) left--;
        if (++cluster.idle > 1000000u) {
            arguments->status[0] = arguments->slot + 1;
            arguments->status[1] = STOPPED_BY_LOSS;
            return;
        }
    }
}

/* A phase of a barrier ends when its block has armed it and all bytes are there. */
static void arrive(Barrier *barrier) {
    if (barrier->awaited == 0 && barrier->bytes == 0) {
        barrier->done++;
        barrier->awaited = 1;
        cluster.idle = 0;
    }
}

static void exchange_expect(int blk, u32 exchanges, int bytes) {
    Barrier *const barrier = &cluster.barrier[blk][exchanges & 1];
    barrier->bytes += bytes;
    barrier->awaited--;
    arrive(barrier);
}

static void exchange_send(u32 exchanges, int to) {
    Barrier *const barrier = &cluster.barrier[to][exchanges & 1];
    barrier->bytes -= 4;
    arrive(barrier);
}

static void exchange_wait(int blk, u32 exchanges) {
    while ((cluster.barrier[blk][exchanges & 1].done & 1) == ((exchanges >> 1) & 1)) give_way();
}

/* All blocks are here before one goes on. */
static void cluster_barrier(void) {
    const int round = cluster.arrived++ / CLUSTER;
    while (cluster.arrived < (round + 1) * CLUSTER) give_way();
}

#define CLUSTER_KERNEL(name, warps)                                                              \
    static void name##_block(const Args *arguments, const int of_wave, float *shared_memory, const int blk); \
    void name(const Args *arguments, const int of_wave, float *shared_memory) {                  \
        run_cluster(name##_block, arguments, of_wave, shared_memory);                            \
    }                                                                                            \
    static void name##_block(const Args *arguments, const int of_wave, float *shared_memory, const int blk)
#define CLUSTER_BEGIN                       \
    const Args a = *arguments;              \
    const int lane = of_wave + a.wave;      \
    u32 exchanges = 0;
/* The warps take turns from a random one on, forward or backward. */
#define UNIT(warps)                                                                         \
    {                                                                                       \
        const int start_ = (int)(chance() % (warps)), way_ = chance() & 1 ? 1 : (warps) - 1; \
        for (int u_ = 0; u_ < (warps); u_++) {                                              \
            const int warp = (start_ + u_ * way_) % (warps);                                \
            {
#define END_UNIT                      \
            }                         \
        }                             \
        cluster.idle = 0;             \
        if (chance() & 1) give_way(); \
    }
#define END_PART }}}
/* Chance decides which of the two runs first. */
#define SPLIT(warps)                             \
    {                                            \
        const int second_ = (int)(chance() & 1); \
        for (int k_ = 0; k_ < 2; k_++) {         \
            if (k_ == second_) {
#define BESIDE \
            }  \
            else {
#define JOIN                          \
            }                         \
        }                             \
        cluster.idle = 0;             \
        if (chance() & 1) give_way(); \
    }
#define LANES32 for (int l = 0; l < 32; l++) { const int tid = warp * 32 + l; (void)tid;
#define END32 }
#define VAR32(x) float x[32] = {0}
#define AT32(x) x[l]
#define VARS32(x, n) float x[n][32]
#define ATS32(x, k) x[k][l]
#define TILE(x, n) static __thread float x[CLUSTER][TILE_THREADS][n]
#define OF_TILE(x, q) x[blk][tid][q]
#define UNROLL
#define BASE (shared_memory + (u64)blk * BLOCK_FLOATS)
#define SEND(to, index, value) (shared_memory[(u64)(to) * BLOCK_FLOATS + (index)] = value, exchange_send(exchanges, to))
#define EXPECT(bytes) if (warp == 0) exchange_expect(blk, exchanges, bytes)
#define WAIT exchange_wait(blk, exchanges)
#define EXCHANGE_BEGIN cluster_barrier()
#define CLUSTER_END cluster_barrier()
#define FETCHED
#define WARP_SYNC
#define ADD_TO(to, value) *(to) += (value)

DEVICE float SUM32(const float *x) {
    float y[32], z[32];
    for (int k = 0; k < 32; k++) y[k] = x[k];
    for (int other = 16; other > 0; other >>= 1) {
        for (int k = 0; k < 32; k++) z[k] = y[k] + y[k ^ other];
        for (int k = 0; k < 32; k++) y[k] = z[k];
    }
    return y[0];
}

DEVICE float MAX32(const float *x) {
    float top = x[0];
    for (int k = 1; k < 32; k++) top = top < x[k] ? x[k] : top;
    return top;
}

#define COLUMNS32(to, v, n) VAR32(to); for (int l = 0; l < 32; l++) to[l] = SUM32(v[l / (32 / (n))])
#define TOP_COLUMNS32(to, v, n) VAR32(to); for (int l = 0; l < 32; l++) to[l] = MAX32(v[l / (32 / (n))])

DEVICE void keep4(float *to, float a, float b, float c, float d) {
    to[0] = a;
    to[1] = b;
    to[2] = c;
    to[3] = d;
}
DEVICE void fetch4(float *to, const float *from) {
    for (int k = 0; k < 4; k++) to[k] = from[k];
}
DEVICE void fetch1(float *to, const float *from) { *to = *from; }
DEVICE void take4(float *to, const float *from) { fetch4(to, from); }

#endif

#if A2C
KERNEL(objective_of) {
    BEGIN_LANE
    if (stopped(&a)) return;
    objective(&a, lane + a.wave);
}
#endif
