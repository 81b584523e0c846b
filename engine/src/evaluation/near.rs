//! How near documents come to questions that they answer, and to questions that they do not: what tells them apart.
//!
//! In: ClapNQ's questions with an answer and without, on documents of their passages; its and XQuAD's with an answer, and again with
//! the passages that hold it left out; QMSum's, which all have one. Out: of each set how many come no nearer than a tenth of
//! ClapNQ's answered ones do, by weights fitted on every second document and judged on the others; and the weights that all
//! documents give, which are to stand in [`Nearness`]. And how often the sentences that come nearest hold something of the answer.

use super::ground::{Ranks, Vectored};
use super::journal::Journal;
use super::logistic::{Example, Regression};
use super::passages::Gold;
use super::score::Share;
use super::sources::Sourced;
use super::xquad::{Exam, exams};
use super::{EvaluationError, clapnq, qmsum};
use crate::document::{Document, Span};
use crate::retrieval::{Nearness, Transformer};
use clap::Args;
use lectern_models::Catalogue;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Of [`Evaluation::Near`](super::Evaluation::Near).
#[derive(Debug, Args)]
pub struct NearArgs {
    /// Folder that holds `clapnq/`, `xquad/` and `qmsum/`.
    #[arg(long)]
    pub data: PathBuf,
    /// Folder of models, in which what knows meanings is looked for.
    #[arg(long)]
    pub models: PathBuf,
    /// Tokens of a document, about.
    #[arg(long, default_value_t = 8000)]
    pub tokens: usize,
    /// Rank passages by their words alone, as before their vectors are made: what is nearest is looked for among the best
    /// three.
    #[arg(long)]
    pub words_only: bool,
    /// File that keeps the numbers of each question, as JSON: what is in it is not computed again.
    #[arg(long)]
    pub numbers: Option<PathBuf>,
}

/// Bytes of English a token, about.
const BYTES: usize = 4;

/// One of so many questions of XQuAD is taken, and so many meetings of QMSum.
const EVERY: usize = 3;
const MEETINGS: usize = 8;

/// Share of ClapNQ's answered questions that may be called unanswered.
const WRONG: f64 = 0.1;

/// Where a question's answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Kind {
    ClapnqThere,
    ClapnqNowhere,
    ClapnqLeftOut,
    XquadThere,
    XquadLeftOut,
    QmsumThere,
}

impl Kind {
    const ALL: [Kind; 6] = [
        Kind::ClapnqThere,
        Kind::ClapnqNowhere,
        Kind::ClapnqLeftOut,
        Kind::XquadThere,
        Kind::XquadLeftOut,
        Kind::QmsumThere,
    ];

    fn name(self) -> &'static str {
        match self {
            Kind::ClapnqThere => "ClapNQ, answered",
            Kind::ClapnqNowhere => "ClapNQ, without an answer",
            Kind::ClapnqLeftOut => "ClapNQ, its passage left out",
            Kind::XquadThere => "XQuAD, answered",
            Kind::XquadLeftOut => "XQuAD, its passages left out",
            Kind::QmsumThere => "QMSum, answered",
        }
    }

    fn is_answered(self) -> bool {
        matches!(
            self,
            Kind::ClapnqThere | Kind::XquadThere | Kind::QmsumThere
        )
    }

    /// Whether the passages that hold the answer are left out.
    fn is_left_out(self) -> bool {
        matches!(self, Kind::ClapnqLeftOut | Kind::XquadLeftOut)
    }

    /// How much one counts in the fit; QMSum's are only judged.
    fn weight(self) -> f64 {
        match self {
            Kind::ClapnqThere | Kind::ClapnqNowhere => 1.0,
            Kind::ClapnqLeftOut | Kind::XquadThere | Kind::XquadLeftOut => 0.3,
            Kind::QmsumThere => 0.0,
        }
    }
}

/// A question and how near its document comes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    kind: Kind,
    /// Of the documents of its set.
    document: usize,
    question: String,
    /// Unknown where the question is in no language that the transformer knows.
    nearness: Option<Nearness>,
    /// Whether one of the sentences that come nearest holds something of the answer.
    holds: bool,
}

/// Measures, fits, prints.
pub(super) fn run(args: &NearArgs) -> Result<(), EvaluationError> {
    let (mut journal, kept) = Journal::<Row>::open(args.numbers.as_deref())?;
    let key = |row: &Row| (row.kind, row.document, row.question.clone());
    let kept: HashMap<_, Row> = kept.into_iter().map(|row| (key(&row), row)).collect();
    let catalogue = Catalogue::load(&args.models)?;
    let transformer = Transformer::of_catalogue(&catalogue)?.map(Arc::new);
    let vectored = match args.words_only {
        true => Vectored::Never,
        false => Vectored::IfSpoken,
    };
    let mut rows = Vec::new();
    for (kinds, documents) in sets(args)? {
        for (document, (text, questions)) in documents.iter().enumerate() {
            let mut ranks = None;
            let mut measure = |kind: Kind, question: &str, gold: &[Span]| {
                let question = question.to_owned();
                if let Some(row) = kept.get(&(kind, document, question.clone())) {
                    rows.push(row.clone());
                    return Ok(());
                }
                if ranks.is_none() {
                    ranks = Some(Ranks::new(text, transformer.as_ref(), vectored)?);
                }
                let but = if kind.is_left_out() { gold } else { &[] };
                let nearest = ranks.as_ref().map(|ranks| ranks.nearest(&question, but));
                let nearest = nearest.transpose()?.flatten();
                let is_gold = |span: &Span| gold.iter().any(|g| g.intersection(*span).is_some());
                let row = Row {
                    kind,
                    document,
                    question,
                    nearness: nearest.as_ref().map(|nearest| nearest.nearness),
                    holds: nearest.is_some_and(|nearest| nearest.sentences.iter().any(is_gold)),
                };
                journal.keep(&row)?;
                rows.push(row);
                Ok::<_, EvaluationError>(())
            };
            for (question, gold) in questions {
                for &kind in kinds {
                    if gold.is_empty() == (kind == Kind::ClapnqNowhere) {
                        measure(kind, question, gold)?;
                    }
                }
            }
            eprintln!("{} questions", rows.len());
        }
    }
    print(&rows);
    Ok(())
}

/// The kinds that a set's questions are of, and its documents with them.
type Set = (&'static [Kind], Vec<(Document, Vec<Gold>)>);

fn sets(args: &NearArgs) -> Result<Vec<Set>, EvaluationError> {
    let length = |text: &str| Ok(text.len() / BYTES);
    let some = |exam: Exam| {
        let asked = exam.questions.into_iter().step_by(EVERY);
        let gold = asked.map(|asked| (asked.question, vec![asked.span]));
        (exam.document, gold.collect())
    };
    let xquad = exams(&args.data, "en", args.tokens, length)?.into_iter();
    let meetings = qmsum::meetings(&args.data)?.into_iter().take(MEETINGS);
    Ok(vec![
        (
            &[Kind::ClapnqThere, Kind::ClapnqNowhere, Kind::ClapnqLeftOut],
            clapnq::documents(&args.data, usize::MAX, args.tokens, length)?,
        ),
        (
            &[Kind::XquadThere, Kind::XquadLeftOut],
            xquad.map(some).collect(),
        ),
        (
            &[Kind::QmsumThere],
            meetings.map(Sourced::passages).collect(),
        ),
    ])
}

/// The regression that these rows give, moved so that [`WRONG`] of ClapNQ's answered ones lie below 0.
fn fitted<'r>(rows: impl Iterator<Item = &'r Row>) -> Regression<3> {
    let rows: Vec<(&Row, [f64; 3])> = rows
        .filter_map(|row| Some((row, row.nearness?.numbers())))
        .collect();
    let examples: Vec<Example<3>> = rows
        .iter()
        .map(|(row, numbers)| Example {
            numbers: *numbers,
            is_so: row.kind.is_answered(),
            weight: row.kind.weight(),
        })
        .collect();
    let mut fitted = Regression::fit(&examples);
    let answered = rows.iter().filter(|(row, _)| row.kind == Kind::ClapnqThere);
    let mut sums: Vec<f64> = answered.map(|(_, numbers)| fitted.of(numbers)).collect();
    sums.sort_by(f64::total_cmp);
    let least = sums.get((WRONG * sums.len() as f64) as usize);
    fitted.bias -= least.copied().unwrap_or(0.0);
    fitted
}

fn print(rows: &[Row]) {
    let half = |of: usize| rows.iter().filter(move |row| row.document % 2 == of);
    let halves = [fitted(half(1)), fitted(half(0))];
    println!(
        "{:<32} {:<28} {:<28} the nearest sentences hold some of it",
        "called unanswered", "held out", "with what ships"
    );
    for kind in Kind::ALL {
        let mut shares = [Share::default(); 3];
        let [held_out, ships, holds] = &mut shares;
        for row in rows.iter().filter(|row| row.kind == kind) {
            let nearness = row.nearness;
            let is_far = |n: Nearness| halves[row.document % 2].of(&n.numbers()) < 0.0;
            held_out.count(nearness.is_some_and(is_far));
            ships.count(nearness.is_some_and(|n| n.sum() < 0.0));
            holds.count(row.holds);
        }
        let holds = match kind.is_answered() {
            true => holds.to_string(),
            false => String::new(),
        };
        println!("{:<32} {held_out:<28} {ships:<28} {holds}", kind.name());
    }
    let all = fitted(rows.iter());
    println!("weights {:.3?}, bias {:.3}", all.weights, all.bias);
}
