//! How well the hold test tells true from false: `lectern eval hold`.
//!
//! In: a model and XQuAD. The [`claims`] of `eval words` are cited by words alone; those that are shown as supported
//! or partly are judged by the model with the cited words and without ([`Trial`]). Out: for each number that can be
//! made of that ([`Score`]), how well it orders true claims of the supported ones above false ones, and how many of
//! each kind are still shown as supported on odd documents, by a threshold that keeps a given share of the true ones
//! on even documents.
//!
//! Judging takes a second or two a claim on a processor, so every trial is written down as it comes.

mod table;
mod trial;

pub(super) use trial::{Judge, Score, Trial};

use super::claims::{ClaimKind, claims};
use super::journal::Journal;
use super::score::Share;
use super::xquad::{Exam, exams};
use super::{EvaluationError, MeasuredModel};
use crate::citing::{SentenceIndex, Weights, cite, cited_words};
use clap::Args;
use lectern_models::Model;
use lectern_protocol::SupportState;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Of [`super::Evaluation::Hold`].
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// Folder that holds `xquad/`.
    #[arg(long)]
    pub data: PathBuf,
    /// Language of the questions and articles.
    #[arg(long, default_value = "en")]
    pub language: String,
    /// Bytes of a document: articles are joined until it has about as many.
    #[arg(long, default_value_t = 16000)]
    pub bytes: usize,
    /// Questions, evenly spread over all documents; each gives up to seven claims.
    #[arg(long, default_value_t = 1190)]
    pub limit: usize,
    /// Shares of the true supported claims that stay so.
    #[arg(long, value_delimiter = ',', default_values_t = [0.95, 0.97, 0.98])]
    pub keep: Vec<f64>,
    /// File that keeps what the model found, token by token: what is in it is not judged again, only counted.
    #[arg(long)]
    pub scores: Option<PathBuf>,
}

/// A claim that was judged, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Judged {
    /// The model's file, without folder and ending.
    model: String,
    /// The document's number, and its bytes: the same claim on another document is another claim.
    document: usize,
    bytes: usize,
    kind: ClaimKind,
    question: String,
    claim: String,
    state: SupportState,
    /// The cited sentences.
    spans: String,
    /// Tokens of the claim.
    tokens: usize,
    trial: Trial,
}

impl Shown {
    fn count(&mut self, state: SupportState) {
        self.supported.count(state == SupportState::Supported);
        self.partly.count(state == SupportState::Partly);
    }
}

impl Judged {
    fn key(&self) -> Key {
        (
            self.model.clone(),
            self.bytes,
            self.kind,
            self.question.clone(),
            self.claim.clone(),
        )
    }

    fn fits(&self) -> bool {
        self.document.is_multiple_of(2)
    }
}

/// What makes a claim the same: the model, the document's bytes, how it was made, question and claim.
type Key = (String, usize, ClaimKind, String, String);

/// Claims of one kind before they are judged.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    supported: Share,
    partly: Share,
}

/// Judges what is not yet in the file, and prints.
pub(super) fn run(args: &HoldArgs, measured: &MeasuredModel) -> Result<(), EvaluationError> {
    let all = exams(&args.data, &args.language, args.bytes, |words| {
        Ok(words.len())
    })?;
    let (journal, kept) = Journal::open(args.scores.as_deref())?;
    let name = measured.path.file_stem().unwrap_or_default();
    let mut court = Court {
        path: &measured.path,
        name: name.to_string_lossy().into_owned(),
        model: None,
        journal,
        kept: kept.into_iter().map(|j: Judged| (j.key(), j)).collect(),
        shown: Default::default(),
        found: Vec::new(),
    };
    let every: usize = all.iter().map(|exam| exam.questions.len()).sum();
    // every document gives its share of the limit
    let share = |questions: usize| questions * args.limit.min(every) / every.max(1);
    let mut before = 0;
    for (document, exam) in all.iter().enumerate() {
        let after = before + exam.questions.len();
        court.hear(document, exam, share(after) - share(before))?;
        before = after;
        eprintln!(
            "document {} of {}: {} claims judged",
            document + 1,
            all.len(),
            court.found.len()
        );
    }
    println!(
        "{}, {}: {} documents, {} questions, {} claims judged",
        court.name,
        args.language,
        all.len(),
        share(every),
        court.found.len()
    );
    table::print(&args.keep, &court.shown, &court.found);
    Ok(())
}

/// What has been judged, and what is needed to go on.
struct Court<'c> {
    path: &'c Path,
    name: String,
    /// Loaded when the first claim is not in the file.
    model: Option<Model>,
    journal: Journal<Judged>,
    kept: HashMap<Key, Judged>,
    /// By kind, in the order of [`ClaimKind::ALL`].
    shown: [Shown; ClaimKind::ALL.len()],
    found: Vec<Judged>,
}

impl Court<'_> {
    /// Judges the claims of `questions` of the exam's questions that are shown as more than unsupported.
    fn hear(
        &mut self,
        document: usize,
        exam: &Exam,
        questions: usize,
    ) -> Result<(), EvaluationError> {
        let index = SentenceIndex::new(&exam.document);
        let text = &exam.document.text;
        let weights = Weights::default().lexical();
        let labelled = exam.spread(questions);
        for labelled in labelled.flat_map(|nth| claims(exam, nth, &index)) {
            let claim = labelled.claim();
            let verdict = cite(&claim, text, &index, None, &weights);
            self.shown[labelled.kind as usize].count(verdict.state);
            if verdict.state == SupportState::Unsupported {
                continue;
            }
            let mut judged = Judged {
                model: self.name.clone(),
                document,
                bytes: text.len(),
                kind: labelled.kind,
                question: labelled.question.to_owned(),
                claim: labelled.sentence.clone(),
                state: verdict.state,
                spans: cited_words(&verdict, text),
                tokens: 0,
                trial: Trial::default(),
            };
            // by other words, as the rules of citing were once, is another judgement
            let known = self.kept.remove(&judged.key());
            let known = known.filter(|known| known.spans == judged.spans);
            let new = known.is_none();
            judged.trial = match known {
                Some(known) => known.trial,
                None => {
                    let model = loaded(&mut self.model, self.path)?;
                    Trial::of(&Judge::new(model)?, &claim, &verdict, text, &index)?
                }
            };
            judged.tokens = judged.trial.span.said.len();
            if new {
                self.journal.keep(&judged)?;
            }
            self.found.push(judged);
        }
        Ok(())
    }
}

/// The model, loaded if it is not yet.
fn loaded<'m>(model: &'m mut Option<Model>, path: &Path) -> Result<&'m Model, EvaluationError> {
    match *model {
        Some(ref model) => Ok(model),
        None => Ok(model.insert(crate::model::load(path)?)),
    }
}
