//! What each block format costs in quality: `lectern eval kv`.
//!
//! In: a model, a text and a folder of code. Out: for every format, length and kind of text the divergence of the
//! model's predictions from those over a half-precision cache, perplexity, and how often it copies exactly and finds
//! a needle; and the smallest format within the bounds. Reconstruction errors of keys are not looked at: they do not
//! tell what a model loses.
//!
//! All formats read the same document in step, 64 tokens at a time: a row then sees at most its own block in half
//! precision, which is stricter than reading (256) and closer to what a question sees.

pub(super) mod divergence;
pub(super) mod material;
mod plot;
mod table;

use super::record::Scratch;
use super::score::Share;
use super::{EvaluationError, MeasuredModel, put_on_gpu};
use crate::attention::{CancelFlag, DenseAttention};
use crate::kv::{BLOCK_TOKENS, BlockFormat, CacheIdentity, KvCache};
use clap::Args;
use divergence::{Prediction, compare, hits};
use lectern_models::{Logits, Model};
use material::{Material, Probe};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Mean Kullback-Leibler divergence, in nats, that a format may have.
const LARGEST_DIVERGENCE: f64 = 0.02;

/// How many times the perplexity may grow.
const LARGEST_RATIO: f64 = 1.01;

/// Tokens of a pass at most: a block, or a passage that is asked back.
const LONGEST_PASS: usize = 128;

/// Of [`super::Evaluation::Kv`].
#[derive(Debug, Args)]
pub struct KvArgs {
    /// A novel as plain text.
    #[arg(long, required_unless_present = "code")]
    pub text: Option<PathBuf>,
    /// A folder of source code.
    #[arg(long)]
    pub code: Option<PathBuf>,
    /// Lengths of the documents, in tokens.
    #[arg(long, value_delimiter = ',', default_values_t = [1024, 4096])]
    pub tokens: Vec<usize>,
    /// Bits of a key and of a value. Keys of 3 and 2 bits can be measured but are never chosen.
    #[arg(long, value_delimiter = ',', value_parser = format, default_values = ["8/8", "8/4", "4/4"])]
    pub formats: Vec<BlockFormat>,
    /// Take divergence and perplexity of the second half of the text only, as `llama-perplexity` does.
    #[arg(long)]
    pub second_half: bool,
    /// Write what is read to this file, twice: as much as `llama-perplexity` wants to read the first half of it.
    #[arg(long, value_name = "FILE", conflicts_with = "code")]
    pub write_text: Option<PathBuf>,
    /// Draw what formats cost against what they take into this SVG file.
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// One format on one document.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    /// "novel", "code".
    kind: &'static str,
    tokens: usize,
    format: &'static str,
    /// Of the cache file, metadata and all.
    bytes_a_token: f64,
    /// Mean divergence from half precision, in nats.
    divergence: f64,
    perplexity: f64,
    /// Perplexity over that of half precision.
    ratio: f64,
    /// Tokens of repeated passages predicted right.
    copied: Share,
    /// Needles whose every token was predicted right.
    found: Share,
}

/// What was measured, and what follows.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    rows: Vec<Measured>,
    /// Smallest format within the bounds; `f16` if none is.
    chosen: &'static str,
}

/// Measures and prints.
pub(super) fn run(args: &KvArgs, model: &MeasuredModel) -> Result<(), EvaluationError> {
    let model = model.load()?;
    let mut formats = args.formats.clone();
    formats.retain(|format| *format != BlockFormat::F16);
    formats.insert(0, BlockFormat::F16);
    let mut rows = Vec::new();
    for &tokens in &args.tokens {
        if let Some(path) = &args.text {
            let text = material::novel(path)?;
            rows.extend(measure(&model, "novel", &text, tokens, &formats, args)?);
        }
        if let Some(path) = &args.code {
            let text = material::code(path)?;
            rows.extend(measure(&model, "code", &text, tokens, &formats, args)?);
        }
    }
    let report = Report {
        model: model.name().to_owned(),
        chosen: choose(&rows).name(),
        rows,
    };
    table::print(&report, args.json);
    if let Some(path) = &args.plot {
        std::fs::write(path, plot::draw(&report))?;
    }
    Ok(())
}

/// `4/4` as a format.
pub(super) fn format(name: &str) -> Result<BlockFormat, String> {
    BlockFormat::by_name(name).ok_or_else(|| {
        let known: Vec<&str> = BlockFormat::ALL
            .iter()
            .map(|format| format.name())
            .collect();
        format!("{name:?} is none of {}", known.join(", "))
    })
}

fn is_narrow(format: BlockFormat) -> bool {
    matches!(format, BlockFormat::K3V4 | BlockFormat::K2V4)
}

/// The smallest format that is within the bounds on every document.
fn choose(rows: &[Measured]) -> BlockFormat {
    let within = |format: &BlockFormat| {
        let own = || rows.iter().filter(|row| row.format == format.name());
        let pooled = |rows: &mut dyn Iterator<Item = &Measured>, share: fn(&Measured) -> Share| {
            rows.map(share).fold(Share::default(), |sum, share| Share {
                hits: sum.hits + share.hits,
                of: sum.of + share.of,
            })
        };
        let no_loss = |share: fn(&Measured) -> Share| {
            let mut exact = rows.iter().filter(|row| row.format == "f16");
            let exact = pooled(&mut exact, share);
            pooled(&mut own(), share).interval().1 >= exact.value()
        };
        own().count() > 0
            && own().all(|row| row.divergence <= LARGEST_DIVERGENCE && row.ratio <= LARGEST_RATIO)
            && no_loss(|row| row.copied)
            && no_loss(|row| row.found)
    };
    BlockFormat::ALL
        .into_iter()
        .rev()
        .filter(|format| !is_narrow(*format))
        .find(within)
        .unwrap_or(BlockFormat::F16)
}

/// One format's way through a document.
struct Candidate {
    format: BlockFormat,
    cache: KvCache,
    attention: DenseAttention,
    sum: Prediction,
    copied: Share,
    found: Share,
}

/// Reads one document in all formats at once and asks it back; the first format is what the others are compared with.
fn measure(
    model: &Model,
    kind: &'static str,
    text: &str,
    tokens: usize,
    formats: &[BlockFormat],
    args: &KvArgs,
) -> Result<Vec<Measured>, EvaluationError> {
    let material = Material::of(model.tokenizer(), text, tokens)?;
    if let Some(path) = &args.write_text {
        let read = model.tokenizer().decode(&material.ids);
        std::fs::write(path, read.repeat(2)).map_err(|source| EvaluationError::Unwritable {
            path: path.clone(),
            source,
        })?;
    }
    let counted = if args.second_half { tokens / 2 } else { 0 };
    let folder = Scratch::new()?;
    let mut candidates = Vec::new();
    for &format in formats {
        let cache = open(&folder.0, model, format)?;
        let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new())?;
        put_on_gpu(&mut attention, model, format, tokens, LONGEST_PASS);
        candidates.push(Candidate {
            format,
            attention,
            cache,
            sum: Prediction::default(),
            copied: Share::default(),
            found: Share::default(),
        });
    }
    let ids = &material.ids;
    for first in (0..ids.len()).step_by(BLOCK_TOKENS) {
        let rows = &ids[first..ids.len().min(first + BLOCK_TOKENS)];
        let targets = &ids[first + 1..ids.len().min(first + BLOCK_TOKENS + 1)];
        let mut exact = None;
        for candidate in &mut candidates {
            let found = predict(model, &mut candidate.attention, rows)?;
            candidate.attention.seal(&candidate.cache, rows)?;
            let exact: &Vec<Vec<f32>> = exact.get_or_insert_with(|| found.clone());
            if first >= counted {
                candidate.sum.add(compare(exact, &found, targets));
            }
        }
        if first % 1024 == 0 {
            eprintln!("{kind}, {tokens} tokens: {first} read");
        }
    }
    for candidate in &mut candidates {
        for probe in &material.copies {
            for hit in answer(model, &mut candidate.attention, probe)? {
                candidate.copied.count(hit);
            }
        }
        for probe in &material.needles {
            let right = answer(model, &mut candidate.attention, probe)?;
            candidate.found.count(right.into_iter().all(|hit| hit));
        }
    }
    let exact = candidates[0].sum.perplexity();
    Ok(candidates
        .iter()
        .map(|candidate| Measured {
            kind,
            tokens,
            format: candidate.format.name(),
            bytes_a_token: candidate.cache.bytes() as f64 / ids.len() as f64,
            divergence: candidate.sum.divergence(),
            perplexity: candidate.sum.perplexity(),
            ratio: candidate.sum.perplexity() / exact,
            copied: candidate.copied,
            found: candidate.found,
        })
        .collect())
}

/// Which of a probe's tokens the model predicts, behind all that was read.
fn answer(
    model: &Model,
    attention: &mut DenseAttention,
    probe: &Probe,
) -> Result<Vec<bool>, EvaluationError> {
    let rows = predict(model, attention, &probe.ids[..probe.ids.len() - 1])?;
    attention.reset();
    let first = probe.judged - 1;
    Ok(hits(&rows[first..], &probe.ids[probe.judged..]))
}

fn predict(
    model: &Model,
    attention: &mut DenseAttention,
    rows: &[u32],
) -> Result<Vec<Vec<f32>>, EvaluationError> {
    let logits = model.forward(rows, attention, Logits::All)?;
    let logits = logits.map_or(Ok(Vec::new()), |logits| logits.to_vec2());
    Ok(logits.map_err(lectern_models::ForwardError::from)?)
}

/// An empty cache in a folder that is new.
pub(in crate::evaluation) fn open(
    folder: &Path,
    model: &Model,
    format: BlockFormat,
) -> Result<KvCache, EvaluationError> {
    let identity = CacheIdentity {
        scope: 0,
        text: Default::default(), // the folder is new: nothing else can be in it
        model: model.fingerprint().to_owned(),
        prompt: 0,
        format: format.number(),
    };
    let folder = folder.join(identity.folder_name());
    Ok(KvCache::open(&folder, &identity, model.shape())?)
}
