//! A machine without NVIDIA's driver.

use lectern_cuda::{CudaError, Device, probe};

#[test]
fn no_driver_is_an_answer() {
    match probe(0) {
        Err(CudaError::NoDriver) => {
            let words = CudaError::NoDriver.to_string();
            assert!(words.contains("580"), "{words}");
            assert!(matches!(Device::open(0), Err(CudaError::NoDriver)));
        }
        other => println!("skipped: this machine has a driver ({other:?})"),
    }
}
