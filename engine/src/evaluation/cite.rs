//! How often answers are right, and how often citations hold the words they rest on.
//!
//! XQuAD's articles are joined to documents, read whole, and asked about through [`asking`](crate::asking), exactly
//! as a person's questions are. Beside it: the same questions without the document (closed book, since a model may
//! remember Wikipedia), and the citations that words alone and attention alone would have given.
//!
//! A citation is right when it holds the gold span (touches it, where the span crosses sentences). *Recall* is the
//! share of right answers with a right citation; *precision* the share of right ones among the citations of the
//! sentences that say the gold answer. Even documents fit weights and thresholds, odd ones report.

use super::discern::auroc;
use super::fit::{Ranking, fit};
use super::ground::Seen;
use super::hold::{Judge, Score, Trial};
use super::record::{Record, Records, Said};
use super::score::{Share, says};
use super::xquad::{Exam, GoldQuestion, exams};
use super::{CiteArgs, EvaluationError, MeasuredModel};
use crate::asking::Reader;
use crate::citing::{SentenceIndex, Verdict, Weights, cite, ranked};
use crate::document::Span;
use lectern_protocol::SupportState;
use serde::Serialize;
use std::time::Instant;

/// Ways of ranking, with what each is called.
pub(super) fn ways() -> [(&'static str, Weights); 3] {
    let fused = Weights::default();
    [
        ("fused", fused),
        ("words alone", fused.lexical()),
        ("attention alone", fused.attention()),
    ]
}

/// One question's outcome.
#[derive(Debug, Serialize)]
struct Outcome {
    document: usize,
    fits: bool,
    question: String,
    gold: String,
    right: bool,
    /// Whether the answer's words were before the model.
    seen: Option<bool>,
    closed_book: Option<bool>,
    /// Of the answer, with a state and the cited words each.
    sentences: Vec<String>,
    states: Vec<SupportState>,
    /// Whether it is told that the document may not answer; not known of older records.
    far: Option<bool>,
    quotes: Vec<Vec<String>>,
    /// Of supported sentences, if they were asked for.
    holds: Vec<Option<Trial>>,
    cite_ms: f64,
    first_token_ms: f64,
    answer_ms: f64,
    ways: Vec<WayOutcome>,
}

/// What one way of ranking gave.
#[derive(Debug, Default, Clone, Serialize)]
struct WayOutcome {
    /// The candidate that ranks first, before verification, holds the gold span.
    first: bool,
    /// A citation of the answer holds it.
    found: bool,
    /// Citations of sentences that say the gold answer, and those that hold the gold span.
    cited: usize,
    cited_gold: usize,
}

/// Asks, cites, prints.
pub(super) fn run(args: &CiteArgs, measured: &MeasuredModel) -> Result<(), EvaluationError> {
    let model = measured.load()?;
    let heads = if args.heads.is_empty() {
        &measured.retrieval_heads
    } else {
        &args.heads
    };
    let reader = Reader {
        model: &model,
        retrieval_heads: heads,
    };
    let all = exams(&args.data, &args.language, args.tokens, |words| {
        Ok(model.tokenizer().encode(words)?.len())
    })?;
    let documents = args.limit.div_ceil(args.per_document.max(1)).min(all.len());
    let seen = match (args.passages, args.segments.seen(), args.look_at) {
        (Some(tokens), ..) => Seen::Passages(tokens),
        (_, Some(segments), _) => segments,
        (.., Some(tokens)) => Seen::Partly { tokens },
        _ => Seen::Whole,
    };
    let judge = args.hold.then(|| Judge::new(&model)).transpose()?;
    let mut records = Records::open(
        args.answers.as_deref(),
        seen,
        measured.kv_format,
        measured.transformer(args.segments.words_only)?,
    )?
    .made_smaller(args.keep);
    let mut outcomes = Vec::new();
    let mut rankings = Vec::new();
    let mut tokens = 0;
    for (nth, exam) in all[..documents].iter().enumerate() {
        let started = Instant::now();
        tokens += model.tokenizer().encode(&exam.document.text)?.len();
        let questions = exam.sample(args.per_document);
        let answers = records.answers(&reader, exam, &questions, !args.no_closed_book)?;
        let index = SentenceIndex::new(&exam.document);
        for (gold, record) in questions.iter().zip(&answers) {
            let outcome = judged(nth, exam, &index, gold, record, judge.as_ref())?;
            if outcome.fits && outcome.right {
                rankings.extend(ranking(exam, &index, gold, &record.sentences));
            }
            outcomes.push(outcome);
        }
        let right = outcomes.iter().filter(|o| o.right).count();
        eprintln!(
            "document {} of {documents} ({:.0} s): {right} of {} answers right",
            nth + 1,
            started.elapsed().as_secs_f64(),
            outcomes.len()
        );
    }
    let mean = tokens / documents.max(1);
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "model": model.name(), "tokens": mean, "questions": outcomes })
        );
    } else {
        println!(
            "{}: {documents} documents of {mean} tokens on average, {} questions",
            model.name(),
            outcomes.len()
        );
        print(&outcomes);
    }
    if args.fit && !rankings.is_empty() {
        let weights = fit(&rankings);
        eprintln!("fitted on {} answers: {weights:.3?}", rankings.len());
    }
    Ok(())
}

/// One answer, cited and compared with the gold one.
fn judged(
    document: usize,
    exam: &Exam,
    index: &SentenceIndex,
    gold: &GoldQuestion,
    record: &Record,
    judge: Option<&Judge>,
) -> Result<Outcome, EvaluationError> {
    let text = &exam.document.text;
    let mut states = Vec::new();
    let mut holds = Vec::new();
    let mut quotes = Vec::new();
    for said in &record.sentences {
        let verdict = cited(said, gold, text, index, &Weights::default());
        states.push(verdict.state);
        let claim = said.claim(&gold.question);
        let judge = judge.filter(|_| verdict.state == SupportState::Supported);
        let trial = judge.map(|judge| Trial::of(judge, &claim, &verdict, text, index));
        holds.push(trial.transpose()?);
        let quote = |span: Span| span.of(text).unwrap_or_default().to_owned();
        quotes.push(verdict.citations.iter().map(|c| quote(c.span)).collect());
    }
    let is_supported = states.contains(&SupportState::Supported);
    Ok(Outcome {
        far: record
            .nearness
            .map(|nearness| nearness.is_far(is_supported)),
        document,
        fits: document.is_multiple_of(2),
        question: gold.question.clone(),
        gold: gold.answer.clone(),
        right: says(&record.answer, &gold.answer),
        seen: record.seen,
        closed_book: record
            .closed_book
            .as_ref()
            .map(|answer| says(answer, &gold.answer)),
        sentences: record
            .sentences
            .iter()
            .map(|s| s.sentence.clone())
            .collect(),
        states,
        quotes,
        holds,
        cite_ms: record.cite_ms,
        first_token_ms: record.first_token_ms,
        answer_ms: record.answer_ms,
        ways: judged_ways(exam, index, gold, &record.sentences),
    })
}

fn cited(
    said: &Said,
    gold: &GoldQuestion,
    text: &str,
    index: &SentenceIndex,
    weights: &Weights,
) -> Verdict {
    let claim = said.claim(&gold.question);
    cite(&claim, text, index, said.evidence.as_ref(), weights)
}

/// What each way of ranking makes of the answer's sentences.
fn judged_ways(
    exam: &Exam,
    index: &SentenceIndex,
    gold: &GoldQuestion,
    said: &[Said],
) -> Vec<WayOutcome> {
    let text = &exam.document.text;
    let holds = |span: Span| span.intersection(gold.span).is_some();
    ways()
        .iter()
        .map(|(_, weights)| {
            let mut way = WayOutcome::default();
            for said in said {
                let claim = said.claim(&gold.question);
                let says_gold = says(&said.sentence, &gold.answer);
                let first = ranked(&claim, text, index, said.evidence.as_ref(), weights);
                way.first |=
                    says_gold && first.first().is_some_and(|c| holds(index.span(c.sentence)));
                let Verdict { citations, .. } = cited(said, gold, text, index, weights);
                way.found |= citations.iter().any(|cited| holds(cited.span));
                if says_gold {
                    way.cited += citations.len();
                    way.cited_gold += citations.iter().filter(|cited| holds(cited.span)).count();
                }
            }
            way
        })
        .collect()
}

/// The candidates of the sentence that says the gold answer, if the gold sentence is among them.
fn ranking(
    exam: &Exam,
    index: &SentenceIndex,
    gold: &GoldQuestion,
    said: &[Said],
) -> Option<Ranking> {
    let said = said
        .iter()
        .find(|said| says(&said.sentence, &gold.answer))?;
    let claim = said.claim(&gold.question);
    let candidates = ranked(
        &claim,
        &exam.document.text,
        index,
        said.evidence.as_ref(),
        &Weights::default(),
    );
    let at = candidates
        .iter()
        .position(|c| index.span(c.sentence).contains(gold.span))?;
    Some((candidates, at))
}

/// The table.
fn print(outcomes: &[Outcome]) {
    for (name, chosen) in [
        ("fitting half", Some(true)),
        ("reporting half", Some(false)),
        ("all", None),
    ] {
        let half: Vec<&Outcome> = outcomes
            .iter()
            .filter(|o| chosen.is_none_or(|fits| o.fits == fits))
            .collect();
        if half.is_empty() {
            continue;
        }
        let share = |of: &dyn Fn(&Outcome) -> Option<bool>| {
            let mut share = Share::default();
            half.iter()
                .filter_map(|o| of(o))
                .for_each(|hit| share.count(hit));
            share
        };
        println!("\n{name}");
        println!("  answers right          {}", share(&|o| Some(o.right)));
        println!("  answer's words seen    {}", share(&|o| o.seen));
        println!(
            "  right, of these        {}",
            share(&|o| (o.seen == Some(true)).then_some(o.right))
        );
        println!("  right, closed book     {}", share(&|o| o.closed_book));
        let supported = |o: &Outcome| o.states.contains(&SupportState::Supported);
        println!(
            "  right, shown supported {}",
            share(&|o| o.right.then(|| supported(o)))
        );
        println!(
            "  wrong, shown supported {}",
            share(&|o| (!o.right).then(|| supported(o)))
        );
        println!(
            "  right, called far      {}",
            share(&|o| o.far.filter(|_| o.right))
        );
        println!(
            "  wrong, called far      {}",
            share(&|o| o.far.filter(|_| !o.right))
        );
        for (way, (name, _)) in ways().iter().enumerate() {
            let first = share(&|o| o.right.then(|| o.ways[way].first));
            let recall = share(&|o| o.right.then(|| o.ways[way].found));
            let mut precision = Share::default();
            for outcome in half.iter().filter(|o| o.right) {
                precision.hits += outcome.ways[way].cited_gold;
                precision.of += outcome.ways[way].cited;
            }
            println!("  {name}: first {first}, recall {recall}, precision {precision}");
        }
        let spent: f64 = half.iter().map(|o| o.cite_ms).sum();
        let whole: f64 = half.iter().map(|o| o.answer_ms).sum();
        println!(
            "  citing takes {:.1}% of the answer's time",
            100.0 * spent / whole.max(1e-9)
        );
        print_holds(&half, whole);
    }
}

/// How well the hold test orders supported sentences of right answers above those of wrong ones, and what it costs;
/// `answers_ms` is the time of all the answers.
fn print_holds(outcomes: &[&Outcome], answers_ms: f64) {
    let trials = |right: bool| {
        let wanted = outcomes.iter().filter(move |o| o.right == right);
        wanted.flat_map(|o| o.holds.iter().flatten())
    };
    let spent: f64 = trials(true).chain(trials(false)).map(Trial::span_ms).sum();
    let count = trials(true).chain(trials(false)).count();
    if count == 0 {
        return;
    }
    println!(
        "  the hold test takes {:.0} ms a supported sentence, {:.1}% of the answer's time",
        spent / count as f64,
        100.0 * spent / answers_ms.max(1e-9)
    );
    for score in Score::all() {
        let of = |right| trials(right).map(|t| score.of(t)).collect::<Vec<f32>>();
        if let Some(area) = auroc(&of(true), &of(false)) {
            println!("  AUROC {:<29} {area:.2}", score.name());
        }
    }
}
