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
#include <vector>

namespace {

struct Sizes {
    int64_t B, N, W, R, S, V;
    int64_t K() const { return R + S; }
    int64_t head() const { return W + 3 + V; }
    int64_t P() const { return K() * head() + 2 * S * W; }
    int64_t L() const { return P() + N + K() * (4 * N + 1); }
};

constexpr double EPSILON = 1e-8;  // in the denominator of the cosine

// In straight lines, so that loops over them become vector code; 2 ulp.
inline float exp_of(float x) {
    x = x < -87.3f ? -87.3f : (x > 88.3f ? 88.3f : x);
    const float shifted = x * 1.44269504088896341f + 12582912.0f, n = shifted - 12582912.0f;
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r) * r + r + 1.0f;
    int32_t bits;
    memcpy(&bits, &shifted, 4);
    bits = (bits + 127) << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    return p * scale;
}
inline double exp_of(double x) { return std::exp(x); }

// For x from the smallest normal number on.
inline float log_of(float x) {
    int32_t bits;
    memcpy(&bits, &x, 4);
    const int32_t shift = (bits - 0x3f3504f3) >> 23;  // mantissa between sqrt(1/2) and sqrt(2)
    bits -= shift * (1 << 23);
    float m;
    memcpy(&m, &bits, 4);
    const float r = m - 1.0f, z = r * r;
    float p = 7.0376836292e-2f;
    p = p * r - 1.1514610310e-1f;
    p = p * r + 1.1676998740e-1f;
    p = p * r - 1.2420140846e-1f;
    p = p * r + 1.4249322787e-1f;
    p = p * r - 1.6668057665e-1f;
    p = p * r + 2.0000714765e-1f;
    p = p * r - 2.4999993993e-1f;
    p = p * r + 3.3333331174e-1f;
    const float e = (float)shift;
    return (r * z * p - 2.12194440e-4f * e - 0.5f * z) + r + 0.693359375f * e;
}
inline double log_of(double x) { return std::log(x); }

template <class T> T sigmoid(T x) { return 1 / (1 + std::exp(-x)); }
template <class T> T softplus(T x) { return (x > 0 ? x : 0) + std::log1p(std::exp(x > 0 ? -x : x)); }

template <class T> T sum(const T* a, int64_t n) {
    T total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; i++) total += a[i];
    return total;
}
template <class T> T dot(const T* a, const T* b, int64_t n) {
    T total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; i++) total += a[i] * b[i];
    return total;
}

// out = softmax(factor * a)
template <class T> void softmax(const T* a, T factor, T* out, int64_t n) {
    T top = -std::numeric_limits<T>::infinity();
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < n; i++) top = a[i] * factor > top ? a[i] * factor : top;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = exp_of(a[i] * factor - top);
    const T scale = 1 / sum(out, n);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] *= scale;
}

// out[i] += factor * a[(i - by) mod n], |by| <= n
template <class T> void add_rolled(const T* a, T factor, int64_t by, T* out, int64_t n) {
    by = ((by % n) + n) % n;
#pragma omp simd
    for (int64_t i = by; i < n; i++) out[i] += factor * a[i - by];
#pragma omp simd
    for (int64_t i = 0; i < by; i++) out[i] += factor * a[i - by + n];
}
// sum of a[i] * b[(i - by) mod n]
template <class T> T dot_rolled(const T* a, const T* b, int64_t by, int64_t n) {
    by = ((by % n) + n) % n;
    return dot(a + by, b, n - by) + dot(a, b + n - by, by);
}

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
        T square = 0;
        for (int64_t w = 0; w < W; w++) {
            act[w] = std::tanh(in[w]);
            square += act[w] * act[w];
        }
        const T key_norm = kept.key_norm(k) = std::sqrt(square);
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
    for (int64_t w = 0; w < W; w++) {
        const T* m = memory + w * N;
        T *out = after + w * N, *added = work;
        memcpy(out, m, N * sizeof(T));
        memset(added, 0, N * sizeof(T));
        for (int64_t k = 0; k < s.S; k++) {
            const T erase = act[2 * k * W + w] = sigmoid(in[2 * k * W + w]);
            const T add = act[(2 * k + 1) * W + w] = std::tanh(in[(2 * k + 1) * W + w]);
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
            T d_erase = 0, d_add = 0;
#pragma omp simd reduction(+ : d_erase, d_add)
            for (int64_t n = 0; n < N; n++) {
                d_erase -= a[n] * at[n];
                d_add += d[n] * at[n];
                d_at[n] += d[n] * add - a[n] * erase;
            }
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
        T d_gate = 0;
        mean = 0;
#pragma omp simd reduction(+ : d_gate, mean)
        for (int64_t n = 0; n < N; n++) {
            d_gate += b[n] * (content[n] - old[n]);
            d_old[n] = (1 - gate) * b[n];
            mean += gate * b[n] * content[n];
        }
        d_in[W + 1] = d_gate * gate * (1 - gate);
        T d_strength = 0, d_key_norm = 0;
#pragma omp simd reduction(+ : d_strength, d_key_norm)
        for (int64_t n = 0; n < N; n++) {
            const T z = content[n] * (gate * b[n] - mean), below = key_norm * kept.norms[n] + T(EPSILON);
            d_strength += z * cosine[n];
            d[n] = strength * z / below;
            d_norms[n] -= d[n] * cosine[n] * key_norm;
            d_key_norm -= d[n] * cosine[n] * kept.norms[n];
        }
        d_in[W] = d_strength * sigmoid(in[W]);
        const T pull = key_norm > 0 ? d_key_norm / key_norm : 0;
        for (int64_t w = 0; w < W; w++) {
            const T *m = memory + w * N, key = act[w];
            T *d_m = d_memory + w * N, d_key = 0;
#pragma omp simd reduction(+ : d_key)
            for (int64_t n = 0; n < N; n++) {
                d_key += d[n] * m[n];
                d_m[n] += d[n] * key;
            }
            d_in[w] = (d_key + pull * key) * (1 - key * key);
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

}  // namespace

#define SIZES int64_t B, int64_t N, int64_t W, int64_t R, int64_t S, int64_t V
#define ENTRY(T, NAME)                                                                                                 \
    extern "C" __attribute__((visibility("default"))) void ntm_forward_##NAME(                                        \
        SIZES, const T* memory, const T* before, const T* raw, T* reads, T* weights, T* after, T* kept, int threads) { \
        forward<T>({B, N, W, R, S, V}, memory, before, raw, reads, weights, after, kept, threads);                     \
    }                                                                                                                  \
    extern "C" __attribute__((visibility("default"))) void ntm_backward_##NAME(                                       \
        SIZES, const T* memory, const T* before, const T* raw, const T* weights, T* kept, const T* d_reads,            \
        T* d_weights, const T* d_after, T* d_memory, T* d_before, T* d_raw, int threads) {                             \
        backward<T>({B, N, W, R, S, V}, memory, before, raw, weights, kept, d_reads, d_weights, d_after, d_memory,     \
                    d_before, d_raw, threads);                                                                         \
    }
ENTRY(float, f32)
ENTRY(double, f64)
