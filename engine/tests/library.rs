//! The library on a real disk: what is stored comes back, what crashed is swept, what is searched is found.
#![allow(clippy::unwrap_used)]

use lectern_engine::document::{
    Anchor, Block, BlockKind, Document, DocumentKind, Page, Quad, Section, SectionKind, Span,
};
use lectern_engine::home::Home;
use lectern_engine::library::{
    ContentHash, Incoming, Library, LibraryError, NewDocument, NewVersion, Turn,
};
use lectern_engine::retrieval;
use lectern_protocol::{Answer, Failure, FailureCode, Strategy, Timings};
use sqlx::{Either, Executor, SqlSafeStr, Statement};
use std::collections::{HashMap, HashSet};
use std::path::Path;

fn paragraphs(title: &str, words: &[&str]) -> Document {
    let mut text = String::new();
    let mut blocks = Vec::new();
    for paragraph in words {
        let start = text.len();
        text.push_str(paragraph);
        blocks.push(Block {
            kind: BlockKind::Paragraph,
            span: Span::new(start, text.len()),
            marks: Vec::new(),
        });
        text.push_str("\n\n");
    }
    Document {
        kind: DocumentKind::Text,
        title: title.to_owned(),
        authors: Some("A. N. Author".to_owned()),
        sections: vec![Section {
            kind: SectionKind::Heading,
            title: "One".to_owned(),
            depth: 0,
            span: Span::new(0, text.len()),
            item: String::new(),
        }],
        text,
        blocks,
        pages: Vec::new(),
        notices: vec!["page 3 holds no text".to_owned()],
    }
}

fn answer(question: &str, words: &str) -> Answer {
    Answer {
        question: question.to_owned(),
        answer: words.to_owned(),
        sentences: Vec::new(),
        coverage: Vec::new(),
        timings: Timings::default(),
        model: "m".to_owned(),
        strategy: Strategy::WholeDocument,
        conversation: None,
        stopped: false,
        far: false,
        nearest: Vec::new(),
        looked_for: None,
    }
}

async fn add(library: &Library, file: &Path, document: &Document) -> (String, bool) {
    let incoming = Incoming::copy(library.home(), file, &|| false).unwrap();
    library
        .insert(&NewDocument {
            hash: incoming.hash(),
            source: &file.display().to_string(),
            original: Some(&incoming),
            document,
            passages: &retrieval::passages(document),
        })
        .await
        .unwrap()
}

fn files_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "incoming.lock" && name != "incoming")
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_document_comes_back_whole_and_twice_is_once() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(&folder.path().join("home"));
    let library = Library::open(&home).await.unwrap();
    let file = folder.path().join("A Book.TXT");
    std::fs::write(&file, "Call me Ishmael.").unwrap();
    let mut document = paragraphs("A Book", &["Call me Ishmael.", "Some years ago"]);
    document.kind = DocumentKind::Pdf;
    document.pages = vec![Page {
        number: 1,
        label: "i".to_owned(),
        width: 612.0,
        height: 792.0,
        span: Span::new(0, 16),
        boxes: vec![[1.0, 2.0, 3.5, 4.0]; 16],
        recognised: true,
    }];

    let (id, known) = add(&library, &file, &document).await;
    assert!(!known);
    let again = folder.path().join("copy.txt");
    std::fs::copy(&file, &again).unwrap();
    assert_eq!(add(&library, &again, &document).await, (id.clone(), true));

    let listed = library.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, id);
    assert_eq!((listed[0].words, listed[0].pages), (6, Some(1)));
    let original = library.original(&id).await.unwrap();
    assert_eq!(std::fs::read(&original).unwrap(), b"Call me Ishmael.");
    assert_eq!(original.extension().unwrap(), "txt");

    let stored = library.document(&id[..5]).await;
    assert!(matches!(stored, Err(LibraryError::NoDocument(_))));
    assert_eq!(library.resolve(&id[..5]).await.unwrap(), id);
    let stored = library.document(&id).await.unwrap();
    let mut without_boxes = document.clone();
    without_boxes.pages[0].boxes.clear();
    assert_eq!(stored.document, without_boxes);
    // The boxes are read when they are needed.
    let Anchor::Pages(pages) = library.anchor(&stored, Span::new(5, 7)).await.unwrap() else {
        panic!("a PDF is anchored to its pages");
    };
    assert_eq!(
        (pages.len(), pages[0].page, pages[0].label.as_str()),
        (1, 1, "i")
    );
    assert_eq!(pages[0].quads, [Quad::from_rect(1.0, 2.0, 3.5, 4.0)]);

    library.remove(&id).await.unwrap();
    assert!(library.list().await.unwrap().is_empty());
    assert!(files_in(&home.originals()).is_empty());
    let failure = Failure::from(library.remove(&id).await.unwrap_err());
    assert_eq!(failure.code, FailureCode::NotFound);
}

#[tokio::test]
async fn what_a_crash_leaves_is_swept_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let library = Library::open(&home).await.unwrap();
    let file = folder.path().join("kept.txt");
    std::fs::write(&file, "kept").unwrap();
    add(&library, &file, &paragraphs("kept", &["kept"])).await;
    let kept = files_in(&home.originals());

    let orphan = home.originals().join(format!("{}.pdf", "a".repeat(64)));
    let half = home.originals().join("incoming/1-0/half.pdf");
    let foreign = home.originals().join("notes.txt");
    std::fs::create_dir_all(half.parent().unwrap()).unwrap();
    for path in [&orphan, &half, &foreign] {
        std::fs::write(path, "x").unwrap();
    }
    // While another Lectern is adding, nothing is swept.
    let adding = Incoming::copy(&home, &file, &|| false).unwrap();
    Library::open(&home).await.unwrap();
    assert!(orphan.exists() && half.exists());
    drop(adding);
    Library::open(&home).await.unwrap();
    assert!(!orphan.exists() && !half.exists());
    assert!(foreign.exists(), "a file that is not ours was removed");
    assert!(kept.iter().all(|name| home.originals().join(name).exists()));
}

#[tokio::test]
async fn a_cancelled_copy_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let library = Library::open(&home).await.unwrap();
    let file = folder.path().join("a.txt");
    std::fs::write(&file, "a").unwrap();
    let cancelled = Incoming::copy(&home, &file, &|| true).unwrap_err();
    assert_eq!(Failure::from(cancelled).code, FailureCode::Cancelled);
    let vanished = Incoming::copy(&home, &folder.path().join("b.txt"), &|| false).unwrap_err();
    assert!(vanished.to_string().contains("b.txt"), "{vanished}");
    library.close().await;
    assert_eq!(
        std::fs::read_dir(home.originals().join("incoming"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lecterns_add_the_same_and_different_things() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let libraries = [
        Library::open(&home).await.unwrap(),
        Library::open(&home).await.unwrap(),
    ];
    let mut jobs = Vec::new();
    for (which, library) in libraries.iter().enumerate() {
        for number in 0..10 {
            let library = library.clone();
            // Even numbers are the same content for both.
            let words = format!(
                "document {} {}",
                number,
                if number % 2 == 0 { 0 } else { which }
            );
            let file = folder.path().join(format!("{which}-{number}.txt"));
            std::fs::write(&file, &words).unwrap();
            jobs.push(tokio::spawn(async move {
                add(&library, &file, &paragraphs("t", &[&words])).await
            }));
        }
    }
    let mut new = 0;
    for job in jobs {
        new += usize::from(!job.await.unwrap().1);
    }
    assert_eq!(new, 15);
    assert_eq!(libraries[0].list().await.unwrap().len(), 15);
    assert_eq!(files_in(&home.originals()).len(), 15);
}

#[tokio::test]
async fn a_library_of_a_newer_lectern_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let library = Library::open(&home).await.unwrap();
    library.close().await;
    let database = sqlx::SqlitePool::connect(&format!("sqlite://{}", home.database().display()))
        .await
        .unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'later', 0, 1, x'00', 0)")
        .execute(&database)
        .await
        .unwrap();
    database.close().await;
    let refused = Library::open(&home).await.unwrap_err();
    assert!(
        matches!(refused, LibraryError::Newer { version: 9999, .. }),
        "{refused}"
    );
}

/// The queries were checked against the schema when `engine/.sqlx` was written; this checks that neither has changed
/// since.
#[tokio::test]
async fn every_checked_query_fits_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    Library::open(&home).await.unwrap().close().await;
    let database = sqlx::SqlitePool::connect(&format!("sqlite://{}", home.database().display()))
        .await
        .unwrap();
    let metadata = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let mut checked = 0;
    for entry in std::fs::read_dir(metadata).unwrap() {
        let json = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let query = json["query"].as_str().unwrap().to_owned();
        let parameters = json["describe"]["parameters"]["Right"].as_u64().unwrap();
        let columns = json["describe"]["columns"].as_array().unwrap().len();
        let prepared = database
            .prepare(sqlx::AssertSqlSafe(query.clone()).into_sql_str())
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(prepared.columns().len(), columns, "{query}");
        let found = prepared.parameters();
        assert!(
            matches!(found, Some(Either::Right(found)) if found as u64 == parameters),
            "{query}: {found:?}"
        );
        checked += 1;
    }
    assert!(checked > 30, "{checked} queries");
}

#[tokio::test]
async fn passages_are_ranked_by_what_is_rare_in_their_own_document() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(&Home::at(folder.path())).await.unwrap();
    // "holmes" is in every passage of the book, and nowhere else in the library.
    let filler = |word: &str| format!("Holmes Holmes said {word}. {}", "and so on ".repeat(60));
    let book = paragraphs(
        "book",
        &[
            &filler("nothing"),
            &filler("the Zürich goose"),
            &filler("東京都に住む"),
        ],
    );
    for (name, hash, document) in [
        ("book", 1, &book),
        (
            "other",
            2,
            &paragraphs("other", &["A goose is a bird. ".repeat(40).as_str(); 20]),
        ),
    ] {
        library
            .insert(&NewDocument {
                hash: ContentHash([hash; 32]),
                source: name,
                original: None,
                document,
                passages: &retrieval::passages(document),
            })
            .await
            .unwrap();
    }
    let id = ContentHash([1; 32]).id();
    for (question, block) in [
        ("What did Holmes say of the GOOSE?", 1),
        ("zurich", 1),
        ("京都", 2),
    ] {
        let ranked = retrieval::rank(&library, &id, question, None)
            .await
            .unwrap();
        assert!(
            ranked[0].span.contains(book.blocks[block].span),
            "{question}: {ranked:?}"
        );
    }
    // Nothing in the question says where; what it goes on from does, unless its own words do.
    let turn = "What did Holmes say of the goose? It was a goose.";
    for (question, block) in [("And why was that?", 1), ("Who lives in 京都?", 2)] {
        let ranked = retrieval::rank(&library, &id, question, Some(turn)).await;
        let best = ranked.unwrap()[0].span;
        assert!(
            best.contains(book.blocks[block].span),
            "{question}: {best:?}"
        );
    }
    let none = retrieval::rank(&library, &id, "\" OR * NEAR(", None)
        .await
        .unwrap();
    assert!(none.is_empty(), "{none:?}");
    let failure = library
        .original(&id)
        .await
        .map_err(Failure::from)
        .unwrap_err();
    assert_eq!(failure.code, FailureCode::NotFound);
}

#[tokio::test]
async fn conversations_are_kept_searched_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(&Home::at(folder.path())).await.unwrap();
    let file = folder.path().join("a.txt");
    std::fs::write(&file, "a").unwrap();
    let (document, _) = add(&library, &file, &paragraphs("a", &["a"])).await;
    let turn = |conversation, answer| Turn {
        document: &document,
        conversation,
        answer,
    };
    let first = answer("Who lives in Baker Street?", "Sherlock Holmes.");
    let second = answer("Since when?", "Since 1881.");
    let third = answer("首都は?", "東京都です。");
    let one = library.keep_turn(&turn(None, &first)).await.unwrap();
    assert_eq!(
        library.keep_turn(&turn(Some(&one), &second)).await.unwrap(),
        one
    );
    let two = library.keep_turn(&turn(None, &third)).await.unwrap();

    let whole = library.conversation(&one).await.unwrap();
    assert_eq!(whole.turns.len(), 2);
    assert_eq!(whole.turns[1].answer, "Since 1881.");
    assert_eq!(whole.turns[0].conversation.as_ref(), Some(&one));

    let ids = async |document: Option<&str>, query: Option<&str>| -> Vec<String> {
        library
            .conversations(document, query)
            .await
            .unwrap()
            .into_iter()
            .map(|summary| summary.id)
            .collect()
    };
    assert_eq!(ids(None, None).await, [two.clone(), one.clone()]);
    assert_eq!(
        ids(Some(&document), Some("sherlock STREET")).await,
        std::slice::from_ref(&one)
    );
    assert_eq!(ids(None, Some("東京")).await, std::slice::from_ref(&two));
    assert!(ids(None, Some("京東")).await.is_empty());
    assert!(ids(None, Some("\"")).await.is_empty());
    assert!(ids(Some("0000000000000000"), None).await.is_empty());

    let unknown = library.keep_turn(&turn(Some("nope"), &first)).await;
    assert!(matches!(unknown, Err(LibraryError::NoConversation(_))));
    library.delete_conversation(&one).await.unwrap();
    assert!(ids(None, Some("sherlock")).await.is_empty());
    library.remove(&document).await.unwrap();
    assert!(ids(None, None).await.is_empty());
    assert!(library.conversation(&two).await.is_err());
}

#[tokio::test]
async fn vectors_belong_to_texts_and_outlive_a_new_version() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(&Home::at(folder.path())).await.unwrap();
    let file = folder.path().join("a.txt");
    std::fs::write(&file, "a").unwrap();
    let (id, _) = add(&library, &file, &paragraphs("a", &["one", "two"])).await;
    let [one, two, three] = ["one", "two", "three"].map(retrieval::text_number);
    // As large as a number gets: SQLite's have a sign.
    let (model, other) = (u64::MAX - 1, 7);
    let vector = |byte: u8| vec![byte; 384];
    let both = [(one, vector(1)), (two, vector(255))];
    library.keep_vectors(&id, model, &both).await.unwrap();
    library.keep_vectors(&id, other, &both).await.unwrap();
    let kept = library.vectors(&id, model).await.unwrap();
    assert_eq!(kept, HashMap::from(both));
    // "two" is gone, "three" is new.
    let changed = paragraphs("a", &["one", "three"]);
    let new = NewDocument {
        hash: ContentHash([9; 32]),
        source: "a.txt",
        original: None,
        document: &changed,
        passages: &retrieval::passages(&changed),
    };
    let version = NewVersion {
        new: &new,
        earlier_text: None,
        stamp: None,
    };
    library.replace(&id, &version, &|_| ()).await.unwrap();
    assert_eq!(library.vectors(&id, model).await.unwrap().len(), 2);
    let texts = HashSet::from([one, three]);
    library.keep_only_vectors(&id, model, &texts).await.unwrap();
    let kept = library.vectors(&id, model).await.unwrap();
    assert_eq!(kept, HashMap::from([(one, vector(1))]));
    assert!(library.vectors(&id, other).await.unwrap().is_empty());
    library.remove(&id).await.unwrap();
    assert!(library.vectors(&id, model).await.unwrap().is_empty());
    // Of a document that is not there nothing is kept.
    library
        .keep_vectors(&id, model, &[(one, vector(1))])
        .await
        .unwrap();
    assert!(library.vectors(&id, model).await.unwrap().is_empty());
}
