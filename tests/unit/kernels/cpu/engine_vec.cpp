// Every function of vec.hpp over arrays, for the tests: whole vectors, then the rest by load_part and store_part.
#include "vec.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

template <class F> static void map(const real* const* in, int inputs, real* out, int64_t count, F f) {
    for (int64_t u = 0; u < count; u += LANES) {
        const int n = count - u < LANES ? (int)(count - u) : LANES;
        vreal x[3];
        for (int i = 0; i < inputs; i++) x[i] = n == LANES ? load(in[i] + u) : load_part(in[i] + u, n);
        const vreal y = f(x);
        n == LANES ? store(out + u, y) : store_part(out + u, y, n);
    }
}

#define UNARY(f) \
    EXPORT void f_##f(const real* const* in, real* out, int64_t count) { map(in, 1, out, count, [](vreal* x) { return v_##f(x[0]); }); }
#define BINARY(f) \
    EXPORT void f_##f(const real* const* in, real* out, int64_t count) { map(in, 2, out, count, [](vreal* x) { return v_##f(x[0], x[1]); }); }

UNARY(exp) UNARY(log) UNARY(tanh) UNARY(sigmoid) UNARY(softplus) UNARY(sqrt) UNARY(abs) UNARY(relu)
BINARY(min) BINARY(max) BINARY(less)
EXPORT void f_select(const real* const* in, real* out, int64_t count) {
    map(in, 3, out, count, [](vreal* x) { return v_select(x[0], x[1], x[2]); });
}
EXPORT void f_splat(const real* const* in, real* out, int64_t) { store(out, splat(in[0][0])); }

// Sum and largest of each LANES of them.
EXPORT void f_hsum(const real* const* in, real* out, int64_t count) {
    for (int64_t u = 0; u + LANES <= count; u += LANES) *out++ = hsum(load(in[0] + u));
}
EXPORT void f_hmax(const real* const* in, real* out, int64_t count) {
    for (int64_t u = 0; u + LANES <= count; u += LANES) *out++ = hmax(load(in[0] + u));
}
EXPORT int64_t lanes(void) { return LANES; }
