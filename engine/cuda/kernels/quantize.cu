// Seals a full page: from half precision to codes, the very bytes that the engine's own packer writes.
//
// In: one layer's open page, keys `[kv_heads][64][head_dim]`, then values. Out: its part as it stands in the file. A warp
// makes one grid (KIVI, Liu et al. 2024, arXiv 2402.02750): of a channel's 64 keys, or of 32 values of a token.
// Divisions and roundings are IEEE's; compiled without fast math, so that no bit depends on where it ran.
//
// grid (grids / 4, 1), 128 threads; grids = kv_heads * (head_dim + 2 * head_dim).

#include "page.cuh"
#include "warp.cuh"

struct Quantize {
    const __half* halves;
    unsigned char* part;
    int kv_heads;
    int head_dim;
    int key_bits;
    int value_bits;
};

/// What the engine writes for NaN; the hardware's own has other bits.
constexpr unsigned short NAN_HALF = 0x7e00;

__device__ __forceinline__ unsigned short half_bits(float number) {
    return isnan(number) ? NAN_HALF : __half_as_ushort(__float2half_rn(number));
}

/// Code of the level nearest to `number`; ties go to the even one.
__device__ __forceinline__ int nearest_code(float number, const Grid& grid, float largest_code) {
    // A step of 0 makes this NaN or infinite. NaN becomes 0, as `fmaxf` gives back its other argument.
    const float steps = rintf(__fdiv_rn(number - grid.least, grid.step));
    return (int)fminf(fmaxf(steps, 0.0f), largest_code);
}

/// Offset (below) and step of a grid of codes of less than 8 bits, whose middle is that of the numbers; step by step what the
/// engine's packer does.
__device__ __forceinline__ unsigned offset_and_step(float least, float range, float largest_code) {
    const float middle = range * 0.5f + least;  // the product is exact, so fused or not
    const float reach = 126.0f / OFFSETS - largest_code * 0.5f;
    const float close = __fdiv_rn(range, largest_code);
    const float far = __fdiv_rn(fabsf(middle), reach);
    const float below = far > close ? floorf(largest_code * 0.5f) : largest_code * 0.5f;
    const unsigned step = (half_bits(far > close ? far : close) + 0x40u) >> 7 & 0xff;
    const float rounded_step = __half2float(__ushort_as_half((unsigned short)(step << 7)));
    const float offset = rintf((__fdiv_rn(middle, rounded_step) - below) * OFFSETS);
    const int clamped = isnan(offset) ? 0 : (int)fminf(fmaxf(offset, -127.0f), 127.0f);
    return step << 8 | (clamped & 0xff);
}

/// Packs the codes of a warp, one run.
__device__ __forceinline__ void write_run(unsigned char* run, int bits, int lane, int code) {
    const int above = __shfl_down_sync(ALL_LANES, code, 16);
    if (bits == 8) {
        run[lane] = (unsigned char)code;
    } else if (lane < 16) {
        run[lane] = (unsigned char)(code | above << 4);
    }
}

// registers <= 48
extern "C" __global__ void __launch_bounds__(128) quantize(const Quantize quantize) {
    const int lane = threadIdx.x % 32;
    const int groups = quantize.head_dim / RUN;
    const int grids_of_head = quantize.head_dim + PAGE_TOKENS * groups;
    const int warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
    const int kv_head = warp / grids_of_head;
    const int grid = warp % grids_of_head;
    if (kv_head >= quantize.kv_heads) {
        return;  // a whole warp
    }
    const bool is_key = grid < quantize.head_dim;
    const int bits = is_key ? quantize.key_bits : quantize.value_bits;
    const int head_halves = PAGE_TOKENS * quantize.head_dim;
    const int key_bytes = quantize.head_dim * (grid_bytes(quantize.key_bits) + 2 * run_bytes(quantize.key_bits));
    const int head_bytes =
        key_bytes + PAGE_TOKENS * groups * (grid_bytes(quantize.value_bits) + run_bytes(quantize.value_bits));
    unsigned char* head_part = quantize.part + (size_t)kv_head * head_bytes;

    // A lane's numbers: of a key's channel those of tokens `lane` and `lane + 32`; of a group of values one.
    float numbers[2];
    unsigned char* own_grid;
    unsigned char* runs;
    if (is_key) {
        const __half* keys = quantize.halves + (size_t)kv_head * head_halves;
        numbers[0] = __half2float(keys[lane * quantize.head_dim + grid]);
        numbers[1] = __half2float(keys[(lane + 32) * quantize.head_dim + grid]);
        own_grid = head_part + grid_bytes(bits) * grid;
        runs = head_part + grid_bytes(bits) * quantize.head_dim + grid * 2 * run_bytes(bits);
    } else {
        const __half* values = quantize.halves + (size_t)(quantize.kv_heads + kv_head) * head_halves;
        const int nth = grid - quantize.head_dim;
        numbers[0] = __half2float(values[nth * RUN + lane]);
        numbers[1] = numbers[0];
        unsigned char* value_part = head_part + key_bytes;
        own_grid = value_part + grid_bytes(bits) * nth;
        runs = value_part + grid_bytes(bits) * PAGE_TOKENS * groups + nth * run_bytes(bits);
    }
    float least = warp_min(fminf(numbers[0], numbers[1]));
    const float largest = warp_max(fmaxf(numbers[0], numbers[1]));
    // One NaN makes all of them NaN: it must not pass for a number.
    if (__any_sync(ALL_LANES, isnan(numbers[0]) || isnan(numbers[1]))) {
        least = NAN;
    }
    // The sign of a zero is not kept: which of two zeros is the least or the largest would depend on their order.
    least += 0.0f;
    const float range = largest - least + 0.0f;
    const float largest_code = (float)((1 << bits) - 1);
    unsigned short words[2];
    if (bits == 8) {
        words[0] = half_bits(__fdiv_rn(range, largest_code));
        words[1] = half_bits(least);
    } else {
        words[0] = words[1] = (unsigned short)offset_and_step(least, range, largest_code);
    }
    const Grid levels = grid_at(reinterpret_cast<const unsigned char*>(words), bits, 0);
    if (lane == 0) {
        reinterpret_cast<unsigned short*>(own_grid)[0] = words[0];
        if (bits == 8) {
            reinterpret_cast<unsigned short*>(own_grid)[1] = words[1];
        }
    }
#pragma unroll
    for (int run = 0; run < 2; run++) {
        if (run == 1 && !is_key) {
            break;  // a whole warp
        }
        const int code = nearest_code(numbers[run], levels, largest_code);
        write_run(runs + run * run_bytes(bits), bits, lane, code);
    }
}
