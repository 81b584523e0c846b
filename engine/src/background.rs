//! Threads for what nobody waits for: as many as compute for questions, but behind all else that the machine has to do.
//!
//! Reading a book keeps the processors busy for minutes to hours; on Linux these threads have a niceness of [`NICENESS`], so that it
//! takes what others leave. A thread cannot be made less nice again without privileges, so they are not those that answer. A
//! question stops a reading (`lectern/seat.rs`), so the two hardly ever compute at the same time.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;

/// Stack of a computing thread.
pub const STACK: usize = 8 << 20;

/// What is added to the process's own niceness.
const NICENESS: i32 = 10;

/// What every such thread's name begins with.
const NAME: &str = "background";

/// Computes on these threads if nobody waits for it.
pub(crate) fn run_if<T: Send>(nobody_waits: bool, work: impl FnOnce() -> T + Send) -> T {
    match nobody_waits {
        true => run(work),
        false => work(),
    }
}

/// Computes on these threads, if they can be started, or else on the caller's.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static THREADS: OnceLock<Option<ThreadPool>> = OnceLock::new();
    match THREADS.get_or_init(start) {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

fn start() -> Option<ThreadPool> {
    let started = ThreadPoolBuilder::new()
        .num_threads(rayon::current_num_threads())
        .stack_size(STACK)
        .thread_name(|number| format!("{NAME}-{number}"))
        .start_handler(|_| be_nice())
        .build();
    started
        .inspect_err(|error| tracing::warn!("what nobody waits for is not put behind: {error}"))
        .ok()
}

/// Elsewhere it would be the whole process.
fn be_nice() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!("a thread is as urgent as all others: {error}");
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    /// As the kernel tells it, in the 19th field of the thread's `stat`.
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let behind_the_name = stat.rsplit_once(") ").unwrap().1;
        behind_the_name.split(' ').nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn what_runs_there_is_nicer_than_the_caller_and_so_is_what_it_spreads() {
        let before = niceness();
        let there: Vec<i32> = run(|| {
            let spread = (0..64).into_par_iter().map(|_| niceness());
            std::iter::once(niceness())
                .chain(spread.collect::<Vec<_>>())
                .collect()
        });
        assert_eq!(there, [(before + NICENESS).min(19); 65]);
        assert_eq!(niceness(), before);
        assert_eq!(
            rayon::iter::once(()).map(|()| niceness()).sum::<i32>(),
            before
        );
    }
}
