//! A machine that runs on its battery: readings wait, questions do not.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod opened;

use lectern_engine::attention::CancelFlag;
use lectern_engine::lectern::{Job, Lectern};
use lectern_engine::power::Power;
use lectern_protocol::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn supply(folder: &Path, name: &str, says: &[(&str, &str)]) {
    let folder = folder.join("supplies").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for (file, line) in says {
        std::fs::write(folder.join(file), format!("{line}\n")).unwrap();
    }
}

/// On a machine whose battery is being used up.
async fn open(folder: &Path) -> Arc<Lectern> {
    supply(
        folder,
        "BAT0",
        &[("type", "Battery"), ("status", "Discharging")],
    );
    let power = Power::described_in(folder.join("supplies"));
    opened::open_on(power, folder, |_| ()).await
}

fn job() -> (Job, UnboundedReceiver<Event>) {
    let (tell, told) = unbounded_channel();
    let job = Job::new(move |event| drop(tell.send(event)), CancelFlag::new());
    (job, told)
}

/// Waits until a reading says that it waits.
async fn waits(told: &mut UnboundedReceiver<Event>) {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(60), told.recv());
        match event.await.unwrap().unwrap() {
            Event::Notice { message } if message.contains("battery") => return,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_wait_for_the_mains_and_questions_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path()).await;
    let [first, second] = [
        opened::add_log(&lectern, folder.path(), "one.txt", 12).await,
        opened::add_log(&lectern, folder.path(), "two.txt", 12).await,
    ];
    let (reading, mut told) = job();
    let reads = Arc::clone(&lectern);
    let id = first.clone();
    let read = tokio::spawn(async move { reads.read(&id, &reading).await });
    waits(&mut told).await;

    // A question on another document, which has to be read for it, is answered meanwhile.
    let ask = opened::question(&second, "What was the boat called?", 4);
    let answer = lectern.ask(ask, &job().0).await.unwrap();
    assert!(answer.timings.read_tokens > 0);
    assert!(!read.is_finished());
    assert_eq!(
        lectern.summary(&first).await.unwrap().reading,
        ReadState::Unread
    );

    supply(folder.path(), "AC", &[("type", "Mains"), ("online", "1")]);
    let read = tokio::time::timeout(Duration::from_secs(60), read);
    let summary = read.await.unwrap().unwrap().unwrap();
    assert!(matches!(summary.reading, ReadState::Read { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_waits_can_be_stopped_or_told_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path()).await;
    let id = opened::add_log(&lectern, folder.path(), "one.txt", 12).await;
    let start = || {
        let (reading, told) = job();
        let (lectern, id, cancel) = (Arc::clone(&lectern), id.clone(), reading.cancel().clone());
        let read = tokio::spawn(async move { lectern.read(&id, &reading).await });
        (read, told, cancel)
    };
    let (read, mut told, cancel) = start();
    waits(&mut told).await;
    cancel.cancel();
    assert_eq!(
        read.await.unwrap().unwrap_err().code,
        FailureCode::Cancelled
    );

    let (read, mut told, _) = start();
    waits(&mut told).await;
    let settings = Settings {
        read_on_battery: true,
        ..lectern.settings()
    };
    lectern.change_settings(settings).unwrap();
    let read = tokio::time::timeout(Duration::from_secs(60), read);
    assert!(matches!(
        read.await.unwrap().unwrap().unwrap().reading,
        ReadState::Read { .. }
    ));
}
