// Memory of the fake GPUs: the host's, filled with NaN and guarded, that of each device for itself.
//
// What is not a device's own cannot be touched while one of its kernels runs: pages of the others are taken away from the
// program, so that the first read or write of them is seen, by whatever table or parameter it was led there.
#pragma once

#include <cstddef>
#include <map>

namespace fake {

using Address = unsigned long long;

/// GPUs that there can be.
constexpr int DEVICES = 4;

/// Whose pinned memory is: all devices reach it.
constexpr int HOST = -1;

struct Allocation {
    size_t bytes;
    int device;
};

extern std::map<Address, Allocation> memory;

/// Memory of a device, or of the host.
Address make_allocation(size_t bytes, int device);
/// Gives it back; it must be there.
void drop_allocation(Address address);
/// Whether the bytes lie in one allocation of this device, or of the host.
bool inside(Address at, size_t bytes, int device);
/// From now on only this device's memory and the host's are touched.
void work_on(int device);
/// Whether another device's memory was touched since.
bool trespassed();
/// Whether nobody wrote behind an allocation of this device.
bool guards_stand(int device);

}  // namespace fake
