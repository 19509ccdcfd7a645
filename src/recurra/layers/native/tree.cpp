// The elementwise part of a Tree-LSTM over the nodes of one height, and its derivative: tree_step.py in one pass.
//
// m nodes, H units, and the children of node n are the rows first[n] ... first[n + 1] - 1 of what is per child. All
// arrays are dense float32, row-major.
//
//   said      (m, 4 H) or (1, 4 H)   i, o, u, f of the input; one row for all where said_row is 0, else said_row = 4 H
//   heard     (m, heard_row) or null i, o, u of the children, behind them perhaps the forget gates
//   forget                           of child number p of node n, the e-th of all: forget[n * by_node + e * by_child +
//                                    p * by_place], H numbers; p = position[e]
//   children  (c, 2 H)               [h, c]
//   out       (m, 2 H)               [h, c]
//   gates     (m, 3 H), f (c, H)     squashed; kept for the derivative
#include "vec.hpp"

namespace {

INLINE vreal get(const real* p, int n) { return n == LANES ? load(p) : load_part(p, n); }
INLINE void put(real* p, vreal v, int n) {
    if (n == LANES) store(p, v);
    else store_part(p, v, n);
}

}  // namespace

#define API extern "C" __attribute__((visibility("default"))) void

API tree_forward(int64_t m, int64_t H, int64_t said_row, int64_t heard_row, int64_t by_node, int64_t by_child,
                 int64_t by_place, const int64_t* first, const int64_t* position, const real* said, const real* heard,
                 const real* forget, const real* children, real* out, real* gates, real* f) {
    for (int64_t n = 0; n < m; n++) {
        const real *s = said + n * said_row, *t = heard ? heard + n * heard_row : nullptr;
        for (int64_t j = 0; j < H; j += LANES) {
            const int k = H - j < LANES ? H - j : LANES;
            vreal i = get(s + j, k), o = get(s + H + j, k), u = get(s + 2 * H + j, k);
            if (t) i += get(t + j, k), o += get(t + H + j, k), u += get(t + 2 * H + j, k);
            i = v_sigmoid(i), o = v_sigmoid(o), u = v_tanh(u);
            put(gates + n * 3 * H + j, i, k);
            put(gates + n * 3 * H + H + j, o, k);
            put(gates + n * 3 * H + 2 * H + j, u, k);
            vreal c = i * u;
            for (int64_t e = first ? first[n] : 0; first && e < first[n + 1]; e++) {
                const real* g = forget + n * by_node + e * by_child + position[e] * by_place;
                const vreal gate = v_sigmoid(get(s + 3 * H + j, k) + get(g + j, k));
                put(f + e * H + j, gate, k);
                c += gate * get(children + e * 2 * H + H + j, k);
            }
            put(out + n * 2 * H + j, o * v_tanh(c), k);
            put(out + n * 2 * H + H + j, c, k);
        }
    }
}

// d_said (same form as said, set to 0 by the caller), d_heard and d_forget in the form of heard and forget; of
// d_children the half of c is written and the other set to 0.
API tree_backward(int64_t m, int64_t H, int64_t said_row, int64_t heard_row, int64_t by_node, int64_t by_child,
                  int64_t by_place, const int64_t* first, const int64_t* position, const real* children,
                  const real* out, const real* gates, const real* f, const real* d_out, real* d_said, real* d_heard,
                  real* d_forget, real* d_children) {
    for (int64_t n = 0; n < m; n++) {
        const real* g = gates + n * 3 * H;
        real *ds = d_said + n * said_row, *dt = d_heard ? d_heard + n * heard_row : nullptr;
        for (int64_t j = 0; j < H; j += LANES) {
            const int k = H - j < LANES ? H - j : LANES;
            const vreal i = get(g + j, k), o = get(g + H + j, k), u = get(g + 2 * H + j, k);
            const vreal t = v_tanh(get(out + n * 2 * H + H + j, k)), dh = get(d_out + n * 2 * H + j, k);
            const vreal dc = get(d_out + n * 2 * H + H + j, k) + dh * o * (1 - t * t);
            const vreal di = dc * u * i * (1 - i), d_o = dh * t * o * (1 - o), du = dc * i * (1 - u * u);
            put(ds + j, get(ds + j, k) + di, k);
            put(ds + H + j, get(ds + H + j, k) + d_o, k);
            put(ds + 2 * H + j, get(ds + 2 * H + j, k) + du, k);
            if (dt) put(dt + j, di, k), put(dt + H + j, d_o, k), put(dt + 2 * H + j, du, k);
            vreal total = {};
            for (int64_t e = first ? first[n] : 0; first && e < first[n + 1]; e++) {
                const vreal gate = get(f + e * H + j, k), c = get(children + e * 2 * H + H + j, k);
                const vreal df = dc * c * gate * (1 - gate);
                put(d_forget + n * by_node + e * by_child + position[e] * by_place + j, df, k);
                total += df;
                put(d_children + e * 2 * H + j, vreal{}, k);
                put(d_children + e * 2 * H + H + j, dc * gate, k);
            }
            put(ds + 3 * H + j, get(ds + 3 * H + j, k) + total, k);
        }
    }
}
