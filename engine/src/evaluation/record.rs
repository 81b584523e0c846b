//! What a model said to the questions of an exam and what it looked at, kept in a file.
//!
//! Asking takes minutes a document, judging what was said takes milliseconds. So answers are written down as they
//! come, one JSON object a line; asked again with the same file, a question is not put to the model a second time.
//! A changed rule of citing is measured on the very answers that the old one was.

use super::EvaluationError;
use super::ground::{ANSWER_TOKENS, Prepared, Seen, saw};
use super::journal::Journal;
use super::xquad::{Exam, GoldQuestion};
use crate::asking::{OpenDocument, Question, Reader, ask_observed};
use crate::attention::{CancelFlag, DenseAttention};
use crate::citing::{AttentionEvidence, Claim};
use crate::kv::BlockFormat;
use crate::retrieval::{Nearness, Transformer};
use lectern_models::{ChatMessage, Logits, Model, Role};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const CLOSED_BOOK: &str = "Answer the question in one short sentence.";

/// One question and what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// Bytes of the document: the same question on another one is another question.
    document: usize,
    question: String,
    pub answer: String,
    /// Whether the answer's words were before the model; not known of older records.
    #[serde(default)]
    pub seen: Option<bool>,
    /// How near the document comes to the question; not known of older records.
    #[serde(default)]
    pub nearness: Option<Nearness>,
    pub sentences: Vec<Said>,
    /// The answer without the document.
    pub closed_book: Option<String>,
    pub first_token_ms: f64,
    pub cite_ms: f64,
    pub answer_ms: f64,
}

/// A sentence of an answer, and what the retrieval heads looked at while it was said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Said {
    pub sentence: String,
    pub evidence: Option<AttentionEvidence>,
}

impl Said {
    /// The sentence as the answer to `question`, to be cited.
    pub fn claim<'c>(&'c self, question: &'c str) -> Claim<'c> {
        Claim {
            sentence: &self.sentence,
            question,
        }
    }
}

/// The answers so far.
pub(super) struct Records {
    journal: Journal<Record>,
    /// What of a document is before the model.
    seen: Seen,
    /// Of the caches that documents are read into.
    format: BlockFormat,
    /// What finds passages by their meaning.
    transformer: Option<Arc<Transformer>>,
    /// Share of what can be left out of caches that is kept.
    share: f64,
    /// What the model is told behind each question.
    told: Option<String>,
    /// How long an answer may be.
    answer_tokens: usize,
    kept: HashMap<(usize, String), Record>,
}

impl Records {
    /// Those of `file`, which need not exist; without one they are forgotten at the end. What is asked anew is asked
    /// over caches of `format`.
    pub fn open(
        file: Option<&Path>,
        seen: Seen,
        format: BlockFormat,
        transformer: Option<Arc<Transformer>>,
    ) -> Result<Records, EvaluationError> {
        let (journal, kept) = Journal::<Record>::open(file)?;
        let kept = kept
            .into_iter()
            .map(|record| ((record.document, record.question.clone()), record))
            .collect();
        Ok(Records {
            journal,
            seen,
            format,
            transformer,
            share: 1.0,
            told: None,
            answer_tokens: ANSWER_TOKENS,
            kept,
        })
    }

    /// The model is told this behind each question that is asked anew, and may answer with so many tokens.
    pub fn asking(self, told: Option<&str>, answer_tokens: usize) -> Records {
        Records {
            told: told.map(str::to_owned),
            answer_tokens,
            ..self
        }
    }

    /// What is asked anew is asked over caches with about this share of what can be left out of them.
    pub fn made_smaller(self, share: f64) -> Records {
        Records { share, ..self }
    }

    /// What the model says to each of `questions` on `exam`'s document; reads it only if one of them is new.
    pub fn answers(
        &mut self,
        reader: &Reader,
        exam: &Exam,
        questions: &[&GoldQuestion],
        with_closed_book: bool,
    ) -> Result<Vec<Record>, EvaluationError> {
        let key = |gold: &GoldQuestion| (exam.document.text.len(), gold.question.clone());
        let new = |gold: &&&GoldQuestion| !self.kept.contains_key(&key(gold));
        let new: Vec<&GoldQuestion> = questions.iter().filter(new).copied().collect();
        if !new.is_empty() {
            self.ask(reader, exam, &new, with_closed_book)?;
        }
        Ok(questions
            .iter()
            .filter_map(|gold| self.kept.get(&key(gold)).cloned())
            .collect())
    }

    fn ask(
        &mut self,
        reader: &Reader,
        exam: &Exam,
        questions: &[&GoldQuestion],
        with_closed_book: bool,
    ) -> Result<(), EvaluationError> {
        let folder = Scratch::new()?;
        let prepared = Prepared::new(
            reader.model,
            &exam.document,
            self.seen,
            &folder.0,
            self.format,
            self.transformer.as_ref(),
        )?
        .made_smaller(reader.model, self.share)?;
        let document = OpenDocument::new(String::new(), exam.document.clone());
        for gold in questions {
            let view = prepared.view(&gold.question)?;
            let question = Question {
                told: self.told.as_deref(),
                max_tokens: self.answer_tokens,
                ..view.asked(&gold.question)
            };
            let mut sentences = Vec::new();
            let mut observe = |sentence: &str, evidence: Option<&AttentionEvidence>| {
                sentences.push(Said {
                    sentence: sentence.to_owned(),
                    evidence: evidence.cloned(),
                });
            };
            let started = Instant::now();
            let answer = ask_observed(
                reader,
                &document,
                &prepared.ground(&view),
                &question,
                &CancelFlag::new(),
                &mut |_| (),
                &mut observe,
            )?;
            let answer_ms = started.elapsed().as_secs_f64() * 1e3;
            let closed_book = with_closed_book
                .then(|| closed_book(reader.model, &gold.question))
                .transpose()?;
            self.keep(Record {
                document: exam.document.text.len(),
                question: gold.question.clone(),
                seen: Some(saw(&answer, gold.span)),
                nearness: prepared.nearest(&gold.question)?.map(|near| near.nearness),
                answer: answer.answer,
                sentences,
                closed_book,
                first_token_ms: answer.timings.first_token_ms,
                cite_ms: answer.timings.cite_s * 1e3,
                answer_ms,
            })?;
        }
        Ok(())
    }

    fn keep(&mut self, record: Record) -> Result<(), EvaluationError> {
        self.journal.keep(&record)?;
        self.kept
            .insert((record.document, record.question.clone()), record);
        Ok(())
    }
}

/// The model's answer without the document.
pub(super) fn closed_book(model: &Model, question: &str) -> Result<String, EvaluationError> {
    let message = |role, content: &str| ChatMessage {
        role,
        content: content.to_owned(),
    };
    let messages = [
        message(Role::System, CLOSED_BOOK),
        message(Role::User, question),
    ];
    let prompt = model
        .chat_template()
        .render(&messages, true)
        .map_err(crate::reading::PromptError::from)?;
    let mut attention = DenseAttention::without_cache(model.shape(), CancelFlag::new())?;
    let mut next = model.tokenizer().encode_prompt(&prompt)?;
    let mut said = Vec::new();
    while said.len() < ANSWER_TOKENS {
        let Some(logits) = model.forward(&next, &mut attention, Logits::Last)? else {
            break;
        };
        let token = logits
            .flatten_all()
            .and_then(|l| l.argmax(0))
            .and_then(|t| t.to_scalar::<u32>());
        let token = token.map_err(lectern_models::ForwardError::from)?;
        if model.ends_answer(token) {
            break;
        }
        said.push(token);
        next = vec![token];
    }
    Ok(model.tokenizer().decode(&said))
}

/// A temporary folder that is removed when dropped.
pub(super) struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Result<Scratch, EvaluationError> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let nth = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lectern-eval-{}-{nth}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // a leftover in the temporary folder is no reason to fail
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn answers_are_kept_and_a_line_cut_off_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.jsonl");
        let record = |question: &str| Record {
            seen: None,
            nearness: None,
            document: 7,
            question: question.into(),
            answer: "Nobody.".into(),
            sentences: vec![Said {
                sentence: "Nobody.".into(),
                evidence: Some(AttentionEvidence::new(&[1.0, 2.0], &[0.0, 1.0], &[])),
            }],
            closed_book: None,
            first_token_ms: 1.0,
            cite_ms: 1.0,
            answer_ms: 2.0,
        };
        let mut records = Records::open(Some(&path), Seen::Whole, BlockFormat::F16, None).unwrap();
        records.keep(record("Who?")).unwrap();
        records.keep(record("Why?")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        let again = Records::open(Some(&path), Seen::Whole, BlockFormat::F16, None).unwrap();
        assert_eq!(again.kept.len(), 1);
        let kept = &again.kept[&(7, "Who?".to_owned())];
        assert_eq!(
            kept.sentences[0].evidence.as_ref().unwrap().answer,
            [0.5, 1.0]
        );
    }
}
