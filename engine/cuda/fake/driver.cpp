// A fake libcuda: device memory is the host's, filled with NaN and guarded (`memory.h`); kernels run on the CPU, one block
// after the other. What it refuses, a GPU would refuse or do wrongly: copies beyond an allocation, launches beyond the limits,
// a kernel that writes beyond its memory, more memory than there is, and whatever reaches from one device into another's
// memory, or gives it another's streams and kernels.
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
#include "memory.h"
#include "register.h"

#define DRIVER extern "C" __attribute__((visibility("default")))

using Result = int;
using fake::Address;
using Handle = void*;

constexpr Result SUCCESS = 0;
constexpr Result INVALID_VALUE = 1;
constexpr Result OUT_OF_MEMORY = 2;
constexpr Result NO_DEVICE = 100;
constexpr Result INVALID_DEVICE = 101;
constexpr Result INVALID_IMAGE = 200;
constexpr Result INVALID_CONTEXT = 201;
constexpr Result INVALID_HANDLE = 400;
constexpr Result NOT_FOUND = 500;
constexpr Result ILLEGAL_ADDRESS = 700;
constexpr Result LAUNCH_FAILED = 719;
constexpr Result UNKNOWN = 999;

std::map<std::string, fake::Kernel>& fake::kernels() {
    static std::map<std::string, Kernel> kernels;
    return kernels;
}

namespace {

struct Settings {
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

struct Gpu {
    size_t total = (size_t)8 << 30;
    /// Bytes that others have.
    size_t taken = 0;
    size_t allocated = 0;
    size_t peak = 0;
    int launches = 0;
    /// The launch at which it is gone, counted from 1; 0: none.
    int losing = 0;
    bool lost = false;
    /// Streams that were made on it.
    int streams = 0;
} gpus[fake::DEVICES];

struct Stream {
    int device;
    bool computes;
};

/// A kernel as a device has loaded it.
struct Function {
    const std::string* name;
    const fake::Kernel* kernel;
    int device;
};

struct Module {
    std::string text;
    int device;
};

std::recursive_mutex mutex;
int allocations = 0;
int launches = 0;
std::string call_log;
std::string last_failure;
thread_local Handle current_context = nullptr;

Handle context_of(int device) { return (Handle)(size_t)(0x10 + device); }

/// Whose context is current; the first device's where none is, which `here` refuses.
int current() { return current_context == nullptr ? 0 : (int)((size_t)current_context - 0x10); }

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

/// Whether the current device can be worked with, and in this stream of its own; no stream is its default.
Result here(Handle stream = nullptr) {
    if (current_context == nullptr) {
        return refuse(INVALID_CONTEXT, "no device is current");
    }
    if (gpus[current()].lost) {
        return refuse(UNKNOWN, "device " + std::to_string(current()) + " is gone");
    }
    if (stream != nullptr && ((Stream*)stream)->device != current()) {
        return refuse(INVALID_HANDLE, "a stream of another device");
    }
    return SUCCESS;
}

bool is_late(Handle stream) {
    const bool computes = stream == nullptr || ((Stream*)stream)->computes;
    return settings.late == (computes ? Settings::DEFAULT : Settings::OTHERS);
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

Result allocate(Address* address, size_t bytes, int device) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    allocations++;
    if (bytes == 0) {
        return refuse(INVALID_VALUE, "an allocation of 0 bytes");
    }
    if (allocations == settings.failing) {
        return refuse(OUT_OF_MEMORY, "allocation " + std::to_string(allocations) + " was to fail");
    }
    if (device != fake::HOST) {
        Gpu& gpu = gpus[device];
        if (bytes + gpu.allocated + gpu.taken > gpu.total) {
            return refuse(OUT_OF_MEMORY, std::to_string(bytes) + " bytes where " + std::to_string(gpu.allocated) +
                                             " are allocated");
        }
        gpu.allocated += bytes;
        gpu.peak = std::max(gpu.peak, gpu.allocated);
    }
    *address = fake::make_allocation(bytes, device);
    log((device == fake::HOST ? "pin " : "allocate ") + std::to_string(bytes));
    return SUCCESS;
}

/// Frees what the work of `device` is done with.
Result release(Address address, int device) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    do_all();
    auto found = fake::memory.find(address);
    if (found == fake::memory.end()) {
        return refuse(INVALID_VALUE, "memory is freed that is not allocated");
    }
    const fake::Allocation allocation = found->second;
    if (allocation.device != fake::HOST) {
        gpus[allocation.device].allocated -= allocation.bytes;
    }
    log("free " + std::to_string(allocation.bytes));
    fake::drop_allocation(address);
    if (allocation.device != fake::HOST && allocation.device != device) {
        return refuse(INVALID_VALUE, "memory is freed when another device is done with it");
    }
    return allocation.device != fake::HOST && gpus[device].lost ? UNKNOWN : SUCCESS;
}

/// A copy of a device, whose memory is `checked`.
Result copy(const char* what, int device, void* to, const void* from, size_t bytes, Address checked) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    log(std::string(what) + " " + std::to_string(bytes));
    if (!fake::inside(checked, bytes, device)) {
        return refuse(INVALID_VALUE, std::string(what) + " of " + std::to_string(bytes) +
                                         " bytes beyond an allocation of the device");
    }
    fake::work_on(device);
    memmove(to, from, bytes);
    return SUCCESS;
}

}  // namespace

// What tests ask of it.

DRIVER void fake_reset(size_t total, size_t taken) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    waiting.clear();
    moments.clear();
    settings = Settings();
    for (Gpu& gpu : gpus) {
        gpu.total = total;
        gpu.taken = taken;
        gpu.peak = gpu.allocated;
        gpu.launches = gpu.losing = 0;
        gpu.lost = false;
    }
    allocations = 0;
    launches = 0;
    call_log.clear();
    last_failure.clear();
}
DRIVER void fake_set_memory(int device, size_t total, size_t taken) {
    gpus[device].total = total;
    gpus[device].taken = taken;
}
/// At the device's launch of this number from now on it is gone, counted from 1; 0: it stays.
DRIVER void fake_lose(int device, int nth) {
    gpus[device].losing = nth;
    gpus[device].launches = 0;
    gpus[device].lost = false;
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
/// Pieces of work that late streams were given and have not done.
DRIVER size_t fake_waiting() { return waiting.size(); }
DRIVER void fake_set_deaf(int deaf) { settings.deaf = deaf != 0; }
DRIVER int fake_launches() { return launches; }
DRIVER int fake_launches_on(int device) { return gpus[device].launches; }
DRIVER void fake_set_driver(int version, int devices, int major, int minor) {
    settings.driver = version;
    settings.devices = devices;
    settings.capability_major = major;
    settings.capability_minor = minor;
}
DRIVER size_t fake_allocated(int device) { return gpus[device].allocated; }
DRIVER size_t fake_peak(int device) { return gpus[device].peak; }
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
DRIVER Result cuDeviceGetCount(int* count) { return *count = std::min(settings.devices, fake::DEVICES), SUCCESS; }
DRIVER Result cuDeviceGet(int* device, int nth) {
    return nth >= std::min(settings.devices, fake::DEVICES) ? INVALID_DEVICE : (*device = nth, SUCCESS);
}
DRIVER Result cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "Fake GPU"), SUCCESS; }
DRIVER Result cuDeviceGetUuid_v2(char* uuid, int nth) { return memset(uuid, 0x5a + nth, 16), SUCCESS; }
DRIVER Result cuDeviceGetUuid(char* uuid, int nth) { return memset(uuid, 0x5a + nth, 16), SUCCESS; }
DRIVER Result cuDeviceTotalMem_v2(size_t* bytes, int nth) { return *bytes = gpus[nth].total, SUCCESS; }
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
DRIVER Result cuDevicePrimaryCtxRetain(Handle* context, int nth) {
    return gpus[nth].lost ? UNKNOWN : (*context = context_of(nth), SUCCESS);
}
DRIVER Result cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
DRIVER Result cuCtxSetCurrent(Handle context) { return current_context = context, SUCCESS; }
DRIVER Result cuCtxGetCurrent(Handle* context) { return *context = current_context, SUCCESS; }
DRIVER Result cuCtxSynchronize() { return do_all(); }
DRIVER Result cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
    const Gpu& gpu = gpus[current()];
    *total = gpu.total;
    *free_bytes = gpu.total - gpu.taken - gpu.allocated;
    return here();
}
/// They come in pairs: one for what computes, one for the rest.
DRIVER Result cuStreamCreate(Handle* stream, unsigned) {
    *stream = new Stream{current(), gpus[current()].streams++ % 2 == 0};
    return here();
}
DRIVER Result cuStreamDestroy_v2(Handle stream) {
    const Result result = do_all();
    delete (Stream*)stream;
    return result;
}
DRIVER Result cuStreamSynchronize(Handle stream) {
    const Result result = here(stream);
    return result != SUCCESS || !is_late(stream) ? result : do_all();
}
DRIVER Result cuStreamWaitEvent(Handle stream, Handle event, unsigned) {
    const Result result = here(stream);
    return result != SUCCESS || is_late(stream) || settings.deaf ? result : do_until(moments[event]);
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
    return here(stream);
}
DRIVER Result cuEventSynchronize(Handle event) { return do_until(moments[event]); }
DRIVER Result cuMemAlloc_v2(Address* address, size_t bytes) {
    const Result result = here();
    return result != SUCCESS ? result : allocate(address, bytes, current());
}
/// The memory is there from its turn in the stream on; what is written before is lost.
DRIVER Result cuMemAllocAsync(Address* address, size_t bytes, Handle stream) {
    const Result usable = here(stream);
    const int device = current();
    const Result result = usable != SUCCESS ? usable : allocate(address, bytes, device);
    if (result != SUCCESS || !is_late(stream)) {
        return result;
    }
    return in_stream(stream, [at = *address, bytes, device] {
        fake::work_on(device);
        return memset((void*)at, 0xff, bytes), SUCCESS;
    });
}
DRIVER Result cuMemFree_v2(Address address) { return release(address, current()); }
/// In the turn of the stream, or of the current device's default.
DRIVER Result cuMemFreeAsync(Address address, Handle stream) {
    return release(address, stream == nullptr ? current() : ((Stream*)stream)->device);
}
DRIVER Result cuMemHostAlloc(void** at, size_t bytes, unsigned) {
    const Result result = here();
    return result != SUCCESS ? result : allocate((Address*)at, bytes, fake::HOST);
}
DRIVER Result cuMemFreeHost(void* at) { return release((Address)at, current()); }
DRIVER Result cuMemHostGetDevicePointer_v2(Address* address, void* at, unsigned) {
    return *address = (Address)at, SUCCESS;
}
DRIVER Result cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, Handle stream) {
    const Result result = here(stream);
    if (result != SUCCESS) {
        return result;
    }
    const int device = current();
    if (!is_late(stream)) {
        return copy("to device", device, (void*)to, from, bytes, to);
    }
    // Memory that is not pinned is taken over before the call returns.
    const std::vector<char> taken((const char*)from, (const char*)from + bytes);
    return in_stream(stream, [=] { return copy("to device", device, (void*)to, taken.data(), bytes, to); });
}
DRIVER Result cuMemcpyHtoD_v2(Address to, const void* from, size_t bytes) {
    const Result result = here();
    return result != SUCCESS ? result : copy("to device", current(), (void*)to, from, bytes, to);
}
DRIVER Result cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, Handle stream) {
    const Result usable = here(stream);
    const Result before = usable == SUCCESS && is_late(stream) ? do_all() : usable;
    if (before != SUCCESS) {
        return before;
    }
    return copy("to host", current(), to, (const void*)from, bytes, from);
}
DRIVER Result cuMemcpyDtoH_v2(void* to, Address from, size_t bytes) {
    const Result result = here();
    return result != SUCCESS ? result : copy("to host", current(), to, (const void*)from, bytes, from);
}
DRIVER Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, Handle stream) {
    const Result result = here(stream);
    if (result != SUCCESS) {
        return result;
    }
    return in_stream(stream, [=, device = current()] {
        if (!fake::inside(from, bytes, device)) {
            return refuse(INVALID_VALUE, "a copy from beyond an allocation of the device");
        }
        return copy("on device", device, (void*)to, (const void*)from, bytes, to);
    });
}
DRIVER Result cuMemsetD8Async(Address at, unsigned char byte, size_t bytes, Handle stream) {
    const Result result = here(stream);
    if (result != SUCCESS) {
        return result;
    }
    return in_stream(stream, [=, device = current()] {
        if (!fake::inside(at, bytes, device)) {
            return refuse(INVALID_VALUE, "memory is set beyond an allocation of the device");
        }
        fake::work_on(device);
        memset((void*)at, byte, bytes);
        return SUCCESS;
    });
}
/// Of a module only the names matter, which stand in its text as in PTX.
DRIVER Result cuModuleLoadData(Handle* module, const void* image) {
    if (strstr((const char*)image, ".entry") == nullptr) {
        return refuse(INVALID_IMAGE, "an image without kernels");
    }
    *module = new Module{(const char*)image, current()};
    return here();
}
DRIVER Result cuModuleUnload(Handle module) {
    delete (Module*)module;
    return SUCCESS;
}
DRIVER Result cuModuleGetFunction(Handle* function, Handle module, const char* name) {
    static std::map<std::string, Function> functions[fake::DEVICES];
    const std::string entry = std::string(".entry ") + name + "(";
    const auto& [text, device] = *(Module*)module;
    auto found = fake::kernels().find(name);
    if (text.find(entry) == std::string::npos || found == fake::kernels().end()) {
        return refuse(NOT_FOUND, std::string("no kernel named ") + name);
    }
    const auto [loaded, _] = functions[device].try_emplace(name, Function{&found->first, &found->second, device});
    *function = &loaded->second;
    return SUCCESS;
}
DRIVER Result cuFuncSetAttribute(Handle, int, int) { return SUCCESS; }
DRIVER Result cuFuncGetAttribute(int* value, int, Handle) { return *value = 1024, SUCCESS; }
DRIVER Result cuLaunchKernel(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                             unsigned block_y, unsigned block_z, unsigned dynamic, Handle stream, void** parameters,
                             void**) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    const Result usable = here(stream);
    if (usable != SUCCESS) {
        return usable;
    }
    const Function& loaded = *(const Function*)function;
    const std::string& name = *loaded.name;
    const int device = current();
    log("launch " + name + " " + std::to_string(grid_x) + "x" + std::to_string(grid_y) + "x" + std::to_string(grid_z) +
        " of " + std::to_string(block_x));
    if (loaded.device != device) {
        return refuse(INVALID_HANDLE, name + " is launched on a device that has not loaded it");
    }
    if (++gpus[device].launches == gpus[device].losing) {
        gpus[device].lost = true;
        return here();
    }
    if (++launches == settings.failing_launch) {
        return refuse(LAUNCH_FAILED, "launch " + std::to_string(launches) + " was to fail");
    }
    const size_t threads = (size_t)block_x * block_y * block_z;
    if (threads == 0 || threads > 1024 || grid_x == 0 || grid_y == 0 || grid_z == 0 || grid_x > 0x7fffffff ||
        grid_y > 65535 || grid_z > 65535 || dynamic > 48 << 10) {
        return refuse(INVALID_VALUE, name + " is launched beyond the limits");
    }
    const char* given = (const char*)parameters[0];
    std::vector<char> parameter(given, given + loaded.kernel->parameter_bytes);
    return in_stream(stream, [=, seed = settings.seed, kernel = loaded.kernel]() mutable {
        fake::work_on(device);
        const std::string failure = cpu::launch(name.c_str(), {grid_x, grid_y, grid_z}, {block_x, block_y, block_z},
                                                seed, [&] { kernel->run(parameter.data()); });
        if (fake::trespassed()) {
            return refuse(ILLEGAL_ADDRESS, name + " touched another device's memory");
        }
        if (!failure.empty()) {
            return refuse(LAUNCH_FAILED, failure);
        }
        if (!fake::guards_stand(device)) {
            return refuse(ILLEGAL_ADDRESS, name + " wrote behind an allocation");
        }
        return SUCCESS;
    });
}
DRIVER Result cuGetErrorName(int error, const char** name) {
    switch (error) {
        case INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
        case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
        case NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
        case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
        case LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
        default: *name = "CUDA_ERROR";
    }
    return SUCCESS;
}
DRIVER Result cuGetErrorString(int, const char** text) { return *text = last_failure.c_str(), SUCCESS; }
