// What the engine, the emitted cells and the Python side agree on. Plain C layout; every size and stride is stated.
//
// A program is a list of values (where each thing lives) and a list of instructions that run once per time step. The
// engine owns the time loop, the threads and the matrix products; an emitted cell brings the elementwise segments.
#pragma once
#include <stdint.h>

#define RECURRA_ABI 1

// Where a segment finds one of its values: row j of its tile starts at p + j * row (bytes); row is 0 where all rows share
// one vector.
typedef struct {
    char* p;
    int64_t row;
} Slot;

// Elementwise work on rows [0, rows) and units [from, to) of an axis with `size` units. `from` is a multiple of 16;
// `to` is one too, or `size`.
typedef void (*Segment)(const Slot* slots, int64_t rows, int64_t from, int64_t to, int64_t size);

// Address of a value for row r of the batch at step t, in bytes:
//     base + offset[t] * step + r * row + (parity ^ phase) * flip + thread * slice
// where parity is 0 and 1 in turn, from step to step in the order in which they run.
typedef struct {
    char* base;
    int64_t step;    // sequences: bytes of one row of memory; else 0
    int64_t row;     // sequences: that times row_step of the call; (B, size): bytes of a row; vectors: 0
    int64_t flip;    // two buffers in turn: bytes of one; else 0
    int64_t slice;   // one copy per thread (sums over rows): bytes of one; else 0
    int64_t phase;   // 0 or 1
} Value;

enum { RECURRA_SEGMENT = 0, RECURRA_PRODUCT = 1 };

typedef struct {
    int64_t kind;
    int64_t barrier;           // hidden units split over threads: wait for the others before this
    // Segment.
    Segment run;
    int64_t by_rows;           // needs whole rows: threads that share rows divide the rows instead of the units
    int64_t size;              // units of its axis
    int64_t slot_count;
    const int64_t* slots;      // values, in the order the segment numbers them
    // Product: operand (rows, depth) times one packed matrix (depth, width) per piece.
    int64_t operand;           // value
    int64_t depth;
    int64_t piece_count;
    const int64_t* widths;     // columns of each piece
    const int64_t* outputs;    // value per piece; its rows hold the width rounded up to a multiple of 16
    const void* const* packed; // as recurra_pack made it
} Instruction;

// How a state travels from step to step. Forward: `in` is read by the step, `out` is written by it. Backward, where the
// steps run from last to first: `in` is the gradient that arrives at the state after the step, `out` the gradient of
// the state before it.
typedef struct {
    int64_t in, out;           // values
    int64_t size;
    int64_t carry;             // 1: out of a step is not the in of the next one, so it is copied there
    const char* start;         // (B, size): forward the state at step 0; backward the gradient of the final state
    const char* initial;       // forward with resets: (B, size), what a reset row restarts from
    char* last;                // (B, size): forward the state after each row's last step; backward the gradient of `start`
    char* initial_gradient;    // backward with resets: (B, size), added to
} State;

typedef struct {
    int64_t dtype;             // 0 float, 1 double
    int64_t half_weights;      // packed matrices hold bfloat16
    int64_t steps, batch;
    int64_t backward;          // steps run from last to first
    const int64_t* offset;     // (steps): row r of step t stands at index offset[t] + r * row_step of every sequence
    int64_t row_step;
    const int64_t* active;     // (steps): rows [0, active[t]) take part; never grows with t; null: all
    const uint8_t* resets;     // by index; null: none
    const uint8_t* any_reset;  // (steps); null with resets
    int64_t interleave;        // rows are dealt to the groups in turn (ragged), not in blocks
    int64_t groups, members;   // threads: groups share no row; the members of a group share its rows and split its units
    int64_t value_count;
    const Value* values;
    int64_t instruction_count;
    const Instruction* code;
    int64_t state_count;
    const State* states;
} Call;
