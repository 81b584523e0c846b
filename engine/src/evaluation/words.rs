//! Citations by words alone, for answers that are known to be right or wrong.
//!
//! The answers are [`claims`]; even documents fit thresholds, odd ones report.

use super::claims::{ClaimKind, claims};
use super::score::Share;
use super::xquad::{Exam, exams};
use super::{EvaluationError, WordsArgs};
use crate::citing::{Claim, SentenceIndex, Weights, cite, ranked};
use crate::document::Span;
use lectern_protocol::SupportState;

/// What was counted on one half.
#[derive(Default)]
struct Counts {
    first: Share,
    recall: Share,
    precision: Share,
    /// By kind of claim, in the order of [`ClaimKind::ALL`].
    states: [States; ClaimKind::ALL.len()],
    /// Citations of right echoes.
    echo_recall: Share,
    echo_precision: Share,
}

#[derive(Default)]
struct States {
    supported: Share,
    partly: Share,
}

impl States {
    fn count(&mut self, state: SupportState) {
        self.supported.count(state == SupportState::Supported);
        self.partly.count(state == SupportState::Partly);
    }
}

/// Cites all gold answers and as many wrong ones, and prints the table.
pub(super) fn run(args: &WordsArgs) -> Result<(), EvaluationError> {
    let all = exams(&args.data, &args.language, args.bytes, |words| {
        Ok(words.len())
    })?;
    let mut halves = [Counts::default(), Counts::default()];
    let started = std::time::Instant::now();
    for (nth, exam) in all.iter().enumerate() {
        count(exam, &mut halves[nth % 2]);
    }
    let questions: usize = all.iter().map(|exam| exam.questions.len()).sum();
    println!(
        "{}: {} documents of about {} bytes, {questions} questions",
        args.language,
        all.len(),
        args.bytes
    );
    for (name, counts) in ["fitting half", "reporting half"].iter().zip(&halves) {
        println!("\n{name}");
        println!("  gold sentence ranks first  {}", counts.first);
        println!("  recall                     {}", counts.recall);
        println!("  precision                  {}", counts.precision);
        println!("  right echo, recall         {}", counts.echo_recall);
        println!("  right echo, precision      {}", counts.echo_precision);
        for (kind, states) in ClaimKind::ALL.iter().zip(&counts.states) {
            let name = kind.name();
            println!(
                "  {:<26} {}",
                format!("{name}, supported"),
                states.supported
            );
            println!("  {:<26} {}", format!("{name}, partly"), states.partly);
        }
    }
    println!(
        "\n{:.1} ms a question",
        started.elapsed().as_secs_f64() * 1e3 / questions.max(1) as f64
    );
    Ok(())
}

fn count(exam: &Exam, counts: &mut Counts) {
    let index = SentenceIndex::new(&exam.document);
    let weights = Weights::default().lexical();
    let text = &exam.document.text;
    for (nth, gold) in exam.questions.iter().enumerate() {
        let holds = |span: Span| span.intersection(gold.span).is_some();
        let claim = Claim {
            sentence: &gold.answer,
            question: &gold.question,
        };
        let first = ranked(&claim, text, &index, None, &weights);
        counts
            .first
            .count(first.first().is_some_and(|c| holds(index.span(c.sentence))));
        for labelled in claims(exam, nth, &index) {
            let found = cite(&labelled.claim(), text, &index, None, &weights);
            counts.states[labelled.kind as usize].count(found.state);
            let (recall, precision) = match labelled.kind {
                ClaimKind::Right => (&mut counts.recall, &mut counts.precision),
                ClaimKind::RightEcho => (&mut counts.echo_recall, &mut counts.echo_precision),
                _ => continue,
            };
            recall.count(found.citations.iter().any(|cited| holds(cited.span)));
            found
                .citations
                .iter()
                .for_each(|cited| precision.count(holds(cited.span)));
        }
    }
}
