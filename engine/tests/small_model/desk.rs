//! The fake driver with three GPUs, and a file with the small model, for one test at a time.

use super::write;
use crate::fake_driver::{Checked, FakeDriver, build};
use lectern_cuda::{GpuDecoder, Share, Spread};
use lectern_engine::model::spread_of;
use lectern_models::Model;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tempfile::TempDir;

pub struct Desk {
    pub driver: FakeDriver,
    folder: TempDir,
}

pub fn desk() -> (&'static Desk, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    static DESK: OnceLock<Desk> = OnceLock::new();
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let desk = DESK.get_or_init(|| {
        let desk = Desk {
            driver: FakeDriver::load_wanted(|| build(Checked::Plain, None)),
            folder: TempDir::new().unwrap(),
        };
        write(&desk.model());
        desk
    });
    desk.driver.reset_to(&[8 << 30; 3]);
    (desk, alone)
}

impl Desk {
    pub fn model(&self) -> PathBuf {
        self.folder.path().join("model.gguf")
    }

    /// The model, its layers up to each of these on one GPU after the other.
    pub fn model_on(&self, ends: &[usize]) -> Model {
        let model = Model::load_to(&self.model(), |weights| {
            let decoder = GpuDecoder::new(&spread(ends), weights).unwrap();
            Some(Arc::new(decoder))
        });
        let model = model.unwrap();
        assert_eq!(spread_of(&model), Some(spread(ends)));
        model
    }
}

/// Layers up to each of these on one GPU after the other.
pub fn spread(ends: &[usize]) -> Spread {
    let firsts = std::iter::once(&0).chain(ends);
    let share = |(ordinal, (first, end)): (usize, (&usize, &usize))| Share {
        ordinal,
        layers: *first..*end,
    };
    firsts.zip(ends).enumerate().map(share).collect()
}
