//! Documents whose source changes: real files, real SQLite, a real model, and a program that is killed half-way.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod opened;

use lectern_engine::attention::CancelFlag;
use lectern_engine::lectern::{Job, Lectern};
use lectern_engine::library::{Library, Turn};
use lectern_protocol::*;
use opened::job;
use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const KILLS: u32 = 15;

async fn open(folder: &Path) -> Arc<Lectern> {
    open_with(folder, 0).await
}

/// Documents of more than `whole_tokens` are read in segments; 0 leaves that to the catalogue.
async fn open_with(folder: &Path, whole_tokens: u32) -> Arc<Lectern> {
    opened::open(folder, |settings| settings.whole_tokens = whole_tokens).await
}

async fn add(lectern: &Lectern, path: &Path) -> DocumentSummary {
    let mut added = lectern.add(&[path.to_owned()], None, &job()).await.unwrap();
    added.pop().unwrap().document.unwrap()
}

fn question(document: &str, question: &str) -> Ask {
    opened::question(document, question, 12)
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn diary(first: &str, last: &str) -> String {
    let days: String = (0..60)
        .map(|day| format!("On day {day} the crew mended nets, ate {day} biscuits and slept.\n\n"))
        .collect();
    format!("{first}\n\n{days}{last}\n")
}

/// An answer that cites these words of a document's text.
async fn keep_answer(folder: &Path, lectern: &Lectern, document: &str, quotes: &[&str]) -> String {
    let text = lectern.text(document).await.unwrap();
    let citation = |quote: &&str| {
        let start = text.find(quote).unwrap() as u32;
        Citation {
            document: document.to_owned(),
            start,
            end: start + quote.len() as u32,
            quote: (*quote).to_owned(),
            anchor: AnchorView::Flow {
                section: String::new(),
                line: 1,
                block: 0,
            },
            score: 1.0,
            gone: false,
        }
    };
    let answer = Answer {
        question: "What happened?".to_owned(),
        answer: "This.".to_owned(),
        sentences: vec![AnswerSentence {
            text: "This.".to_owned(),
            span: TextSpan { start: 0, end: 5 },
            state: SupportState::Supported,
            citations: quotes.iter().map(citation).collect(),
        }],
        coverage: vec![TextSpan {
            start: 0,
            end: text.len() as u32,
        }],
        timings: Timings::default(),
        model: "m".to_owned(),
        strategy: Strategy::WholeDocument,
        conversation: None,
        stopped: false,
        far: false,
        nearest: quotes.iter().map(citation).collect(),
        looked_for: None,
    };
    let library = Library::open(&opened::home(folder)).await.unwrap();
    let turn = Turn {
        document,
        conversation: None,
        answer: &answer,
    };
    let id = library.keep_turn(&turn).await.unwrap();
    library.close().await;
    id
}

/// The citations of a conversation's only answer, each checked: it quotes what it points at, or points nowhere.
async fn citations(lectern: &Lectern, conversation: &str) -> Vec<Citation> {
    let kept = lectern.conversation(conversation).await.unwrap();
    let text = lectern.text(&kept.document).await.unwrap();
    let cited = kept.turns[0].sentences[0].citations.clone();
    // What only came near is not missed where it is gone.
    let standing: Vec<Citation> = cited.iter().filter(|c| !c.gone).cloned().collect();
    assert_eq!(kept.turns[0].nearest, standing);
    for citation in &cited {
        match citation.gone {
            true => assert_eq!((citation.start, citation.end), (0, 0)),
            false => assert_eq!(
                text[citation.start as usize..citation.end as usize],
                citation.quote
            ),
        }
    }
    cited
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_before_the_change_is_kept_and_answers_as_if_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("diary.txt");
    write(
        &file,
        &diary("The boat was called Petrel.", "They landed in Oban."),
    );
    let lectern = open(folder.path()).await;
    let document = add(&lectern, &file).await;
    lectern.read(&document.id, &job()).await.unwrap();
    assert!(lectern.changes().await.unwrap().is_empty());

    let later = diary("The boat was called Petrel.", "They landed in Skye.");
    write(&file, &later);
    let changes = lectern.changes().await.unwrap();
    assert_eq!(
        changes,
        [SourceChange {
            document: document.id.clone(),
            state: SourceState::Changed
        }]
    );
    let refreshed = lectern
        .refresh(&document.id, None, false, &job())
        .await
        .unwrap();
    assert_eq!(refreshed.state, RefreshedState::Updated);
    assert_eq!(refreshed.document.id, document.id);
    assert_eq!(
        refreshed.unchanged_bytes as usize,
        later.find("Skye").unwrap()
    );
    assert!(lectern.changes().await.unwrap().is_empty());
    let again = lectern
        .refresh(&document.id, None, false, &job())
        .await
        .unwrap();
    assert_eq!(again.state, RefreshedState::Unchanged);

    let adopted = lectern
        .ask(question(&document.id, "Where did they land?"), &job())
        .await
        .unwrap();
    let ReadState::Read { tokens, .. } = lectern.summary(&document.id).await.unwrap().reading
    else {
        panic!("not read");
    };
    println!(
        "{} of {tokens} tokens were read again",
        adopted.timings.read_tokens
    );
    assert!(adopted.timings.read_tokens < tokens / 2, "{adopted:?}");
    // The cache of the version before is gone.
    let caches = std::fs::read_dir(folder.path().join("home/caches")).unwrap();
    assert_eq!(caches.count(), 1);

    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("diary.txt");
    write(&copy, &later);
    let fresh = open(elsewhere.path()).await;
    let anew = add(&fresh, &copy).await;
    let answer = fresh
        .ask(question(&anew.id, "Where did they land?"), &job())
        .await
        .unwrap();
    assert_eq!(answer.answer, adopted.answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_long_document_what_stands_behind_a_change_is_kept_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("diary.txt");
    // Days of different lengths, as passages come to begin at the same ones again.
    let days = |range: std::ops::Range<usize>| -> String {
        let ate = |day: usize| "ate a biscuit and ".repeat(1 + day * 7 % 13);
        range
            .map(|day| format!("On day {day} they {}slept.\n\n", ate(day)))
            .collect()
    };
    let of = |landed: &str| format!("{}{landed}\n\n{}", days(0..30), days(30..120));
    write(&file, &of("They landed in Oban."));
    let lectern = open_with(folder.path(), 600).await;
    let document = add(&lectern, &file).await;
    lectern.read(&document.id, &job()).await.unwrap();

    write(&file, &of("They landed in the harbour of Skye."));
    lectern
        .refresh(&document.id, None, false, &job())
        .await
        .unwrap();
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let job = Job::new(
        move |event| {
            if let Event::Notice { message } = event {
                tell.lock().unwrap().push(message);
            }
        },
        CancelFlag::new(),
    );
    lectern.read(&document.id, &job).await.unwrap();
    let told = told.lock().unwrap().join("\n");
    let kept = told.lines().find_map(|line| {
        line.split_once("% of it had been read")?
            .0
            .parse::<u32>()
            .ok()
    });
    // The change ends the first quarter, so more than what stands before it.
    assert!(
        kept.is_some_and(|share| (50..100).contains(&share)),
        "{told}"
    );
    let ReadState::Read { .. } = lectern.summary(&document.id).await.unwrap().reading else {
        panic!("not read");
    };
    let caches = std::fs::read_dir(folder.path().join("home/caches")).unwrap();
    assert_eq!(caches.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_stay_and_their_citations_follow_the_words() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("project");
    let open_cache = "pub fn open(path: &Path) -> Cache {\n    Cache::at(path)\n}\n";
    let close_cache = "pub fn close(cache: Cache) {\n    drop(cache);\n}\n";
    write(
        &root.join("src/a.rs"),
        &format!("{open_cache}\n{close_cache}"),
    );
    write(
        &root.join("src/b.rs"),
        "fn last() -> usize {\n    41 + 1\n}\n",
    );
    write(&root.join("notes.md"), "Nothing here.\n");
    let lectern = open(folder.path()).await;
    let document = add(&lectern, &root).await;
    let quotes = ["Cache::at(path)", "drop(cache);", "41 + 1"];
    let kept = keep_answer(folder.path(), &lectern, &document.id, &quotes).await;

    let cited_by = async |words: &str| {
        let text = lectern.text(&document.id).await.unwrap();
        let start = text.find(words).unwrap() as u32;
        let span = TextSpan {
            start,
            end: start + 1,
        };
        lectern.cited_by(&document.id, span).await.unwrap()
    };
    let answers = cited_by("drop(cache)").await;
    assert_eq!(
        answers,
        [CitingAnswer {
            conversation: kept.clone(),
            turn: 0,
            question: "What happened?".to_owned(),
            sentence: "This.".to_owned(),
        }]
    );
    assert!(cited_by("fn last").await.is_empty());

    // Moved down, deleted, unchanged behind it.
    write(
        &root.join("src/a.rs"),
        &format!("// Caches.\n\nuse x;\n\n{open_cache}"),
    );
    let refreshed = lectern
        .refresh(&document.id, None, false, &job())
        .await
        .unwrap();
    assert_eq!(
        (refreshed.citations_kept, refreshed.citations_gone),
        (2, 1),
        "{refreshed:?}"
    );
    let cited = citations(&lectern, &kept).await;
    let gone: Vec<bool> = cited.iter().map(|citation| citation.gone).collect();
    assert_eq!(gone, [false, true, false]);
    assert!(
        matches!(&cited[0].anchor, AnchorView::Lines { file, symbol, first_line: 6, .. }
            if file == "src/a.rs" && symbol == "fn open"),
        "{:?}",
        cited[0].anchor
    );
    let (_, markdown) = lectern.export(&kept, ExportFormat::Markdown).await.unwrap();
    assert!(
        markdown.contains("(no longer in the document)"),
        "{markdown}"
    );
    let listed = lectern
        .conversations(Some(&document.id), None)
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);

    // What comes back is found again only if there is enough of it to be sure.
    write(
        &root.join("src/a.rs"),
        &format!("{open_cache}\n{close_cache}"),
    );
    lectern
        .refresh(&document.id, None, false, &job())
        .await
        .unwrap();
    let back = citations(&lectern, &kept).await;
    assert_eq!(
        back.iter().map(|c| c.gone).collect::<Vec<_>>(),
        [false, true, false]
    );
    // A folder that is added again is the same document; its content under another path is a document of its own.
    let copy = folder.path().join("copy");
    for file in ["src/a.rs", "src/b.rs", "notes.md"] {
        write(
            &copy.join(file),
            &std::fs::read_to_string(root.join(file)).unwrap(),
        );
    }
    write(&root.join("src/b.rs"), "fn last() {}\n");
    let mut added = lectern.add(&[root], None, &job()).await.unwrap();
    let entry = added.pop().unwrap();
    assert_eq!(entry.document.unwrap().id, document.id);
    let refreshed = entry.refreshed.unwrap();
    assert_eq!((refreshed.citations_kept, refreshed.citations_gone), (1, 2));
    let twin = add(&lectern, &copy).await;
    assert_ne!(twin.id, document.id);
    assert_eq!(lectern.list().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_in_leaves_the_version_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("diary.txt");
    let text = diary("The boat was called Petrel.", "They landed in Oban.");
    write(&file, &text);
    let lectern = open(folder.path()).await;
    let document = add(&lectern, &file).await;
    let quotes = ["They landed in Oban."];
    let kept = keep_answer(folder.path(), &lectern, &document.id, &quotes).await;
    let was = lectern.text(&document.id).await.unwrap();

    std::fs::write(&file, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0").unwrap();
    let failure = lectern
        .refresh(&document.id, None, false, &job())
        .await
        .unwrap_err();
    println!("{failure:?}");
    assert_eq!(lectern.text(&document.id).await.unwrap(), was);

    std::fs::remove_file(&file).unwrap();
    let gone = lectern
        .refresh(&document.id, None, true, &job())
        .await
        .unwrap();
    assert_eq!(gone.state, RefreshedState::Missing);
    assert_eq!(lectern.text(&document.id).await.unwrap(), was);
    assert!(!citations(&lectern, &kept).await[0].gone);
    let original = lectern.original(&document.id).await.unwrap();
    let Outcome::Original { path, .. } = original else {
        panic!()
    };
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

fn lectern(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lectern"));
    command
        .args(arguments)
        .env("LECTERN_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn output(home: &Path, arguments: &[&str]) -> String {
    let output = lectern(home, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A text of its own for each number, large enough that every stage takes a while; one line is in all of them.
fn log(number: u32) -> String {
    let lines: String = (0..4000)
        .map(|line| {
            format!(
                "Entry {line} of log {number}: the crew counted {} seals.\n\n",
                line * 7 % 31
            )
        })
        .collect();
    format!("{lines}The keeper of this log was Marta Olsen.\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_half_way_it_is_the_old_version_or_the_new_one_whole() {
    let folder = tempfile::tempdir().unwrap();
    let home: PathBuf = folder.path().join("home");
    let file = folder.path().join("log.txt");
    write(&file, &log(0));
    output(&home, &["add", file.to_str().unwrap()]);
    let listed: Value = serde_json::from_str(&output(&home, &["list", "--json"])).unwrap();
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    let kept = {
        let lectern = open(folder.path()).await;
        let quotes = ["The keeper of this log was Marta Olsen."];
        let kept = keep_answer(folder.path(), &lectern, &id, &quotes).await;
        lectern.close().await;
        kept
    };
    write(&file, &log(1));
    let began = Instant::now();
    output(&home, &["refresh", &id]);
    let undisturbed = began.elapsed();

    let mut random = TestRunner::default();
    let (mut old, mut new, mut current) = (0, 0, 1);
    for number in 2..2 + KILLS {
        write(&file, &log(number));
        let share = (0.0..1.1f64).new_tree(&mut random).unwrap().current();
        let mut child = lectern(&home, &["refresh", &id]).spawn().unwrap();
        std::thread::sleep(undisturbed.mul_f64(share));
        child.kill().unwrap();
        child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(20));

        let text = output(&home, &["show", &id, "--text"]);
        if text.trim() == log(number).trim() {
            (new, current) = (new + 1, number);
        } else {
            assert_eq!(text.trim(), log(current).trim(), "killed after {share}");
            old += 1;
        }
        let found = output(
            &home,
            &[
                "search",
                &format!("entry 3999 of log {current}:"),
                "--in",
                &id,
            ],
        );
        assert_eq!(found.lines().count(), 1);
        let lectern = open(folder.path()).await;
        let cited = citations(&lectern, &kept).await;
        assert!(!cited[0].gone, "killed after {share}");
        lectern.close().await;
        let originals = std::fs::read_dir(home.join("originals")).unwrap();
        let copies = originals
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
                !name.starts_with("incoming")
            })
            .count();
        assert_eq!(copies, 1, "killed after {share}");
    }
    println!("killed {KILLS} times: {old} old, {new} new versions");
    output(&home, &["refresh", &id]);
    let text = output(&home, &["show", &id, "--text"]);
    assert_eq!(text.trim(), log(1 + KILLS).trim());
}
