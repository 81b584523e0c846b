// Arrays in shared memory. On a GPU an index is as cheap as in C; on the CPU (`CUDA_ON_CPU`) each one is checked, since
// neither the hardware nor AddressSanitizer sees a step from one member of a struct into the next.
#pragma once

#ifndef CUDA_ON_CPU
#define CHECK_INDEX(index, length)
#endif

template <class T, int LENGTH>
struct Array {
    T items[LENGTH];

    __device__ __forceinline__ T& operator[](int index) {
        CHECK_INDEX(index, LENGTH);
        return items[index];
    }
};
