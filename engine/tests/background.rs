//! What nobody waits for is computed behind all else that the machine has to do; what a person waits for is not.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod opened;

use lectern_protocol::ReadState;
use opened::{add_log, job};

/// Nanoseconds that this program's threads have computed: those in the background, and all the others that live.
fn computed() -> (u64, u64) {
    let (mut background, mut others) = (0, 0);
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let thread = thread.unwrap().path();
        let read = |file: &str| std::fs::read_to_string(thread.join(file));
        // A thread may end meanwhile.
        let (Ok(name), Ok(spent)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        let spent: u64 = spent.split(' ').next().unwrap().parse().unwrap();
        match name.starts_with("background-") {
            true => background += spent,
            false => others += spent,
        }
    }
    (background, others)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_computes_behind_all_else_unless_somebody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = opened::open(folder.path(), |_| ()).await;
    let [first, second] = [
        add_log(&lectern, folder.path(), "one.txt", 40).await,
        add_log(&lectern, folder.path(), "two.txt", 40).await,
    ];

    let before = computed();
    let read = lectern.read(&first, &job()).await.unwrap();
    assert!(matches!(read.reading, ReadState::Read { .. }));
    let after = computed();
    let (background, others) = (after.0 - before.0, after.1 - before.1);
    assert!(
        background > others,
        "a reading: {background} ns in the background, {others} ns elsewhere"
    );

    // It has to be read for the answer.
    let ask = opened::question(&second, "What was the boat called?", 4);
    let answer = lectern.ask(ask, &job()).await.unwrap();
    assert!(answer.timings.read_tokens > 0);
    let (background, others) = (computed().0 - after.0, computed().1 - after.1);
    assert!(
        background < others / 10,
        "a question: {background} ns in the background, {others} ns elsewhere"
    );
}
