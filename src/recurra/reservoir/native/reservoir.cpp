// The time loop of a reservoir: s' = (1 - leak) s + gain f(W s + W_in x + b), W sparse, in float64 and float32.
//
// [W | W_in | b] is one CSR matrix over the columns [s; x; 1], so a step is one sparse product and one activation.
// Several series run side by side in the lanes of vector registers: each weight is then read once for all of them.
#ifndef BODY
#define BODY
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>

#include "abi.h"
#include "barrier.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace wide {
#define REAL double
#include "vec.hpp"
#include __FILE__
}  // namespace wide
#undef REAL
namespace narrow {
#define REAL float
#include "vec.hpp"
#include __FILE__
}  // namespace narrow

// Pointers are dense, C order. start (N + 1), column and weight (start[N]): the rows of the matrix, N + I + 1 columns.
// leak, gain (N). x (B, T, I). lengths (B), at most T, or null: series b stands still after lengths[b] steps and its out
// is 0 there; what x holds there is never used. state (B, N): read, and written with the last. out (B, T, N): the state
// after each step; where `noise` is set, what it holds at entry is added inside f. kind: 0 tanh, 1 logistic sigmoid,
// 2 relu, 3 identity. Returns 0, or 1 where memory ran out.
#define ENTRY(NAME, ROOM)                                                                                            \
    EXPORT int NAME(int64_t N, int64_t I, int64_t B, int64_t T, const int64_t* start, const int32_t* column,         \
                    const ROOM::real* weight, const ROOM::real* leak, const ROOM::real* gain, const ROOM::real* x,   \
                    const int64_t* lengths, ROOM::real* state, ROOM::real* out, int noise, int kind, int threads) {  \
        const ROOM::Loop loop{N, I, B, T, start, column, weight, leak, gain, x, lengths, state, out, noise != 0};    \
        switch (kind) {                                                                                              \
            case 0: return ROOM::run<0>(loop, threads);                                                              \
            case 1: return ROOM::run<1>(loop, threads);                                                              \
            case 2: return ROOM::run<2>(loop, threads);                                                              \
            default: return ROOM::run<3>(loop, threads);                                                             \
        }                                                                                                            \
    }
ENTRY(reservoir_float64, wide)
ENTRY(reservoir_float32, narrow)

#else  // the body, once per number type

struct Loop {
    int64_t N, I, B, T;
    const int64_t* start;
    const int32_t* column;
    const real *weight, *leak, *gain, *x;
    const int64_t* lengths;
    real *state, *out;
    bool noise;

    int64_t length(int64_t b) const { return lengths ? lengths[b] : T; }
};

template <int KIND> INLINE vreal activate(vreal v) {
    if constexpr (KIND == 0) return v_tanh(v);
    else if constexpr (KIND == 1) return v_sigmoid(v);
    else if constexpr (KIND == 2) return v_relu(v);
    else return v;
}

INLINE real* room_for(int64_t count) {
    const int64_t bytes = (count * sizeof(real) + 127) / 128 * 128;
    return (real*)aligned_alloc(128, bytes);
}

// The first row of each of `members` shares of about equal work.
inline int64_t share(const Loop& g, int64_t member, int64_t members) {
    const int64_t want = g.start[g.N] * member / members;
    int64_t row = 0;
    if (member >= members) return g.N;
    while (row < g.N && g.start[row] < want) row++;
    // Whole vectors, so that no two threads write to one cache line.
    row = (row + 127) / 128 * 128;
    return row < g.N ? row : g.N;
}

// One series; rows [first, last) are this member's. now, next: [s; x; 1], shared by the members; pre (N) is scratch.
template <int KIND>
void one(const Loop& g, int64_t b, int64_t member, int64_t members, real* now, real* next, real* pre, Barrier& barrier) {
    const int64_t first = share(g, member, members), last = share(g, member + 1, members);
    const int64_t N = g.N, T = g.length(b);
    const real* const x = g.x + b * g.T * g.I;
    real* const out = g.out + b * g.T * N;
    for (int64_t t = 0; t < T; t++) {
        real* const to = out + t * N;
        for (int64_t row = first; row < last; row++) {
            const int64_t end = g.start[row + 1];
            real a0 = 0, a1 = 0, a2 = 0, a3 = 0;
            int64_t p = g.start[row];
            for (; p + 4 <= end; p += 4) {
                a0 += g.weight[p] * now[g.column[p]];
                a1 += g.weight[p + 1] * now[g.column[p + 1]];
                a2 += g.weight[p + 2] * now[g.column[p + 2]];
                a3 += g.weight[p + 3] * now[g.column[p + 3]];
            }
            for (; p < end; p++) a0 += g.weight[p] * now[g.column[p]];
            pre[row] = (a0 + a1) + (a2 + a3);
        }
        for (int64_t row = first; row < last; row += LANES) {
            const int n = last - row < LANES ? (int)(last - row) : LANES;
            vreal v = load_part(pre + row, n);
            if (g.noise) v += load_part(to + row, n);
            const vreal old = load_part(now + row, n);
            const vreal s = (real(1) - load_part(g.leak + row, n)) * old + load_part(g.gain + row, n) * activate<KIND>(v);
            store_part(next + row, s, n);
            store_part(to + row, s, n);
        }
        if (member == 0 && t + 1 < T) memcpy(next + N, x + (t + 1) * g.I, g.I * sizeof(real));
        real* const swap = now;
        now = next;
        next = swap;
        if (members > 1) barrier.wait(members);
    }
    memcpy(g.state + b * N + first, now + first, (last - first) * sizeof(real));
    if (member == 0) memset(out + T * N, 0, (g.T - T) * N * sizeof(real));
}

// Series [b, b + count) in K vectors of lanes; now, next: (N + I + 1, K * LANES).
template <int KIND, int K> void lanes(const Loop& g, int64_t b, int64_t count, real* now, real* next) {
    constexpr int64_t W = K * LANES;
    const int64_t N = g.N;
    int64_t longest = 0, shortest = g.T;
    real alive[W];
    for (int64_t lane = 0; lane < W; lane++) {
        const int64_t length = lane < count ? g.length(b + lane) : 0;
        if (lane < count && length > longest) longest = length;
        if (lane < count && length < shortest) shortest = length;
        for (int64_t row = 0; row < N; row++) now[row * W + lane] = lane < count ? g.state[(b + lane) * N + row] : 0;
        for (int64_t row = N; row < N + g.I; row++) now[row * W + lane] = next[row * W + lane] = 0;
        now[(N + g.I) * W + lane] = next[(N + g.I) * W + lane] = 1;
    }
    for (int64_t t = 0; t < longest; t++) {
        for (int64_t lane = 0; lane < count; lane++) {
            alive[lane] = t < g.length(b + lane);
            for (int64_t i = 0; i < g.I; i++)
                now[(N + i) * W + lane] = alive[lane] != 0 ? g.x[((b + lane) * g.T + t) * g.I + i] : 0;
        }
        for (int64_t lane = count; lane < W; lane++) alive[lane] = 0;
        for (int64_t row = 0; row < N; row++) {
            vreal sum[K] = {};
            for (int64_t p = g.start[row]; p < g.start[row + 1]; p++) {
                const vreal w = splat(g.weight[p]);
                const real* const s = now + g.column[p] * W;
                for (int k = 0; k < K; k++) sum[k] += w * *(const vreal*)(s + k * LANES);
            }
            if (g.noise) {
                real added[W] = {};
                for (int64_t lane = 0; lane < count; lane++) added[lane] = g.out[((b + lane) * g.T + t) * N + row];
                for (int k = 0; k < K; k++) sum[k] += load(added + k * LANES);
            }
            const vreal keep = splat(real(1) - g.leak[row]), gain = splat(g.gain[row]);
            for (int k = 0; k < K; k++) {
                const vreal old = *(const vreal*)(now + row * W + k * LANES);
                vreal s = keep * old + gain * activate<KIND>(sum[k]);
                if (t >= shortest) s = v_select(load(alive + k * LANES), s, old);
                *(vreal*)(next + row * W + k * LANES) = s;
            }
        }
        for (int64_t lane = 0; lane < count; lane++) {
            if (alive[lane] == 0) continue;
            real* const to = g.out + ((b + lane) * g.T + t) * N;
            for (int64_t row = 0; row < N; row++) to[row] = next[row * W + lane];
        }
        real* const swap = now;
        now = next;
        next = swap;
    }
    for (int64_t lane = 0; lane < count; lane++) {
        const int64_t length = g.length(b + lane);
        for (int64_t row = 0; row < N; row++) g.state[(b + lane) * N + row] = now[row * W + lane];
        memset(g.out + ((b + lane) * g.T + length) * N, 0, (g.T - length) * N * sizeof(real));
    }
}

template <int KIND> int alone(const Loop& g, int threads) {
    const int64_t rows = g.N + g.I + 1, stride = (rows + 127) / 128 * 128;
    // Threads wait for one another at each step, so each needs some 50 microseconds of work.
    const int64_t most = g.start[g.N] / 65536;
    const int members = (int)(most < 1 ? 1 : most < threads ? most : threads);
    real* const memory = room_for(3 * stride);
    if (!memory) return 1;
    for (int64_t b = 0; b < g.B; b++) {
        memcpy(memory, g.state + b * g.N, g.N * sizeof(real));
        if (g.length(b)) memcpy(memory + g.N, g.x + b * g.T * g.I, g.I * sizeof(real));
        memory[rows - 1] = memory[stride + rows - 1] = 1;
        Barrier barrier;
        real *const now = memory, *const next = memory + stride, *const pre = next + stride;
        if (members == 1) one<KIND>(g, b, 0, 1, now, next, pre, barrier);
        else {
#pragma omp parallel num_threads(members)
            one<KIND>(g, b, omp_get_thread_num(), omp_get_num_threads(), now, next, pre, barrier);
        }
    }
    free(memory);
    return 0;
}

template <int KIND> int run(const Loop& g, int threads) {
    if (g.B < 2) return alone<KIND>(g, threads);
    // Each thread its own series; at most four vectors of them at a time.
    const int64_t vectors = (g.B + LANES - 1) / LANES, each = (vectors + threads - 1) / threads;
    const int64_t K = each >= 4 ? 4 : each >= 2 ? 2 : 1, width = K * LANES, blocks = (g.B + width - 1) / width;
    const int64_t size = (g.N + g.I + 1) * width;
    const int members = (int)(blocks < threads ? blocks : threads);
    std::atomic<int> failed{0};
#pragma omp parallel num_threads(members)
    {
        real* const memory = room_for(2 * size);
        if (!memory) failed = 1;
#pragma omp for schedule(dynamic)
        for (int64_t block = 0; block < blocks; block++) {
            if (!memory) continue;
            const int64_t b = block * width, count = g.B - b < width ? g.B - b : width;
            if (K == 4) lanes<KIND, 4>(g, b, count, memory, memory + size);
            else if (K == 2) lanes<KIND, 2>(g, b, count, memory, memory + size);
            else lanes<KIND, 1>(g, b, count, memory, memory + size);
        }
        free(memory);
    }
    return failed;
}
#endif
