// The time loop: what one thread does of a Call. Read inside a namespace after gemm.hpp, once per type.

// A value as this thread sees it: its first row, at the first step, for either parity.
struct Place {
    char* base[2];
    int64_t step, row;
    char* at(int64_t offset, int parity) const { return base[parity] + offset * step; }
};

// A slot whose address changes from step to step.
struct Moving {
    Slot* slot;
    const Place* place;
};

struct Share {
    int64_t group, groups, member, members;
};

// The part of `total` units of one of several members, in whole multiples of 16 but for the end.
INLINE int64_t cut(int64_t total, int64_t member, int64_t members) {
    const int64_t at = (total + 15) / 16 * member / members * 16;
    return at < total ? at : total;
}

class Worker {
public:
    // What a worker keeps in `memory`, in bytes.
    static int64_t need(const Call& call) {
        int64_t slots = 0, most = 0;
        for (int64_t i = 0; i < call.instruction_count; i++) {
            const int64_t count = slots_of(call.code[i]);
            slots += count;
            most = count > most ? count : most;
        }
        const int64_t bytes =
            call.value_count * sizeof(Place) + (slots + most) * sizeof(Slot) + slots * sizeof(Moving);
        // Threads share no cache line.
        return (bytes + 127) / 64 * 64;
    }

    Worker(const Call& call, Share share, Barrier* barrier, char* memory) : call(call), share(share), barrier(barrier) {
        if (call.interleave) {
            first = share.group;
            stride = share.groups;
            count = call.batch > first ? ceil_div(call.batch - first, stride) : 0;
        } else {
            first = call.batch * share.group / share.groups;
            stride = 1;
            count = call.batch * (share.group + 1) / share.groups - first;
        }
        places = (Place*)memory;
        for (int64_t v = 0; v < call.value_count; v++) {
            const Value& value = call.values[v];
            char* base = value.base + first * value.row + (share.group * share.members + share.member) * value.slice;
            places[v] = {{base + (value.phase ? value.flip : 0), base + (value.phase ? 0 : value.flip)}, value.step,
                         value.row * stride};
        }
        slots = (Slot*)(places + call.value_count);
        Slot* slot = slots;
        int64_t total = 0;
        for (int64_t i = 0; i < call.instruction_count; i++) total += slots_of(call.code[i]);
        moving = (Moving*)(slots + total);
        for (int64_t i = 0; i < call.instruction_count; i++) {
            const Instruction& code = call.code[i];
            if (code.kind == RECURRA_PRODUCT) name(*slot++, code.operand);
            const bool segment = code.kind == RECURRA_SEGMENT;
            for (int64_t n = 0; n < (segment ? code.slot_count : code.piece_count); n++)
                name(*slot++, segment ? code.slots[n] : code.outputs[n]);
        }
        spare = (Slot*)(moving + total);
        for (int64_t s = 0; s < call.state_count; s++) {
            const Value& in = call.values[call.states[s].in];
            // One buffer for every step: others may still read what the step before had there.
            if (share.members > 1 && !in.step && !in.flip) one_buffer = true;
        }
    }

    template <bool HALF> void run() {
        if (!count) return;
        for (int64_t n = 0; n < call.steps; n++) {
            const int64_t t = call.backward ? call.steps - 1 - n : n;
            const int parity = n & 1;
            const int64_t rows = active(t);
            if (!rows) continue;
            const bool resets = call.resets && (!call.any_reset || call.any_reset[t]);
            if (one_buffer || (resets && share.members > 1 && !call.backward)) barrier->wait(share.members);
            call.backward ? arrive_backward(n, t, parity, rows) : arrive(n, t, parity, rows, resets);
            for (int64_t i = 0; i < moving_count; i++) moving[i].slot->p = moving[i].place->at(call.offset[t], parity);
            Slot* slot = slots;
            for (int64_t i = 0; i < call.instruction_count; i++) {
                const Instruction& code = call.code[i];
                if (code.barrier && share.members > 1) barrier->wait(share.members);
                if (code.kind == RECURRA_PRODUCT) product<HALF>(code, slot, rows);
                else segment(code, slot, rows);
                slot += slots_of(code);
            }
            if (resets && call.backward && share.members > 1) barrier->wait(share.members);
            call.backward ? leave_backward(t, parity, rows, resets) : leave(t, parity, rows);
        }
    }

private:
    const Call& call;
    const Share share;
    Barrier* const barrier;
    int64_t first, stride, count;  // rows first, first + stride, ...: `count` of them
    Place* places;
    Slot *slots, *spare;
    Moving* moving;
    int64_t moving_count = 0;
    bool one_buffer = false;

    static int64_t slots_of(const Instruction& code) {
        return code.kind == RECURRA_SEGMENT ? code.slot_count : 1 + code.piece_count;
    }

    void name(Slot& slot, int64_t value) {
        slot = {places[value].base[0], places[value].row};
        if (places[value].step || call.values[value].flip) moving[moving_count++] = {&slot, places + value};
    }

    // Rows of this group that take part in step t.
    int64_t active(int64_t t) const {
        if (t >= call.steps) return 0;
        if (!call.active) return count;
        const int64_t rows = call.active[t] > first ? ceil_div(call.active[t] - first, stride) : 0;
        return rows < count ? rows : count;
    }

    template <bool HALF> void product(const Instruction& code, const Slot* slot, int64_t rows) {
        for (int64_t n = 0; n < code.piece_count; n++) {
            const int64_t from = cut(code.widths[n], share.member, share.members);
            const int64_t to = cut(code.widths[n], share.member + 1, share.members);
            multiply<HALF>(slot->p, slot->row, rows, code.depth, (const char*)code.packed[n], from / LANES,
                           panels_of(to), slot[1 + n].p, slot[1 + n].row);
        }
    }

    void segment(const Instruction& code, const Slot* slot, int64_t rows) {
        if (share.members == 1) return code.run(slot, rows, 0, code.size, code.size);
        if (!code.by_rows) {
            const int64_t from = cut(code.size, share.member, share.members);
            const int64_t to = cut(code.size, share.member + 1, share.members);
            if (from < to) code.run(slot, rows, from, to, code.size);
            return;
        }
        barrier->wait(share.members);
        const int64_t from = rows * share.member / share.members;
        const int64_t own = rows * (share.member + 1) / share.members - from;
        for (int64_t s = 0; s < code.slot_count; s++) spare[s] = {slot[s].p + from * slot[s].row, slot[s].row};
        if (own) code.run(spare, own, 0, code.size, code.size);
        barrier->wait(share.members);
    }

    // --- states; each member carries its own units ---

    // row(j, far, near, units) for rows [from, to) of this group: `far` bytes into a (B, size) array and `near` bytes
    // into its row in a place are the units of this member.
    template <class Row> void each(const State& state, int64_t from, int64_t to, Row row) const {
        constexpr int64_t SIZE = sizeof(real);
        const int64_t begin = cut(state.size, share.member, share.members);
        const int64_t units = cut(state.size, share.member + 1, share.members) - begin;
        for (int64_t j = from; j < to && units > 0; j++)
            row(j, ((first + j * stride) * state.size + begin) * SIZE, begin * SIZE, units);
    }

    // memory (B, size) to the place of a state; zeros where there is no memory.
    void fetch(const State& state, char* to, int64_t row, const char* memory, int64_t begin, int64_t end) const {
        each(state, begin, end, [&](int64_t j, int64_t far, int64_t near, int64_t units) {
            if (memory) memcpy(to + j * row + near, memory + far, units * sizeof(real));
            else memset(to + j * row + near, 0, units * sizeof(real));
        });
    }

    void keep(const State& state, int64_t t, int parity, int64_t begin, int64_t end) const {
        if (!state.last) return;
        const Place& out = places[state.out];
        const char* from = out.at(call.offset[t], parity);
        each(state, begin, end, [&](int64_t j, int64_t far, int64_t near, int64_t units) {
            memcpy(state.last + far, from + j * out.row + near, units * sizeof(real));
        });
    }

    // in of this step from out of step `before`, which ran just now.
    void carry(const State& state, int64_t t, int64_t before, int parity, int64_t rows) const {
        const Place &in = places[state.in], &out = places[state.out];
        char* to = in.at(call.offset[t], parity);
        const char* from = out.at(call.offset[before], parity ^ 1);
        each(state, 0, rows, [&](int64_t j, int64_t, int64_t near, int64_t units) {
            memmove(to + j * in.row + near, from + j * out.row + near, units * sizeof(real));
        });
    }

    bool is_reset(int64_t t, int64_t j) const {
        return call.resets[call.offset[t] + (first + j * stride) * call.row_step];
    }

    void arrive(int64_t n, int64_t t, int parity, int64_t rows, bool resets) const {
        for (int64_t s = 0; s < call.state_count; s++) {
            const State& state = call.states[s];
            const Place& in = places[state.in];
            char* to = in.at(call.offset[t], parity);
            if (!n) fetch(state, to, in.row, state.start, 0, rows);
            else if (state.carry) carry(state, t, t - 1, parity, rows);
            if (!resets) continue;
            for (int64_t j = 0; j < rows; j++)
                if (is_reset(t, j)) fetch(state, to, in.row, state.initial, j, j + 1);
        }
    }

    void leave(int64_t t, int parity, int64_t rows) const {
        const int64_t next = active(t + 1);
        if (next == rows) return;
        for (int64_t s = 0; s < call.state_count; s++) keep(call.states[s], t, parity, next, rows);
    }

    void arrive_backward(int64_t n, int64_t t, int parity, int64_t rows) const {
        const int64_t old = active(t + 1);
        for (int64_t s = 0; s < call.state_count; s++) {
            const State& state = call.states[s];
            const Place& in = places[state.in];
            if (state.carry && n) carry(state, t, t + 1, parity, old);
            if (old < rows) fetch(state, in.at(call.offset[t], parity), in.row, state.start, old, rows);
        }
    }

    void leave_backward(int64_t t, int parity, int64_t rows, bool resets) const {
        for (int64_t s = 0; s < call.state_count; s++) {
            const State& state = call.states[s];
            const Place& out = places[state.out];
            char* from = out.at(call.offset[t], parity);
            for (int64_t j = 0; resets && j < rows; j++) {
                if (!is_reset(t, j)) continue;
                each(state, j, j + 1, [&](int64_t, int64_t far, int64_t near, int64_t units) {
                    real* gradient = (real*)(from + j * out.row + near);
                    real* sum = (real*)(state.initial_gradient + far);
                    for (int64_t i = 0; i < units && state.initial_gradient; i++) sum[i] += gradient[i];
                    memset(gradient, 0, units * sizeof(real));
                });
            }
            if (!t) keep(state, t, parity, 0, rows);
        }
    }
};

static void work(const Call& call, Share share, Barrier* barriers, char* memory) {
    Worker worker(call, share, barriers + share.group, memory);
    if constexpr (DOUBLE) worker.template run<false>();
    else call.half_weights ? worker.template run<true>() : worker.template run<false>();
}
