// Brings pages to the device: copies parts, each from wherever it lies (pinned memory of the host, or of the device) into
// its slot.
//
// grid (copies), 256 threads. Addresses and lengths are multiples of 16.

struct Copy {
    const uint4* from;
    uint4* to;
    /// In pieces of 16 bytes.
    long long pieces;
};

struct Gather {
    const Copy* copies;
};

// registers <= 48
extern "C" __global__ void __launch_bounds__(256) gather(const Gather gather) {
    const Copy copy = gather.copies[blockIdx.x];
    for (long long at = threadIdx.x; at < copy.pieces; at += blockDim.x) {
        copy.to[at] = copy.from[at];
    }
}
