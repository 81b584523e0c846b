//! Whether questions without an answer are recognised, and citations of answers of several sentences.
//!
//! ClapNQ (Rosenthal et al. 2024, arXiv 2404.02103): questions people typed into a search engine, each on a passage of
//! Wikipedia that answers it, in sentences that are marked, or does not. Passages of both kinds are joined to documents
//! in turn, so that the others are what an answer must be told from. A question without an answer is *recognised* if
//! the model says so or if no sentence of what it says is cited; or, as the product does, if the model says so or the document
//! comes not near enough to the question.

use super::data;
use super::doubts::Doubts;
use super::ground::{Prepared, Seen};
use super::passages::Gold;
use super::record::{Said, Scratch};
use super::score::{Share, Touching, mean};
use super::xquad::{Exam, GoldQuestion, plain_document, push_paragraph};
use super::{ClapnqArgs, EvaluationError, MeasuredModel};
use crate::asking::Reader;
use crate::citing::{Claim, SentenceIndex, Weights, cite, is_abstention};
use crate::document::{Document, Span, sentences};
use crate::retrieval::Nearness;
use lectern_models::Model;
use lectern_protocol::SupportState;
use serde::Deserialize;
use serde_json::json;
use std::path::Path;

#[derive(Deserialize)]
struct Line {
    input: String,
    passages: Vec<Passage>,
    output: Vec<Output>,
}

#[derive(Deserialize)]
struct Passage {
    title: String,
    text: String,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    answer: String,
    #[serde(default)]
    selected_sentences: Vec<String>,
}

/// A joined document; for each of its questions the sentences that answer it, none if nothing does.
struct Joined {
    exam: Exam,
    gold: Vec<Vec<Span>>,
}

/// What was counted.
#[derive(Default)]
struct Counts {
    answered_refused: Share,
    answered_doubted: Share,
    answered_cited: Share,
    unanswered_refused: Share,
    unanswered_doubted: Share,
    unanswered_recognised: Share,
    unanswered_supported: Share,
    precision: Share,
    recall: Share,
    f1: Vec<f64>,
}

/// Asks, cites, prints.
pub(super) fn run(args: &ClapnqArgs, measured: &MeasuredModel) -> Result<(), EvaluationError> {
    let model = measured.load()?;
    let reader = Reader {
        model: &model,
        retrieval_heads: &measured.retrieval_heads,
    };
    let documents = joined(&args.data, args.limit, args.tokens, |words| {
        Ok(model.tokenizer().encode(words)?.len())
    })?;
    if args.doubts {
        return doubts(args, measured, &model, &documents);
    }
    if args.gold {
        println!("reference answers, cited by their words");
        print_cited(&cited_gold(&documents));
        return Ok(());
    }
    let mut records = args.asked.records(measured)?;
    let mut counts = Counts::default();
    let mut rows = Vec::new();
    for (nth, Joined { exam, gold }) in documents.iter().enumerate() {
        let questions: Vec<&GoldQuestion> = exam.questions.iter().collect();
        let answers = records.answers(&reader, exam, &questions, false)?;
        let index = SentenceIndex::new(&exam.document);
        for ((asked, gold), record) in questions.iter().zip(gold).zip(&answers) {
            let said = (&record.sentences[..], record.nearness);
            let mut row = judge(exam, &index, asked, gold, said, &mut counts);
            row["answer"] = json!(record.answer);
            rows.push(row);
        }
        eprintln!("document {} of {}", nth + 1, documents.len());
    }
    if args.asked.json {
        println!("{}", json!({ "model": model.name(), "questions": rows }));
        return Ok(());
    }
    println!(
        "{}: {} documents, {} questions",
        model.name(),
        documents.len(),
        rows.len()
    );
    println!("with an answer");
    println!("  refused                    {}", counts.answered_refused);
    println!("  refused or called far      {}", counts.answered_doubted);
    print_cited(&counts);
    println!("without an answer");
    println!("  refused                    {}", counts.unanswered_refused);
    println!("  refused or called far      {}", counts.unanswered_doubted);
    println!(
        "  refused or nothing cited   {}",
        counts.unanswered_recognised
    );
    println!(
        "  something supported        {}",
        counts.unanswered_supported
    );
    Ok(())
}

/// How answers to questions that have one are cited.
fn print_cited(counts: &Counts) {
    println!("  something is cited         {}", counts.answered_cited);
    println!("  cited sentences are gold   {}", counts.precision);
    println!("  gold sentences are cited   {}", counts.recall);
    println!("  F1, mean over questions    {:.2}", mean(&counts.f1));
}

/// The answers that people wrote, cited by words alone: what citing could reach with a model that answers as they do.
fn cited_gold(documents: &[Joined]) -> Counts {
    let mut counts = Counts::default();
    for Joined { exam, gold } in documents {
        let index = SentenceIndex::new(&exam.document);
        for (asked, gold) in exam.questions.iter().zip(gold) {
            if gold.is_empty() {
                continue;
            }
            let answer = &asked.answer;
            let said: Vec<Said> = sentences(answer, Span::new(0, answer.len()))
                .into_iter()
                .map(|span| Said {
                    sentence: span.of(answer).unwrap_or_default().to_owned(),
                    evidence: None,
                })
                .collect();
            judge(exam, &index, asked, gold, (&said, None), &mut counts);
        }
    }
    counts
}

/// Prints a JSON object for each question: whether it has an answer, and what an answer could be doubted by.
fn doubts(
    args: &ClapnqArgs,
    measured: &MeasuredModel,
    model: &Model,
    documents: &[Joined],
) -> Result<(), EvaluationError> {
    let transformer = measured.transformer(args.asked.segments.words_only)?;
    let seen = args.asked.segments.seen();
    let seen = seen.unwrap_or(Seen::Passages(args.asked.segments.asked));
    for (nth, Joined { exam, gold }) in documents.iter().enumerate() {
        let scratch = Scratch::new()?;
        let prepared = Prepared::new(
            model,
            &exam.document,
            seen,
            &scratch.0,
            measured.kv_format,
            transformer.as_ref(),
        )?;
        for (asked, gold) in exam.questions.iter().zip(gold) {
            let doubts = Doubts::of(model, &prepared, &asked.question)?;
            println!(
                "{}",
                json!({
                    "document": nth,
                    "question": asked.question,
                    "answerable": !gold.is_empty(),
                    "doubts": doubts,
                })
            );
        }
        eprintln!("document {} of {}", nth + 1, documents.len());
    }
    Ok(())
}

/// Counts one answer and tells it.
fn judge(
    exam: &Exam,
    index: &SentenceIndex,
    asked: &GoldQuestion,
    gold: &[Span],
    (said, nearness): (&[Said], Option<Nearness>),
    counts: &mut Counts,
) -> serde_json::Value {
    let text = &exam.document.text;
    let mut cited: Vec<Span> = Vec::new();
    let mut states = Vec::new();
    for said in said {
        let claim = Claim {
            sentence: &said.sentence,
            question: &asked.question,
        };
        let evidence = said.evidence.as_ref();
        let verdict = cite(&claim, text, index, evidence, &Weights::default());
        cited.extend(verdict.citations.iter().map(|c| c.span));
        states.push(verdict.state);
    }
    cited.sort_unstable();
    cited.dedup();
    let refused = said
        .first()
        .is_none_or(|said| is_abstention(&said.sentence));
    let supported = states.contains(&SupportState::Supported);
    let doubted = refused || nearness.is_some_and(|near| near.is_far(supported));
    if gold.is_empty() {
        counts.unanswered_refused.count(refused);
        counts.unanswered_doubted.count(doubted);
        counts
            .unanswered_recognised
            .count(refused || cited.is_empty());
        counts.unanswered_supported.count(!refused && supported);
    } else {
        counts.answered_refused.count(refused);
        counts.answered_doubted.count(doubted);
        counts.answered_cited.count(!cited.is_empty());
        let touching = Touching::of(&cited, gold);
        counts.precision.add(touching.cited);
        counts.recall.add(touching.gold);
        counts.f1.push(touching.f1());
    }
    let quote = |span: &Span| span.of(text).unwrap_or_default().to_owned();
    json!({
        "question": asked.question,
        "answerable": !gold.is_empty(),
        "refused": refused,
        "nearness": nearness,
        "states": states,
        "cited": cited.iter().map(quote).collect::<Vec<_>>(),
        "gold": gold.iter().map(quote).collect::<Vec<_>>(),
    })
}

/// `limit` questions, half of them without an answer, on documents of about `longest` as `length` measures it.
fn joined(
    folder: &Path,
    limit: usize,
    longest: usize,
    length: impl Fn(&str) -> Result<usize, EvaluationError>,
) -> Result<Vec<Joined>, EvaluationError> {
    let answerable: Vec<Line> =
        data::json_lines(&folder.join("clapnq/clapnq_dev_answerable.jsonl"))?;
    let unanswerable: Vec<Line> =
        data::json_lines(&folder.join("clapnq/clapnq_dev_unanswerable.jsonl"))?;
    let half = (limit / 2).clamp(1, answerable.len().min(unanswerable.len()));
    let spread = |lines: &[Line], nth: usize| nth * lines.len() / half;
    let mut documents = Vec::new();
    let mut open = Joined::empty();
    let mut held = 0;
    for nth in 0..half {
        for line in [
            &answerable[spread(&answerable, nth)],
            &unanswerable[spread(&unanswerable, nth)],
        ] {
            open.push(line);
            for passage in &line.passages {
                held += length(&passage.text)?;
            }
        }
        if held >= longest {
            documents.push(std::mem::replace(&mut open, Joined::empty()));
            held = 0;
        }
    }
    if !open.gold.is_empty() {
        documents.push(open);
    }
    Ok(documents)
}

/// All questions that have an answer on one document of all passages, those that answer no question among them; with each what
/// answers it.
pub(super) fn joined_whole(data: &Path) -> Result<Vec<(Document, Vec<Gold>)>, EvaluationError> {
    documents(data, usize::MAX, usize::MAX, |_| Ok(0))
}

/// Documents as [`joined`], with what answers each question.
pub(super) fn documents(
    data: &Path,
    limit: usize,
    longest: usize,
    length: impl Fn(&str) -> Result<usize, EvaluationError>,
) -> Result<Vec<(Document, Vec<Gold>)>, EvaluationError> {
    let all = joined(data, limit, longest, length)?;
    Ok(all
        .into_iter()
        .map(|Joined { exam, gold }| {
            let questions = exam.questions.into_iter().map(|asked| asked.question);
            (exam.document, questions.zip(gold).collect())
        })
        .collect())
}

impl Joined {
    fn empty() -> Joined {
        Joined {
            exam: Exam {
                document: plain_document(""),
                questions: Vec::new(),
            },
            gold: Vec::new(),
        }
    }

    /// Appends the line's passages under their titles, and its question.
    fn push(&mut self, line: &Line) {
        let mut gold = Vec::new();
        for passage in &line.passages {
            push_paragraph(&mut self.exam.document, &passage.title);
            let start = push_paragraph(&mut self.exam.document, &passage.text);
            // the first annotator's; others chose others
            let Some(first) = line.output.first() else {
                continue;
            };
            gold.extend(first.selected_sentences.iter().filter_map(|sentence| {
                let at = start + passage.text.find(sentence.as_str())?;
                Some(Span::new(at, at + sentence.len()))
            }));
        }
        self.exam.questions.push(GoldQuestion {
            question: line.input.clone(),
            answer: line
                .output
                .first()
                .map_or(String::new(), |first| first.answer.clone()),
            span: gold.first().copied().unwrap_or(Span::new(0, 0)),
        });
        self.gold.push(gold);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn gold_sentences_are_found_in_the_joined_text() {
        let line = |input: &str, text: &str, gold: &[&str]| Line {
            input: input.into(),
            passages: vec![Passage {
                title: "Title".into(),
                text: text.into(),
            }],
            output: vec![Output {
                answer: String::new(),
                selected_sentences: gold.iter().map(|&g| g.to_owned()).collect(),
            }],
        };
        let mut joined = Joined::empty();
        joined.push(&line("who", "One . Two .", &[]));
        joined.push(&line(
            "what",
            "Three . Four . Five .",
            &["Three .", "Five ."],
        ));
        let text = &joined.exam.document.text;
        let quotes: Vec<&str> = joined.gold[1].iter().map(|s| s.of(text).unwrap()).collect();
        assert!(joined.gold[0].is_empty());
        assert_eq!(quotes, ["Three .", "Five ."]);
    }
}
