#include "block.h"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "fiber.h"
#include "order.h"

// Where `__shared__` variables lie; the linker names both ends of the section.
extern "C" char __start_cuda_shared[] __attribute__((weak));
extern "C" char __stop_cuda_shared[] __attribute__((weak));

namespace cpu {

Here here;

namespace {

enum class State { Ready, AtBarrier, InWarp, Gone };

struct Thread {
    Fiber fiber;
    Observed observed;
    /// Barriers of the block, and of its warp, that it came to.
    unsigned barriers = 0;
    unsigned warp_barriers = 0;
    State state = State::Ready;
    uint3 index{};
    /// Of what it waits for.
    unsigned mask = 0;
    int site = 0;
    /// What it brought to an exchange or a vote.
    uint64_t brought = 0;
};

struct Running {
    const char* name = "";
    const std::function<void()>* body = nullptr;
    std::vector<std::unique_ptr<Thread>> threads;
    int count = 0;
    int current = 0;
    Context scheduler;
    Scheduler own_thread;
    std::string failure;
    /// Every other barrier is the same meeting: no thread comes to the one after next before all have left this one.
    Meeting began, ended, barriers[2], warp_barriers[32][2];
} running;

Thread& thread_at(int nth) { return *running.threads[nth]; }

std::string at(int nth) {
    const uint3 block = here.block;
    const uint3 thread = thread_at(nth).index;
    auto place = [](uint3 p) {
        return "(" + std::to_string(p.x) + "," + std::to_string(p.y) + "," + std::to_string(p.z) + ")";
    };
    return std::string(" in ") + running.name + ", block " + place(block) + ", thread " + place(thread) + ", line " +
           std::to_string(thread_at(nth).site & 0xffff);
}

void violated(const std::string& fact, int nth) {
    if (running.failure.empty()) {
        running.failure = fact + at(nth);
    }
}

void yield(State state) {
    Thread& self = thread_at(running.current);
    self.state = state;
    running.own_thread.acts();
    self.fiber.yield(running.scheduler, state == State::Gone);
}

void thread_main() {
    Fiber::arrived();
    running.began.goes();
    (*running.body)();
    running.ended.came();
    yield(State::Gone);
    abort();
}

void resume(int nth) {
    running.current = nth;
    here.thread = thread_at(nth).index;
    here.lane = nth % 32;
    thread_at(nth).observed.acts();
    thread_at(nth).fiber.resume(running.scheduler);
}

/// Lets the lanes of a warp go on that all wait for one another. Whether any could.
bool release_lanes(int warp) {
    bool any = false;
    for (int nth = warp; nth < std::min(warp + 32, running.count); nth++) {
        Thread& thread = thread_at(nth);
        if (thread.state != State::InWarp) {
            continue;
        }
        bool all = true;
        for (int lane = 0; lane < 32; lane++) {
            if (!(thread.mask >> lane & 1)) {
                continue;
            }
            if (warp + lane >= running.count || thread_at(warp + lane).state == State::Gone) {
                violated("a warp waits for a lane that is gone", nth);
                return false;
            }
            const Thread& other = thread_at(warp + lane);
            all = all && other.state == State::InWarp;
            if (other.state == State::InWarp && (other.mask != thread.mask || other.site != thread.site)) {
                violated("lanes of a warp disagree on their mask or their place", nth);
                return false;
            }
        }
        if (all) {
            for (int lane = 0; lane < 32; lane++) {
                if (thread.mask >> lane & 1) {
                    thread_at(warp + lane).state = State::Ready;
                }
            }
            any = true;
        }
    }
    return any;
}

/// Lets the block go on if all of it is at the barrier.
bool release_block() {
    for (int nth = 0; nth < running.count; nth++) {
        if (thread_at(nth).state != State::AtBarrier) {
            return false;
        }
        if (thread_at(nth).site != thread_at(0).site) {
            violated("threads of a block wait at different barriers", nth);
            return false;
        }
    }
    for (int nth = 0; nth < running.count; nth++) {
        thread_at(nth).state = State::Ready;
    }
    return true;
}

bool any(State state) {
    for (int nth = 0; nth < running.count; nth++) {
        if (thread_at(nth).state == state) {
            return true;
        }
    }
    return false;
}

void put_in_order(std::vector<int>& numbers, unsigned seed, std::mt19937& random) {
    std::sort(numbers.begin(), numbers.end());
    if (seed == 1) {
        std::reverse(numbers.begin(), numbers.end());
    } else if (seed > 1) {
        std::shuffle(numbers.begin(), numbers.end(), random);
    }
}

/// Runs the threads of a warp from one warp operation to the next, at most so many times. Whether any moved.
bool run_warp(int warp, int steps, unsigned seed, std::mt19937& random) {
    std::vector<int> lanes;
    for (int nth = warp; nth < std::min(warp + 32, running.count); nth++) {
        lanes.push_back(nth);
    }
    bool moved = false;
    for (int step = 0; step < steps; step++) {
        put_in_order(lanes, seed, random);
        bool ready = false;
        for (int nth : lanes) {
            if (thread_at(nth).state == State::Ready) {
                resume(nth);
                ready = true;
                if (!running.failure.empty()) {
                    return true;
                }
            }
        }
        moved = moved || ready;
        if (!release_lanes(warp) && !ready) {
            break;
        }
    }
    return moved;
}

void run_block(unsigned seed, std::mt19937& random) {
    if (__start_cuda_shared != nullptr) {
        // What was not written is NaN.
        memset(__start_cuda_shared, 0xff, __stop_cuda_shared - __start_cuda_shared);
    }
    const dim3 size = here.block_size;
    for (int nth = 0; nth < running.count; nth++) {
        Thread& thread = thread_at(nth);
        thread.state = State::Ready;
        thread.index = {nth % size.x, nth / size.x % size.y, nth / size.x / size.y};
        thread.barriers = thread.warp_barriers = 0;
        thread.fiber.restart(thread_main);
    }
    running.began.came();
    std::vector<int> warps;
    for (int warp = 0; warp < running.count; warp += 32) {
        warps.push_back(warp);
    }
    while (true) {
        put_in_order(warps, seed, random);
        bool moved = false;
        for (int warp : warps) {
            // As far as it can, so that warps are as far apart as barriers let them; where the order is drawn, sometimes
            // only a little, so that they meet in between.
            const int steps = seed > 1 && random() % 2 ? (int)(random() % 8) : INT_MAX;
            moved = run_warp(warp, steps, seed, random) || moved;
            if (!running.failure.empty()) {
                return;
            }
        }
        moved = release_block() || moved;
        if (!running.failure.empty()) {
            return;
        }
        if (!moved && !any(State::Ready)) {
            break;
        }
    }
    running.ended.goes();
    for (int nth = 0; nth < running.count; nth++) {
        if (thread_at(nth).state != State::Gone) {
            violated("threads wait for others that are gone or wait elsewhere", nth);
            return;
        }
    }
}

}  // namespace

std::string launch(const char* name, dim3 grid, dim3 block, unsigned seed, const std::function<void()>& body) {
    running.name = name;
    running.body = &body;
    running.count = (int)(block.x * block.y * block.z);
    running.failure.clear();
    running.own_thread.begins();
    while ((int)running.threads.size() < running.count) {
        running.threads.push_back(std::make_unique<Thread>());
    }
    here.grid_size = grid;
    here.block_size = block;
    std::mt19937 random(seed);
    std::vector<int> blocks(grid.x * grid.y * grid.z);
    std::iota(blocks.begin(), blocks.end(), 0);
    put_in_order(blocks, seed, random);
    for (int at : blocks) {
        const unsigned nth = at;
        here.block = {nth % grid.x, nth / grid.x % grid.y, nth / grid.x / grid.y};
        run_block(seed, random);
        if (!running.failure.empty()) {
            break;
        }
    }
    return running.failure;
}

void fail(const std::string& fact) {
    violated(fact, running.current);
    yield(State::Gone);
    abort();
}

void wait_for_block(int site) {
    Thread& self = thread_at(running.current);
    Meeting& barrier = running.barriers[self.barriers++ % 2];
    self.site = site;
    barrier.came();
    yield(State::AtBarrier);
    barrier.goes();
}

static void meet_lanes(unsigned mask, int site) {
    Thread& self = thread_at(running.current);
    self.mask = mask;
    self.site = site;
    if (!(mask >> (running.current % 32) & 1)) {
        fail("a lane is not in its own mask");
    }
    yield(State::InWarp);
}

void wait_for_lanes(unsigned mask, int site) {
    Thread& self = thread_at(running.current);
    Meeting& barrier = running.warp_barriers[running.current / 32][self.warp_barriers++ % 2];
    barrier.came();
    meet_lanes(mask, site);
    barrier.goes();
}

uint64_t exchange(unsigned mask, uint64_t brought, int lane, int site) {
    const int self = running.current;
    const int warp = self / 32 * 32;
    thread_at(self).brought = brought;
    meet_lanes(mask, site);
    const bool there = lane >= 0 && lane < 32;
    if (there && !(mask >> lane & 1)) {
        fail("a lane reads one that is not in the mask");
    }
    const uint64_t got = there ? thread_at(warp + lane).brought : brought;
    meet_lanes(mask, site);
    return got;
}

void exchange_all(const void* brought, const void** got, int site) {
    const int warp = running.current / 32 * 32;
    thread_at(running.current).brought = reinterpret_cast<uint64_t>(brought);
    meet_lanes(0xffffffffu, site);
    for (int lane = 0; lane < 32; lane++) {
        got[lane] = reinterpret_cast<const void*>(thread_at(warp + lane).brought);
    }
    meet_lanes(0xffffffffu, site);
}

unsigned vote(unsigned mask, bool for_it, int site) {
    const int warp = running.current / 32 * 32;
    thread_at(running.current).brought = for_it;
    meet_lanes(mask, site);
    unsigned votes = 0;
    for (int lane = 0; lane < 32; lane++) {
        if (mask >> lane & 1) {
            votes |= (unsigned)(thread_at(warp + lane).brought & 1) << lane;
        }
    }
    meet_lanes(mask, site);
    return votes;
}

}  // namespace cpu
