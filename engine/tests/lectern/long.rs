//! Documents that are longer than the model's window, or than it reads well at once.

use super::opened::open;
use super::{Events, add, job, long_text, question};
use lectern_engine::attention::CancelFlag;
use lectern_engine::lectern::Job;
use lectern_protocol::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_document_longer_than_the_window_is_asked_through_its_passages() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path(), |settings| {
        settings.beyond_window = BeyondWindow::Passages;
        settings.retrieval_tokens = 300;
    })
    .await;
    // Far beyond the 8,192 tokens of SmolLM2.
    let filler = "The crew mended nets, slept, and wrote nothing down about it. ".repeat(2000);
    let facts =
        format!("{filler}\n\nThe harbour master kept an albatross called Ottoline.\n\n{filler}");
    let document = add(&lectern, folder.path(), "long.txt", &facts).await;
    let events = Events::default();
    let measured = lectern.read(&document.id, &job(&events)).await.unwrap();
    assert!(
        matches!(measured.reading, ReadState::TooLong { tokens, window } if tokens > window && window < 8192),
        "{:?}",
        measured.reading
    );
    let answer = lectern
        .ask(
            question(
                &document.id,
                "What was the albatross of the harbour master called?",
            ),
            &job(&events),
        )
        .await
        .unwrap();
    assert_eq!(answer.strategy, Strategy::RetrievedPassages);
    let text = lectern.text(&document.id).await.unwrap();
    let fact = text.find("Ottoline").unwrap() as u32;
    assert!(
        answer
            .coverage
            .iter()
            .any(|span| span.start <= fact && fact < span.end),
        "{:?}",
        answer.coverage
    );
    assert!(answer.timings.read_tokens < 700, "{:?}", answer.timings);
}

/// Its text repeats itself, so that there is little to read into it: what is tested is the way, not the model.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_longer_than_the_window_is_read_in_segments() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path(), |settings| settings.retrieval_tokens = 600).await;
    let filler = "The crew mended nets, slept, and wrote nothing down about it. ".repeat(300);
    let facts =
        format!("{filler}\n\nThe harbour master kept an albatross called Ottoline.\n\n{filler}");
    let document = add(&lectern, folder.path(), "long.txt", &facts).await;
    let text = lectern.text(&document.id).await.unwrap();
    let fact = text.find("The harbour master").unwrap();
    let sees_the_fact = |answer: &Answer| {
        let holds = |span: &TextSpan| (span.start as usize..span.end as usize).contains(&fact);
        answer.coverage.iter().any(holds)
    };
    let events = Events::default();
    let ask = || {
        question(
            &document.id,
            "What was the albatross of the harbour master called?",
        )
    };
    // Nobody waits for it to be read.
    let answer = lectern.ask(ask(), &job(&events)).await.unwrap();
    assert_eq!(answer.strategy, Strategy::PartlyRead);
    assert!(answer.timings.read_tokens < 1000 && sees_the_fact(&answer));

    // Stopped before the fact: what was read is looked at, the passage that holds it is read for the question.
    let cancel = CancelFlag::new();
    let stop = {
        let cancel = cancel.clone();
        move |event| match event {
            Event::Reading(progress) if progress.tokens > 1500 => cancel.cancel(),
            _ => {}
        }
    };
    let stopped = lectern.read(&document.id, &Job::new(stop, cancel)).await;
    assert_eq!(stopped.unwrap_err().code, FailureCode::Cancelled);
    let answer = lectern.ask(ask(), &job(&events)).await.unwrap();
    assert_eq!(answer.strategy, Strategy::PartlyRead);
    assert!(answer.timings.read_tokens < 1000 && sees_the_fact(&answer));

    let read = lectern.read(&document.id, &job(&events)).await.unwrap();
    assert!(
        matches!(read.reading, ReadState::Read { tokens, .. } if tokens > 8192),
        "{:?}",
        read.reading
    );
    let answer = lectern.ask(ask(), &job(&events)).await.unwrap();
    assert_eq!(answer.strategy, Strategy::ReadSegments);
    assert_eq!(answer.timings.read_tokens, 0);
    assert!(sees_the_fact(&answer), "{:?}", answer.coverage);
    let seen: u32 = answer
        .coverage
        .iter()
        .map(|span| span.end - span.start)
        .sum();
    assert!((seen as usize) < text.len() / 4, "{seen} of {}", text.len());
    assert!(!answer.answer.is_empty());

    // What is damaged of the segment that is asked is read again, and nothing else.
    let caches = folder.path().join("home/caches");
    let cache = std::fs::read_dir(&caches).unwrap().next().unwrap().unwrap();
    let blocks = cache.path().join("blocks.kv");
    let mut bytes = std::fs::read(&blocks).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blocks, &bytes).unwrap();
    let mended = lectern.ask(ask(), &job(&events)).await.unwrap();
    assert_eq!(mended.answer, answer.answer);
    assert!(mended.timings.read_tokens <= 256, "{:?}", mended.timings);

    // The other way: what was read stays, answers come from passages.
    let change = |beyond_window| {
        let settings = Settings {
            beyond_window,
            ..lectern.settings()
        };
        lectern.change_settings(settings).unwrap();
    };
    change(BeyondWindow::Passages);
    let answer = lectern.ask(ask(), &job(&events)).await.unwrap();
    assert_eq!(answer.strategy, Strategy::RetrievedPassages);
    let measured = lectern.summary(&document.id).await.unwrap();
    assert!(matches!(measured.reading, ReadState::TooLong { .. }));
    change(BeyondWindow::Read);
    let answer = lectern.ask(ask(), &job(&events)).await.unwrap();
    assert_eq!(answer.strategy, Strategy::ReadSegments);
    assert_eq!(answer.timings.read_tokens, 0, "it was read before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_longer_than_the_model_reads_well_is_read_in_segments_first() {
    let folder = tempfile::tempdir().unwrap();
    let lectern = open(folder.path(), |settings| settings.whole_tokens = 600).await;
    let document = add(&lectern, folder.path(), "voyage.txt", &long_text()).await;
    let ask = |words: &str| question(&document.id, words);
    let events = Events::default();
    let cook = ask("What was the cook called?");
    let answer = lectern.ask(cook, &job(&events)).await.unwrap();
    assert_eq!(answer.strategy, Strategy::ReadSegments);
    assert!(answer.timings.read_tokens > 1500, "{:?}", answer.timings);
    let text = lectern.text(&document.id).await.unwrap();
    let fact = text.find("The cook was called").unwrap() as u32;
    let holds = |span: &TextSpan| span.start <= fact && fact < span.end;
    assert!(answer.coverage.iter().any(holds), "{:?}", answer.coverage);
    // What names nothing is asked of segments spread over all of it.
    let about = ask("What is this document about?");
    let answer = lectern.ask(about, &job(&events)).await.unwrap();
    assert_eq!(answer.strategy, Strategy::ReadSegments);
    assert_eq!(answer.timings.read_tokens, 0);
    assert_eq!(answer.coverage[0].start, 0);
    let seen: u32 = answer
        .coverage
        .iter()
        .map(|span| span.end - span.start)
        .sum();
    assert!(
        seen > document.text_bytes / 2,
        "{seen} of {}",
        document.text_bytes
    );
    // A setting changes it: read anew, as a whole, and the list does not promise more.
    let before = lectern.settings();
    let is_read = async || {
        let summary = lectern.summary(&document.id).await.unwrap();
        match summary.reading {
            ReadState::Read { .. } => true,
            ReadState::Unread => false,
            other => panic!("{other:?}"),
        }
    };
    assert!(is_read().await);
    let whole = Settings {
        whole_tokens: 8000,
        ..before.clone()
    };
    lectern.change_settings(whole).unwrap();
    assert!(!is_read().await);
    let cook = ask("What was the cook called?");
    let answer = lectern.ask(cook, &job(&events)).await.unwrap();
    assert_eq!(answer.strategy, Strategy::WholeDocument);
    assert!(is_read().await);
    // And back: both are kept.
    lectern.change_settings(before).unwrap();
    assert!(is_read().await);
}
