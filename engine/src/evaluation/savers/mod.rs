//! What is lost where the cache of a document that was read is made smaller still: `lectern eval savers`.
//!
//! In: a model and a text. Out: for each saver and each share of the cache that it leaves, against attention to all of a
//! half-precision cache: the tasks of [`super::sparse`] (the text goes on, passages are copied, needles found, chains
//! followed).
//!
//! A saver knows the document and no question. **Eviction** takes tokens from heads by a score: [`zip`], [`expected`],
//! [`difference`], and the floors [`Saver::Recent`] and [`Saver::Random`]; scores are made once, shares are taken
//! afterwards. **Merging** ([`merge`]) puts one token in the place of neighbours with similar keys. **Low rank**
//! ([`low_rank`]) keeps of a head's keys only how they lie along few directions. The first block, with the sinks and the
//! prompt, stays whole in all.

mod difference;
mod eviction;
mod expected;
mod held;
mod low_rank;
mod merge;
mod table;
mod zip;

use super::record::Scratch;
use super::sparse::scored::Scored;
use super::sparse::tasks::Document;
use super::sparse::{judged_rows, read_into};
use super::{EvaluationError, MeasuredModel};
use crate::attention::{CancelFlag, DenseAttention, Evicted};
use crate::kv::{BlockFormat, KvCache};
use clap::{Args, ValueEnum};
use eviction::{Compared, Scores};
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
    /// The same, but of each block and head the same share.
    ZipEven,
    /// The same, but of each head the same share.
    ZipHeads,
    /// The same, but of all blocks of a head the same share.
    ZipBlocks,
    /// Tokens that the queries to be expected do not look at (Expected Attention).
    Expected,
    /// Tokens whose keys are like all others (KeyDiff).
    Difference,
    /// All but the last tokens; a floor.
    Recent,
    /// Any tokens; a floor.
    Random,
    /// One token for neighbours with similar keys (KVMerger).
    Merge,
    /// Keys in few directions (after CSKV).
    LowRank,
}

impl Saver {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or(String::new(), |value| value.get_name().to_owned())
    }
}

/// One way on all documents.
#[derive(Debug, Clone, Default, Serialize)]
struct Measured {
    name: String,
    /// Of the cache's tokens in heads, or of its keys' directions.
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
    fn work(
        &mut self,
        cache: &KvCache,
        evicted: Option<Evicted>,
        scored: &mut Scored,
    ) -> Result<(), EvaluationError> {
        let mut attention = DenseAttention::over(cache, self.model.shape(), CancelFlag::new())?;
        if let Some(evicted) = evicted {
            attention.evict(evicted);
        }
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
    asked.work(&whole, None, &mut row(rows, "f16", 1.0).scored)?;
    row(rows, "f16", 1.0).of_half_precision = 1.0;
    for format in &args.beside {
        let cache = read_into(folder, model, document, *format)?;
        let row = row(rows, format.name(), 1.0);
        asked.work(&cache, None, &mut row.scored)?;
        row.of_half_precision = of_half_precision(*format, model);
        eprintln!("{}: {:.4}", format.name(), row.scored.answer_divergence);
    }
    let coded = read_into(folder, model, document, args.format)?;
    for saver in &args.savers {
        let name = saver.name();
        let started = Instant::now();
        let scores = match saver {
            Saver::Zip => Some(zip::scores(model, document, &whole)?),
            Saver::ZipEven | Saver::ZipHeads | Saver::ZipBlocks => Some(Scores {
                compared: match saver {
                    Saver::ZipEven => Compared::InBlocks,
                    Saver::ZipHeads => Compared::InHeads,
                    _ => Compared::InBlocksOfHeads,
                },
                ..zip::scores(model, document, &whole)?
            }),
            Saver::Expected => Some(expected::scores(model, document, &whole)?),
            Saver::Difference => Some(difference::scores(model, &whole)),
            Saver::Recent => Some(eviction::recent(&whole)),
            Saver::Random => Some(eviction::random(&whole)),
            Saver::Merge | Saver::LowRank => None,
        };
        let scoring_seconds = started.elapsed().as_secs_f64();
        for share in &args.shares {
            let row = row(rows, &name, *share);
            match saver {
                Saver::Merge => {
                    let (cache, evicted) =
                        merge::merged(model, &whole, *share, args.format, &scratch.0)?;
                    row.of_half_precision =
                        evicted.share_kept() * of_half_precision(args.format, model);
                    asked.work(&cache, Some(evicted), &mut row.scored)?;
                }
                Saver::LowRank => {
                    let cache = low_rank::projected(model, &whole, *share, &scratch.0)?;
                    let keys = of_half_precision(args.format, model) / 2.0;
                    row.of_half_precision = keys * share + keys;
                    asked.work(&cache, None, &mut row.scored)?;
                }
                _ => {
                    let evicted = scores.as_ref().map(|scores| scores.evict(*share));
                    let kept = evicted.as_ref().map_or(1.0, Evicted::share_kept);
                    row.of_half_precision = kept * of_half_precision(args.format, model);
                    asked.work(&coded, evicted, &mut row.scored)?;
                }
            }
            row.scoring_seconds += scoring_seconds;
            eprintln!("{name} {share}: {:.4}", row.scored.answer_divergence);
        }
    }
    Ok(())
}

/// Bytes of a full block in this format, as a share of those in half precision.
fn of_half_precision(format: BlockFormat, model: &Model) -> f64 {
    let shape = model.shape().into();
    format.part_bytes(&shape) as f64 / BlockFormat::F16.part_bytes(&shape) as f64
}
