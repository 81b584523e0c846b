//! The structs that host and kernels share, against the compiler that made the kernels.

#![allow(clippy::unwrap_used)]

mod support;

use lectern_cuda::parameters::{
    Append, Decode, Gate, Gather, Halve, Index, Mass, Merge, Norm, Pick, Prefill, Products,
    Quantize, Scan, Unpack,
};

#[test]
fn structs_are_as_large_for_the_host_as_for_the_kernels() {
    let (driver, _alone) = support::driver();
    for (kernel, bytes) in [
        ("decode_64", size_of::<Decode>()),
        ("decode_128", size_of::<Decode>()),
        ("merge", size_of::<Merge>()),
        ("prefill_64", size_of::<Prefill>()),
        ("unpack_128", size_of::<Unpack>()),
        ("append", size_of::<Append>()),
        ("quantize", size_of::<Quantize>()),
        ("index_steps_64", size_of::<Index>()),
        ("index_pages_128", size_of::<Index>()),
        ("scan_64", size_of::<Scan>()),
        ("pick", size_of::<Pick>()),
        ("gather", size_of::<Gather>()),
        ("mass_128", size_of::<Mass>()),
        ("norm_rows", size_of::<Norm>()),
        ("gate_rows", size_of::<Gate>()),
        ("halve_rows", size_of::<Halve>()),
        ("few_1", size_of::<Products>()),
        ("many_64_32", size_of::<Products>()),
    ] {
        assert_eq!(driver.parameter_bytes(kernel), Some(bytes), "{kernel}");
    }
    assert_eq!(driver.parameter_bytes("no_such_kernel"), None);
}
