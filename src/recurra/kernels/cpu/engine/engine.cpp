// The engine behind one C interface for both types: packing, and recurra_run for the whole time loop.
//
// Nothing throws: calls return 0, or one of the codes below.
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <new>

#include "abi.h"
#include "barrier.hpp"

namespace single {
#define REAL float
#include "vec.hpp"
#include "gemm.hpp"
#include "loop.hpp"
#undef REAL
}  // namespace single

namespace full {
#define REAL double
#include "vec.hpp"
#include "gemm.hpp"
#include "loop.hpp"
#undef REAL
}  // namespace full

#define EXPORT extern "C" __attribute__((visibility("default")))
enum { DONE = 0, BAD_CALL = 1, NO_MEMORY = 2 };

EXPORT int64_t recurra_abi(void) noexcept { return RECURRA_ABI; }

EXPORT int64_t recurra_lanes(int64_t dtype) noexcept { return dtype ? full::LANES : single::LANES; }

// Bytes of a packed matrix (depth, width); -1 for half weights of type double, which there are not.
EXPORT int64_t recurra_packed_bytes(int64_t dtype, int64_t half, int64_t depth, int64_t width) noexcept {
    if (dtype) return half ? -1 : full::panels_of(width) * full::panel_bytes(false, depth);
    return single::panels_of(width) * single::panel_bytes(half, depth);
}

// source (depth, width), strides in elements, to `packed`, which is aligned to 64 bytes.
EXPORT void recurra_pack(int64_t dtype, int64_t half, const void* source, int64_t depth, int64_t width,
                         int64_t stride_depth, int64_t stride_width, void* packed, int64_t threads) noexcept {
    if (dtype)
        full::pack<false>((const double*)source, depth, width, stride_depth, stride_width, (char*)packed, threads);
    else if (half)
        single::pack<true>((const float*)source, depth, width, stride_depth, stride_width, (char*)packed, threads);
    else
        single::pack<false>((const float*)source, depth, width, stride_depth, stride_width, (char*)packed, threads);
}

static void work(const Call& call, single::Share share, Barrier* barriers, char* memory) noexcept {
    if (call.dtype) full::work(call, {share.group, share.groups, share.member, share.members}, barriers, memory);
    else single::work(call, share, barriers, memory);
}

EXPORT int64_t recurra_run(const Call* given) noexcept {
    const Call& call = *given;
    if (call.dtype < 0 || call.dtype > 1 || (call.dtype && call.half_weights)) return BAD_CALL;
    if (call.groups < 1 || call.members < 1) return BAD_CALL;
    if (call.steps <= 0 || call.batch <= 0) return DONE;
    const int64_t threads = call.groups * call.members;
    const int64_t need = call.dtype ? full::Worker::need(call) : single::Worker::need(call);
    const int64_t gates = threads * (int64_t)sizeof(Barrier);
    char* memory = (char*)aligned_alloc(128, (gates + threads * need + 127) / 128 * 128);
    if (!memory) return NO_MEMORY;
    Barrier* barriers = (Barrier*)memory;
    for (int64_t i = 0; i < threads; i++) new (barriers + i) Barrier;
    if (threads == 1) {
        work(call, {0, 1, 0, 1}, barriers, memory + gates);
    } else {
#pragma omp parallel num_threads(threads)
        {
            const int64_t here = omp_get_thread_num(), came = omp_get_num_threads();
            // Fewer threads than asked for: then none waits for another.
            const bool all = came == threads;
            const int64_t members = all ? call.members : 1, groups = all ? call.groups : came;
            work(call, {here / members, groups, here % members, members}, barriers, memory + gates + here * need);
        }
    }
    free(memory);
    return DONE;
}
