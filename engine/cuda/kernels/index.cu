// The index that pages are chosen by: every key in 7 bits a channel, and the centre of each page (the engine's policy
// `keys`, see `attention/sparse/keys.rs` for the why).
//
// In: the table of pages. Out: for each key/value head and page the middle of every channel's keys, turned to their
// positions, and codes around it. The step of a channel is the same for all pages; `index_steps` takes it from the second
// one, twice as wide as that needs (the first holds the sinks, which lie far out, and is never chosen by estimate).
//
// A warp takes four pairs of channels, a lane two of the 64 keys.
// grid (kv_heads, pages), 128 threads.

#include "page.cuh"
#include "rotation.cuh"
#include "warp.cuh"

struct Index {
    const Page* pages;
    Rotation rotation;
    /// The layer's key bias, `[kv_heads][head_dim]`.
    const float* bias;
    /// `[kv_heads][head_dim]`, in the order of pairs.
    float* steps;
    /// `[kv_heads][room][head_dim]`.
    float* centres;
    /// `[kv_heads][room][head_dim / 4][64]`, four channels a word.
    unsigned int* codes;
    int kv_heads;
    int room;
    /// Number of the page that block y = 0 takes.
    int first_page;
};

/// The code of a key at its page's centre; codes are 0 to 127.
constexpr float MIDDLE_CODE = 64.0f;
/// Codes to each side of the middle that the second page takes.
constexpr float USED_CODES = 32.0f;

/// Least and largest key of a channel.
struct Range {
    float least;
    float largest;
};

__device__ __forceinline__ Range range_of(float first, float second) {
    return {warp_min(fminf(first, second)), warp_max(fmaxf(first, second))};
}

/// A pair of channels of one key, with bias, turned to its position.
template <int HEAD_DIM>
__device__ __forceinline__ float2 turned_key(const Index& index, const PageHead<HEAD_DIM>& head, const float* bias,
                                             int page, int pair, int token) {
    const int2 channels = index.rotation.channels[pair];
    const float2 key = make_float2(head.key(channels.x, token) + bias[channels.x],
                                   head.key(channels.y, token) + bias[channels.y]);
    const float2 in_page = turn(key, index.rotation.places[pair * PAGE_TOKENS + token]);
    return turn(in_page, index.rotation.pages[(size_t)page * (HEAD_DIM / 2) + pair]);
}

__device__ __forceinline__ unsigned int index_code(float key, float centre, float step) {
    const float code = truncf((key - centre) / step + MIDDLE_CODE + 0.5f);
    return (unsigned int)fminf(fmaxf(code, 0.0f), 127.0f);
}

template <int HEAD_DIM>
__device__ void measure_steps(const Index& index) {
    constexpr int PAIRS = HEAD_DIM / 2;
    const int lane = threadIdx.x % 32;
    const int kv_head = blockIdx.x;
    const int page = index.first_page;
    const PageHead<HEAD_DIM> head(index.pages[page], index.kv_heads, kv_head);
    const float* bias = index.bias + kv_head * HEAD_DIM;
    for (int pair = threadIdx.x / 32; pair < PAIRS; pair += blockDim.x / 32) {
        const float2 near = turned_key(index, head, bias, page, pair, lane);
        const float2 far = turned_key(index, head, bias, page, pair, lane + 32);
        const Range first = range_of(near.x, far.x);
        const Range second = range_of(near.y, far.y);
        if (lane == 0) {
            float* steps = index.steps + kv_head * HEAD_DIM;
            steps[pair] = fmaxf((first.largest - first.least) / 2.0f / USED_CODES, 1.17549435e-38f);
            steps[PAIRS + pair] = fmaxf((second.largest - second.least) / 2.0f / USED_CODES, 1.17549435e-38f);
        }
    }
}

template <int HEAD_DIM>
__device__ void add_page(const Index& index) {
    constexpr int PAIRS = HEAD_DIM / 2;
    constexpr int TOGETHER = 4;
    const int lane = threadIdx.x % 32;
    const int kv_head = blockIdx.x;
    const int page = index.first_page + blockIdx.y;
    const PageHead<HEAD_DIM> head(index.pages[page], index.kv_heads, kv_head);
    const float* bias = index.bias + kv_head * HEAD_DIM;
    const float* steps = index.steps + kv_head * HEAD_DIM;
    const size_t entry = (size_t)kv_head * index.room + page;
    float* centres = index.centres + entry * HEAD_DIM;
    unsigned int* codes = index.codes + entry * (HEAD_DIM / TOGETHER) * PAGE_TOKENS;
    for (int quad = threadIdx.x / 32; quad < PAIRS / TOGETHER; quad += blockDim.x / 32) {
        // Of first and second channels, for the lane's two tokens.
        unsigned int words[2][2] = {{0, 0}, {0, 0}};
        for (int nth = 0; nth < TOGETHER; nth++) {
            const int pair = quad * TOGETHER + nth;
            const float2 near = turned_key(index, head, bias, page, pair, lane);
            const float2 far = turned_key(index, head, bias, page, pair, lane + 32);
            const Range first = range_of(near.x, far.x);
            const Range second = range_of(near.y, far.y);
            const float first_centre = (first.least + first.largest) / 2.0f;
            const float second_centre = (second.least + second.largest) / 2.0f;
            words[0][0] |= index_code(near.x, first_centre, steps[pair]) << (8 * nth);
            words[0][1] |= index_code(far.x, first_centre, steps[pair]) << (8 * nth);
            words[1][0] |= index_code(near.y, second_centre, steps[PAIRS + pair]) << (8 * nth);
            words[1][1] |= index_code(far.y, second_centre, steps[PAIRS + pair]) << (8 * nth);
            if (lane == 0) {
                centres[pair] = first_centre;
                centres[PAIRS + pair] = second_centre;
            }
        }
        for (int half = 0; half < 2; half++) {
            const int row = half * (PAIRS / TOGETHER) + quad;
            codes[row * PAGE_TOKENS + lane] = words[half][0];
            codes[row * PAGE_TOKENS + lane + 32] = words[half][1];
        }
    }
}

// Without blocks that are stated, sm_90's assembler spills to get to 32 registers.
// registers <= 64
extern "C" __global__ void __launch_bounds__(128, 8) index_steps_64(const Index index) { measure_steps<64>(index); }

// registers <= 64
extern "C" __global__ void __launch_bounds__(128, 8) index_steps_128(const Index index) { measure_steps<128>(index); }

// registers <= 64
extern "C" __global__ void __launch_bounds__(128) index_pages_64(const Index index) { add_page<64>(index); }

// registers <= 64
extern "C" __global__ void __launch_bounds__(128) index_pages_128(const Index index) { add_page<128>(index); }
