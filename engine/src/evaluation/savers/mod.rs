//! What is lost where the cache of a document that was read is made smaller still: `lectern eval savers`.
//!
//! In: a model and a text. Out: for each saver and each share of the cache that it leaves, against attention to all of a
//! half-precision cache: the tasks of [`super::sparse`] (the text goes on, passages are copied, needles found, chains
//! followed).
//!
//! A saver knows the document and no question. It takes tokens from heads by a score: what [`reading::score`] measures, and the
//! floors [`Saver::Recent`] and [`Saver::Random`]; scores are made once, shares are taken afterwards, by writing the cache again with less in it
//! ([`KvCache::thin`]). The first block, with the sinks and the prompt, stays whole. Others (Expected Attention, KeyDiff, KVMerger, keys of low rank) lost more for
//! the same bytes and were left out; `docs/long-context.md` has how much.

mod eviction;
mod table;

use super::record::Scratch;
use super::sparse::scored::Scored;
use super::sparse::tasks::Document;
use super::sparse::{input_of, judged_rows, read_into};
use super::{EvaluationError, MeasuredModel};
use crate::attention::{CancelFlag, DenseAttention};
use crate::kv::{BLOCK_TOKENS, BlockFormat, KvCache};
use crate::reading::{self, Followers};
use clap::{Args, ValueEnum};
pub use eviction::Compared;
use eviction::Scores;
use lectern_models::Model;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Of [`super::Evaluation::Savers`].
#[derive(Debug, Args)]
pub struct SaversArgs {
    /// A text that the facts are hidden in.
    #[arg(long)]
    pub text: PathBuf,
    /// Tokens of a document.
    #[arg(long, default_value_t = 4096)]
    pub tokens: usize,
    /// Savers to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Saver::value_variants().to_vec())]
    pub savers: Vec<Saver>,
    /// Shares of the cache that are left.
    #[arg(long, value_delimiter = ',', default_values_t = [0.8, 0.6, 0.4])]
    pub shares: Vec<f64>,
    /// Among which tokens the worst are evicted.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Compared::Everywhere])]
    pub compared: Vec<Compared>,
    /// Heads, `layer-head` separated by commas, in the order in which whole ones are evicted; without, what the saver says
    /// of the document itself.
    #[arg(long, value_delimiter = ',', value_parser = super::head)]
    pub heads: Vec<(usize, usize)>,
    /// Bits of a key and of a value of the cache that tokens are evicted from.
    #[arg(long, value_parser = super::kv::format, default_value = "4/4")]
    pub format: BlockFormat,
    /// Formats that are measured beside, whole.
    #[arg(long, value_delimiter = ',', value_parser = super::kv::format, default_values = ["4/4", "3/4", "2/4"])]
    pub beside: Vec<BlockFormat>,
    /// One document a seed.
    #[arg(long, value_delimiter = ',', default_values_t = [1])]
    pub seeds: Vec<u64>,
    /// A folder that keeps what was read for the next measurement.
    #[arg(long)]
    pub caches: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// A way to make a cache smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Saver {
    /// Tokens that attention does not come back to when the document is said again stay away (KVzip).
    Zip,
    /// All but the last tokens; a floor.
    Recent,
    /// Any tokens; a floor.
    Random,
}

fn name_of(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or(String::new(), |value| value.get_name().to_owned())
}

/// One way on all documents.
#[derive(Debug, Clone, Default, Serialize)]
struct Measured {
    name: String,
    /// Of the cache's tokens in heads.
    share: f64,
    /// Bytes a token, as a share of half precision.
    of_half_precision: f64,
    #[serde(flatten)]
    scored: Scored,
    /// Seconds of making the scores, of all documents.
    scoring_seconds: f64,
}

/// Measures and prints.
pub(super) fn run(args: &SaversArgs, model: &MeasuredModel) -> Result<(), EvaluationError> {
    let model = model.load()?;
    let text = super::kv::material::novel(&args.text)?;
    let mut rows = Vec::new();
    for &seed in &args.seeds {
        let document = Document::new(&model, &text, args.tokens, seed)?;
        measure(args, &model, &document, &mut rows)?;
    }
    table::print(model.name(), args.tokens, &rows, args.json);
    Ok(())
}

/// A document with what looking at all of it says.
struct Asked<'a> {
    model: &'a Model,
    document: &'a Document,
    /// Of each task.
    compared: Vec<Vec<Vec<f32>>>,
}

impl Asked<'_> {
    /// Works all tasks over a cache and counts them; the first call is what later ones are compared with.
    fn work(&mut self, cache: &KvCache, scored: &mut Scored) -> Result<(), EvaluationError> {
        let mut attention = DenseAttention::over(cache, self.model.shape(), CancelFlag::new())?;
        for (nth, task) in self.document.tasks.iter().enumerate() {
            let found = judged_rows(self.model, &mut attention, task)?;
            if self.compared.len() == nth {
                self.compared.push(found.clone());
            }
            scored.count(task, &self.compared[nth], &found);
        }
        Ok(())
    }
}

/// The row of that name and share, made if it is not there.
fn row<'r>(rows: &'r mut Vec<Measured>, name: &str, share: f64) -> &'r mut Measured {
    let found = rows
        .iter()
        .position(|row| row.name == name && row.share == share);
    let at = found.unwrap_or_else(|| {
        rows.push(Measured {
            name: name.to_owned(),
            share,
            ..Measured::default()
        });
        rows.len() - 1
    });
    &mut rows[at]
}

/// One document in all ways.
fn measure(
    args: &SaversArgs,
    model: &Model,
    document: &Document,
    rows: &mut Vec<Measured>,
) -> Result<(), EvaluationError> {
    let scratch = Scratch::new()?;
    let folder = args.caches.as_deref().unwrap_or(&scratch.0);
    let whole = read_into(folder, model, document, BlockFormat::F16)?;
    let mut asked = Asked {
        model,
        document,
        compared: Vec::new(),
    };
    asked.work(&whole, &mut row(rows, "f16", 1.0).scored)?;
    let of_half_precision = |cache: &KvCache| cache.bytes() as f64 / whole.bytes() as f64;
    row(rows, "f16", 1.0).of_half_precision = 1.0;
    for format in &args.beside {
        let cache = read_into(folder, model, document, *format)?;
        let row = row(rows, format.name(), 1.0);
        asked.work(&cache, &mut row.scored)?;
        row.of_half_precision = of_half_precision(&cache);
        eprintln!("{}: {:.4}", format.name(), row.scored.answer_divergence);
    }
    let coded = read_into(folder, model, document, args.format)?;
    for saver in &args.savers {
        let started = Instant::now();
        let scores = match saver {
            Saver::Zip => zipped(model, document, &coded)?,
            Saver::Recent => Scores::recent(&whole),
            Saver::Random => Scores::random(&whole),
        };
        let scoring_seconds = started.elapsed().as_secs_f64();
        if let (Saver::Zip, Some(share)) = (saver, args.shares.first()) {
            let heads = scores.least_needed(*share);
            let heads = heads.iter().map(|(layer, head)| format!("{layer}-{head}"));
            eprintln!(
                "least needed first: {}",
                heads.collect::<Vec<_>>().join(",")
            );
        }
        for compared in &args.compared {
            let name = format!("{} {}", name_of(saver), name_of(compared));
            for share in &args.shares {
                let row = row(rows, &name, *share);
                let kept = match compared {
                    Compared::WholeHeads if !args.heads.is_empty() => {
                        scores.evict_heads(&args.heads, *share)
                    }
                    _ => scores.evict(*share, *compared),
                };
                let beside = scratch.0.join(format!("{name} {share}"));
                let thinned = coded.beside(&beside, coded.view().blocks())?.thin(&kept)?;
                row.of_half_precision = of_half_precision(&thinned);
                asked.work(&thinned, &mut row.scored)?;
                row.scoring_seconds += scoring_seconds;
                eprintln!("{name} {share}: {:.4}", row.scored.answer_divergence);
            }
        }
    }
    Ok(())
}

/// What the product goes by.
fn zipped(model: &Model, document: &Document, cache: &KvCache) -> Result<Scores, EvaluationError> {
    let input = input_of(model, document, cache.format());
    let cancel = CancelFlag::new();
    let mut scores = reading::score(model, &input, cache, Followers::none(&cancel))?;
    let view = cache.view();
    let tokens = cache.tokens();
    let heads = cache.shape().layers * cache.shape().kv_heads;
    let mut worth = vec![f32::INFINITY; heads * tokens];
    for block in 0..view.blocks() {
        for (nth, of_block) in scores.of_block(&view, block)?.iter().flatten().enumerate() {
            let (head, place) = (nth / BLOCK_TOKENS, nth % BLOCK_TOKENS);
            worth[head * tokens + block * BLOCK_TOKENS + place] = f32::from(*of_block);
        }
    }
    Ok(Scores::new(cache, worth))
}
