//! Passages found by their meaning, with a real model and a real sentence transformer.
#![allow(clippy::unwrap_used)]

use lectern_engine::attention::CancelFlag;
use lectern_engine::home::Home;
use lectern_engine::lectern::{Job, Lectern, Options};
use lectern_protocol::*;
use std::path::Path;
use std::sync::Arc;

const MODEL: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const QWEN: &str = "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf";
const MINILM: &str = "all-MiniLM-L6-v2.tokenizer-tensors.bin";

/// How often a passage says what it says.
const REPEATED: usize = 7;

/// Puts a model of the person's into `folder`.
fn install(folder: &Path, file: &str) {
    let model = Home::find().unwrap().models().join(file);
    assert!(
        model.exists(),
        "{} is missing: run `cargo xtask test` once, which gets it",
        model.display()
    );
    std::fs::create_dir_all(folder).unwrap();
    std::fs::hard_link(&model, folder.join(file))
        .or_else(|_| std::fs::copy(&model, folder.join(file)).map(|_| ()))
        .unwrap();
}

async fn open(folder: &Path) -> Arc<Lectern> {
    open_with(folder, "smollm2-135m").await
}

async fn open_with(folder: &Path, model: &str) -> Arc<Lectern> {
    let home = Home::at(&folder.join("home")).with_models(&folder.join("models"));
    let settings = Settings {
        model: Some(model.to_owned()),
        whole_tokens: 600,
        // One segment.
        retrieval_tokens: 512,
        ..Settings::default()
    };
    lectern_engine::settings::save(&home, &settings).unwrap();
    let options = Options {
        program: Some(env!("CARGO_BIN_EXE_lectern").into()),
        ..Options::default()
    };
    Lectern::open(&home, options).await.unwrap()
}

fn job() -> Job {
    Job::new(|_| (), CancelFlag::new())
}

/// Passages on a dozen matters, the sick sailor's one of them, in which the word "doctor" stands where it does not matter.
fn log_book() -> String {
    let matters = [
        "The doctor of law who had come aboard at Lisbon spoke of the courts, and of what he was to be given in the suit.",
        "Nets were mended on the fore deck, and two of the long lines were lost on the reef before noon.",
        "The hull was scraped below the water line on the beach, and eleven rotten planks were found and cut away.",
        "A whale followed us from dawn and blew twice beside the boats before it sounded and was seen no more.",
        "The physician laid cold cloths on the boy's forehead and dosed him with quinine, after which the fever left him.",
        "Rain fell all night; the casks were filled, and the cook baked bread for the first time in three weeks.",
        "The mate climbed to the masthead with the brass telescope and saw nothing but gulls and a floating spar.",
        "The gunner painted the carriages, greased the blocks, and counted the powder barrels twice over.",
        "We traded six bolts of cloth for yams and a pig, and the chief's daughter was shown the compass.",
    ];
    // As long as a passage.
    let day = |nth: usize| {
        let matter = format!("Day {nth}. {} ", matters[nth % matters.len()]);
        format!("{}\n\n", matter.repeat(REPEATED))
    };
    (0..18).map(day).collect()
}

async fn add_log_book(lectern: &Lectern, folder: &Path) -> String {
    let path = folder.join("log.txt");
    std::fs::write(&path, log_book()).unwrap();
    let added = lectern.add(&[path], None, &job()).await.unwrap();
    added[0].document.as_ref().unwrap().id.clone()
}

/// A library of the log book, with a model and the sentence transformer.
async fn with_transformer() -> (tempfile::TempDir, Arc<Lectern>, String) {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    install(&models, MODEL);
    install(&models, MINILM);
    let lectern = open(folder.path()).await;
    let id = add_log_book(&lectern, folder.path()).await;
    (folder, lectern, id)
}

async fn ask(lectern: &Arc<Lectern>, id: &str, question: &str) -> Answer {
    ask_behind(lectern, id, question, None).await
}

/// Asked in a conversation that is there.
async fn ask_behind(
    lectern: &Arc<Lectern>,
    id: &str,
    question: &str,
    conversation: Option<String>,
) -> Answer {
    ask_with(lectern, id, question, conversation, 8).await
}

/// Answered with so many tokens at most.
async fn ask_for(lectern: &Arc<Lectern>, id: &str, question: &str, tokens: u32) -> Answer {
    ask_with(lectern, id, question, None, tokens).await
}

async fn ask_with(
    lectern: &Arc<Lectern>,
    id: &str,
    question: &str,
    conversation: Option<String>,
    tokens: u32,
) -> Answer {
    let ask = Ask {
        document: id.to_owned(),
        question: question.to_owned(),
        conversation,
        max_tokens: Some(tokens),
        seed: None,
        greedy: Some(true),
        at_once: None,
    };
    lectern.ask(ask, &job()).await.unwrap()
}

const CURE: &str = "What medicine did the doctor give to the sick child?";

async fn looked_at_the_cure(lectern: &Arc<Lectern>, id: &str) -> bool {
    let answer = ask(lectern, id, CURE).await;
    looked_at_a_cure(lectern, id, &answer).await
}

/// Whether an answer looked at the passage on the sick boy.
async fn looked_at_a_cure(lectern: &Arc<Lectern>, id: &str, answer: &Answer) -> bool {
    assert_eq!(answer.strategy, Strategy::ReadSegments);
    let text = lectern.text(id).await.unwrap();
    // The last words of a passage: a segment goes on into the beginning of the next one.
    let mut cures = text
        .match_indices("quinine")
        .map(|(at, _)| at as u32)
        .skip(REPEATED - 1)
        .step_by(REPEATED);
    cures.any(|cure| {
        answer
            .coverage
            .iter()
            .any(|seen| seen.start <= cure && cure < seen.end)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passage_in_other_words_is_found_once_its_vectors_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    install(&models, MODEL);
    let lectern = open(folder.path()).await;
    let id = add_log_book(&lectern, folder.path()).await;
    lectern.read(&id, &job()).await.unwrap();
    assert!(!looked_at_the_cure(&lectern, &id).await);
    // It comes later: reading again, which has nothing to read, makes the vectors.
    install(&models, MINILM);
    lectern.read(&id, &job()).await.unwrap();
    assert!(looked_at_the_cure(&lectern, &id).await);
    // They are kept.
    lectern.close().await;
    let lectern = open(folder.path()).await;
    assert!(looked_at_the_cure(&lectern, &id).await);
    // Without what compares them, words decide again.
    lectern.close().await;
    std::fs::remove_file(models.join(MINILM)).unwrap();
    let lectern = open(folder.path()).await;
    assert!(!looked_at_the_cure(&lectern, &id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_made_along_with_reading_and_a_damaged_file_only_costs_them() {
    let (folder, lectern, id) = with_transformer().await;
    let models = folder.path().join("models");
    // The question has the document read first, and finds by what was made meanwhile.
    assert!(looked_at_the_cure(&lectern, &id).await);
    lectern.close().await;
    std::fs::remove_file(models.join(MINILM)).unwrap();
    std::fs::write(models.join(MINILM), "damaged").unwrap();
    let lectern = open(folder.path()).await;
    assert!(!looked_at_the_cure(&lectern, &id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_no_passage_comes_near_is_told_apart() {
    let (folder, lectern, id) = with_transformer().await;
    let models = folder.path().join("models");
    let question = "Which programming language has a borrow checker?";
    let stray = ask(&lectern, &id, question).await;
    let cited = |said: &AnswerSentence| !said.citations.is_empty();
    assert!(
        !stray.answer.is_empty() && !stray.sentences.iter().any(cited),
        "{stray:?}"
    );
    assert!(stray.far, "{stray:?}");
    let kept = lectern
        .conversation(stray.conversation.as_ref().unwrap())
        .await
        .unwrap();
    assert!(kept.turns[0].far);
    assert_eq!(stray.nearest.len(), 2);
    let cure = ask(&lectern, &id, CURE).await;
    assert!(!cure.far);
    // What goes on from a question that is near is near with it, though not by itself.
    let on = "And who is it that says so, and why?";
    assert!(ask(&lectern, &id, on).await.far);
    assert!(!ask_behind(&lectern, &id, on, cure.conversation).await.far);
    assert!(!ask(&lectern, &id, "What is this document about?").await.far);
    // Of a language that it does not know it cannot say.
    let german = "Welche Programmiersprache überprüft ausgeliehene Verweise?";
    assert!(!ask(&lectern, &id, german).await.far);
    // Without what compares them nothing is said of it.
    lectern.close().await;
    std::fs::remove_file(models.join(MINILM)).unwrap();
    let lectern = open(folder.path()).await;
    assert!(!ask(&lectern, &id, question).await.far);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_cited_the_nearest_sentences_are_shown() {
    let (folder, lectern, id) = with_transformer().await;
    // One token says nothing that could be cited.
    let text = lectern.text(&id).await.unwrap();
    let near = ask_for(&lectern, &id, CURE, 1).await;
    assert!(near.sentences.iter().all(|said| said.citations.is_empty()));
    assert_eq!(near.nearest.len(), 2, "{near:?}");
    assert!(near.nearest[0].quote.contains("quinine"), "{near:?}");
    // The text says it again and again; it is told once.
    assert_ne!(near.nearest[0].quote, near.nearest[1].quote);
    for citation in &near.nearest {
        let words = &text[citation.start as usize..citation.end as usize];
        assert_eq!(words, citation.quote);
    }
    let kept = near.conversation.as_ref().unwrap();
    let kept = lectern.conversation(kept).await.unwrap();
    assert_eq!(kept.turns[0].nearest, near.nearest);
    let whole = ask_for(&lectern, &id, "What is this document about?", 1).await;
    assert!(whole.nearest.is_empty());

    // A short document has no vectors, and is looked through all the same.
    let path = folder.path().join("note.txt");
    std::fs::write(&path, &log_book()[..2000]).unwrap();
    let added = lectern.add(&[path], None, &job()).await.unwrap();
    let short = added[0].document.as_ref().unwrap().id.clone();
    let question = "Who mended the nets on the deck?";
    let near = ask_for(&lectern, &short, question, 1).await;
    assert_eq!(near.strategy, Strategy::WholeDocument);
    assert!(
        near.nearest[0].quote.contains("Nets were mended"),
        "{near:?}"
    );
    let stray = "Which programming language has a borrow checker?";
    let stray = ask_for(&lectern, &short, stray, 1).await;
    assert!(stray.far && !near.far, "{stray:?} {near:?}");
    // In a language that the transformer does not know it says nothing.
    let path = folder.path().join("notiz.txt");
    let german = "Die Netze wurden auf dem Vorderdeck geflickt, und zwei der langen Leinen gingen am Riff verloren. ";
    std::fs::write(&path, german.repeat(20)).unwrap();
    let added = lectern.add(&[path], None, &job()).await.unwrap();
    let german = added[0].document.as_ref().unwrap().id.clone();
    let unknown = ask_for(&lectern, &german, question, 1).await;
    assert!(!unknown.far && unknown.nearest.is_empty(), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_in_another_language_is_also_looked_for_in_that_of_the_document() {
    let folder = tempfile::tempdir().unwrap();
    install(&folder.path().join("models"), QWEN);
    let lectern = open_with(folder.path(), "qwen2.5-0.5b").await;
    let id = add_log_book(&lectern, folder.path()).await;
    let chinese = "男孩发烧的时候，医生给了他什么药？";
    let answer = ask(&lectern, &id, chinese).await;
    let looked_for = answer.looked_for.clone().unwrap();
    assert!(looked_for.to_lowercase().contains("boy"), "{looked_for}");
    assert!(looked_at_a_cure(&lectern, &id, &answer).await, "{answer:?}");
    let kept = answer.conversation.as_ref().unwrap();
    let kept = lectern.conversation(kept).await.unwrap();
    assert_eq!(kept.turns[0].looked_for, Some(looked_for));
    assert_eq!(ask(&lectern, &id, CURE).await.looked_for, None);
}
