//! Stopping work that runs on other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that whoever wants work to stop raises, and that the work looks at often. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag {
    raised: Arc<AtomicBool>,
    /// Raised while this is.
    also: Option<Wanted>,
}

impl CancelFlag {
    /// A flag that is not raised.
    pub fn new() -> CancelFlag {
        CancelFlag::default()
    }

    /// Asks the work to stop; it does within about 0.1 s.
    pub fn cancel(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to.
    pub fn is_cancelled(&self) -> bool {
        self.raised.load(Ordering::Relaxed) || self.also.as_ref().is_some_and(Wanted::is_wanted)
    }

    /// A flag that is raised where this one is, and as long as the machine is `wanted`.
    pub fn or_wanted(&self, wanted: Option<&Wanted>) -> CancelFlag {
        CancelFlag {
            raised: Arc::clone(&self.raised),
            also: wanted.cloned(),
        }
    }
}

/// Whether somebody waits for the machine: work that nobody waits for gives up what it is at, and does it again later. Clones
/// share it.
#[derive(Debug, Clone, Default)]
pub struct Wanted(Arc<AtomicBool>);

impl Wanted {
    /// Nobody waits.
    pub fn new() -> Wanted {
        Wanted::default()
    }

    /// Says whether somebody waits from now on.
    pub fn set(&self, waits: bool) {
        self.0.store(waits, Ordering::Relaxed);
    }

    /// Whether somebody does.
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
