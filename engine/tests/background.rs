//! What nobody waits for is computed behind all else that the machine has to do; what a person waits for is not.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod opened;

use lectern_engine::attention::CancelFlag;
use lectern_engine::lectern::{Job, Lectern};
use lectern_protocol::*;
use std::path::Path;

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

fn job() -> Job {
    Job::new(|_| (), CancelFlag::new())
}

async fn add(lectern: &Lectern, folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let days: String = (0..40)
        .map(|day| format!("\n\nOn day {day} the crew of the {name} mended nets.\n"))
        .collect();
    std::fs::write(&path, format!("The boat was called Petrel.{days}")).unwrap();
    let mut added = lectern.add(&[path], None, &job()).await.unwrap();
    added.pop().unwrap().document.unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_computes_behind_all_else_unless_somebody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = opened::open(folder.path(), |_| ()).await;
    let [first, second] = [
        add(&lectern, folder.path(), "one.txt").await,
        add(&lectern, folder.path(), "two.txt").await,
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
    let ask = Ask {
        document: second,
        question: "What was the boat called?".to_owned(),
        conversation: None,
        max_tokens: Some(4),
        seed: None,
        greedy: Some(true),
        at_once: None,
    };
    let answer = lectern.ask(ask, &job()).await.unwrap();
    assert!(answer.timings.read_tokens > 0);
    let (background, others) = (computed().0 - after.0, computed().1 - after.1);
    assert!(
        background < others / 10,
        "a question: {background} ns in the background, {others} ns elsewhere"
    );
}
