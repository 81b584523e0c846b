//! The whole engine behind its handle, with a real model: add, read, ask, remember, make room, remove.
#![allow(clippy::unwrap_used)]

mod long;
#[allow(dead_code)]
#[path = "../opened/mod.rs"]
mod opened;

use lectern_engine::attention::CancelFlag;
use lectern_engine::home::Home;
use lectern_engine::lectern::{Job, Lectern};
use lectern_protocol::*;
use opened::open;
use std::path::Path;
use std::sync::{Arc, Mutex};

type Events = Arc<Mutex<Vec<Event>>>;

fn job(events: &Events) -> Job {
    let events = Arc::clone(events);
    Job::new(
        move |event| events.lock().unwrap().push(event),
        CancelFlag::new(),
    )
}

/// Adds a text of a few hundred tokens that no model has seen.
async fn add(lectern: &Lectern, folder: &Path, name: &str, facts: &str) -> DocumentSummary {
    let path = folder.join(name);
    let filler: String = (0..12)
        .map(|day| format!("\n\nOn day {day} the crew of the {name} mended nets and slept.\n"))
        .collect();
    std::fs::write(&path, format!("{facts}{filler}")).unwrap();
    let mut added = lectern
        .add(&[path], None, &job(&Events::default()))
        .await
        .unwrap();
    let added = added.pop().unwrap();
    assert!(added.failure.is_none(), "{added:?}");
    added.document.unwrap()
}

fn question(document: &str, question: &str) -> Ask {
    opened::question(document, question, 12)
}

fn notices(events: &Events) -> Vec<String> {
    let events = events.lock().unwrap();
    events
        .iter()
        .filter_map(|event| match event {
            Event::Notice { message } => Some(message.clone()),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_read_once_asked_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path(), |_| ()).await;
    let document = add(
        &lectern,
        folder.path(),
        "petrel.txt",
        "The boat was called Petrel.",
    )
    .await;
    assert_eq!(document.reading, ReadState::Unread);

    let events = Events::default();
    let first = lectern
        .ask(
            question(&document.id, "What was the boat called?"),
            &job(&events),
        )
        .await
        .unwrap();
    assert!(first.timings.read_tokens > 100, "{:?}", first.timings);
    assert_eq!(first.strategy, Strategy::WholeDocument);
    let read = lectern.summary(&document.id).await.unwrap();
    assert!(matches!(read.reading, ReadState::Read { cache_bytes, .. } if cache_bytes > 0));

    // Another handle on the same library, as after a restart: nothing is read again, and the conversation goes on.
    let again = open(folder.path(), |_| ()).await;
    let second = again
        .ask(
            Ask {
                conversation: first.conversation.clone(),
                ..question(&document.id, "What did the crew mend?")
            },
            &job(&Events::default()),
        )
        .await
        .unwrap();
    assert_eq!(second.timings.read_tokens, 0);
    assert_eq!(second.conversation, first.conversation);
    let conversation = again
        .conversation(first.conversation.as_deref().unwrap())
        .await
        .unwrap();
    assert_eq!(conversation.turns.len(), 2);
    let (_, markdown) = again
        .export(&conversation.id, ExportFormat::Markdown)
        .await
        .unwrap();
    assert!(markdown.contains("What did the crew mend?"), "{markdown}");

    // Of a conversation about another document there is nothing to go on with.
    let other = add(&again, folder.path(), "other.txt", "Another text.").await;
    let strange = again
        .ask(
            Ask {
                conversation: first.conversation.clone(),
                ..question(&other.id, "And?")
            },
            &job(&Events::default()),
        )
        .await
        .unwrap_err();
    assert_eq!(strange.code, FailureCode::NotFound);

    again.forget(&document.id).await.unwrap();
    let forgotten = again.summary(&document.id).await.unwrap();
    assert_eq!(forgotten.reading, ReadState::Unread);
    again.remove(&document.id).await.unwrap();
    assert!(again.conversation(&conversation.id).await.is_err());
    let Outcome::Storage { cache_bytes, .. } = again.storage().unwrap() else {
        panic!()
    };
    assert_eq!(cache_bytes, 0);
}

/// What is kept in a format that is no longer read is no reading, and takes no room; what a later version may have kept
/// stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_full_is_another_one_over_the_same_cache() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path(), |_| ()).await;
    let facts = "The boat was called Petrel. It was built in Bergen in 1911, and sank in a storm.";
    let document = add(&lectern, folder.path(), "petrel.txt", facts).await;
    let ask = opened::question(&document.id, "What is known of the boat?", 40);
    let events = Events::default();
    let short = lectern.ask(ask.clone(), &job(&events)).await.unwrap();
    let settings = Settings {
        full_answers: true,
        ..lectern.settings()
    };
    lectern.change_settings(settings).unwrap();
    let full = lectern.ask(ask, &job(&events)).await.unwrap();
    assert_ne!(full.answer, short.answer);
    assert_eq!(full.question, short.question);
    assert_eq!(full.timings.read_tokens, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_outlive_neither_their_format_nor_a_promise() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path(), |_| ()).await;
    let document = add(&lectern, folder.path(), "petrel.txt", "A boat.").await;
    let asked = question(&document.id, "What?");
    lectern.ask(asked, &job(&Events::default())).await.unwrap();
    drop(lectern);
    let caches = Home::at(&folder.path().join("home")).caches();
    let cache = std::fs::read_dir(&caches).unwrap().next().unwrap();
    let manifest = cache.unwrap().path().join("manifest.json");
    for (format, stays) in [(1_000_000, true), (4, false)] {
        let json = std::fs::read(&manifest).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        json["identity"]["format"] = format.into();
        std::fs::write(&manifest, json.to_string()).unwrap();
        let lectern = open(folder.path(), |_| ()).await;
        let summary = lectern.summary(&document.id).await.unwrap();
        assert_eq!(summary.reading, ReadState::Unread);
        assert_eq!(manifest.exists(), stays);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn books_in_a_folder_are_documents_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path(), |_| ()).await;
    let shelf = folder.path().join("shelf");
    std::fs::create_dir_all(shelf.join("novels")).unwrap();
    let sample = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "epub")
        })
        .unwrap();
    let book = shelf.join("novels/Book.EPUB");
    std::fs::copy(sample, &book).unwrap();
    let add = async || {
        lectern
            .add(std::slice::from_ref(&shelf), None, &job(&Events::default()))
            .await
            .unwrap()
    };
    // Nothing but books: the folder itself is no document, and that is no failure.
    let added = add().await;
    assert_eq!(added.len(), 1, "{added:?}");
    assert_eq!(added[0].path, book.display().to_string());
    assert!(!added[0].known && added[0].failure.is_none(), "{added:?}");

    std::fs::write(shelf.join("notes.txt"), "Chapter two is the best.").unwrap();
    let added = add().await;
    assert_eq!(added.len(), 2, "{added:?}");
    assert!(added[0].known);
    let notes = added[1].document.as_ref().unwrap();
    assert_eq!(
        (notes.format, added[1].known),
        (DocumentFormat::Code, false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_is_mended_and_the_question_answered() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path(), |_| ()).await;
    let document = add(
        &lectern,
        folder.path(),
        "petrel.txt",
        "The boat was called Petrel.",
    )
    .await;
    let ask = question(&document.id, "What was the boat called?");
    let sound = lectern
        .ask(ask.clone(), &job(&Events::default()))
        .await
        .unwrap();
    // One bit in the middle of what was read.
    let caches = folder.path().join("home/caches");
    let cache = std::fs::read_dir(caches).unwrap().next().unwrap().unwrap();
    let blocks = cache.path().join("blocks.kv");
    let mut bytes = std::fs::read(&blocks).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blocks, bytes).unwrap();

    let events = Events::default();
    let mended = lectern.ask(ask, &job(&events)).await.unwrap();
    assert_eq!(mended.answer, sound.answer);
    assert!(mended.timings.read_tokens > 0, "{:?}", mended.timings);
    assert!(
        notices(&events)[0].contains("damaged"),
        "{:?}",
        notices(&events)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_longest_ago_makes_room_and_the_person_is_told() {
    let folder = tempfile::tempdir().unwrap();
    // Room for one document of a few hundred tokens (SmolLM2 keeps 23 kB a token in half precision), not for two.
    let lectern = open(folder.path(), |settings| {
        settings.cache_budget_bytes = 12_000_000;
        settings.kv_format = lectern_protocol::KvFormat::F16;
    })
    .await;
    let one = add(&lectern, folder.path(), "one.txt", "The first text.").await;
    let two = add(&lectern, folder.path(), "two.txt", "The second text.").await;
    let events = Events::default();
    lectern.read(&one.id, &job(&events)).await.unwrap();
    assert!(notices(&events).is_empty(), "{:?}", notices(&events));
    let second = lectern.read(&two.id, &job(&events)).await.unwrap();
    assert!(matches!(second.reading, ReadState::Read { .. }));
    let told = notices(&events);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("“one”"), "{told:?}");
    let first = lectern.summary(&one.id).await.unwrap();
    assert_eq!(first.reading, ReadState::Unread);
}

/// Far more than a question asked at once would read first.
fn long_text() -> String {
    let days: String = (0..100)
        .map(|day| format!("\n\nOn day {day} of the long voyage the crew mended nets and slept.\n"))
        .collect();
    format!("The captain was called Aurel Dunmore.{days}\n\nThe cook was called Benna Oakes.\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_asked_at_once_overtakes_the_reading() {
    let folder = tempfile::tempdir().unwrap();
    // Its model reads a document of that length in segments where it may choose.
    let lectern = open(folder.path(), |settings| settings.whole_tokens = 4096).await;
    let document = add(&lectern, folder.path(), "voyage.txt", &long_text()).await;
    let at_once = |words: &str| Ask {
        at_once: Some(true),
        ..question(&document.id, words)
    };

    // Nothing is read yet: passages alone.
    let unread = lectern
        .ask(
            at_once("What was the cook called?"),
            &job(&Events::default()),
        )
        .await
        .unwrap();
    assert_eq!(unread.strategy, Strategy::PartlyRead);
    assert!(unread.timings.read_tokens < 900, "{:?}", unread.timings);
    assert!(
        unread
            .coverage
            .iter()
            .any(|span| span.end > document.text_bytes - 40),
        "the last passage answers, and was not seen: {:?}",
        unread.coverage
    );

    // While it is read: what was read so far, and the passage at the end; the reading goes on.
    let (read_some, reading) = tokio::sync::mpsc::unbounded_channel();
    let mut reading = (reading, 0);
    let reader = Arc::clone(&lectern);
    let id = document.id.clone();
    let reads = tokio::spawn(async move {
        let tell = move |event| {
            if let Event::Reading(progress) = event {
                let _ = read_some.send(progress.tokens);
            }
        };
        reader.read(&id, &Job::new(tell, CancelFlag::new())).await
    });
    while reading.1 < 256 {
        reading.1 = reading.0.recv().await.unwrap();
    }
    let meanwhile = lectern
        .ask(
            at_once("What was the cook called?"),
            &job(&Events::default()),
        )
        .await
        .unwrap();
    assert!(
        !reads.is_finished(),
        "the document is too short for this test"
    );
    assert_eq!(meanwhile.strategy, Strategy::PartlyRead);
    let (first, last) = (meanwhile.coverage[0], meanwhile.coverage.last().unwrap());
    assert!(
        first.start == 0 && first.end > 500,
        "{:?}",
        meanwhile.coverage
    );
    assert!(
        last.end > document.text_bytes - 40,
        "{:?}",
        meanwhile.coverage
    );

    // Read to its end, the same question sees it whole.
    let read = reads.await.unwrap().unwrap();
    assert!(matches!(read.reading, ReadState::Read { .. }), "{read:?}");
    let whole = lectern
        .ask(
            at_once("What was the cook called?"),
            &job(&Events::default()),
        )
        .await
        .unwrap();
    assert_eq!(whole.strategy, Strategy::WholeDocument);
    assert_eq!(whole.timings.read_tokens, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_document_ends_its_reading() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path(), |_| ()).await;
    let filler = "The crew mended nets, and wrote nothing down about it. ".repeat(400);
    let document = add(&lectern, folder.path(), "long.txt", &filler).await;
    let (started, begun) = tokio::sync::oneshot::channel();
    let started = Mutex::new(Some(started));
    let reading = Job::new(
        move |event| {
            if matches!(event, Event::Reading(progress) if !progress.waiting)
                && let Some(started) = started.lock().unwrap().take()
            {
                let _ = started.send(());
            }
        },
        CancelFlag::new(),
    );
    let reader = Arc::clone(&lectern);
    let id = document.id.clone();
    let read = tokio::spawn(async move { reader.read(&id, &reading).await });
    begun.await.unwrap();
    lectern.remove(&document.id).await.unwrap();
    let failure = read.await.unwrap().unwrap_err();
    assert_eq!(failure.code, FailureCode::Cancelled);
    assert!(lectern.list().await.unwrap().is_empty());
}
