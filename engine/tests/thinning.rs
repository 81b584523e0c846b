//! Caches that the settings want smaller, with a real model: read whole, then less is kept, and questions are answered as before.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod opened;

use lectern_engine::attention::CancelFlag;
use lectern_engine::lectern::{Job, Lectern};
use lectern_protocol::*;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// SmolLM2 keeps what it reads in 8 bits, and a document of more than so many tokens in segments.
async fn open(folder: &Path, kept_percent: u32) -> Arc<Lectern> {
    opened::open(folder, |settings| {
        settings.whole_tokens = 600;
        settings.kept_percent = kept_percent;
    })
    .await
}

type Events = Arc<Mutex<Vec<Event>>>;

fn job(events: &Events) -> Job {
    let events = Arc::clone(events);
    Job::new(
        move |event| events.lock().unwrap().push(event),
        CancelFlag::new(),
    )
}

fn text(days: usize) -> String {
    let days: String = (0..days)
        .map(|day| {
            format!("\n\nOn day {day} the crew mended nets, slept and ate {day} herrings.\n")
        })
        .collect();
    format!("The boat was called Petrel.{days}")
}

async fn add(lectern: &Lectern, folder: &Path, days: usize) -> String {
    let path = folder.join(format!("{days}.txt"));
    std::fs::write(&path, text(days)).unwrap();
    let mut added = lectern
        .add(&[path], None, &job(&Events::default()))
        .await
        .unwrap();
    added.pop().unwrap().document.unwrap().id
}

async fn read(lectern: &Arc<Lectern>, id: &str, events: &Events) -> u64 {
    let read = lectern.read(id, &job(events)).await.unwrap();
    match read.reading {
        ReadState::Read { cache_bytes, .. } => cache_bytes,
        other => panic!("{other:?}"),
    }
}

fn told(events: &Events) -> (Vec<String>, Vec<ReadProgress>) {
    let mut told = (Vec::new(), Vec::new());
    for event in events.lock().unwrap().iter() {
        match event {
            Event::Notice { message } if message.contains("is kept") => {
                told.0.push(message.clone());
            }
            Event::Reading(progress) if progress.making_smaller => told.1.push(*progress),
            _ => {}
        }
    }
    told
}

fn is_damage_told(events: &Events) -> bool {
    let is_told =
        |event: &Event| matches!(event, Event::Notice { message } if message.contains("damaged"));
    events.lock().unwrap().iter().any(is_told)
}

/// Flips a bit of the cache that has so many bytes, before what was appended last: that is checked when it is opened.
fn damage(folder: &Path, bytes: u64) {
    let caches = std::fs::read_dir(opened::home(folder).caches()).unwrap();
    let blocks = caches.map(|cache| cache.unwrap().path().join("blocks.kv"));
    let size = |path: &std::path::PathBuf| std::fs::metadata(path).unwrap().len();
    let found: Vec<_> = blocks.filter(|path| size(path) == bytes).collect();
    assert_eq!(found.len(), 1);
    let mut damaged = std::fs::read(&found[0]).unwrap();
    let place = damaged.len() * 3 / 10;
    damaged[place] ^= 1;
    std::fs::write(&found[0], damaged).unwrap();
}

async fn ask(lectern: &Arc<Lectern>, id: &str) -> Answer {
    let ask = opened::question(id, "What was the boat called?", 12);
    lectern.ask(ask, &job(&Events::default())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_made_smaller_once_and_answers_without_being_read_again() {
    let folder = tempfile::tempdir().unwrap();
    // One is read as a whole, one in segments.
    for days in [20, 90] {
        let lectern = open(folder.path(), 100).await;
        let id = add(&lectern, folder.path(), days).await;
        let events = Events::default();
        let whole = read(&lectern, &id, &events).await;
        assert_eq!(told(&events), (Vec::new(), Vec::new()));
        let before = ask(&lectern, &id).await;
        drop(lectern);
        // What a disk has damaged meanwhile is read again before anything is judged by it.
        damage(folder.path(), whole);

        let lectern = open(folder.path(), 60).await;
        assert!(lectern.summary(&id).await.unwrap().could_be_smaller);
        let smaller = read(&lectern, &id, &events).await;
        assert!(is_damage_told(&events));
        assert!(smaller < whole * 9 / 10, "{smaller} of {whole}");
        let (notices, progress) = told(&events);
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(!progress.is_empty() && progress.iter().all(|p| p.tokens <= p.total));
        assert!(!lectern.summary(&id).await.unwrap().could_be_smaller);
        let Outcome::Storage { cache_bytes, .. } = lectern.storage().unwrap() else {
            panic!("not the storage");
        };
        assert!(cache_bytes >= smaller);

        let after = ask(&lectern, &id).await;
        assert_eq!(after.timings.read_tokens, 0);
        assert_eq!(after.strategy, before.strategy);
        assert!(!after.answer.is_empty());
        // Nothing is left to be done, and nothing comes back by itself.
        let events = Events::default();
        assert_eq!(read(&lectern, &id, &events).await, smaller);
        assert_eq!(told(&events).0, Vec::<String>::new());
        drop(lectern);
        let lectern = open(folder.path(), 100).await;
        assert_eq!(read(&lectern, &id, &events).await, smaller);
        lectern.forget(&id).await.unwrap();
        assert_eq!(read(&lectern, &id, &events).await, whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_while_it_is_made_smaller_a_document_is_read_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path(), 40).await;
    let id = add(&lectern, folder.path(), 90).await;
    let cancel = CancelFlag::new();
    let stops = cancel.clone();
    let job = Job::new(
        move |event| {
            if matches!(event, Event::Reading(p) if p.making_smaller && p.tokens > 0) {
                stops.cancel();
            }
        },
        cancel,
    );
    let stopped = lectern.read(&id, &job).await.unwrap_err();
    assert_eq!(stopped.code, FailureCode::Cancelled);
    let summary = lectern.summary(&id).await.unwrap();
    assert!(
        matches!(summary.reading, ReadState::Read { .. }),
        "{summary:?}"
    );
    assert!(summary.could_be_smaller);
    let answer = ask(&lectern, &id).await;
    assert_eq!(answer.timings.read_tokens, 0);
}
