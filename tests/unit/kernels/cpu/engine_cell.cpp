// An LSTM step by hand, as an emitted cell would have it; then its rows are scaled, which takes whole rows.
#include "vec.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

template <class Unit> static void over(int64_t from, int64_t to, Unit unit) {
    for (; from + LANES <= to; from += LANES) unit(from, LANES);
    if (from < to) unit(from, (int)(to - from));
}
static vreal get(const real* p, int n) { return n == LANES ? load(p) : load_part(p, n); }
static void put(real* p, vreal v, int n) { n == LANES ? store(p, v) : store_part(p, v, n); }

// Slots: products of i, f, g, o; x (rows of 4 size); c in, c out; h out; sums of c over the rows.
EXPORT void cell(const Slot* slots, int64_t rows, int64_t from, int64_t to, int64_t size) {
    for (int64_t j = 0; j < rows; j++) {
        over(from, to, [&](int64_t u, int n) {
            vreal gate[4];
            for (int k = 0; k < 4; k++) gate[k] = get(at(slots[k], j) + u, n) + get(at(slots[4], j) + k * size + u, n);
            const vreal c = v_sigmoid(gate[1]) * get(at(slots[5], j) + u, n) + v_sigmoid(gate[0]) * v_tanh(gate[2]);
            put(at(slots[6], j) + u, c, n);
            put(at(slots[7], j) + u, v_sigmoid(gate[3]) * v_tanh(c), n);
            put(at(slots[8], j) + u, get(at(slots[8], j) + u, n) + c, n);
        });
    }
}

// Slot: h. Each row over 1 + its sum of squares / size.
EXPORT void scale(const Slot* slots, int64_t rows, int64_t from, int64_t to, int64_t size) {
    for (int64_t j = 0; j < rows; j++) {
        vreal sum = {};
        real* h = at(slots[0], j);
        over(from, to, [&](int64_t u, int n) { sum += get(h + u, n) * get(h + u, n); });
        const vreal by = splat(1 / (1 + hsum(sum) / size));
        over(from, to, [&](int64_t u, int n) { put(h + u, get(h + u, n) * by, n); });
    }
}
