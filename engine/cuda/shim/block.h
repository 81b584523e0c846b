// Thread blocks on the CPU: one fiber a CUDA thread, one block at a time.
//
// In: the shape of a launch and what a thread does. Out: its effects, or the fact that was violated: threads that wait at
// different barriers, a warp operation whose lanes disagree, threads that wait for others that are gone, an index beyond
// an array in shared memory. Threads and blocks run in an order that is drawn anew for every seed, so that what works only
// in one order fails in another.
//
// Why fibers: a thread gives up the processor only where it waits, so a run is as reproducible as its seed, and shared
// memory is plain memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace cpu {

/// What `threadIdx` and its like give to the thread that runs now.
struct Here {
    uint3 thread;
    uint3 block;
    dim3 block_size;
    dim3 grid_size;
    int lane;
};
extern Here here;

/// Runs a grid. `seed` 0: threads in order; 1: reversed; others: drawn. Empty, or what was violated and by whom.
std::string launch(const char* name, dim3 grid, dim3 block, unsigned seed, const std::function<void()>& thread);

/// Ends the launch with this fact. Does not return.
[[noreturn]] void fail(const std::string& fact);

/// Waits until all threads of the block are at this barrier; `site` tells one in the source from another.
void wait_for_block(int site);

/// Waits until the lanes of `mask`, all of the warp, are here, and see what each other wrote.
void wait_for_lanes(unsigned mask, int site);

/// What lane `lane` of the warp brought; its own where there is no such lane.
uint64_t exchange(unsigned mask, uint64_t brought, int lane, int site);

/// Where every lane of the warp has what it brought.
void exchange_all(const void* brought, const void** got, int site);

/// One bit a lane.
unsigned vote(unsigned mask, bool for_it, int site);

inline void check_index(int index, int length) {
    if (index < 0 || index >= length) {
        fail("index " + std::to_string(index) + " of " + std::to_string(length));
    }
}

}  // namespace cpu
