//! Whether a whole book is known: questions whose answer stands in one sentence of it.
//!
//! In: a book as plain text, and a file of questions, each with its answer and the sentence that holds it. Some sentences stand
//! in the book, others are planted, so that a model cannot have them from elsewhere. Out: for every way of bringing the book
//! before the model how often the answer is right and how often a citation touches the sentence.
//!
//! | way | what the model sees |
//! |---|---|
//! | segments | the book, read whole once, in segments; each question looks at those that BM25 finds |
//! | passages | what BM25 finds by the question's words, read for each question |
//! | alone | the text around the right sentence, and nothing else: what the model can do at best |
//! | closed | nothing |

use super::data;
use super::ground::{Prepared, Seen, saw};
use super::record::{Scratch, closed_book};
use super::score::{Share, says};
use super::xquad::{plain_document, push_paragraph};
use super::{EvaluationError, MeasuredModel};
use crate::asking::{OpenDocument, Reader, ask};
use crate::attention::CancelFlag;
use crate::document::{Document, Span};
use crate::reading::SEGMENT_TOKENS;
use crate::retrieval::Transformer;
use clap::Args;
use lectern_models::Model;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// Of [`super::Evaluation::Book`].
#[derive(Debug, Args)]
pub struct BookArgs {
    /// The book as plain text, paragraphs with an empty line between them.
    #[arg(long)]
    pub text: PathBuf,
    /// The questions: `{"questions": [{"question", "answer", "sentence", "planted"}]}`; a sentence with a place in thousandths
    /// of the book is planted there.
    #[arg(long)]
    pub questions: PathBuf,
    /// A folder that keeps what was read for the next measurement.
    #[arg(long)]
    pub caches: Option<PathBuf>,
    /// Find segments and passages by their words alone, even if what finds them by their meaning is here.
    #[arg(long)]
    pub words_only: bool,
    /// Tokens of a segment, where segments are read.
    #[arg(long, default_value_t = SEGMENT_TOKENS)]
    pub segment: usize,
    /// Tokens of segments that a question looks at, where these are read.
    #[arg(long, default_value_t = 2048)]
    pub asked: usize,
    /// Tokens of passages, where these are read.
    #[arg(long, default_value_t = 2048)]
    pub passages: usize,
    /// Tokens around the right sentence, where these are read alone.
    #[arg(long, default_value_t = 4096)]
    pub alone: usize,
    /// Ways to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Way::Segments, Way::Passages, Way::Alone, Way::Closed])]
    pub ways: Vec<Way>,
    /// One JSON object with every answer instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// How the book is brought before the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Read in segments.
    Segments,
    /// Passages for each question.
    Passages,
    /// The text around the right sentence.
    Alone,
    /// Nothing.
    Closed,
}

#[derive(Debug, Deserialize)]
struct Questions {
    questions: Vec<Gold>,
}

#[derive(Debug, Deserialize)]
struct Gold {
    question: String,
    answer: String,
    sentence: String,
    /// Where it is planted, in thousandths of the book's bytes.
    planted: Option<usize>,
}

/// One answer.
#[derive(Debug, Serialize)]
struct Answered {
    way: Way,
    question: String,
    gold: String,
    planted: bool,
    answer: String,
    right: bool,
    /// Whether the right sentence was in what the model saw.
    seen: bool,
    cited: bool,
    first_token_ms: f64,
}

/// Asks and prints.
pub(super) fn run(args: &BookArgs, measured: &MeasuredModel) -> Result<(), EvaluationError> {
    let text = data::text(&args.text)?;
    let Questions { questions } = data::json(&args.questions)?;
    let book = document(&planted(&text, &questions));
    let spans = questions
        .iter()
        .map(|gold| find(&book, gold))
        .collect::<Result<Vec<Span>, _>>()?;
    let model = measured.load()?;
    let exam = Exam {
        args,
        measured,
        transformer: measured.transformer(args.words_only)?,
        model: &model,
        book: &book,
        spans: &spans,
        questions: &questions,
    };
    let mut answers = Vec::new();
    for way in &args.ways {
        answers.extend(exam.asked(*way)?);
        eprintln!("{way:?}: done");
    }
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "model": model.name(), "answers": answers })
        );
        return Ok(());
    }
    println!(
        "{}, {} tokens, {} questions",
        model.name(),
        model.tokenizer().encode(&book.text)?.len(),
        questions.len()
    );
    for way in &args.ways {
        let of = |planted: Option<bool>| {
            let mut right = Share::default();
            answers
                .iter()
                .filter(|answer| answer.way == *way && planted.is_none_or(|p| p == answer.planted))
                .for_each(|answer| right.count(answer.right));
            right
        };
        let mut cited = Share::default();
        let mut seen = Share::default();
        let mut waits: Vec<f64> = Vec::new();
        for answer in answers.iter().filter(|answer| answer.way == *way) {
            waits.push(answer.first_token_ms);
            seen.count(answer.seen);
            if answer.right {
                cited.count(answer.cited);
            }
        }
        waits.sort_by(f64::total_cmp);
        println!(
            "{way:?}: right {}, of the book's own {}, of planted {}; the sentence was seen {seen}; right ones cited from it \
             {cited}; first token {:.2} s (median)",
            of(None),
            of(Some(false)),
            of(Some(true)),
            waits.get(waits.len() / 2).unwrap_or(&0.0) / 1e3
        );
    }
    Ok(())
}

struct Exam<'e> {
    args: &'e BookArgs,
    measured: &'e MeasuredModel,
    transformer: Option<Arc<Transformer>>,
    model: &'e Model,
    book: &'e Document,
    spans: &'e [Span],
    questions: &'e [Gold],
}

impl Exam<'_> {
    fn asked(&self, way: Way) -> Result<Vec<Answered>, EvaluationError> {
        let scratch = Scratch::new()?;
        let seen = match way {
            Way::Segments => Seen::Segments {
                size: self.args.segment,
                asked: self.args.asked,
            },
            Way::Passages => Seen::Passages(self.args.passages),
            Way::Alone => Seen::Whole,
            Way::Closed => return self.closed(),
        };
        let prepared = |book: &Document| {
            let keeps = way == Way::Segments;
            let kept = self.args.caches.as_deref().filter(|_| keeps);
            let folder = kept.unwrap_or(&scratch.0);
            let format = self.measured.kv_format;
            let meaning = self.transformer.as_ref();
            Prepared::new(self.model, book, seen, folder, format, meaning)
        };
        let mut answers = Vec::new();
        let whole = match way {
            Way::Alone => None,
            _ => Some(prepared(self.book)?),
        };
        for (gold, span) in self.questions.iter().zip(self.spans) {
            let answer = match &whole {
                Some(whole) => self.ask(way, gold, self.book, *span, whole)?,
                None => {
                    let around = around(self.model, self.book, *span, self.args.alone)?;
                    let excerpt = document(around.of(&self.book.text).unwrap_or_default());
                    let span = find(&excerpt, gold)?;
                    let alone = prepared(&excerpt)?;
                    self.ask(way, gold, &excerpt, span, &alone)?
                }
            };
            eprintln!("{way:?}: {}: {}", gold.answer, answer.answer.trim());
            answers.push(answer);
        }
        Ok(answers)
    }

    fn ask(
        &self,
        way: Way,
        gold: &Gold,
        book: &Document,
        span: Span,
        prepared: &Prepared,
    ) -> Result<Answered, EvaluationError> {
        let reader = Reader {
            model: self.model,
            retrieval_heads: &self.measured.retrieval_heads,
        };
        let view = prepared.view(&gold.question)?;
        let question = view.asked(&gold.question);
        let open = OpenDocument::new(String::new(), book.clone());
        let answer = ask(
            &reader,
            &open,
            &prepared.ground(&view),
            &question,
            &CancelFlag::new(),
            &mut |_| (),
        )?;
        let cited = answer
            .sentences
            .iter()
            .flat_map(|sentence| &sentence.citations)
            .any(|citation| {
                let cited = Span::new(citation.start as usize, citation.end as usize);
                cited.intersection(span).is_some()
            });
        Ok(Answered {
            way,
            question: gold.question.clone(),
            gold: gold.answer.clone(),
            planted: gold.planted.is_some(),
            right: says(&answer.answer, &gold.answer),
            seen: saw(&answer, span),
            answer: answer.answer,
            cited,
            first_token_ms: answer.timings.first_token_ms,
        })
    }

    fn closed(&self) -> Result<Vec<Answered>, EvaluationError> {
        self.questions
            .iter()
            .map(|gold| {
                let answer = closed_book(self.model, &gold.question)?;
                Ok(Answered {
                    way: Way::Closed,
                    question: gold.question.clone(),
                    gold: gold.answer.clone(),
                    planted: gold.planted.is_some(),
                    right: says(&answer, &gold.answer),
                    answer,
                    seen: false,
                    cited: false,
                    first_token_ms: 0.0,
                })
            })
            .collect()
    }
}

/// The book with its planted sentences, each a paragraph of its own at the first break behind its place.
fn planted(text: &str, questions: &[Gold]) -> String {
    let mut places: Vec<(usize, &str)> = questions
        .iter()
        .filter_map(|gold| {
            let place = text.floor_char_boundary(text.len() * gold.planted? / 1000);
            let at = text[place..]
                .find("\n\n")
                .map_or(text.len(), |break_at| place + break_at + 2);
            Some((at, gold.sentence.as_str()))
        })
        .collect();
    places.sort_by_key(|(at, _)| *at);
    let mut book = String::new();
    let mut from = 0;
    for (at, sentence) in places {
        book.push_str(&text[from..at]);
        book.push_str(sentence);
        book.push_str("\n\n");
        from = at;
    }
    book.push_str(&text[from..]);
    book
}

fn document(text: &str) -> Document {
    let mut document = plain_document("A book");
    for paragraph in text.split("\n\n").map(str::trim) {
        if !paragraph.is_empty() {
            push_paragraph(&mut document, paragraph);
        }
    }
    document
}

/// Where the sentence of an answer stands.
fn find(book: &Document, gold: &Gold) -> Result<Span, EvaluationError> {
    let start = book.text.find(&gold.sentence);
    let start = start.ok_or_else(|| EvaluationError::NoSuchSentence {
        sentence: gold.sentence.clone(),
    })?;
    Ok(Span::new(start, start + gold.sentence.len()))
}

/// So many tokens, of which the span is in the middle.
fn around(
    model: &Model,
    book: &Document,
    span: Span,
    tokens: usize,
) -> Result<Span, EvaluationError> {
    let all = model.tokenizer().encode_with_offsets(&book.text)?;
    let middle = all.partition_point(|token| (token.start as usize) < span.start);
    let first = middle.saturating_sub(tokens / 2);
    let byte = |nth: usize| {
        all.get(nth)
            .map_or(book.text.len(), |token| token.start as usize)
    };
    let start = book.text.floor_char_boundary(byte(first));
    let end = book.text.floor_char_boundary(byte(first + tokens));
    Ok(Span::new(start, end.max(span.end)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gold(sentence: &str, planted: Option<usize>) -> Gold {
        Gold {
            question: String::new(),
            answer: String::new(),
            sentence: sentence.to_owned(),
            planted,
        }
    }

    #[test]
    fn sentences_are_planted_between_paragraphs_and_found_again() {
        let text = (0..400).map(|nth| format!("Paragraph {nth}.\n\n"));
        let text: String = text.collect();
        let questions = [
            gold("A late one.", Some(900)),
            gold("An early one.", Some(100)),
            gold("Paragraph 7.", None),
        ];
        let book = document(&planted(&text, &questions));
        assert_eq!(book.blocks.len(), 402);
        let spans: Vec<Span> = questions.iter().map(|q| find(&book, q).unwrap()).collect();
        assert!(spans[1].start < spans[0].start && spans[2].start < spans[1].start);
        let place = spans[0].start as f64 / book.text.len() as f64;
        assert!((0.89..0.92).contains(&place), "{place}");
        for block in &book.blocks {
            let words = block.span.of(&book.text).unwrap();
            assert!(!words.contains("one.P") && !words.contains(".A"), "{words}");
        }
        assert!(find(&book, &gold("Nowhere.", None)).is_err());
    }
}
