//! The structs that host and kernels share, against the compiler that made the kernels.

#![allow(clippy::unwrap_used)]

mod support;

use lectern_cuda::parameters::{
    Append, Decode, Gather, Index, Mass, Merge, Pick, Prefill, Quantize, Scan,
};

#[test]
fn structs_are_as_large_for_the_host_as_for_the_kernels() {
    let (driver, _alone) = support::driver();
    for (kernel, bytes) in [
        ("decode_64_4", size_of::<Decode>()),
        ("decode_128_8", size_of::<Decode>()),
        ("merge", size_of::<Merge>()),
        ("prefill_64", size_of::<Prefill>()),
        ("append", size_of::<Append>()),
        ("quantize", size_of::<Quantize>()),
        ("index_steps_64", size_of::<Index>()),
        ("index_pages_128", size_of::<Index>()),
        ("scan_64", size_of::<Scan>()),
        ("pick", size_of::<Pick>()),
        ("gather", size_of::<Gather>()),
        ("mass_128", size_of::<Mass>()),
    ] {
        assert_eq!(driver.parameter_bytes(kernel), Some(bytes), "{kernel}");
    }
    assert_eq!(driver.parameter_bytes("no_such_kernel"), None);
}
