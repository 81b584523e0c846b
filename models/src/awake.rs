//! Keeps the threads that compute from falling asleep while a token is decoded.
//!
//! A pass over one token meets the other threads five times a layer, for some tens of microseconds of work each time.
//! Between two meetings an idle thread of rayon's goes to sleep, and waking it takes as long as the work (on a virtual
//! machine 50 microseconds and more). So for the few milliseconds of such a pass each other thread looks for work
//! without ever sleeping; it offers the processor to whoever else wants it each time that it finds none, and it is
//! free again when the pass is over.

use std::sync::atomic::{AtomicBool, Ordering};

/// Tokens up to which a pass is worth it: with more, every meeting has work for longer than waking takes.
const FEW_TOKENS: usize = 8;

/// Runs a pass over so many tokens on one of rayon's threads, with the others awake if there are few tokens.
pub(crate) fn pass<T: Send>(tokens: usize, work: impl FnOnce() -> T + Send) -> T {
    let done = &AtomicBool::new(false);
    rayon::scope(|scope| {
        if tokens <= FEW_TOKENS {
            let own = rayon::current_thread_index();
            scope.spawn_broadcast(move |_, thread| {
                if Some(thread.index()) != own {
                    stay_awake(done);
                }
            });
        }
        // Also when `work` panics: the scope would wait for ever.
        let _done = SetWhenDropped(done);
        work()
    })
}

fn stay_awake(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            std::thread::yield_now();
        }
    }
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
