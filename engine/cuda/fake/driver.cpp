// A fake libcuda: device memory is the host's, filled with NaN and guarded; kernels run on the CPU, one block after the
// other. What it refuses, a GPU would refuse or do wrongly: copies beyond an allocation, launches beyond the limits, a
// kernel that writes beyond its memory, more memory than there is.
//
// Streams: everything is done at once, in the order of the calls, but for the work of streams that are made late
// (`fake_set_late`): that is done at the last moment that events and waits allow, so that work which should have waited for
// it, and does not, goes wrong.
//
// Not seen: operations that run at the very same time, and rounding of allocations to whole pages.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "block.h"
#include "register.h"

#define DRIVER extern "C" __attribute__((visibility("default")))

using Result = int;
using Address = unsigned long long;
using Handle = void*;

constexpr Result SUCCESS = 0;
constexpr Result INVALID_VALUE = 1;
constexpr Result OUT_OF_MEMORY = 2;
constexpr Result NO_DEVICE = 100;
constexpr Result INVALID_DEVICE = 101;
constexpr Result INVALID_IMAGE = 200;
constexpr Result NOT_FOUND = 500;
constexpr Result ILLEGAL_ADDRESS = 700;
constexpr Result LAUNCH_FAILED = 719;

std::map<std::string, fake::Kernel>& fake::kernels() {
    static std::map<std::string, Kernel> kernels;
    return kernels;
}

namespace {

struct Settings {
    size_t total = (size_t)8 << 30;
    /// Bytes that others have.
    size_t taken = 0;
    int driver = 13000;
    int devices = 1;
    int capability_major = 8;
    int capability_minor = 6;
    unsigned seed = 0;
    /// The allocation that fails, counted from 1; 0: none.
    int failing = 0;
    /// The launch that fails likewise.
    int failing_launch = 0;
    /// Which streams are late.
    enum { NONE, DEFAULT, OTHERS } late = NONE;
    /// Streams do not wait for events, to see whether that is noticed.
    bool deaf = false;
} settings;

struct Allocation {
    size_t bytes;
    bool on_host;
};

std::recursive_mutex mutex;
std::map<Address, Allocation> memory;
size_t allocated = 0;
size_t peak = 0;
int allocations = 0;
int launches = 0;
std::string call_log;
std::string last_failure;
Handle current_context = nullptr;

#if defined(__SANITIZE_ADDRESS__)
// AddressSanitizer guards each allocation better.
constexpr size_t GUARD_BYTES = 0;
#else
constexpr size_t GUARD_BYTES = 64;
#endif
constexpr unsigned char GUARD = 0xfa;

/// What late streams were given and has not been done, in the order of the calls, and how many were done before.
std::deque<std::function<Result()>> waiting;
size_t done = 0;
/// By event, how much of what late streams were given was given before it.
std::map<Handle, size_t> moments;

void log(const std::string& line) { call_log += line + "\n"; }

Result refuse(Result result, const std::string& fact) {
    last_failure = fact;
    log("refused: " + fact);
    return result;
}

bool is_late(Handle stream) {
    return settings.late == (stream == nullptr ? Settings::DEFAULT : Settings::OTHERS);
}

/// Does what late streams were given, up to a moment; whatever went wrong first.
Result do_until(size_t moment) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    Result result = SUCCESS;
    while (done < moment && !waiting.empty()) {
        const std::function<Result()> next = waiting.front();
        waiting.pop_front();
        done++;
        const Result one = next();
        result = result == SUCCESS ? one : result;
    }
    return result;
}

Result do_all() { return do_until(SIZE_MAX); }

/// Does it, or later if the stream is late.
Result in_stream(Handle stream, const std::function<Result()>& work) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (!is_late(stream)) {
        return work();
    }
    waiting.push_back(work);
    return SUCCESS;
}

/// Whether the bytes lie in one allocation.
bool inside(Address at, size_t bytes) {
    auto found = memory.upper_bound(at);
    if (found == memory.begin()) {
        return false;
    }
    --found;
    return at + bytes <= found->first + found->second.bytes;
}

Result allocate(Address* address, size_t bytes, bool on_host) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    allocations++;
    if (bytes == 0) {
        return refuse(INVALID_VALUE, "an allocation of 0 bytes");
    }
    if (allocations == settings.failing) {
        return refuse(OUT_OF_MEMORY, "allocation " + std::to_string(allocations) + " was to fail");
    }
    if (!on_host && bytes + allocated + settings.taken > settings.total) {
        return refuse(OUT_OF_MEMORY, std::to_string(bytes) + " bytes where " + std::to_string(allocated) +
                                         " are allocated");
    }
    void* at = malloc(bytes + GUARD_BYTES);
    memset(at, 0xff, bytes);
    memset((char*)at + bytes, GUARD, GUARD_BYTES);
    *address = (Address)at;
    memory[*address] = {bytes, on_host};
    if (!on_host) {
        allocated += bytes;
        peak = std::max(peak, allocated);
    }
    log((on_host ? "pin " : "allocate ") + std::to_string(bytes));
    return SUCCESS;
}

Result release(Address address) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    do_all();
    auto found = memory.find(address);
    if (found == memory.end()) {
        return refuse(INVALID_VALUE, "memory is freed that is not allocated");
    }
    if (!found->second.on_host) {
        allocated -= found->second.bytes;
    }
    log("free " + std::to_string(found->second.bytes));
    free((void*)address);
    memory.erase(found);
    return SUCCESS;
}

Result copy(const char* what, void* to, const void* from, size_t bytes, Address checked) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    log(std::string(what) + " " + std::to_string(bytes));
    if (!inside(checked, bytes)) {
        return refuse(INVALID_VALUE, std::string(what) + " of " + std::to_string(bytes) + " bytes beyond an allocation");
    }
    memmove(to, from, bytes);
    return SUCCESS;
}

/// Whether nobody wrote behind an allocation.
bool guards_stand() {
    for (const auto& [address, allocation] : memory) {
        const unsigned char* guard = (const unsigned char*)address + allocation.bytes;
        for (size_t nth = 0; nth < GUARD_BYTES; nth++) {
            if (guard[nth] != GUARD) {
                return false;
            }
        }
    }
    return true;
}

}  // namespace

// What tests ask of it.

DRIVER void fake_reset(size_t total, size_t taken) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    waiting.clear();
    moments.clear();
    settings = Settings();
    settings.total = total;
    settings.taken = taken;
    allocations = 0;
    launches = 0;
    peak = allocated;
    call_log.clear();
    last_failure.clear();
}
DRIVER void fake_set_seed(unsigned seed) { settings.seed = seed; }
DRIVER void fake_fail_allocation(int nth) {
    settings.failing = nth;
    allocations = 0;
}
DRIVER void fake_fail_launch(int nth) {
    settings.failing_launch = nth;
    launches = 0;
}
/// 1: the default stream is late, 2: all others are, 0: none is.
DRIVER void fake_set_late(int late) {
    do_all();
    settings.late = late == 1 ? Settings::DEFAULT : late == 2 ? Settings::OTHERS : Settings::NONE;
}
DRIVER void fake_set_deaf(int deaf) { settings.deaf = deaf != 0; }
DRIVER int fake_launches() { return launches; }
DRIVER void fake_set_driver(int version, int devices, int major, int minor) {
    settings.driver = version;
    settings.devices = devices;
    settings.capability_major = major;
    settings.capability_minor = minor;
}
DRIVER size_t fake_allocated() { return allocated; }
DRIVER size_t fake_peak() { return peak; }
DRIVER int fake_allocations() { return allocations; }
DRIVER const char* fake_log() { return call_log.c_str(); }
DRIVER const char* fake_last_failure() { return last_failure.c_str(); }
/// 0: no such kernel.
DRIVER size_t fake_parameter_bytes(const char* kernel) {
    auto found = fake::kernels().find(kernel);
    return found == fake::kernels().end() ? 0 : found->second.parameter_bytes;
}

// The driver's own interface.

DRIVER Result cuInit(unsigned) { return settings.devices == 0 ? NO_DEVICE : SUCCESS; }
DRIVER Result cuDriverGetVersion(int* version) { return *version = settings.driver, SUCCESS; }
DRIVER Result cuDeviceGetCount(int* count) { return *count = settings.devices, SUCCESS; }
DRIVER Result cuDeviceGet(int* device, int nth) {
    return nth >= settings.devices ? INVALID_DEVICE : (*device = nth, SUCCESS);
}
DRIVER Result cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "Fake GPU"), SUCCESS; }
DRIVER Result cuDeviceGetUuid_v2(char* uuid, int) { return memset(uuid, 0x5a, 16), SUCCESS; }
DRIVER Result cuDeviceGetUuid(char* uuid, int) { return memset(uuid, 0x5a, 16), SUCCESS; }
DRIVER Result cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = settings.total, SUCCESS; }
DRIVER Result cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
        case 1: *value = 1024; break;                         // threads a block
        case 10: *value = 32; break;                          // threads a warp
        case 16: *value = 4; break;                           // multiprocessors
        case 75: *value = settings.capability_major; break;
        case 76: *value = settings.capability_minor; break;
        case 115: *value = 1; break;                          // memory pools
        default: *value = 48 << 10;
    }
    return SUCCESS;
}
DRIVER Result cuDevicePrimaryCtxRetain(Handle* context, int) { return *context = (Handle)0x10, SUCCESS; }
DRIVER Result cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
DRIVER Result cuCtxSetCurrent(Handle context) { return current_context = context, SUCCESS; }
DRIVER Result cuCtxGetCurrent(Handle* context) { return *context = current_context, SUCCESS; }
DRIVER Result cuCtxSynchronize() { return do_all(); }
DRIVER Result cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
    *total = settings.total;
    *free_bytes = settings.total - settings.taken - allocated;
    return SUCCESS;
}
DRIVER Result cuStreamCreate(Handle* stream, unsigned) { return *stream = (Handle)0x20, SUCCESS; }
DRIVER Result cuStreamDestroy_v2(Handle) { return do_all(); }
DRIVER Result cuStreamSynchronize(Handle stream) { return is_late(stream) ? do_all() : SUCCESS; }
DRIVER Result cuStreamWaitEvent(Handle stream, Handle event, unsigned) {
    return is_late(stream) || settings.deaf ? SUCCESS : do_until(moments[event]);
}
DRIVER Result cuStreamIsCapturing(Handle, int* state) { return *state = 0, SUCCESS; }
DRIVER Result cuEventCreate(Handle* event, unsigned) { return *event = new char, SUCCESS; }
DRIVER Result cuEventDestroy_v2(Handle event) {
    moments.erase(event);
    delete (char*)event;
    return SUCCESS;
}
DRIVER Result cuEventRecord(Handle event, Handle stream) {
    moments[event] = is_late(stream) ? done + waiting.size() : 0;
    return SUCCESS;
}
DRIVER Result cuEventSynchronize(Handle event) { return do_until(moments[event]); }
DRIVER Result cuMemAlloc_v2(Address* address, size_t bytes) { return allocate(address, bytes, false); }
/// The memory is there from its turn in the stream on; what is written before is lost.
DRIVER Result cuMemAllocAsync(Address* address, size_t bytes, Handle stream) {
    const Result result = allocate(address, bytes, false);
    if (result != SUCCESS || !is_late(stream)) {
        return result;
    }
    return in_stream(stream, [at = *address, bytes] { return memset((void*)at, 0xff, bytes), SUCCESS; });
}
DRIVER Result cuMemFree_v2(Address address) { return release(address); }
DRIVER Result cuMemFreeAsync(Address address, Handle) { return release(address); }
DRIVER Result cuMemHostAlloc(void** at, size_t bytes, unsigned) { return allocate((Address*)at, bytes, true); }
DRIVER Result cuMemFreeHost(void* at) { return release((Address)at); }
DRIVER Result cuMemHostGetDevicePointer_v2(Address* address, void* at, unsigned) {
    return *address = (Address)at, SUCCESS;
}
DRIVER Result cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, Handle stream) {
    if (!is_late(stream)) {
        return copy("to device", (void*)to, from, bytes, to);
    }
    // Memory that is not pinned is taken over before the call returns.
    const std::vector<char> taken((const char*)from, (const char*)from + bytes);
    return in_stream(stream, [=] { return copy("to device", (void*)to, taken.data(), bytes, to); });
}
DRIVER Result cuMemcpyHtoD_v2(Address to, const void* from, size_t bytes) {
    return copy("to device", (void*)to, from, bytes, to);
}
DRIVER Result cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, Handle stream) {
    const Result before = is_late(stream) ? do_all() : SUCCESS;
    if (before != SUCCESS) {
        return before;
    }
    return copy("to host", to, (const void*)from, bytes, from);
}
DRIVER Result cuMemcpyDtoH_v2(void* to, Address from, size_t bytes) {
    return copy("to host", to, (const void*)from, bytes, from);
}
DRIVER Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, Handle stream) {
    return in_stream(stream, [=] {
        if (!inside(from, bytes)) {
            return refuse(INVALID_VALUE, "a copy from beyond an allocation");
        }
        return copy("on device", (void*)to, (const void*)from, bytes, to);
    });
}
DRIVER Result cuMemsetD8Async(Address at, unsigned char byte, size_t bytes, Handle stream) {
    return in_stream(stream, [=] {
        if (!inside(at, bytes)) {
            return refuse(INVALID_VALUE, "memory is set beyond an allocation");
        }
        memset((void*)at, byte, bytes);
        return SUCCESS;
    });
}
/// Of a module only the names matter, which stand in its text as in PTX.
DRIVER Result cuModuleLoadData(Handle* module, const void* image) {
    if (strstr((const char*)image, ".entry") == nullptr) {
        return refuse(INVALID_IMAGE, "an image without kernels");
    }
    *module = new std::string((const char*)image);
    return SUCCESS;
}
DRIVER Result cuModuleUnload(Handle module) {
    delete (std::string*)module;
    return SUCCESS;
}
DRIVER Result cuModuleGetFunction(Handle* function, Handle module, const char* name) {
    const std::string entry = std::string(".entry ") + name + "(";
    auto found = fake::kernels().find(name);
    if (((std::string*)module)->find(entry) == std::string::npos || found == fake::kernels().end()) {
        return refuse(NOT_FOUND, std::string("no kernel named ") + name);
    }
    *function = (Handle)&*found;
    return SUCCESS;
}
DRIVER Result cuFuncSetAttribute(Handle, int, int) { return SUCCESS; }
DRIVER Result cuFuncGetAttribute(int* value, int, Handle) { return *value = 1024, SUCCESS; }
DRIVER Result cuLaunchKernel(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                             unsigned block_y, unsigned block_z, unsigned dynamic, Handle stream, void** parameters,
                             void**) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    const auto& entry = *(std::pair<const std::string, fake::Kernel>*)function;
    const std::string& name = entry.first;
    log("launch " + name + " " + std::to_string(grid_x) + "x" + std::to_string(grid_y) + "x" + std::to_string(grid_z) +
        " of " + std::to_string(block_x));
    if (++launches == settings.failing_launch) {
        return refuse(LAUNCH_FAILED, "launch " + std::to_string(launches) + " was to fail");
    }
    const size_t threads = (size_t)block_x * block_y * block_z;
    if (threads == 0 || threads > 1024 || grid_x == 0 || grid_y == 0 || grid_z == 0 || grid_x > 0x7fffffff ||
        grid_y > 65535 || grid_z > 65535 || dynamic > 48 << 10) {
        return refuse(INVALID_VALUE, name + " is launched beyond the limits");
    }
    const char* given = (const char*)parameters[0];
    std::vector<char> parameter(given, given + entry.second.parameter_bytes);
    return in_stream(stream, [=, seed = settings.seed, kernel = &entry]() mutable {
        const std::string failure =
            cpu::launch(kernel->first.c_str(), {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, seed,
                        [&] { kernel->second.run(parameter.data()); });
        if (!failure.empty()) {
            return refuse(LAUNCH_FAILED, failure);
        }
        if (!guards_stand()) {
            return refuse(ILLEGAL_ADDRESS, kernel->first + " wrote behind an allocation");
        }
        return SUCCESS;
    });
}
DRIVER Result cuGetErrorName(int error, const char** name) {
    switch (error) {
        case INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
        case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
        case NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
        case LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
        default: *name = "CUDA_ERROR";
    }
    return SUCCESS;
}
DRIVER Result cuGetErrorString(int, const char** text) { return *text = last_failure.c_str(), SUCCESS; }
