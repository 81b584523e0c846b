//! How well a document longer than the window is known: `lectern eval beyond`.
//!
//! In: a model and a text. Out: for every way of reading what lies beyond the window, the cost of a token and how well
//! the text is predicted where it goes on, passages are copied, needles found and chains followed. With a length within
//! the window and a smaller one pretended (`--whole`), attention to everything is the measure: that tells what a bounded
//! scope costs by itself from what positions beyond the window do.

use super::kv::divergence::{Prediction, compare, hits};
use super::record::Scratch;
use super::score::Share;
use super::sparse::judged_rows;
use super::sparse::tasks::{Document, Kind};
use super::{EvaluationError, MeasuredModel};
use crate::attention::{CancelFlag, DenseAttention, Far};
use crate::kv::{BLOCK_TOKENS, BlockFormat, CacheIdentity, KvCache};
use crate::reading::{ReadingInput, Scope, read};
use clap::Args;
use std::path::PathBuf;
use std::time::Instant;

/// Of [`super::Evaluation::Beyond`].
#[derive(Debug, Args)]
pub struct BeyondArgs {
    /// A text that the facts are hidden in.
    #[arg(long)]
    pub text: PathBuf,
    /// Length of the document, in tokens.
    #[arg(long, default_value_t = 65_536)]
    pub tokens: usize,
    /// Tokens that are read with attention to everything; the model's window without.
    #[arg(long)]
    pub whole: Option<usize>,
    /// Ways to read the rest: `whole`, or `NEAR+CHOSEN` tokens at their own places, or `NEAR+CHOSEN@DISTANCE` with far
    /// pages at one distance, or `NEAR+CHOSEN@DISTANCE/PERIOD` in periods of so many tokens.
    #[arg(long, value_delimiter = ',', value_parser = way, required = true)]
    pub ways: Vec<Way>,
    /// Tokens near and chosen that a question looks at, as `NEAR+CHOSEN`.
    #[arg(long, value_parser = way, default_value = "1024+2048")]
    pub asked: Way,
    /// Seed of the document.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A folder that keeps what was read for the next measurement.
    #[arg(long)]
    pub caches: Option<PathBuf>,
}

/// One way to read what lies beyond the window; `None` with attention to everything.
#[derive(Debug, Clone)]
pub struct Way {
    name: String,
    /// Tokens near, tokens chosen, and where they stand.
    scope: Option<(usize, usize, Option<Far>)>,
}

/// `4096+2048@8192/4096` as a way.
fn way(text: &str) -> Result<Way, String> {
    let bad =
        || format!("{text:?} is none of `whole`, `NEAR+CHOSEN`, `NEAR+CHOSEN@DISTANCE/PERIOD`");
    let number = |digits: &str| digits.parse::<usize>().map_err(|_| bad());
    if text == "whole" {
        return Ok(Way {
            name: text.to_owned(),
            scope: None,
        });
    }
    let (sizes, places) = match text.split_once('@') {
        Some((sizes, places)) => (sizes, Some(places)),
        None => (text, None),
    };
    let (near, chosen) = sizes.split_once('+').ok_or_else(bad)?;
    let far = match places {
        None => None,
        Some(places) => {
            let (distance, period) = places.split_once('/').unwrap_or((places, "64"));
            Some(Far {
                distance: number(distance)?,
                pages: (number(period)? / BLOCK_TOKENS).max(1),
            })
        }
    };
    Ok(Way {
        name: text.to_owned(),
        scope: Some((number(near)?, number(chosen)?, far)),
    })
}

/// Measures and prints.
pub(super) fn run(args: &BeyondArgs, model: &MeasuredModel) -> Result<(), EvaluationError> {
    let model = model.load()?;
    let text = super::kv::material::novel(&args.text)?;
    let document = Document::new(&model, &text, args.tokens, args.seed)?;
    let whole = args.whole.unwrap_or(model.context_length());
    println!(
        "{}, {} tokens, of which {whole} are read with attention to everything, seed {}, asked {}\n",
        model.name(),
        document.prefix.len() + document.tokens.len(),
        args.seed,
        args.asked.name,
    );
    println!(
        "way                     ms a token  text KL  perplexity  answer KL  copied                         needles                        4 of 4                         chains"
    );
    let mut first: Vec<Vec<Vec<f32>>> = Vec::new();
    for way in &args.ways {
        let scope = way
            .scope
            .map(|(near, chosen, far)| Scope::new(whole, near, chosen, far));
        let scratch = Scratch::new()?;
        let folder = match &args.caches {
            Some(folder) => folder.join(format!(
                "{}-{}-{}-{whole}-{}",
                model.name(),
                args.tokens,
                args.seed,
                way.name.replace('/', "_")
            )),
            None => scratch.0.clone(),
        };
        let input = ReadingInput {
            scope,
            identity: CacheIdentity {
                scope: 0,
                text: Default::default(),
                model: model.fingerprint().to_owned(),
                prompt: CacheIdentity::prompt_hash(&document.prefix),
                format: BlockFormat::K4V4.number(),
            },
            prefix: document.prefix.clone(),
            tokens: document.tokens.clone(),
        };
        let cache = KvCache::open(&folder, &input.identity, model.shape())?;
        let before = cache.tokens();
        let started = Instant::now();
        let tell = |progress: &crate::reading::ReadProgress| {
            if progress.tokens % 4096 < 256 {
                eprintln!(
                    "{}: {} at {:.0} tokens/s",
                    way.name, progress.tokens, progress.tokens_per_s
                );
            }
        };
        read(&model, &input, &cache, &tell, &CancelFlag::new(), &|| ())?;
        let tokens = cache.tokens() - before;
        let ms = started.elapsed().as_secs_f64() * 1e3 / tokens.max(1) as f64;

        let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new())?;
        if let (Some(scope), Some((near, chosen, _))) = (scope, args.asked.scope) {
            attention.look_at(Some(scope.asked(near, chosen)));
        }
        let (mut continuation, mut answers) = (Prediction::default(), Prediction::default());
        let [mut copied, mut needles, mut four, mut chains] = [Share::default(); 4];
        for (nth, task) in document.tasks.iter().enumerate() {
            let found = judged_rows(&model, &mut attention, task)?;
            if first.len() == nth {
                first.push(found.clone());
            }
            let targets: Vec<u32> = task.judged.iter().map(|at| task.ids[*at]).collect();
            let prediction = compare(&first[nth], &found, &targets);
            let hits = hits(&found, &targets);
            let all = hits.iter().all(|hit| *hit);
            match task.kind {
                Kind::Continuation => continuation.add(prediction),
                _ => answers.add(prediction),
            }
            match task.kind {
                Kind::Continuation => {}
                Kind::Copy => hits.into_iter().for_each(|hit| copied.count(hit)),
                Kind::Needle => needles.count(all),
                Kind::Needles => four.count(all),
                Kind::Chain => hits.into_iter().for_each(|hit| chains.count(hit)),
            }
        }
        println!(
            "{:22}  {ms:10.1}  {:7.4}  {:10.3}  {:9.4}  {:29}  {:29}  {:29}  {}",
            way.name,
            continuation.divergence(),
            continuation.perplexity(),
            answers.divergence(),
            copied.to_string(),
            needles.to_string(),
            four.to_string(),
            chains,
        );
    }
    Ok(())
}
