// One vector register of REAL (float or double) and the elementwise functions of the equations on it.
//
// Compiled into every emitted cell, so it stays small: compiler vector extensions, no intrinsics headers. No include
// guard: the engine reads it twice, inside two namespaces; it includes its own headers at file scope beforehand.
//
// Errors stated below hold for both types; they are the largest that tests/unit/kernels/cpu/test_engine_vec.py lets
// pass against twice the precision, in units in the last place (ulp). NaN propagates through all of them; infinities
// and overflow go where the mathematics goes. -ffast-math would break that.
#include <stdint.h>
#include <string.h>

#include "abi.h"

#ifndef REAL
#define REAL float
#endif
#undef INLINE
#define INLINE static inline __attribute__((always_inline, unused))

typedef REAL real;
constexpr bool DOUBLE = sizeof(real) == 8;

#undef VECTOR_BYTES
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

typedef real vreal __attribute__((vector_size(VECTOR_BYTES)));
typedef real vreal_anywhere __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef decltype(vreal{} < vreal{}) vint;  // what a comparison gives: 0 or -1 in each lane
INLINE uint32_t word_of(float) { return 0; }
INLINE uint64_t word_of(double) { return 0; }
typedef decltype(word_of(real())) word;
typedef word vword __attribute__((vector_size(VECTOR_BYTES)));
constexpr int LANES = VECTOR_BYTES / sizeof(real);

// --- memory ---

// Row j of a value.
INLINE real* at(const Slot& slot, int64_t j) { return (real*)(slot.p + j * slot.row); }

INLINE vreal load(const real* p) { return *(const vreal_anywhere*)p; }
INLINE void store(real* p, vreal v) { *(vreal_anywhere*)p = v; }
// Less zero, not plus: that keeps -0, so the compiler may leave it out.
INLINE vreal splat(real x) { return x - vreal{}; }

// The first n lanes, 0 <= n < LANES; the others are 0 and their memory is not touched.
INLINE vreal load_part(const real* p, int n) {
#if defined(__AVX512F__) && defined(__GNUC__)
    typedef float f16 __attribute__((vector_size(64)));
    typedef double d8 __attribute__((vector_size(64)));
    if constexpr (DOUBLE) return (vreal)__builtin_ia32_loadupd512_mask((const double*)p, d8{}, (1u << n) - 1);
    else return (vreal)__builtin_ia32_loadups512_mask((const float*)p, f16{}, (1u << n) - 1);
#else
    vreal v = {};
    memcpy(&v, p, n * sizeof(real));
    return v;
#endif
}
INLINE void store_part(real* p, vreal v, int n) {
#if defined(__AVX512F__) && defined(__GNUC__)
    typedef float f16 __attribute__((vector_size(64)));
    typedef double d8 __attribute__((vector_size(64)));
    if constexpr (DOUBLE) __builtin_ia32_storeupd512_mask((double*)p, (d8)v, (1u << n) - 1);
    else __builtin_ia32_storeups512_mask((float*)p, (f16)v, (1u << n) - 1);
#else
    memcpy(p, &v, n * sizeof(real));
#endif
}

// Each lane with the one DISTANCE away, by exclusive or.
template <int... I> struct Indices {};
template <int N, int... I> struct UpTo : UpTo<N - 1, N - 1, I...> {};
template <int... I> struct UpTo<0, I...> { typedef Indices<I...> type; };
template <int DISTANCE, int... I> INLINE vreal crossed(vreal v, Indices<I...>) {
    return __builtin_shufflevector(v, v, (I ^ DISTANCE)...);
}

// Sum and largest of the lanes, as a tree: the same order on every run.
template <int DISTANCE = LANES / 2> INLINE real hsum(vreal v) {
    if constexpr (DISTANCE == 0) return v[0];
    else return hsum<DISTANCE / 2>(v + crossed<DISTANCE>(v, typename UpTo<LANES>::type()));
}
template <int DISTANCE = LANES / 2> INLINE real hmax(vreal v) {
    if constexpr (DISTANCE == 0) return v[0];
    else {
        const vreal other = crossed<DISTANCE>(v, typename UpTo<LANES>::type());
        return hmax<DISTANCE / 2>(v > other ? v : other);
    }
}

// --- choices, as kernels/reference/spelling.py has them (ties and NaN give b) ---

constexpr word SIGN = word(1) << (sizeof(real) * 8 - 1);

// minps, maxps and sqrtps for both types; GCC makes two instructions of a < b ? a : b under AVX-512.
#undef NATIVE
#if defined(__SSE2__) && !defined(__clang__)
#define NATIVE
typedef float vfloat __attribute__((vector_size(VECTOR_BYTES)));
typedef double vdouble __attribute__((vector_size(VECTOR_BYTES)));
#if defined(__AVX512F__)
INLINE vfloat least(vfloat a, vfloat b) { return __builtin_ia32_minps512_mask(a, b, a, -1, 4); }
INLINE vdouble least(vdouble a, vdouble b) { return __builtin_ia32_minpd512_mask(a, b, a, -1, 4); }
INLINE vfloat greatest(vfloat a, vfloat b) { return __builtin_ia32_maxps512_mask(a, b, a, -1, 4); }
INLINE vdouble greatest(vdouble a, vdouble b) { return __builtin_ia32_maxpd512_mask(a, b, a, -1, 4); }
INLINE vfloat root(vfloat a) { return __builtin_ia32_sqrtps512_mask(a, a, -1, 4); }
INLINE vdouble root(vdouble a) { return __builtin_ia32_sqrtpd512_mask(a, a, -1, 4); }
#elif defined(__AVX__)
INLINE vfloat least(vfloat a, vfloat b) { return __builtin_ia32_minps256(a, b); }
INLINE vdouble least(vdouble a, vdouble b) { return __builtin_ia32_minpd256(a, b); }
INLINE vfloat greatest(vfloat a, vfloat b) { return __builtin_ia32_maxps256(a, b); }
INLINE vdouble greatest(vdouble a, vdouble b) { return __builtin_ia32_maxpd256(a, b); }
INLINE vfloat root(vfloat a) { return __builtin_ia32_sqrtps256(a); }
INLINE vdouble root(vdouble a) { return __builtin_ia32_sqrtpd256(a); }
#else
INLINE vfloat least(vfloat a, vfloat b) { return __builtin_ia32_minps(a, b); }
INLINE vdouble least(vdouble a, vdouble b) { return __builtin_ia32_minpd(a, b); }
INLINE vfloat greatest(vfloat a, vfloat b) { return __builtin_ia32_maxps(a, b); }
INLINE vdouble greatest(vdouble a, vdouble b) { return __builtin_ia32_maxpd(a, b); }
INLINE vfloat root(vfloat a) { return __builtin_ia32_sqrtps(a); }
INLINE vdouble root(vdouble a) { return __builtin_ia32_sqrtpd(a); }
#endif
#endif

INLINE vreal v_min(vreal a, vreal b) {
#ifdef NATIVE
    return least(a, b);
#else
    return a < b ? a : b;
#endif
}
INLINE vreal v_max(vreal a, vreal b) {
#ifdef NATIVE
    return greatest(a, b);
#else
    return a > b ? a : b;
#endif
}
// Correctly rounded.
INLINE vreal v_sqrt(vreal a) {
#if defined(NATIVE)
    return root(a);
#elif defined(__clang__)
    return __builtin_elementwise_sqrt(a);
#else
    for (int i = 0; i < LANES; i++) a[i] = DOUBLE ? __builtin_sqrt(a[i]) : __builtin_sqrtf(a[i]);
    return a;
#endif
}
INLINE vreal v_relu(vreal a) { return v_max(vreal{}, a); }
INLINE vreal v_less(vreal a, vreal b) { return a < b ? splat(1) : vreal{}; }
INLINE vreal v_select(vreal c, vreal a, vreal b) { return c != real(0) ? a : b; }
INLINE vreal v_abs(vreal a) { return (vreal)((vword)a & ~SIGN); }

// --- exponentials ---

constexpr int MANTISSA = DOUBLE ? 52 : 23;
constexpr real BIAS = DOUBLE ? 1023 : 127;
// Adding it leaves the nearest integer, plus the exponent's bias, in the lowest bits.
constexpr real ROUND = (DOUBLE ? 6755399441055744.0 : 12582912.0) + (DOUBLE ? 1023 : 127);
// ln 2 in two parts; products of the first with any exponent are exact.
constexpr real LN2_HIGH = DOUBLE ? 6.93145751953125e-1 : 0.693359375;
constexpr real LN2_LOW = DOUBLE ? 1.42860682030941723212e-6 : -2.12194440054690583e-4;
constexpr real INFINITE = (real)__builtin_inf();

INLINE vreal two_to(vreal n_plus_round) { return (vreal)((vword)n_plus_round << MANTISSA); }

// exp(r) - 1 for |r| <= ln(2) / 2, its error relative to itself.
INLINE vreal expm1_near(vreal r) {
    const vreal r2 = r * r;
    vreal q;
    if constexpr (DOUBLE) {
        const vreal r4 = r2 * r2;
        const vreal a = (r * real(0.16666666666666411475) + real(0.50000000000000106682)) +
                        r2 * (r * real(8.33333333349500225e-3) + real(0.041666666666529732663));
        const vreal b = (r * real(1.9841269505713677185e-4) + real(1.3888888943758910647e-3)) +
                        r2 * (r * real(2.7557586861265973072e-6) + real(2.4801492950620064711e-5));
        const vreal c = r * real(2.4999887667576806810e-8) + real(2.7630305932991469549e-7);
        q = a + r4 * (b + r4 * c);
    } else {
        const vreal a = r * real(0.166665203994992661) + real(0.49999993432128590145);
        const vreal b = r * real(8.3687450788604775699e-3) + real(0.041668390811009884584);
        q = a + r2 * (b + r2 * real(1.3814537973668354105e-3));
    }
    return r + r2 * q;
}

// NaN stays.
INLINE vreal clamp(vreal x, real low, real high) { return v_min(splat(high), v_max(splat(low), x)); }

// n, as n + ROUND, and r with x = n ln 2 + r. EXACT: to the last bit for every n; else for small n only (ln 2 happens
// to lie within 2e-9 of a float).
template <bool EXACT = true> INLINE vreal reduce(vreal x, vreal& shifted) {
    shifted = x * real(1.44269504088896340736) + ROUND;
    const vreal n = shifted - ROUND;
    if constexpr (!EXACT) return x - n * real(0.693147180559945309417);
    return (x - n * LN2_HIGH) - n * LN2_LOW;
}

// 1.1 ulp; below the smallest normal number as much as is left of it.
INLINE vreal v_exp(vreal x) {
    constexpr real LOW = DOUBLE ? -746 : -104, HIGH = DOUBLE ? 710 : 89;
    vreal shifted;
    const vreal p = expm1_near(reduce(clamp(x, LOW, HIGH), shifted)) + real(1);
    // 2^n in two factors: n itself leaves the range of exponents at both ends.
    const vreal n = shifted - ROUND, half = n * real(0.5) + ROUND;
    return p * two_to(half) * two_to((n - (half - ROUND)) + ROUND);
}

// 2.4 ulp; 0 where that is below the smallest normal number.
INLINE vreal v_sigmoid(vreal x) {
    constexpr real LOW = DOUBLE ? -700 : -87, HIGH = DOUBLE ? 710 : 89;
    vreal shifted;
    const vreal p = expm1_near(reduce(clamp(-x, LOW, HIGH), shifted)) + real(1);
    return real(1) / (real(1) + p * two_to(shifted));
}

// 2.6 ulp, near 0 too; never above 1.
INLINE vreal v_tanh(vreal x) {
    // With e = exp(-2|x|) - 1 it is -e / (e + 2); the sign of x comes last.
    vreal shifted;
    const vreal a = v_max(splat(DOUBLE ? -40 : -20), (vreal)((vword)x | SIGN) * real(2));
    const vreal p = expm1_near(reduce<DOUBLE>(a, shifted)), s = two_to(shifted), e = s * p + (s - real(1));
    return (vreal)(((vword)(e / (e + real(2))) & ~SIGN) | ((vword)x & SIGN));
}

// --- logarithms ---

// k ln 2 + log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1], as in FreeBSD's msun (e_log.c, e_logf.c: coefficients).
INLINE vreal log_near(vreal f, vreal k) {
    constexpr real HIGH = DOUBLE ? 6.93147180369123816490e-01 : 6.9313812256e-01;
    constexpr real LOW = DOUBLE ? 1.90821492927058770002e-10 : 9.0580006145e-06;
    const vreal s = f / (f + real(2)), z = s * s, w = z * z, h = real(0.5) * f * f;
    vreal odd, even;
    if constexpr (DOUBLE) {
        odd = w * real(1.531383769920937332e-01) + real(2.222219843214978396e-01);
        odd = w * (w * odd + real(3.999999999940941908e-01));
        even = w * real(1.479819860511658591e-01) + real(1.818357216161805012e-01);
        even = w * (w * even + real(2.857142874366239149e-01));
        even = z * (even + real(6.666666666666735130e-01));
    } else {
        odd = w * (w * real(0.24279078841) + real(0.40000972152));
        even = z * (w * real(0.28498786688) + real(0.66666662693));
    }
    return k * HIGH - ((h - (s * (h + (odd + even)) + k * LOW)) - f);
}

// 0.9 ulp.
INLINE vreal v_log(vreal x) {
    constexpr real TINY = DOUBLE ? 2.2250738585072014e-308 : 1.17549435e-38f;
    constexpr real LIFT = DOUBLE ? 18014398509481984.0 : 16777216.0;  // 2^54, 2^24
    constexpr word ONE = DOUBLE ? word(0x3ff0000000000000) : word(0x3f800000);
    constexpr word ROOT = DOUBLE ? word(0x3fe6a09e667f3bcd) : word(0x3f3504f3);  // sqrt(1/2)
    const vint small = x < TINY;
    const vword bits = (vword)(small ? x * LIFT : x) + (ONE - ROOT);
    const vreal mantissa = (vreal)((bits & ((word(1) << MANTISSA) - 1)) + ROOT);
    constexpr real MAGIC = ROUND - BIAS;
    const vreal exponent = (vreal)((bits >> MANTISSA) | (vword)splat(MAGIC)) - (MAGIC + BIAS);
    vreal y = log_near(mantissa - real(1), small ? exponent - real(DOUBLE ? 54 : 24) : exponent);
    y = x < INFINITE ? y : x;
    y = x == real(0) ? splat(-INFINITE) : y;
    return x < real(0) ? splat((real)__builtin_nan("")) : y;
}

// log(1 + exp(x)): 1.8 ulp. Beyond 40 it is x by itself.
INLINE vreal v_softplus(vreal x) {
    const vreal e = v_exp(-v_abs(x));
    const vint large = e > real(0.41421356237309504880);
    return v_relu(x) + log_near(large ? (e - real(1)) * real(0.5) : e, large ? splat(1) : vreal{});
}
