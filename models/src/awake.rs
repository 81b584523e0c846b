//! Keeps the threads that compute from falling asleep while a token is decoded.
//!
//! A pass over one token meets the other threads five times a layer, for some tens of microseconds of work each time.
//! Between two meetings an idle thread of rayon's goes to sleep, and waking it takes as long as the work (on a virtual
//! machine 50 microseconds and more). So for the few milliseconds of such a pass each other thread looks for work
//! without ever sleeping; it offers the processor to whoever else wants it each time that it finds none, and it is
//! free again when the pass is over.
//!
//! A thread may come to stay awake for one pass while work of another pass, or even of the same, lies below on its
//! stack: rayon hands out whatever is there when a thread waits. If it stayed unconditionally, two passes at a time
//! could wait for each other for ever. So it stays only as long as it keeps finding work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Tokens up to which a pass is worth it: with more, every meeting has work for longer than waking takes.
const FEW_TOKENS: usize = 8;

/// How long a thread looks for work in vain before it may sleep again, and what lies below it on its stack goes on.
/// Between two meetings of a pass there are some hundreds of microseconds at most.
const PATIENCE: Duration = Duration::from_millis(5);

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
    let mut found = Instant::now();
    while !done.load(Ordering::Relaxed) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            found = Instant::now();
        } else if found.elapsed() > PATIENCE {
            return;
        } else {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Sums in halves, so that there are waits within work that was stolen.
    fn sum(from: u64, to: u64) -> u64 {
        if to - from < 64 {
            return (from..to).map(std::hint::black_box).sum();
        }
        let middle = from.midpoint(to);
        let (low, high) = rayon::join(|| sum(from, middle), || sum(middle, to));
        low + high
    }

    #[test]
    fn passes_at_the_same_time_do_not_wait_for_each_other() {
        const PASSES: usize = 300;
        let (finished, all) = mpsc::channel();
        for _ in 0..4 {
            let finished = finished.clone();
            std::thread::spawn(move || {
                for _ in 0..PASSES {
                    finished.send(pass(1, || sum(0, 10_000))).unwrap();
                }
            });
        }
        for _ in 0..4 * PASSES {
            let sum = all.recv_timeout(Duration::from_secs(60));
            assert_eq!(sum, Ok(49_995_000), "passes wait for each other");
        }
    }
}
