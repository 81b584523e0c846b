#include "memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace fake {

std::map<Address, Allocation> memory;

#if defined(__SANITIZE_ADDRESS__)
// AddressSanitizer guards each allocation better.
constexpr size_t GUARD_BYTES = 0;
#else
constexpr size_t GUARD_BYTES = 64;
#endif
constexpr unsigned char GUARD = 0xfa;

#if defined(__SANITIZE_ADDRESS__) || defined(CHECKED_FOR_RACES)
// Sanitizers look after memory of their own; what they run has one device.
constexpr bool SEPARATE = false;
#else
constexpr bool SEPARATE = true;
#endif

namespace {

/// No device in particular: some pages may be there that should not.
constexpr int NOBODY = -2;
int working = NOBODY;
bool touched = false;

size_t whole_pages(size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + GUARD_BYTES + page - 1) / page * page;
}

bool is_mapped(const Allocation& allocation) { return SEPARATE && allocation.device != HOST; }

void let(Address address, const Allocation& allocation, bool touch) {
    mprotect((void*)address, whole_pages(allocation.bytes), touch ? PROT_READ | PROT_WRITE : PROT_NONE);
}

struct sigaction before_ours;

/// Notes that the memory is another device's, and lets the program go on with it. Any other fault is not ours.
void note(int, siginfo_t* info, void*) {
    const Address at = (Address)info->si_addr;
    auto found = memory.upper_bound(at);
    if (found != memory.begin()) {
        --found;
        const auto& [address, allocation] = *found;
        if (is_mapped(allocation) && allocation.device != working && at < address + whole_pages(allocation.bytes)) {
            let(address, allocation, true);
            touched = true;
            return;
        }
    }
    sigaction(SIGSEGV, &before_ours, nullptr);
}

void listen() {
    static bool listening = false;
    if (!listening && SEPARATE) {
        listening = true;
        struct sigaction ours = {};
        ours.sa_sigaction = note;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &ours, &before_ours);
    }
}

}  // namespace

Address make_allocation(size_t bytes, int device) {
    const Allocation allocation = {bytes, device};
    void* at = nullptr;
    if (is_mapped(allocation)) {
        work_on(device);
        at = mmap(nullptr, whole_pages(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) {
            abort();
        }
    } else {
        at = malloc(bytes + GUARD_BYTES);
    }
    memset(at, 0xff, bytes);
    memset((char*)at + bytes, GUARD, GUARD_BYTES);
    memory[(Address)at] = allocation;
    return (Address)at;
}

void drop_allocation(Address address) {
    const Allocation allocation = memory.at(address);
    memory.erase(address);
    if (is_mapped(allocation)) {
        munmap((void*)address, whole_pages(allocation.bytes));
    } else {
        free((void*)address);
    }
}

bool inside(Address at, size_t bytes, int device) {
    auto found = memory.upper_bound(at);
    if (found == memory.begin()) {
        return false;
    }
    --found;
    const auto& [address, allocation] = *found;
    return at + bytes <= address + allocation.bytes && (allocation.device == device || allocation.device == HOST);
}

void work_on(int device) {
    if (working == device) {
        return;
    }
    listen();
    for (const auto& [address, allocation] : memory) {
        if (is_mapped(allocation)) {
            let(address, allocation, allocation.device == device);
        }
    }
    working = device;
}

bool trespassed() {
    if (!touched) {
        return false;
    }
    touched = false;
    working = NOBODY;
    return true;
}

bool guards_stand(int device) {
    for (const auto& [address, allocation] : memory) {
        if (allocation.device != device && allocation.device != HOST) {
            continue;
        }
        const unsigned char* guard = (const unsigned char*)address + allocation.bytes;
        for (size_t nth = 0; nth < GUARD_BYTES; nth++) {
            if (guard[nth] != GUARD) {
                return false;
            }
        }
    }
    return true;
}

}  // namespace fake
