// Matrix products of few rows with packed weights: (rows, depth) times (depth, width), register-blocked.
//
// A packed piece is a row of panels of LANES columns; a panel holds its columns depth by depth, so a kernel streams it.
// The last panel is padded with zeros. Half weights (float only): two depths share a 32-bit word, the even one in its
// low half, as bfloat16; the odd last one has a zero partner.
//
// Read inside a namespace after vec.hpp, once per type.

// Vector registers, less those that the compiler wants for itself, and rows of the largest block.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int REGISTERS = 31, MOST_ROWS = 14;
#elif defined(__AVX__)
constexpr int REGISTERS = 16, MOST_ROWS = 6;
#else
constexpr int REGISTERS = 13, MOST_ROWS = 4;
#endif
constexpr int MOST_PANELS = 4;
// How far ahead of its use a kernel asks for the weights, in bytes.
constexpr int AHEAD = 512;

#undef INLINE_MEMBER
#define INLINE_MEMBER inline __attribute__((always_inline))

// Rows of the largest block of so many panels: it holds its sums, a vector of weights per panel (of half weights two:
// the bits and one half of them) and one operand.
constexpr int most_rows(bool half, int panels) {
    const int rows = (REGISTERS - 1) / panels - (half ? 2 : 1);
    return rows < MOST_ROWS ? rows : MOST_ROWS;
}

INLINE int64_t panels_of(int64_t width) { return (width + LANES - 1) / LANES; }
INLINE int64_t panel_bytes(bool half, int64_t depth) {
    return half ? (depth + 1) / 2 * LANES * 4 : depth * LANES * (int64_t)sizeof(real);
}

// A block of the result, ROWS x PANELS vectors, kept in registers over the whole depth. Loops over its parts are folds:
// the compiler makes registers only of what is indexed by constants from the start. Strides in bytes.
template <bool HALF, int ROWS, int PANELS> struct Tile {
    static constexpr int COUNT = ROWS * PANELS;
    // Few sums would wait for their own additions: then even and odd depths have their own.
    static constexpr int TURNS = COUNT < 8 ? 2 : 1;
    // One row is bound by loads, of which asking ahead makes more.
    static constexpr bool ASK = ROWS > 1;
    vreal sum[TURNS * COUNT];
    vreal weight[PANELS];
    vword bits[PANELS];
    // Base + stride and base + 2 stride are addresses of x86: one pointer serves three rows.
    const char* base[(ROWS + 2) / 3];
    const char* w;
    const int64_t a_row, panel;

    typedef typename UpTo<COUNT>::type Sums;
    typedef typename UpTo<PANELS>::type Panels;
    typedef typename UpTo<(ROWS + 2) / 3>::type Bases;

    template <int... E, int... I> INLINE_MEMBER void start(const char* a, Indices<E...>, Indices<I...>) {
        ((sum[E] = vreal{}), ...);
        ((sum[TURNS * COUNT - 1 - E] = vreal{}), ...);
        ((base[I] = a + 3 * I * a_row), ...);
    }
    template <int... I> INLINE_MEMBER void advance(int64_t depths, Indices<I...>) {
        ((base[I] += depths * sizeof(real)), ...);
        w += depths * LANES * (HALF ? 2 : sizeof(real));
    }
    INLINE_MEMBER vreal operand(int row, int at) const {
        return splat(((const real*)(base[row / 3] + row % 3 * a_row))[at]);
    }
    // AT: a depth, from where the pointers are.
    template <int AT, int... E> INLINE_MEMBER void add(Indices<E...>) {
        ((sum[AT % TURNS * COUNT + E] += operand(E / PANELS, AT) * weight[E % PANELS]), ...);
    }
    template <int AT, int... N> INLINE_MEMBER void one(Indices<N...>) {
        ((weight[N] = load((const real*)(w + N * panel) + AT * LANES)), ...);
        if constexpr (ASK) (__builtin_prefetch(w + N * panel + AT * VECTOR_BYTES + AHEAD), ...);
        add<AT>(Sums());
    }
    template <int AT, bool BOTH, int... N> INLINE_MEMBER void pair(Indices<N...>) {
        ((bits[N] = (vword)load((const real*)(w + N * panel) + AT / 2 * LANES)), ...);
        if constexpr (ASK) (__builtin_prefetch(w + N * panel + AT / 2 * VECTOR_BYTES + AHEAD), ...);
        ((weight[N] = (vreal)(bits[N] << 16)), ...);
        add<AT>(Sums());
        if constexpr (BOTH) {
            ((weight[N] = (vreal)(bits[N] & (word)0xffff0000)), ...);
            add<AT + 1>(Sums());
        }
    }
    INLINE_MEMBER void run(const char* a, int64_t depth) {
        start(a, Sums(), Bases());
        if constexpr (HALF) {
            for (; depth >= 4; depth -= 4, advance(4, Bases())) pair<0, true>(Panels()), pair<2, true>(Panels());
            for (; depth >= 2; depth -= 2, advance(2, Bases())) pair<0, true>(Panels());
            if (depth) pair<0, false>(Panels());
        } else {
            for (; depth >= 4; depth -= 4, advance(4, Bases()))
                one<0>(Panels()), one<1>(Panels()), one<2>(Panels()), one<3>(Panels());
            for (; depth; depth--, advance(1, Bases())) one<0>(Panels());
        }
    }
    template <int... E> INLINE_MEMBER void finish(char* c, int64_t c_row, Indices<E...>) const {
        const auto total = [&](int e) { return TURNS == 2 ? sum[e] + sum[TURNS * COUNT - COUNT + e] : sum[e]; };
        (store((real*)(c + E / PANELS * c_row) + E % PANELS * LANES, total(E)), ...);
    }
};

template <bool HALF, int ROWS, int PANELS>
void block(const char* a, int64_t a_row, const char* w, int64_t panel, int64_t depth, char* c, int64_t c_row) {
    Tile<HALF, ROWS, PANELS> tile = {{}, {}, {}, {}, w, a_row, panel};
    tile.run(a, depth);
    tile.finish(c, c_row, typename UpTo<ROWS * PANELS>::type());
}

typedef void (*Block)(const char*, int64_t, const char*, int64_t, int64_t, char*, int64_t);

// BLOCKS[rows - 1][panels - 1]; null where the registers do not hold it.
template <bool HALF> struct Blocks {
    Block table[MOST_ROWS][MOST_PANELS] = {};
    template <int ROWS, int PANELS> constexpr void fill() {
        if constexpr (ROWS <= most_rows(HALF, PANELS)) table[ROWS - 1][PANELS - 1] = block<HALF, ROWS, PANELS>;
        if constexpr (PANELS < MOST_PANELS) fill<ROWS, PANELS + 1>();
        else if constexpr (ROWS < MOST_ROWS) fill<ROWS + 1, 1>();
    }
    constexpr Blocks() { fill<1, 1>(); }
};
template <bool HALF> constexpr Blocks<HALF> BLOCKS;

template <class N> INLINE N ceil_div(N a, N b) { return (a + b - 1) / b; }

// Panels of the blocks for this many rows: the widest that takes all rows, else the best by measurement.
template <bool HALF> INLINE int64_t span_of(int64_t rows) {
    for (int span = MOST_PANELS; span > 2; span--)
        if (rows <= most_rows(HALF, span)) return span;
    return rows > MOST_ROWS && REGISTERS > 16 ? 3 : 2;
}

// Panels [first, end) of the product. A group of panels stays in the cache while all rows pass. A division of 64-bit
// integers takes as long as a hundred products: there are none within the loop over blocks.
template <bool HALF>
void multiply(const char* a, int64_t a_row, int64_t rows, int64_t depth, const char* packed, int64_t first, int64_t end,
              char* c, int64_t c_row) {
    if (rows <= 0 || end <= first) return;
    const int64_t panel = panel_bytes(HALF, depth), span = span_of<HALF>(rows);
    const uint32_t groups = ceil_div(uint32_t(end - first), uint32_t(span));
    // Groups and parts as equal as they come: the first `wide` groups have one panel more.
    const int64_t narrow = uint32_t(end - first) / groups, wide = uint32_t(end - first) % groups;
    int64_t split_for = 0, small = 0, large = 0;
    for (int64_t at = first, group = 0, taken; at < end; at += taken, group++) {
        taken = narrow + (group < wide);
        if (taken != split_for) {
            const uint32_t parts = ceil_div(uint32_t(rows), uint32_t(most_rows(HALF, taken)));
            split_for = taken, small = uint32_t(rows) / parts, large = uint32_t(rows) % parts;
        }
        const char* weights = packed + at * panel;
        char* out = c + at * LANES * (int64_t)sizeof(real);
        for (int64_t from = 0, part = 0, count; from < rows; from += count, part++) {
            count = small + (part < large);
            BLOCKS<HALF>.table[count - 1][taken - 1](a + from * a_row, a_row, weights, panel, depth, out + from * c_row,
                                                     c_row);
        }
    }
}

// --- packing ---

// To nearest, ties to even; NaN stays NaN.
INLINE uint32_t to_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 0x40;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// Panel `at` of source (depth, width) with strides in elements.
template <bool HALF>
void pack_panel(const real* source, int64_t depth, int64_t width, int64_t stride_depth, int64_t stride_width,
                int64_t at, char* packed) {
    const int64_t columns = width - at * LANES < LANES ? width - at * LANES : LANES;
    source += at * LANES * stride_width;
    packed += at * panel_bytes(HALF, depth);
    // A piece of depth at a time, which the first-level cache holds: the source may run along either axis.
    constexpr int64_t PIECE = 64;
    real piece[PIECE][LANES];
    for (int64_t k = 0; k < depth; k += PIECE) {
        const int64_t deep = depth - k < PIECE ? depth - k : PIECE;
        if (columns < LANES || deep < PIECE) memset(piece, 0, sizeof piece);
        if (stride_width == 1)
            for (int64_t i = 0; i < deep; i++)
                memcpy(piece[i], source + (k + i) * stride_depth, columns * sizeof(real));
        else
            for (int64_t j = 0; j < columns; j++)
                for (int64_t i = 0; i < deep; i++) piece[i][j] = source[(k + i) * stride_depth + j * stride_width];
        if constexpr (HALF) {
            uint32_t* out = (uint32_t*)packed + k / 2 * LANES;
            for (int64_t i = 0; i < deep; i += 2)
                for (int64_t j = 0; j < LANES; j++)
                    out[i / 2 * LANES + j] = to_half(piece[i][j]) | to_half(piece[i + 1][j]) << 16;
        } else {
            memcpy(packed + k * LANES * sizeof(real), piece, deep * LANES * sizeof(real));
        }
    }
}

template <bool HALF>
void pack(const real* source, int64_t depth, int64_t width, int64_t stride_depth, int64_t stride_width, char* packed,
          int64_t threads) {
    const int64_t panels = panels_of(width);
    const bool shared = threads > 1 && panels > 1 && depth * width >= 1 << 16;
#pragma omp parallel for num_threads(threads) if (shared)
    for (int64_t at = 0; at < panels; at++)
        pack_panel<HALF>(source, depth, width, stride_depth, stride_width, at, packed);
}
