//! How well the passage that answers a question is found: by its words, by its meaning, by both. No model answers.
//!
//! ClapNQ's questions were typed into a search engine by people who had not seen the passage; XQuAD's and QMSum's were
//! written by people who had it before them.

use super::EvaluationError;
use super::clapnq;
use super::ground::{Ranks, Vectored};
use super::sources::Sourced;
use super::xquad::{Exam, exams};
use super::{qmsum, sweqa};
use crate::document::{Document, Span};
use crate::retrieval::{self, Ranked, Transformer};
use clap::{Args, ValueEnum};
use lectern_models::Catalogue;
use std::path::PathBuf;
use std::sync::Arc;

/// Of [`Evaluation::Passages`](super::Evaluation::Passages).
#[derive(Debug, Args)]
pub struct PassagesArgs {
    /// Folder that holds `clapnq/`, `xquad/`, `qmsum/` and `sweqa/`.
    #[arg(long)]
    pub data: PathBuf,
    /// Folder of models, in which what knows meanings is looked for.
    #[arg(long)]
    pub models: PathBuf,
    /// The `requests` library as its source package unpacks; without it questions on code are left out.
    #[arg(long)]
    pub code: Option<PathBuf>,
    /// Language of XQuAD's questions and articles.
    #[arg(long, default_value = "en")]
    pub language: String,
    /// Rank by meaning also what the product finds by words alone: code, and other languages.
    #[arg(long)]
    pub whatever: bool,
    /// Questions of XQuAD.
    #[arg(long, default_value_t = 300)]
    pub limit: usize,
    /// Sets to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Set::value_variants().to_vec())]
    pub sets: Vec<Set>,
}

/// Passages that are counted among the first.
const FIRST: usize = 8;

/// A set of documents with questions and where their answers stand.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Set {
    /// Typed into a search engine.
    Clapnq,
    /// On articles, in their words.
    Xquad,
    /// On meetings.
    Qmsum,
    /// On a codebase.
    Sweqa,
}

/// A question and the spans that answer it.
pub(super) type Gold = (String, Vec<Span>);

impl Set {
    fn documents(self, args: &PassagesArgs) -> Result<Vec<(Document, Vec<Gold>)>, EvaluationError> {
        Ok(match self {
            Set::Clapnq => clapnq::joined_whole(&args.data)?,
            Set::Xquad => {
                let whole = |words: &str| Ok(words.len());
                let exams = exams(&args.data, &args.language, usize::MAX, whole)?;
                let asked = |exam: Exam| {
                    let questions = exam.sample(args.limit).into_iter();
                    let gold = questions.map(|gold| (gold.question.clone(), vec![gold.span]));
                    (gold.collect(), exam.document)
                };
                let exams = exams.into_iter().map(asked);
                exams.map(|(gold, document)| (document, gold)).collect()
            }
            Set::Qmsum => {
                let meetings = qmsum::meetings(&args.data)?.into_iter();
                meetings.map(Sourced::passages).collect()
            }
            Set::Sweqa => match &args.code {
                Some(code) => vec![sweqa::requests(&args.data, code)?],
                None => Vec::new(),
            },
        })
    }
}

/// Of one way of ranking.
#[derive(Default)]
pub(super) struct Found {
    questions: usize,
    /// The first passage holds something of the answer.
    first: usize,
    /// One of those that score nearly as well does.
    alike: usize,
    /// How many these are.
    looked_at: usize,
    /// Share of the passages that hold something of it, [`FIRST`] at most, that is among the first so many.
    recall: f64,
}

/// Ranks, prints.
pub(super) fn run(args: &PassagesArgs) -> Result<(), EvaluationError> {
    let transformer = Transformer::of_catalogue(&Catalogue::load(&args.models)?)?.map(Arc::new);
    Found::print_head();
    for set in &args.sets {
        let mut found: [Found; 2] = Default::default();
        for (document, questions) in set.documents(args)? {
            let passages = retrieval::passages(&document);
            let vectored = match args.whatever {
                true => Vectored::Always,
                false => Vectored::IfSpoken,
            };
            let ranks = Ranks::new(&document, transformer.as_ref(), vectored)?;
            for (question, gold) in &questions {
                if gold.is_empty() {
                    continue;
                }
                found[0].count(&passages, gold, &ranks.by_words(question)?);
                found[1].count(&passages, gold, &ranks.rank(question)?);
            }
        }
        for (way, found) in ["words", "as the product"].iter().zip(&found) {
            found.print(&format!("{set:?}"), way);
        }
    }
    Ok(())
}

impl Found {
    /// The line above those of [`Found::print`].
    pub fn print_head() {
        println!(
            "{:<8} {:<20} {:>9} {:>6} {:>6} {:>10} {:>10}",
            "", "by", "questions", "first", "alike", "looked at", "of 8"
        );
    }

    pub fn print(&self, set: &str, way: &str) {
        let of = |hits: usize| hits as f64 / self.questions.max(1) as f64;
        println!(
            "{set:<8} {way:<20} {:>9} {:>6.3} {:>6.3} {:>10.2} {:>10.3}",
            self.questions,
            of(self.first),
            of(self.alike),
            of(self.looked_at),
            self.recall / self.questions.max(1) as f64
        );
    }

    pub fn count(&mut self, passages: &[Span], gold: &[Span], ranked: &[Ranked]) {
        let holds = |span: Span| gold.iter().any(|gold| gold.intersection(span).is_some());
        let all = passages.iter().filter(|span| holds(**span)).count();
        let held = |ranked: &[Ranked]| ranked.iter().filter(|r| holds(r.span)).count();
        let upto = |most: usize| &ranked[..most.min(ranked.len())];
        let alike = retrieval::alike(ranked).len().min(FIRST);
        self.questions += 1;
        self.first += held(upto(1));
        self.alike += usize::from(held(upto(alike)) > 0);
        self.looked_at += alike;
        self.recall += held(upto(FIRST)) as f64 / all.clamp(1, FIRST) as f64;
    }
}
