//! What looking at a part of the cache costs in quality: `lectern eval sparse`.
//!
//! In: a model and a text. Out: for every policy and budget, against attention to everything over the same cache: the
//! divergence of predictions, passages copied, needles found (one by one and four at a time), chains of variables
//! followed, and how much of the true attention the chosen pages hold.
//!
//! The document is read once, densely. Answers are given to the model and judged token by token, so that a wrong token
//! does not spoil those after it and every policy is asked the same.

mod table;
pub(in crate::evaluation) mod tasks;

use super::kv::divergence::{Prediction, compare, hits};
use super::record::Scratch;
use super::score::Share;
use super::{EvaluationError, MeasuredModel, put_on_gpu};
use crate::attention::{CancelFlag, DenseAttention, PagePolicy, Recall, SparseRead};
use crate::kv::{BlockFormat, CacheIdentity, KvCache};
use crate::reading::{Followers, ReadingInput, read};
use clap::Args;
use lectern_models::{Logits, Model};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tasks::{Document, Kind, Task};

/// Tokens decoded to measure the speed.
const DECODED: usize = 24;

/// Of [`super::Evaluation::Sparse`].
#[derive(Debug, Args)]
pub struct SparseArgs {
    /// A text that the facts are hidden in.
    #[arg(long)]
    pub text: PathBuf,
    /// Lengths of the documents, in tokens.
    #[arg(long, value_delimiter = ',', default_values_t = [4096])]
    pub tokens: Vec<usize>,
    /// How pages are judged.
    #[arg(long, value_delimiter = ',', value_parser = policy, default_values = ["window", "bounds", "clusters", "signs", "exact"])]
    pub policies: Vec<PagePolicy>,
    /// Cached tokens that a row of a head attends to.
    #[arg(long, value_delimiter = ',', default_values_t = [1024, 2048])]
    pub budgets: Vec<usize>,
    /// Bits of a key and of a value of the cache.
    #[arg(long, value_parser = super::kv::format, default_value = "4/4")]
    pub format: BlockFormat,
    /// Layers, from the first, that attend to everything.
    #[arg(long, default_value_t = 0)]
    pub dense_layers: usize,
    /// One document a seed.
    #[arg(long, value_delimiter = ',', default_values_t = [1])]
    pub seeds: Vec<u64>,
    /// Measure only how much of dense attention the chosen pages hold. Needs memory for all keys.
    #[arg(long)]
    pub recall: bool,
    /// A folder that keeps what was read for the next measurement.
    #[arg(long)]
    pub caches: Option<PathBuf>,
    /// Measure only the speed.
    #[arg(long, conflicts_with = "recall")]
    pub speed: bool,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// `bounds` as a policy.
fn policy(name: &str) -> Result<PagePolicy, String> {
    PagePolicy::by_name(name).ok_or_else(|| {
        let known: Vec<&str> = PagePolicy::ALL.iter().map(|policy| policy.name()).collect();
        format!("{name:?} is none of {}", known.join(", "))
    })
}

/// One way of looking on documents of one length.
#[derive(Debug, Clone, Default, Serialize)]
struct Measured {
    tokens: usize,
    /// `None`: everything.
    policy: Option<&'static str>,
    budget: usize,
    #[serde(skip)]
    continuation: Prediction,
    /// Divergence from dense attention where the text goes on, in nats.
    divergence: f64,
    /// The same over the judged tokens of the answers.
    answer_divergence: f64,
    #[serde(skip)]
    answers: Prediction,
    /// Tokens of passages.
    copied: Share,
    needles: Share,
    /// Of questions for four, all four.
    four_needles: Share,
    /// Tokens of chains.
    chains: Share,
    /// Share of dense attention to sealed pages that the pages looked at hold, and of what falls neither on sinks nor
    /// on the window; of the last document.
    recall: Option<[f64; 2]>,
    /// Bytes of the index.
    index_bytes: usize,
    /// Seconds of all tasks.
    seconds: f64,
    /// Milliseconds from a question to the first token of its answer, the index made anew.
    first_token_ms: f64,
    /// Milliseconds of a token after the first.
    token_ms: f64,
}

/// Measures and prints.
pub(super) fn run(args: &SparseArgs, model: &MeasuredModel) -> Result<(), EvaluationError> {
    let model = model.load()?;
    let text = super::kv::material::novel(&args.text)?;
    let mut ways = vec![None];
    for &policy in &args.policies {
        ways.extend(args.budgets.iter().map(|&budget| {
            Some(SparseRead {
                dense_layers: args.dense_layers,
                ..SparseRead::new(policy, budget)
            })
        }));
    }
    let mut rows = Vec::new();
    for &tokens in &args.tokens {
        let mut of_length: Vec<Measured> = ways
            .iter()
            .map(|way| Measured {
                tokens,
                policy: way.map(|way| way.policy.name()),
                budget: way.map_or(tokens, |way| way.budget),
                ..Measured::default()
            })
            .collect();
        for &seed in &args.seeds {
            let document = Document::new(&model, &text, tokens, seed)?;
            measure(args, &model, &document, &ways, &mut of_length)?;
        }
        rows.extend(of_length);
    }
    table::print(model.name(), &rows, args.json);
    Ok(())
}

/// Reads one document and works its tasks in every way; the first is what the others are compared with.
fn measure(
    args: &SparseArgs,
    model: &Model,
    document: &Document,
    ways: &[Option<SparseRead>],
    rows: &mut [Measured],
) -> Result<(), EvaluationError> {
    let scratch = Scratch::new()?;
    let cache = read_into(
        args.caches.as_deref().unwrap_or(&scratch.0),
        model,
        document,
        args.format,
    )?;
    let mut dense: Vec<Vec<Vec<f32>>> = Vec::new();
    let mut recalls: std::vec::IntoIter<Recall> = Vec::new().into_iter();
    for (way, row) in ways.iter().zip(rows) {
        if args.recall && way.is_some() {
            let recall = recalls.next();
            row.recall = recall.map(|recall| [recall.whole(), recall.chosen()]);
            continue;
        }
        let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new())?;
        attention.look_at(*way);
        let longest = document.tasks.iter().map(|task| task.ids.len()).max();
        put_on_gpu(
            &mut attention,
            args.format,
            cache.tokens(),
            longest.unwrap_or(0) + DECODED,
        );
        if args.recall {
            let audited: Vec<SparseRead> = ways.iter().copied().flatten().collect();
            attention.audit(&audited);
        }
        if let Some(task) = document.tasks.iter().find(|task| task.kind == Kind::Needle) {
            [row.first_token_ms, row.token_ms] = speed(model, &mut attention, task)?;
        }
        row.index_bytes = attention.index_bytes();
        if args.speed {
            continue;
        }
        let started = Instant::now();
        for (nth, task) in document.tasks.iter().enumerate() {
            let found = judged_rows(model, &mut attention, task)?;
            if way.is_none() {
                dense.push(found.clone());
            }
            row.count(task, &dense[nth], &found);
        }
        row.seconds += started.elapsed().as_secs_f64();
        if way.is_none() {
            recalls = attention.recalls().into_iter();
        }
        eprintln!("{:?} {}: {:.1} s", row.policy, row.budget, row.seconds);
    }
    Ok(())
}

impl Measured {
    fn count(&mut self, task: &Task, dense: &[Vec<f32>], found: &[Vec<f32>]) {
        let targets: Vec<u32> = task.judged.iter().map(|at| task.ids[*at]).collect();
        let prediction = compare(dense, found, &targets);
        match task.kind {
            Kind::Continuation => self.continuation.add(prediction),
            _ => self.answers.add(prediction),
        }
        self.divergence = self.continuation.divergence();
        self.answer_divergence = self.answers.divergence();
        let hits = hits(found, &targets);
        let all = hits.iter().all(|hit| *hit);
        match task.kind {
            Kind::Continuation => {}
            Kind::Copy => hits.into_iter().for_each(|hit| self.copied.count(hit)),
            Kind::Needle => self.needles.count(all),
            Kind::Needles => self.four_needles.count(all),
            Kind::Chain => hits.into_iter().for_each(|hit| self.chains.count(hit)),
        }
    }
}

/// Milliseconds of a first token, and of one after it. The same tokens for every way: those of the task.
fn speed(
    model: &Model,
    attention: &mut DenseAttention,
    task: &Task,
) -> Result<[f64; 2], EvaluationError> {
    let (question, answer) = task.ids.split_at(task.judged[0]);
    let started = Instant::now();
    model.forward(question, attention, Logits::Last)?;
    let first = started.elapsed();
    let started = Instant::now();
    let answered = answer.iter().cycle().take(DECODED);
    for token in answered {
        model.forward(&[*token], attention, Logits::Last)?;
    }
    let rest = started.elapsed() / DECODED as u32;
    attention.reset();
    Ok([first, rest].map(|took| took.as_secs_f64() * 1e3))
}

/// The predictions of a task's judged tokens, behind the document.
pub(in crate::evaluation) fn judged_rows(
    model: &Model,
    attention: &mut DenseAttention,
    task: &Task,
) -> Result<Vec<Vec<f32>>, EvaluationError> {
    let logits = model.forward(&task.ids, attention, Logits::All)?;
    attention.reset();
    let rows = logits.map_or(Ok(Vec::new()), |logits| logits.to_vec2::<f32>());
    let rows = rows.map_err(lectern_models::ForwardError::from)?;
    Ok(task.judged.iter().map(|at| rows[at - 1].clone()).collect())
}

/// The document's cache, read now if the folder does not hold it.
fn read_into(
    folder: &Path,
    model: &Model,
    document: &Document,
    format: BlockFormat,
) -> Result<KvCache, EvaluationError> {
    let mut text = Sha256::new();
    for token in &document.tokens {
        text.update(token.id.to_le_bytes());
    }
    let input = ReadingInput {
        segments: None,
        identity: CacheIdentity {
            scope: 0,
            text: text.finalize().into(),
            model: model.fingerprint().to_owned(),
            prompt: CacheIdentity::prompt_hash(&document.prefix),
            format: format.number(),
        },
        prefix: document.prefix.clone(),
        tokens: document.tokens.clone(),
    };
    let folder = folder.join(input.identity.folder_name());
    let cache = KvCache::open(&folder, &input.identity, model.shape())?;
    let started = Instant::now();
    read(model, &input, &cache, Followers::none(&CancelFlag::new()))?;
    eprintln!(
        "{} tokens read in {:.1} s",
        cache.tokens(),
        started.elapsed().as_secs_f64()
    );
    Ok(cache)
}
