#![allow(clippy::unwrap_used)]

use super::test_model::smollm;
use super::*;
use crate::attention::{DenseAttention, KeptIndex};
use crate::document::{Block, BlockKind, Document, DocumentKind, Span};
use crate::kv::{CacheIdentity, FORMAT_F16, KvCache};
use crate::reading::prefix;
use lectern_models::{Logits, Token};
use lectern_protocol::{Strategy, SupportState};

const TEXT: &str = "The lighthouse of Fenwick was built in 1871 by Marisol Tanager. It stands on a cliff 45 metres above \
the sea.\n\nThe keeper of the lighthouse is called Bartholomew Quill. He has three dogs and a parrot.\n\nThe village of \
Fenwick has 212 inhabitants. Most of them catch herring.";

const HEADS: &[(usize, usize)] = &[
    (23, 2),
    (18, 6),
    (8, 0),
    (7, 7),
    (21, 8),
    (17, 3),
    (17, 4),
    (20, 3),
];

fn open_document() -> OpenDocument {
    let mut blocks = Vec::new();
    let mut at = 0;
    for paragraph in TEXT.split("\n\n") {
        let span = Span::new(at, at + paragraph.len());
        blocks.push(Block {
            kind: BlockKind::Paragraph,
            span,
            marks: Vec::new(),
        });
        at = span.end + 2;
    }
    let document = Document {
        kind: DocumentKind::Text,
        title: "Fenwick".into(),
        authors: None,
        text: TEXT.into(),
        sections: Vec::new(),
        blocks,
        pages: Vec::new(),
        notices: Vec::new(),
    };
    OpenDocument::new("f00d".into(), document)
}

/// Reads the document whole; with `missing`, all but that many tokens.
fn read(folder: &std::path::Path, missing: usize) -> (KvCache, Vec<Token>) {
    let model = smollm();
    let mut ids = prefix(model.chat_template(), model.tokenizer()).unwrap();
    let identity = CacheIdentity {
        scope: 0,
        text: [7; 32],
        model: model.fingerprint().to_owned(),
        prompt: CacheIdentity::prompt_hash(&ids),
        format: FORMAT_F16,
    };
    let tokens = model.tokenizer().encode_with_offsets(TEXT).unwrap();
    ids.extend(tokens.iter().map(|token| token.id));
    ids.truncate(ids.len() - missing);
    let cache = KvCache::open(folder, &identity, model.shape()).unwrap();
    let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new()).unwrap();
    for chunk in ids.chunks(64) {
        model.forward(chunk, &mut attention, Logits::None).unwrap();
        attention.seal(&cache, chunk).unwrap();
    }
    (cache, tokens)
}

fn reader() -> Reader<'static> {
    Reader {
        model: smollm(),
        retrieval_heads: HEADS,
    }
}

fn question(text: &str) -> Question<'_> {
    Question {
        text,
        told: None,
        history: &[],
        max_tokens: 40,
        sampling: Sampling::Greedy,
        look_at: None,
        lookup: true,
    }
}

/// What must hold of every answer.
fn check(answer: &Answer, events: &[Event]) {
    let streamed: String = events
        .iter()
        .filter_map(|event| match event {
            Event::Token { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert!(
        streamed.starts_with(&answer.answer),
        "{streamed:?} / {:?}",
        answer.answer
    );
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Sentence { sentence, .. } => Some(sentence.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(told, answer.sentences);
    for sentence in &answer.sentences {
        let span = sentence.span.start as usize..sentence.span.end as usize;
        assert_eq!(&answer.answer[span], sentence.text);
        assert_eq!(
            sentence.citations.is_empty(),
            matches!(
                sentence.state,
                SupportState::Unsupported | SupportState::NoClaim
            )
        );
        for citation in &sentence.citations {
            assert_eq!(
                &TEXT[citation.start as usize..citation.end as usize],
                citation.quote
            );
            assert_eq!(citation.document, "f00d");
        }
    }
}

#[test]
fn an_answer_is_streamed_cited_and_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, tokens) = read(folder.path(), 0);
    let document = open_document();
    let ground = Ground::WholeDocument {
        index: &KeptIndex::default(),
        cache: &cache,
        tokens: &tokens,
    };
    let ask_with = |text: &str, lookup: bool| {
        let mut events = Vec::new();
        let mut on_event = |event| events.push(event);
        let question = Question {
            lookup,
            ..question(text)
        };
        let answer = ask(
            &reader(),
            &document,
            &ground,
            &question,
            &CancelFlag::new(),
            &mut on_event,
        )
        .unwrap();
        check(&answer, &events);
        answer
    };
    let asked = |text: &str| ask_with(text, true);
    let answer = asked("What is the name of the keeper of the lighthouse?");
    assert!(
        answer.answer.contains("Bartholomew Quill"),
        "{}",
        answer.answer
    );
    assert_eq!(answer.strategy, Strategy::WholeDocument);
    assert_eq!(
        (answer.coverage[0].start, answer.coverage[0].end as usize),
        (0, TEXT.len())
    );
    let sentence = answer
        .sentences
        .iter()
        .find(|s| s.text.contains("Quill"))
        .unwrap();
    assert_ne!(sentence.state, SupportState::Unsupported);
    assert_eq!(
        sentence.citations[0].quote,
        "The keeper of the lighthouse is called Bartholomew Quill."
    );
    assert!(answer.timings.tokens > 0 && answer.timings.first_token_ms > 0.0 && !answer.stopped);

    let again = asked("What is the name of the keeper of the lighthouse?");
    assert_eq!(
        (&again.answer, &again.sentences),
        (&answer.answer, &answer.sentences)
    );

    // Guessing changes how soon the words come, and nothing else: no word, no citation, no score.
    let plain = ask_with("What is the name of the keeper of the lighthouse?", false);
    assert_eq!(plain.timings.guessed_tokens, 0);
    assert!(again.timings.guessed_tokens > 0, "{:?}", again.timings);
    assert_eq!(
        (plain.answer, plain.sentences),
        (again.answer, again.sentences)
    );
}

#[test]
fn what_is_told_behind_a_question_is_heard_and_is_no_part_of_it() {
    let document = open_document();
    let asked = |text, told| {
        let question = Question {
            told,
            ..question(text)
        };
        ask(
            &reader(),
            &document,
            &Ground::Passages(&[Span::new(0, TEXT.len())]),
            &question,
            &CancelFlag::new(),
            &mut |_| (),
        )
        .unwrap()
    };
    let text = "Who built the lighthouse?";
    let told = asked(text, Some("Say when, too."));
    assert_eq!(told.question, text);
    let as_one = asked("Who built the lighthouse?\nSay when, too.", None);
    assert_eq!(told.answer, as_one.answer);
    assert_ne!(told.answer, asked(text, None).answer);
}

#[test]
fn passages_are_read_in_order_and_named_as_coverage() {
    let document = open_document();
    let second = TEXT.find("The keeper").unwrap();
    let third = TEXT.find("The village").unwrap();
    let passages = [Span::new(third, TEXT.len()), Span::new(second, third - 2)];
    let mut events = Vec::new();
    let answer = ask(
        &reader(),
        &document,
        &Ground::Passages(&passages),
        &question("How many inhabitants has the village of Fenwick?"),
        &CancelFlag::new(),
        &mut |event| events.push(event),
    )
    .unwrap();
    check(&answer, &events);
    assert!(answer.answer.contains("212"), "{}", answer.answer);
    assert_eq!(answer.strategy, Strategy::RetrievedPassages);
    let seen: Vec<usize> = answer
        .coverage
        .iter()
        .map(|span| span.start as usize)
        .collect();
    assert_eq!(seen, [second, third]);
    assert!(answer.timings.read_tokens > 0);
    let sentence = answer
        .sentences
        .iter()
        .find(|s| s.text.contains("212"))
        .unwrap();
    assert!(sentence.citations[0].quote.contains("212"), "{sentence:?}");
}

#[test]
fn a_stop_ends_the_answer_within_a_token_and_keeps_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, tokens) = read(folder.path(), 0);
    let document = open_document();
    let ground = Ground::WholeDocument {
        index: &KeptIndex::default(),
        cache: &cache,
        tokens: &tokens,
    };
    let cancel = CancelFlag::new();
    let mut events = Vec::new();
    let question = question("Describe the lighthouse and the village.");
    let mut told = 0;
    let answer = ask(
        &reader(),
        &document,
        &ground,
        &question,
        &cancel,
        &mut |event| {
            told += usize::from(matches!(event, Event::Token { .. }));
            if told == 3 {
                cancel.cancel();
            }
            events.push(event);
        },
    )
    .unwrap();
    check(&answer, &events);
    assert!(answer.stopped);
    assert_eq!(told, 3);
    assert!(!answer.answer.is_empty());

    let answer = ask(
        &reader(),
        &document,
        &ground,
        &question,
        &cancel,
        &mut |_| (),
    )
    .unwrap();
    assert!(answer.stopped && answer.answer.is_empty() && answer.sentences.is_empty());
}

#[test]
fn what_cannot_be_asked_is_said_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, tokens) = read(folder.path(), 5);
    let document = open_document();
    let ground = Ground::WholeDocument {
        index: &KeptIndex::default(),
        cache: &cache,
        tokens: &tokens,
    };
    let fail = |text: &str| {
        let question = question(text);
        ask(
            &reader(),
            &document,
            &ground,
            &question,
            &CancelFlag::new(),
            &mut |_| (),
        )
        .unwrap_err()
    };
    assert!(matches!(fail("Who?"), AskError::NotRead { cached, total } if cached + 5 == total));
    assert!(matches!(fail("  "), AskError::Empty));
    let long = "why ".repeat(9000);
    let passages = Ground::Passages(&[]);
    let question = question(&long);
    let refused = ask(
        &reader(),
        &document,
        &passages,
        &question,
        &CancelFlag::new(),
        &mut |_| (),
    )
    .unwrap_err();
    assert!(matches!(refused, AskError::NoRoom { .. }), "{refused}");
}
