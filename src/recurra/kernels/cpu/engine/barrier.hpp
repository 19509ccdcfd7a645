// Threads that share the rows of a batch wait for one another here, many times per time step: they spin.
#pragma once
#include <sched.h>
#include <stdint.h>

#include <atomic>

struct Barrier {
    alignas(128) std::atomic<int64_t> arrived{0};
    alignas(128) std::atomic<int64_t> round{0};

    void wait(int64_t members) {
        const int64_t now = round.load(std::memory_order_relaxed);
        if (arrived.fetch_add(1, std::memory_order_acq_rel) == members - 1) {
            arrived.store(0, std::memory_order_relaxed);
            round.store(now + 1, std::memory_order_release);
            return;
        }
        // Where threads outnumber cores the one waited for needs this core.
        for (int64_t turn = 0; round.load(std::memory_order_acquire) == now; turn++) {
            // A pause takes up to 140 cycles, so this is some ten microseconds.
            if (turn > 300) sched_yield();
#if defined(__x86_64__)
            else __builtin_ia32_pause();
#elif defined(__aarch64__)
            else asm volatile("yield");
#endif
        }
    }
};
