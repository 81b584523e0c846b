//! What a person is told about their GPU, or about why it is not used.

#![allow(clippy::unwrap_used)]

mod support;

use lectern_cuda::{CudaError, Device, probe, probe_all};
use support::driver;

#[test]
fn a_gpu_that_can_be_used_is_named() {
    let (driver, _alone) = driver();
    driver.reset(12 << 30, 1 << 30);
    let found = probe(0).unwrap();
    assert_eq!(found.facts.name, "Fake GPU");
    assert_eq!(found.facts.capability, (8, 6));
    assert_eq!(
        found.to_string(),
        "Fake GPU: 11.0 of 12.0 GB free, 10.5 GB can be used"
    );
    assert!(matches!(probe(1), Err(CudaError::NoDevice)));
    assert_eq!(
        driver.allocated(),
        (0, 0),
        "nothing is loaded for an answer"
    );
}

#[test]
fn of_several_gpus_those_that_can_be_used_are_named() {
    let (driver, _alone) = driver();
    driver.reset_to(&[300 << 20, 12 << 30, 8 << 30]);
    let found = probe_all().unwrap();
    let words: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "Fake GPU: 12.0 of 12.0 GB free, 11.4 GB can be used",
            "Fake GPU: 8.0 of 8.0 GB free, 7.6 GB can be used"
        ]
    );
    driver.reset_to(&[300 << 20; 2]);
    assert!(matches!(
        probe_all(),
        Err(CudaError::TooLittleMemory { .. })
    ));
    driver.set_driver(13_000, 0, (8, 6));
    assert!(matches!(probe_all(), Err(CudaError::NoDevice)));
}

#[test]
fn what_is_missing_is_said_in_words() {
    let (driver, _alone) = driver();
    let answer = || probe(0).unwrap_err().to_string();
    driver.set_driver(12_040, 1, (8, 6));
    assert!(matches!(
        probe(0),
        Err(CudaError::DriverTooOld { found: 12_040 })
    ));
    let words = answer();
    assert!(
        words.contains("CUDA 12.4") && words.contains("version 580 or later"),
        "{words}"
    );
    driver.set_driver(13_000, 0, (8, 6));
    assert!(matches!(probe(0), Err(CudaError::NoDevice)));
    driver.set_driver(13_000, 1, (6, 1));
    assert!(matches!(
        probe(0),
        Err(CudaError::DeviceTooOld {
            major: 6,
            minor: 1,
            ..
        })
    ));
    assert!(answer().contains("7.5"));
    driver.reset(4 << 30, (4 << 30) - (300 << 20));
    assert!(matches!(probe(0), Err(CudaError::TooLittleMemory { .. })));
    assert!(answer().contains("Close other programs"), "{}", answer());
    // Opening says the same.
    driver.set_driver(12_000, 1, (8, 6));
    assert!(matches!(
        Device::open(0),
        Err(CudaError::DriverTooOld { .. })
    ));
}
