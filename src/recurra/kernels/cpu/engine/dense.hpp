// Elementwise functions and sums over dense rows of T (float or double), for loops that are not cells.
//
// Written so that the compiler makes vector code of plain loops over them; vec.hpp is the one for emitted cells.
#pragma once
#include <stdint.h>
#include <string.h>

#include <cmath>
#include <limits>

namespace {

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

// Absolute errors of 2e-7; double goes to the C library.
inline float sigmoid(float x) { return 1 / (1 + exp_of(-x)); }
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline float tanh_of(float x) {
    const float t = exp_of(-2 * std::fabs(x)), y = (1 - t) / (1 + t);
    return std::copysign(y, x);
}
inline double tanh_of(double x) { return std::tanh(x); }
template <class T> T softplus(T x) { return (x > 0 ? x : 0) + std::log1p(std::exp(x > 0 ? -x : x)); }

// A register's worth of numbers anywhere in memory. Sums are written with it: what `omp simd reduction` makes of a sum
// over 128 numbers adds the lanes one by one and takes longer over that than over the rest.
template <class T> struct Wide {
    typedef T type __attribute__((vector_size(64), aligned(sizeof(T)), may_alias));
    static constexpr int64_t LANES = 64 / sizeof(T);
};
template <class T> T total(const typename Wide<T>::type& v) {
    T a[Wide<T>::LANES];
    memcpy(a, &v, sizeof a);
    for (int64_t half = Wide<T>::LANES / 2; half; half /= 2)
        for (int64_t i = 0; i < half; i++) a[i] += a[i + half];
    return a[0];
}
template <class T> T sum(const T* a, int64_t n) {
    typedef typename Wide<T>::type vec;
    vec lanes = {};
    T rest = 0;
    int64_t i = 0;
    for (; i + Wide<T>::LANES <= n; i += Wide<T>::LANES) lanes += *(const vec*)(a + i);
    for (; i < n; i++) rest += a[i];
    return total<T>(lanes) + rest;
}
template <class T> T dot(const T* a, const T* b, int64_t n) {
    typedef typename Wide<T>::type vec;
    vec lanes = {};
    T rest = 0;
    int64_t i = 0;
    for (; i + Wide<T>::LANES <= n; i += Wide<T>::LANES) lanes += *(const vec*)(a + i) * *(const vec*)(b + i);
    for (; i < n; i++) rest += a[i] * b[i];
    return total<T>(lanes) + rest;
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

}  // namespace
