//! A GPU for tests: the fake driver with this crate's own host code on it, and references in F64.

#![allow(dead_code, clippy::unwrap_used)]

pub mod fake_driver;
pub mod noise;
pub mod reference;
pub mod scene;

use fake_driver::{Checked, FakeDriver, build};
use lectern_cuda::Device;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock};

/// Names the fake driver that a test is to use in place of the one of this source, for tests that run tests.
pub const DRIVER: &str = "LECTERN_TEST_FAKE_DRIVER";

/// The one GPU, for one test at a time.
pub struct Gpu {
    pub driver: &'static FakeDriver,
    pub device: Device,
    _alone: MutexGuard<'static, ()>,
}

/// The fake driver alone, for one test at a time.
pub fn driver() -> (&'static FakeDriver, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    static LOADED: OnceLock<FakeDriver> = OnceLock::new();
    // Another test's failure is its own.
    let alone = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let driver = LOADED.get_or_init(|| {
        let named = std::env::var_os(DRIVER).map(PathBuf::from);
        FakeDriver::load_wanted(|| named.unwrap_or_else(|| build(Checked::Plain, None)))
    });
    driver.reset(8 << 30, 0);
    (driver, alone)
}

/// A GPU of 8 GB with nothing on it.
pub fn gpu() -> Gpu {
    let (driver, alone) = driver();
    Gpu {
        driver,
        device: Device::open(0).unwrap(),
        _alone: alone,
    }
}

/// Orders in which threads and blocks run: as they come, reversed, drawn.
pub const ORDERS: [u32; 4] = [0, 1, 2, 20_251];
