//! What looking at a part of the cache costs in quality: `lectern eval sparse`.
//!
//! In: a model and a text. Out: for every policy and budget, against attention to everything over the same cache: the
//! divergence of predictions, passages copied, needles found (one by one and four at a time), chains of variables
//! followed, and how much of the true attention the chosen pages hold.
//!
//! The document is read once, densely. Answers are given to the model and judged token by token, so that a wrong token
//! does not spoil those after it and every policy is asked the same.

mod reading;
pub(in crate::evaluation) mod scored;
mod table;
pub(in crate::evaluation) mod tasks;

use super::record::Scratch;
use super::{EvaluationError, MeasuredModel, put_on_gpu};
use crate::attention::{CancelFlag, DenseAttention, PagePolicy, Recall, SparseRead};
use crate::kv::{BlockFormat, CacheIdentity, KvCache};
use crate::reading::{Followers, ReadingInput, read};
use clap::Args;
use lectern_models::{Logits, Model};
use reading::{Reading, read_in_part};
use scored::Scored;
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
    #[arg(long, value_delimiter = ',', value_parser = policy, num_args = 0.., default_values = ["window", "bounds", "clusters", "signs", "exact"])]
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
    /// Ways of reading that look at a part, of which everything is asked.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub readings: Vec<Reading>,
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

/// A way of reading and of looking at what was read.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// All read, all looked at; what the others are compared with.
    Dense,
    /// All read, a part looked at.
    Asked(SparseRead),
    /// Read looking at a part, all looked at.
    Read(Reading),
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Dense => "dense",
            Way::Asked(read) => read.policy.name(),
            Way::Read(reading) => reading.name(),
        }
    }

    fn asked(self) -> Option<SparseRead> {
        match self {
            Way::Asked(read) => Some(read),
            Way::Dense | Way::Read(_) => None,
        }
    }
}

/// One way on documents of one length.
#[derive(Debug, Clone, Default, Serialize)]
struct Measured {
    tokens: usize,
    way: &'static str,
    budget: usize,
    /// Seconds of reading, where it was read for this way.
    reading_seconds: f64,
    #[serde(flatten)]
    scored: Scored,
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
    let mut ways = vec![Way::Dense];
    for &policy in &args.policies {
        ways.extend(args.budgets.iter().map(|&budget| {
            Way::Asked(SparseRead {
                dense_layers: args.dense_layers,
                ..SparseRead::new(policy, budget)
            })
        }));
    }
    ways.extend(args.readings.iter().copied().map(Way::Read));
    let mut rows = Vec::new();
    for &tokens in &args.tokens {
        let mut of_length: Vec<Measured> = ways
            .iter()
            .map(|way| Measured {
                tokens,
                way: way.name(),
                budget: way.asked().map_or(tokens, |read| read.budget),
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
    ways: &[Way],
    rows: &mut [Measured],
) -> Result<(), EvaluationError> {
    let scratch = Scratch::new()?;
    let started = Instant::now();
    let folder = args.caches.as_deref().unwrap_or(&scratch.0);
    let all_read = read_into(folder, model, document, args.format)?;
    let reading_seconds = started.elapsed().as_secs_f64();
    let mut dense: Vec<Vec<Vec<f32>>> = Vec::new();
    let mut recalls: std::vec::IntoIter<Recall> = Vec::new().into_iter();
    for (way, row) in ways.iter().zip(rows) {
        if args.recall && way.asked().is_some() {
            let recall = recalls.next();
            row.recall = recall.map(|recall| [recall.whole(), recall.chosen()]);
            continue;
        }
        let started = Instant::now();
        let read_for_this = match way {
            Way::Read(reading) => {
                let folder = &scratch.0;
                let cache = read_in_part(*reading, model, document, args.format, folder)?;
                row.reading_seconds += started.elapsed().as_secs_f64();
                Some(cache)
            }
            Way::Dense => {
                row.reading_seconds += reading_seconds;
                None
            }
            Way::Asked(_) => None,
        };
        let cache = read_for_this.as_ref().unwrap_or(&all_read);
        let mut attention = DenseAttention::over(cache, model.shape(), CancelFlag::new())?;
        attention.look_at(way.asked());
        let longest = document.tasks.iter().map(|task| task.ids.len()).max();
        put_on_gpu(
            &mut attention,
            model,
            args.format,
            cache.tokens(),
            longest.unwrap_or(0) + DECODED,
        );
        if args.recall {
            let audited: Vec<SparseRead> = ways.iter().filter_map(|way| way.asked()).collect();
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
            if matches!(way, Way::Dense) {
                dense.push(found.clone());
            }
            row.scored.count(task, &dense[nth], &found);
        }
        row.seconds += started.elapsed().as_secs_f64();
        if matches!(way, Way::Dense) {
            recalls = attention.recalls().into_iter();
        }
        eprintln!("{} {}: {:.1} s", row.way, row.budget, row.seconds);
    }
    Ok(())
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

/// A document that is read as a whole into this format.
pub(in crate::evaluation) fn input_of(
    model: &Model,
    document: &Document,
    format: BlockFormat,
) -> ReadingInput {
    let mut text = Sha256::new();
    for token in &document.tokens {
        text.update(token.id.to_le_bytes());
    }
    ReadingInput {
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
    }
}

/// The document's cache, read now if the folder does not hold it.
pub(in crate::evaluation) fn read_into(
    folder: &Path,
    model: &Model,
    document: &Document,
    format: BlockFormat,
) -> Result<KvCache, EvaluationError> {
    let input = input_of(model, document, format);
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
