// One step of a neural Turing machine's memory: every head's addressing, the reads, the writes, and the derivative.
//
// All arrays are dense, row-major, of T (float or double); B rows, N locations, W numbers each, K = R + S heads (the R
// reading ones first), V = 2 r + 1 shifts. The memory lies as (B, W, N), so that a loop over locations is a loop over
// neighbours. Inputs are never written to, outputs are written whole, and none may overlap.
//
//   raw     (B, P)      per head: key W, strength 1, gate 1, shift V, sharpening 1; then per writing head erase W, add W
//   before  (B, K, N)   weightings of the step before
//   kept    (B, L)      what the derivative reads: act P, norms N, per head cosine N, content N, shifted N, log N, |key|
//
// What is computed, and with which constants, is written down in ntm_addressing.py; tests hold the two together.
#include <stdint.h>
#include <string.h>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "dense.hpp"

namespace {

struct Sizes {
    int64_t B, N, W, R, S, V;
    int64_t K() const { return R + S; }
    int64_t head() const { return W + 3 + V; }
    int64_t P() const { return K() * head() + 2 * S * W; }
    int64_t L() const { return P() + N + K() * (4 * N + 1); }
};

constexpr double EPSILON = 1e-8;  // in the denominator of the cosine

// Where the parts of a row of `kept` begin.
template <class T> struct Kept {
    T *act, *norms, *heads;
    const Sizes& s;
    Kept(T* row, const Sizes& s) : act(row), norms(row + s.P()), heads(row + s.P() + s.N), s(s) {}
    T* cosine(int64_t k) const { return heads + k * (4 * s.N + 1); }
    T* content(int64_t k) const { return cosine(k) + s.N; }
    T* shifted(int64_t k) const { return cosine(k) + 2 * s.N; }
    T* log(int64_t k) const { return cosine(k) + 3 * s.N; }
    T& key_norm(int64_t k) const { return cosine(k)[4 * s.N]; }
};

template <class T>
void forward_row(const Sizes& s, const T* memory, const T* before, const T* raw, T* reads, T* weights, T* after, T* row,
                 T* work) {
    const int64_t N = s.N, W = s.W, V = s.V;
    const Kept<T> kept(row, s);
    memset(kept.norms, 0, N * sizeof(T));
    for (int64_t w = 0; w < W; w++) {
        const T* m = memory + w * N;
#pragma omp simd
        for (int64_t n = 0; n < N; n++) kept.norms[n] += m[n] * m[n];
    }
    for (int64_t n = 0; n < N; n++) kept.norms[n] = std::sqrt(kept.norms[n]);
    for (int64_t k = 0; k < s.K(); k++) {
        const T* in = raw + k * s.head();
        T* act = kept.act + k * s.head();
#pragma omp simd
        for (int64_t w = 0; w < W; w++) act[w] = tanh_of(in[w]);
        const T key_norm = kept.key_norm(k) = std::sqrt(dot(act, act, W));
        const T strength = act[W] = softplus(in[W]), gate = act[W + 1] = sigmoid(in[W + 1]);
        softmax(in + W + 2, T(1), act + W + 2, V);
        const T sharpening = act[W + 2 + V] = 1 + softplus(in[W + 2 + V]);

        T *cosine = kept.cosine(k), *content = kept.content(k), *shifted = kept.shifted(k), *log = kept.log(k);
        memset(cosine, 0, N * sizeof(T));
        for (int64_t w = 0; w < W; w++) {
            const T *m = memory + w * N, key = act[w];
#pragma omp simd
            for (int64_t n = 0; n < N; n++) cosine[n] += key * m[n];
        }
#pragma omp simd
        for (int64_t n = 0; n < N; n++) cosine[n] /= key_norm * kept.norms[n] + T(EPSILON);
        softmax(cosine, strength, content, N);
        const T* old = before + k * N;
#pragma omp simd
        for (int64_t n = 0; n < N; n++) work[n] = gate * content[n] + (1 - gate) * old[n];
        memset(shifted, 0, N * sizeof(T));
        for (int64_t j = 0; j < V; j++) add_rolled(work, act[W + 2 + j], j - V / 2, shifted, N);
        constexpr T LEAST = std::numeric_limits<T>::min();
#pragma omp simd
        for (int64_t n = 0; n < N; n++) log[n] = log_of(shifted[n] > LEAST ? shifted[n] : LEAST);
        softmax(log, sharpening, weights + k * N, N);
    }
    for (int64_t k = 0; k < s.R; k++)
        for (int64_t w = 0; w < W; w++) reads[k * W + w] = dot(weights + k * N, memory + w * N, N);

    const T* in = raw + s.K() * s.head();
    T* act = kept.act + s.K() * s.head();
    for (int64_t k = 0; k < s.S; k++, in += 2 * W, act += 2 * W) {
#pragma omp simd
        for (int64_t w = 0; w < W; w++) act[w] = sigmoid(in[w]);
#pragma omp simd
        for (int64_t w = W; w < 2 * W; w++) act[w] = tanh_of(in[w]);
    }
    act = kept.act + s.K() * s.head();
    for (int64_t w = 0; w < W; w++) {
        const T* m = memory + w * N;
        T *out = after + w * N, *added = work;
        memcpy(out, m, N * sizeof(T));
        memset(added, 0, N * sizeof(T));
        for (int64_t k = 0; k < s.S; k++) {
            const T erase = act[2 * k * W + w], add = act[(2 * k + 1) * W + w];
            const T* at = weights + (s.R + k) * N;
#pragma omp simd
            for (int64_t n = 0; n < N; n++) {
                out[n] *= 1 - at[n] * erase;
                added[n] += at[n] * add;
            }
        }
#pragma omp simd
        for (int64_t n = 0; n < N; n++) out[n] += added[n];
    }
}

// d_weights is taken in and used up as workspace.
template <class T>
void backward_row(const Sizes& s, const T* memory, const T* before, const T* raw, const T* weights, T* row,
                  const T* d_reads, T* d_weights, const T* d_after, T* d_memory, T* d_before, T* d_raw, T* work) {
    const int64_t N = s.N, W = s.W, V = s.V;
    const Kept<T> kept(row, s);
    T *d_norms = work, *a = work + N, *b = work + 2 * N;
    const T *act = kept.act + s.K() * s.head(), *in;
    T* d_in = d_raw + s.K() * s.head();
    for (int64_t w = 0; w < W; w++) {
        const T *m = memory + w * N, *d = d_after + w * N;
        T* d_m = d_memory + w * N;
        memcpy(d_m, d, N * sizeof(T));
        for (int64_t k = 0; k < s.S; k++) {
            const T erase = act[2 * k * W + w], add = act[(2 * k + 1) * W + w], *at = weights + (s.R + k) * N;
            T* d_at = d_weights + (s.R + k) * N;
#pragma omp simd
            for (int64_t n = 0; n < N; n++) {
                d_m[n] *= 1 - at[n] * erase;
                a[n] = d[n] * m[n];
            }
            for (int64_t other = 0; other < s.S; other++) {
                if (other == k) continue;
                const T their = act[2 * other * W + w], *there = weights + (s.R + other) * N;
#pragma omp simd
                for (int64_t n = 0; n < N; n++) a[n] *= 1 - there[n] * their;
            }
#pragma omp simd
            for (int64_t n = 0; n < N; n++) d_at[n] += d[n] * add - a[n] * erase;
            const T d_erase = -dot(a, at, N), d_add = dot(d, at, N);
            d_in[2 * k * W + w] = d_erase * erase * (1 - erase);
            d_in[(2 * k + 1) * W + w] = d_add * (1 - add * add);
        }
    }
    for (int64_t k = 0; k < s.R; k++)
        for (int64_t w = 0; w < W; w++) {
            const T *m = memory + w * N, *at = weights + k * N, d = d_reads[k * W + w];
            T *d_m = d_memory + w * N, *d_at = d_weights + k * N;
#pragma omp simd
            for (int64_t n = 0; n < N; n++) {
                d_at[n] += d * m[n];
                d_m[n] += d * at[n];
            }
        }

    memset(d_norms, 0, N * sizeof(T));
    for (int64_t k = 0; k < s.K(); k++) {
        act = kept.act + k * s.head(), in = raw + k * s.head(), d_in = d_raw + k * s.head();
        const T strength = act[W], gate = act[W + 1], *shift = act + W + 2, sharpening = act[W + 2 + V];
        const T *cosine = kept.cosine(k), *content = kept.content(k), *shifted = kept.shifted(k), *log = kept.log(k);
        const T *at = weights + k * N, *old = before + k * N, key_norm = kept.key_norm(k);
        T *d = d_weights + k * N, *d_old = d_before + k * N;

        // Sharpening: a softmax of sharpening * log.
        T mean = dot(d, at, N);
#pragma omp simd
        for (int64_t n = 0; n < N; n++) d[n] = at[n] * (d[n] - mean);
        d_in[W + 2 + V] = dot(d, log, N) * sigmoid(in[W + 2 + V]);
        constexpr T LEAST = std::numeric_limits<T>::min();
#pragma omp simd
        for (int64_t n = 0; n < N; n++) d[n] = shifted[n] > LEAST ? sharpening * d[n] / shifted[n] : 0;

        // Shift; a = what was shifted, b its gradient.
#pragma omp simd
        for (int64_t n = 0; n < N; n++) a[n] = gate * content[n] + (1 - gate) * old[n];
        memset(b, 0, N * sizeof(T));
        T* d_shift = d_in + W + 2;
        for (int64_t j = 0; j < V; j++) {
            add_rolled(d, shift[j], V / 2 - j, b, N);
            d_shift[j] = dot_rolled(d, a, j - V / 2, N);
        }
        mean = dot(d_shift, shift, V);
        for (int64_t j = 0; j < V; j++) d_shift[j] = shift[j] * (d_shift[j] - mean);

        // Interpolation, then the softmax over strength * cosine; d becomes the gradient of the product with the key.
        const T towards = dot(b, content, N), d_gate = towards - dot(b, old, N);
        mean = gate * towards;
#pragma omp simd
        for (int64_t n = 0; n < N; n++) d_old[n] = (1 - gate) * b[n];
        d_in[W + 1] = d_gate * gate * (1 - gate);
#pragma omp simd
        for (int64_t n = 0; n < N; n++) {
            const T z = content[n] * (gate * b[n] - mean);
            a[n] = z * cosine[n];
            d[n] = strength * z / (key_norm * kept.norms[n] + T(EPSILON));
            b[n] = d[n] * cosine[n];
            d_norms[n] -= b[n] * key_norm;
        }
        d_in[W] = sum(a, N) * sigmoid(in[W]);
        const T d_key_norm = -dot(b, kept.norms, N);
        const T pull = key_norm > 0 ? d_key_norm / key_norm : 0;
        for (int64_t w = 0; w < W; w++) {
            const T *m = memory + w * N, key = act[w];
            T* d_m = d_memory + w * N;
#pragma omp simd
            for (int64_t n = 0; n < N; n++) d_m[n] += d[n] * key;
            d_in[w] = (dot(d, m, N) + pull * key) * (1 - key * key);
        }
    }
#pragma omp simd
    for (int64_t n = 0; n < N; n++) d_norms[n] = kept.norms[n] > 0 ? d_norms[n] / kept.norms[n] : 0;
    for (int64_t w = 0; w < W; w++) {
        const T* m = memory + w * N;
        T* d_m = d_memory + w * N;
#pragma omp simd
        for (int64_t n = 0; n < N; n++) d_m[n] += d_norms[n] * m[n];
    }
}

template <class T>
void forward(const Sizes& s, const T* memory, const T* before, const T* raw, T* reads, T* weights, T* after, T* kept,
             int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        std::vector<T> work(s.N);
#pragma omp for schedule(static)
        for (int64_t b = 0; b < s.B; b++)
            forward_row(s, memory + b * s.W * s.N, before + b * s.K() * s.N, raw + b * s.P(), reads + b * s.R * s.W,
                        weights + b * s.K() * s.N, after + b * s.W * s.N, kept + b * s.L(), work.data());
    }
}

template <class T>
void backward(const Sizes& s, const T* memory, const T* before, const T* raw, const T* weights, T* kept,
              const T* d_reads, T* d_weights, const T* d_after, T* d_memory, T* d_before, T* d_raw, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        std::vector<T> work(3 * s.N);
#pragma omp for schedule(static)
        for (int64_t b = 0; b < s.B; b++) {
            const int64_t wn = b * s.W * s.N, kn = b * s.K() * s.N, p = b * s.P();
            backward_row(s, memory + wn, before + kn, raw + p, weights + kn, kept + b * s.L(), d_reads + b * s.R * s.W,
                         d_weights + kn, d_after + wn, d_memory + wn, d_before + kn, d_raw + p, work.data());
        }
    }
}

// out (m) = bias + matrix (n, m) applied to x (n) from the left
template <class T> void apply(const T* x, int64_t n, const T* matrix, const T* bias, T* out, int64_t m) {
    typedef typename Wide<T>::type vec;
    constexpr int64_t LANES = Wide<T>::LANES, BLOCK = 4 * LANES;
    int64_t j = 0;
    for (; j + BLOCK <= m; j += BLOCK) {
        vec a = {}, b = {}, c = {}, d = {};
        const T* row = matrix + j;
        for (int64_t i = 0; i < n; i++, row += m) {
            a += x[i] * *(const vec*)row;
            b += x[i] * *(const vec*)(row + LANES);
            c += x[i] * *(const vec*)(row + 2 * LANES);
            d += x[i] * *(const vec*)(row + 3 * LANES);
        }
        *(vec*)(out + j) = a, *(vec*)(out + j + LANES) = b;
        *(vec*)(out + j + 2 * LANES) = c, *(vec*)(out + j + 3 * LANES) = d;
    }
    for (; j + LANES <= m; j += LANES) {
        vec a = {};
        for (int64_t i = 0; i < n; i++) a += x[i] * *(const vec*)(matrix + i * m + j);
        *(vec*)(out + j) = a;
    }
    if (j < m) {
        memset(out + j, 0, (m - j) * sizeof(T));
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = j; c < m; c++) out[c] += x[i] * matrix[i * m + c];
    }
    if (bias)
        for (int64_t c = 0; c < m; c++) out[c] += bias[c];
}

// A machine whose controller is one tanh layer, over whole sequences; rows are independent, so each runs through all
// its steps while its memory is near. Everything is batch first: features (B, T, H + R W) are the controller's output and
// the reads, which the output layer takes. Matrices come with the reading side first: layer (I + R W, H), heads (H, P).
template <class T> struct Run {
    Sizes s;
    int64_t steps, inputs, hidden;
    T clip;
    int64_t reads() const { return s.R * s.W; }
    int64_t features() const { return hidden + reads(); }
};

template <class T>
void run_forward(const Run<T>& r, const T* x, const T* layer, const T* layer_bias, const T* heads, const T* heads_bias,
                 const T* reads, const T* weights, const T* memory, T* features, T* raw, T* all_weights, T* all_memory,
                 T* kept, int threads) {
    const Sizes& s = r.s;
    const int64_t I = r.inputs, H = r.hidden, RW = r.reads(), F = r.features(), P = s.P(), KN = s.K() * s.N, WN = s.W * s.N;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        std::vector<T> work(s.N), read(I + RW);
#pragma omp for schedule(static)
        for (int64_t b = 0; b < s.B; b++) {
            for (int64_t t = 0; t < r.steps; t++) {
                const int64_t at = b * r.steps + t;
                T *f = features + at * F, *said = raw + at * P;
                memcpy(read.data(), x + at * I, I * sizeof(T));
                memcpy(read.data() + I, t ? f - F + H : reads + b * RW, RW * sizeof(T));
                apply(read.data(), I + RW, layer, layer_bias, f, H);
#pragma omp simd
                for (int64_t j = 0; j < H; j++) f[j] = tanh_of(f[j]);
                apply(f, H, heads, heads_bias, said, P);
#pragma omp simd
                for (int64_t j = 0; j < P; j++)
                    said[j] = said[j] < -r.clip ? -r.clip : (said[j] > r.clip ? r.clip : said[j]);
                forward_row(s, t ? all_memory + (at - 1) * WN : memory + b * WN,
                            t ? all_weights + (at - 1) * KN : weights + b * KN, said, f + H, all_weights + at * KN,
                            all_memory + at * WN, kept + at * s.L(), work.data());
            }
        }
    }
}

// layer (H, I + R W) and heads (P, H) lie the other way round than forwards. d_reads, d_weights and d_memory come in as
// the gradients of the last state and go out as those of the first; d_memory_other is workspace as large as d_memory.
template <class T>
void run_backward(const Run<T>& r, const T* layer, const T* heads, const T* weights, const T* memory,
                  const T* features, const T* raw, const T* all_weights, const T* all_memory, T* kept,
                  const T* d_features, T* d_reads, T* d_weights, T* d_memory, T* d_memory_other, T* d_x, T* d_hidden,
                  T* d_raw, int threads) {
    const Sizes& s = r.s;
    const int64_t I = r.inputs, H = r.hidden, RW = r.reads(), F = r.features(), P = s.P(), KN = s.K() * s.N, WN = s.W * s.N;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        std::vector<T> work(3 * s.N), d_before(KN), d_read(I + RW);
#pragma omp for schedule(static)
        for (int64_t b = 0; b < s.B; b++) {
            T *d_m = d_memory + b * WN, *d_next = d_memory_other + b * WN, *d_w = d_weights + b * KN, *d_r = d_reads + b * RW;
            for (int64_t t = r.steps - 1; t >= 0; t--) {
                const int64_t at = b * r.steps + t;
                const T *f = features + at * F, *d_f = d_features + at * F, *said = raw + at * P;
                T *d_said = d_raw + at * P, *d_h = d_hidden + at * H;
                for (int64_t j = 0; j < RW; j++) d_r[j] += d_f[H + j];
                backward_row(s, t ? all_memory + (at - 1) * WN : memory + b * WN,
                             t ? all_weights + (at - 1) * KN : weights + b * KN, said, all_weights + at * KN,
                             kept + at * s.L(), d_r, d_w, d_m, d_next, d_before.data(), d_said, work.data());
                memcpy(d_w, d_before.data(), KN * sizeof(T));
                std::swap(d_m, d_next);
#pragma omp simd
                for (int64_t j = 0; j < P; j++) d_said[j] = said[j] > -r.clip && said[j] < r.clip ? d_said[j] : 0;
                apply(d_said, P, heads, (const T*)nullptr, d_h, H);
#pragma omp simd
                for (int64_t j = 0; j < H; j++) d_h[j] = (d_h[j] + d_f[j]) * (1 - f[j] * f[j]);
                apply(d_h, H, layer, (const T*)nullptr, d_read.data(), I + RW);
                memcpy(d_x + at * I, d_read.data(), I * sizeof(T));
                memcpy(d_r, d_read.data() + I, RW * sizeof(T));
            }
            if (d_m != d_memory + b * WN) memcpy(d_memory + b * WN, d_m, WN * sizeof(T));
        }
    }
}

}  // namespace

#define API extern "C" __attribute__((visibility("default"))) void
#define SIZES int64_t B, int64_t N, int64_t W, int64_t R, int64_t S, int64_t V
#define RUN SIZES, int64_t steps, int64_t inputs, int64_t hidden, double clip
#define ENTRIES(T, NAME)                                                                                               \
    API ntm_forward_##NAME(SIZES, const T* memory, const T* before, const T* raw, T* reads, T* weights, T* after,      \
                           T* kept, int threads) {                                                                     \
        forward<T>({B, N, W, R, S, V}, memory, before, raw, reads, weights, after, kept, threads);                     \
    }                                                                                                                  \
    API ntm_backward_##NAME(SIZES, const T* memory, const T* before, const T* raw, const T* weights, T* kept,          \
                            const T* d_reads, T* d_weights, const T* d_after, T* d_memory, T* d_before, T* d_raw,      \
                            int threads) {                                                                             \
        backward<T>({B, N, W, R, S, V}, memory, before, raw, weights, kept, d_reads, d_weights, d_after, d_memory,     \
                    d_before, d_raw, threads);                                                                         \
    }                                                                                                                  \
    API ntm_run_forward_##NAME(RUN, const T* x, const T* layer, const T* layer_bias, const T* heads,                   \
                               const T* heads_bias, const T* reads, const T* weights, const T* memory, T* features,    \
                               T* raw, T* all_weights, T* all_memory, T* kept, int threads) {                          \
        run_forward<T>({{B, N, W, R, S, V}, steps, inputs, hidden, (T)clip}, x, layer, layer_bias, heads, heads_bias,  \
                       reads, weights, memory, features, raw, all_weights, all_memory, kept, threads);                 \
    }                                                                                                                  \
    API ntm_run_backward_##NAME(RUN, const T* layer, const T* heads, const T* weights, const T* memory,                \
                                const T* features, const T* raw, const T* all_weights, const T* all_memory, T* kept,   \
                                const T* d_features, T* d_reads, T* d_weights, T* d_memory, T* d_memory_other, T* d_x, \
                                T* d_hidden, T* d_raw, int threads) {                                                  \
        run_backward<T>({{B, N, W, R, S, V}, steps, inputs, hidden, (T)clip}, layer, heads, weights, memory, features, \
                        raw, all_weights, all_memory, kept, d_features, d_reads, d_weights, d_memory, d_memory_other,  \
                        d_x, d_hidden, d_raw, threads);                                                                \
    }
ENTRIES(float, f32)
ENTRIES(double, f64)
