//! How often answers are right, and how often citations hold the words they rest on.
//!
//! XQuAD's articles are joined to documents, read whole, and asked about through [`asking`](crate::asking), exactly
//! as a person's questions are. Beside it: the same questions without the document (closed book, since a model may
//! remember Wikipedia), and the citations that words alone and attention alone would have given.
//!
//! A citation is right when it holds the gold span (touches it, where the span crosses sentences). *Recall* is the
//! share of right answers with a right citation; *precision* the share of right ones among the citations of the
//! sentences that say the gold answer. Even documents fit weights and thresholds, odd ones report.

use super::fit::{Ranking, fit};
use super::score::{Share, says};
use super::whole::read_whole;
use super::xquad::{Exam, GoldQuestion, exams};
use super::{CiteArgs, EvaluationError, MeasuredModel};
use crate::asking::{Ground, OpenDocument, Question, Reader, Sampling, ask_observed};
use crate::attention::{CancelFlag, DenseAttention};
use crate::citing::{AttentionEvidence, Claim, Verdict, Weights, cite, ranked};
use crate::document::Span;
use lectern_models::{ChatMessage, Logits, Model, Role};
use lectern_protocol::{Answer, SupportState};
use serde::Serialize;
use std::time::Instant;

const ANSWER_TOKENS: usize = 64;
const CLOSED_BOOK: &str = "Answer the question in one short sentence.";

/// Ways of ranking and what each is called.
const WAYS: [&str; 3] = ["fused", "words alone", "attention alone"];

/// One question's outcome.
#[derive(Debug, Serialize)]
struct Outcome {
    document: usize,
    fits: bool,
    question: String,
    gold: String,
    answer: String,
    right: bool,
    closed_book: Option<bool>,
    states: Vec<SupportState>,
    quotes: Vec<String>,
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
    let model = Model::load(&measured.path)?;
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
    let a_document = 6.min(args.limit.max(1));
    let documents = args.limit.div_ceil(a_document).min(all.len());
    let mut outcomes = Vec::new();
    let mut rankings = Vec::new();
    let mut tokens = Vec::new();
    for nth in 0..documents {
        let exam = &all[nth * all.len() / documents];
        let started = Instant::now();
        tokens.push(examine(
            &reader,
            args,
            exam,
            nth,
            a_document,
            &mut outcomes,
            &mut rankings,
        )?);
        let right = outcomes.iter().filter(|o| o.right).count();
        eprintln!(
            "document {} of {documents} ({} tokens, {:.0} s): {right} of {} answers right",
            nth + 1,
            tokens[nth],
            started.elapsed().as_secs_f64(),
            outcomes.len()
        );
    }
    let fitted = (args.fit && !rankings.is_empty()).then(|| fit(&rankings));
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "model": model.name(), "tokens": tokens, "questions": outcomes })
        );
    } else {
        let mean = tokens.iter().sum::<usize>() / tokens.len().max(1);
        println!(
            "{}: {documents} documents of {mean} tokens on average, {} questions",
            model.name(),
            outcomes.len()
        );
        print(&outcomes);
    }
    if let Some(weights) = fitted {
        eprintln!("fitted on {} answers: {weights:.3?}", rankings.len());
    }
    Ok(())
}

/// Reads one document and asks `count` of its questions; returns its tokens.
fn examine(
    reader: &Reader,
    args: &CiteArgs,
    exam: &Exam,
    number: usize,
    count: usize,
    outcomes: &mut Vec<Outcome>,
    rankings: &mut Vec<Ranking>,
) -> Result<usize, EvaluationError> {
    let model = reader.model;
    let scratch = Scratch::new(number)?;
    let (cache, tokens) = read_whole(model, &exam.document.text, scratch.path())?;
    let document = OpenDocument::new(String::new(), exam.document.clone());
    let ground = Ground::WholeDocument {
        cache: &cache,
        tokens: &tokens,
    };
    let fits = number.is_multiple_of(2);
    for gold in exam.sample(count) {
        let question = Question {
            text: &gold.question,
            history: &[],
            max_tokens: ANSWER_TOKENS,
            sampling: Sampling::Greedy,
        };
        let mut seen: Vec<(String, Option<AttentionEvidence>)> = Vec::new();
        let mut observe = |sentence: &str, evidence: Option<&AttentionEvidence>| {
            seen.push((sentence.to_owned(), evidence.cloned()));
        };
        let started = Instant::now();
        let cancel = CancelFlag::new();
        let answer = ask_observed(
            reader,
            &document,
            &ground,
            &question,
            &cancel,
            &mut |_| (),
            &mut observe,
        )?;
        let answer_ms = started.elapsed().as_secs_f64() * 1e3;
        let right = says(&answer.answer, &gold.answer);
        let closed_book = if args.no_closed_book {
            None
        } else {
            Some(says(&closed_book(model, &gold.question)?, &gold.answer))
        };
        let ways = ways(&document, gold, &seen);
        if fits && right {
            rankings.extend(ranking(&document, gold, &seen));
        }
        outcomes.push(outcome(
            number,
            fits,
            gold,
            answer,
            right,
            closed_book,
            answer_ms,
            ways,
        ));
    }
    Ok(tokens.len())
}

#[allow(clippy::too_many_arguments)] // the columns of one row
fn outcome(
    document: usize,
    fits: bool,
    gold: &GoldQuestion,
    answer: Answer,
    right: bool,
    closed_book: Option<bool>,
    answer_ms: f64,
    ways: Vec<WayOutcome>,
) -> Outcome {
    let citations = answer
        .sentences
        .iter()
        .flat_map(|sentence| &sentence.citations);
    Outcome {
        document,
        fits,
        question: gold.question.clone(),
        gold: gold.answer.clone(),
        right,
        closed_book,
        states: answer
            .sentences
            .iter()
            .map(|sentence| sentence.state)
            .collect(),
        quotes: citations.map(|citation| citation.quote.clone()).collect(),
        cite_ms: answer.timings.cite_s * 1e3,
        first_token_ms: answer.timings.first_token_ms,
        answer_ms,
        answer: answer.answer,
        ways,
    }
}

/// What each way of ranking makes of the answer's sentences.
fn ways(
    document: &OpenDocument,
    gold: &GoldQuestion,
    seen: &[(String, Option<AttentionEvidence>)],
) -> Vec<WayOutcome> {
    let fused = Weights::default();
    let text = &document.document.text;
    let holds = |span: Span| span.contains(gold.span) || span.intersection(gold.span).is_some();
    [fused, fused.lexical(), fused.attention()]
        .iter()
        .map(|weights| {
            let mut way = WayOutcome::default();
            for (sentence, evidence) in seen {
                let claim = Claim {
                    sentence,
                    question: &gold.question,
                };
                let first = ranked(
                    &claim,
                    text,
                    &document.sentences,
                    evidence.as_ref(),
                    weights,
                );
                let says_gold = says(sentence, &gold.answer);
                if says_gold
                    && first
                        .first()
                        .is_some_and(|c| holds(document.sentences.span(c.sentence)))
                {
                    way.first = true;
                }
                let Verdict { citations, .. } = cite(
                    &claim,
                    text,
                    &document.sentences,
                    evidence.as_ref(),
                    weights,
                );
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
    document: &OpenDocument,
    gold: &GoldQuestion,
    seen: &[(String, Option<AttentionEvidence>)],
) -> Option<Ranking> {
    let (sentence, evidence) = seen
        .iter()
        .find(|(sentence, _)| says(sentence, &gold.answer))?;
    let claim = Claim {
        sentence,
        question: &gold.question,
    };
    let text = &document.document.text;
    let candidates = ranked(
        &claim,
        text,
        &document.sentences,
        evidence.as_ref(),
        &Weights::default(),
    );
    let at = candidates
        .iter()
        .position(|c| document.sentences.span(c.sentence).contains(gold.span))?;
    Some((candidates, at))
}

/// The model's answer without the document.
fn closed_book(model: &Model, question: &str) -> Result<String, EvaluationError> {
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
        for (way, name) in WAYS.iter().enumerate() {
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
    }
}

/// A temporary folder that is removed when dropped.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(number: usize) -> Result<Scratch, EvaluationError> {
        let path =
            std::env::temp_dir().join(format!("lectern-eval-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }

    fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // a leftover in the temporary folder is no reason to fail
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
