// What emitted segments are written with: a sweep over the units of a row in whole vectors, then the rest of a vector.
#pragma once
#include "abi.h"
#include "vec.hpp"

#define RECURRA_SEGMENT_EXPORT __attribute__((visibility("default")))

struct Whole {
    static inline __attribute__((always_inline)) vreal load(const real* p) { return ::load(p); }
    static inline __attribute__((always_inline)) void store(real* p, vreal v) { ::store(p, v); }
    static inline __attribute__((always_inline)) vreal keep(vreal v, real) { return v; }
};

struct Part {
    int count;
    inline __attribute__((always_inline)) vreal load(const real* p) const { return load_part(p, count); }
    inline __attribute__((always_inline)) void store(real* p, vreal v) const { store_part(p, v, count); }
    // The lanes beyond the row, which must not be summed.
    inline __attribute__((always_inline)) vreal keep(vreal v, real rest) const {
        for (int lane = count; lane < LANES; ++lane) v[lane] = rest;
        return v;
    }
};

template <class Pass>
inline __attribute__((always_inline)) void over(int64_t from, int64_t to, Pass pass) {
    int64_t u = from;
    for (; u + LANES <= to; u += LANES) pass(Whole(), u);
    if (u < to) pass(Part{(int)(to - u)}, u);
}
