//! Whether a GPU computes what the CPU does: asked before a document is trusted to it, and remembered
//! ([`verdicts`](super::verdicts)).
//!
//! In: a GPU, each for itself where there are several. Out: nothing, or what was wrong with it. A text of noise is read and asked on both, in codes and with pages
//! chosen, so that every kernel takes part. Some thousand tokens' worth of attention, well below a second on a CPU.

use super::super::kernels::pair_channels;
use super::GpuRead;
use super::verdicts::Verdicts;
use crate::attention::drawn;
use crate::attention::{CancelFlag, DenseAttention, PagePolicy, SparseRead};
use crate::kv::{BLOCK_TOKENS, BlockFormat, CacheIdentity, KvCache, KvError};
use lectern_cuda::{CudaError, Spread};
use lectern_models::attention::{
    Attention, AttentionError, AttentionShape, Projected, Rotary, RotaryPairing,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Pages of the text.
const PAGES: usize = 12;

/// Pages that are chosen of them.
const CHOSEN: usize = 8;

/// Tokens of a chunk and of the question.
const CHUNK: usize = 128;
const QUESTION: usize = 3;

/// What may differ: the CPU weighs values of 4 bits in integers of 8, see `attention/mod.rs`.
const BOUND: f32 = 0.03;

/// What was wrong with a GPU.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Unsound {
    /// It could not do the work.
    #[error("the GPU failed its self-check: {0}")]
    Failed(String),
    /// It did something else when it was checked, by an earlier start of this program.
    #[error("{what} (found earlier; delete {} to have it checked again)", .kept.display())]
    Remembered {
        /// What was found.
        what: String,
        /// The file that remembers it.
        kept: PathBuf,
    },
    /// It did something else.
    #[error(
        "the GPU failed its self-check: {what} differ by {difference} from the CPU's with heads of {head_dim} channels"
    )]
    Differs {
        what: &'static str,
        difference: f32,
        head_dim: usize,
    },
}

/// Checks a GPU once; the same answer from then on, also in later starts of the same program.
pub(super) fn check(ordinal: usize) -> Result<(), Unsound> {
    static CHECKED: Mutex<BTreeMap<usize, Result<(), Unsound>>> = Mutex::new(BTreeMap::new());
    let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    let verdict = checked.entry(ordinal);
    verdict
        .or_insert_with(|| recall_or_compare(ordinal))
        .clone()
}

fn recall_or_compare(ordinal: usize) -> Result<(), Unsound> {
    let identity = lectern_cuda::Device::shared(ordinal)
        .and_then(|device| device.identity())
        .map_err(|error| Unsound::Failed(error.to_string()))?;
    let verdicts = Verdicts::here();
    if let Some(verdict) = verdicts.as_ref().and_then(|kept| kept.of(&identity)) {
        return verdict;
    }
    let verdict = [64, 128]
        .into_iter()
        .try_for_each(|head_dim| compare(ordinal, head_dim));
    if let Some(verdicts) = verdicts {
        verdicts.keep(&identity, &verdict);
    }
    verdict
}

/// A folder that is removed with what is in it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing is lost where it stays: it holds noise.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn compare(ordinal: usize, head_dim: usize) -> Result<(), Unsound> {
    let shape = shape(head_dim);
    let name = format!("lectern-gpu-check-{}-{head_dim}", std::process::id());
    let folder = Scratch(std::env::temp_dir().join(name));
    let on_cpu = run(&folder.0.join("cpu"), &shape, None).map_err(failed)?;
    let on_gpu = run(&folder.0.join("gpu"), &shape, Some(ordinal)).map_err(failed)?;
    for (what, expected, found) in [
        ("attended values", &on_cpu.0, &on_gpu.0),
        ("attention masses", &on_cpu.1, &on_gpu.1),
    ] {
        let difference = expected
            .iter()
            .zip(found)
            .map(|(expected, found)| (expected - found).abs())
            .fold(
                0.0,
                |a: f32, b| if b.is_nan() { f32::INFINITY } else { a.max(b) },
            );
        if difference > BOUND || expected.len() != found.len() {
            return Err(Unsound::Differs {
                what,
                difference,
                head_dim,
            });
        }
    }
    Ok(())
}

/// What stopped a run.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Cache(#[from] KvError),
    #[error(transparent)]
    Attention(#[from] AttentionError),
    #[error(transparent)]
    Cuda(#[from] CudaError),
    #[error("a folder for it could not be made: {0}")]
    Folder(#[from] std::io::Error),
    #[error("it gave up half-way")]
    GaveUp,
}

fn failed(stopped: Stopped) -> Unsound {
    Unsound::Failed(stopped.to_string())
}

/// Reads and asks; attended values, then masses.
fn run(
    folder: &Path,
    shape: &AttentionShape,
    gpu: Option<usize>,
) -> Result<(Vec<f32>, Vec<f32>), Stopped> {
    std::fs::create_dir_all(folder)?;
    let identity = CacheIdentity {
        text: [0; 32],
        model: "noise".to_owned(),
        prompt: 0,
        format: BlockFormat::K4V4.number(),
        scope: 0,
    };
    let cache = KvCache::open(folder, &identity, shape)?;
    let tokens = PAGES * BLOCK_TOKENS;
    let use_gpu = |attention: &mut DenseAttention| -> Result<(), CudaError> {
        let Some(ordinal) = gpu else { return Ok(()) };
        let read = GpuRead {
            spread: Some(Spread::on(ordinal, shape.layers)),
            format: BlockFormat::K4V4,
            cached_tokens: tokens,
            window_tokens: CHUNK,
            pass_tokens: CHUNK,
        };
        attention.use_gpu(&read).map(|_| ())
    };
    let mut attention = DenseAttention::over(&cache, shape, CancelFlag::new())?;
    use_gpu(&mut attention)?;
    let mut attended = Vec::new();
    for first in (0..tokens).step_by(CHUNK) {
        attended.extend(pass(&mut attention, shape, first, CHUNK)?);
        let ids: Vec<u32> = (first..first + CHUNK).map(|id| id as u32).collect();
        attention.seal(&cache, &ids)?;
    }
    // Over everything, with the codes that were made where the pages lay.
    attended.extend(pass(&mut attention, shape, tokens, QUESTION)?);
    let mut chooser = DenseAttention::over(&cache, shape, CancelFlag::new())?;
    chooser.look_at(Some(SparseRead::new(
        PagePolicy::Keys,
        CHOSEN * BLOCK_TOKENS,
    )));
    use_gpu(&mut chooser)?;
    chooser.record(&[(0, 1)]);
    attended.extend(pass(&mut chooser, shape, tokens, QUESTION)?);
    if gpu.is_some() && !(attention.is_on_gpu() && chooser.is_on_gpu()) {
        return Err(Stopped::GaveUp);
    }
    Ok((attended, chooser.take_mass()))
}

/// One layer, four query heads to two key/value heads.
fn shape(head_dim: usize) -> AttentionShape {
    AttentionShape {
        layers: 1,
        query_heads: 4,
        kv_heads: 2,
        head_dim,
        softmax_scale: (head_dim as f32).sqrt().recip(),
        rotary: Rotary {
            pairing: RotaryPairing::Halves,
            inverse_frequencies: (0..head_dim / 2)
                .map(|pair| 10_000f32.powf(-2.0 * pair as f32 / head_dim as f32))
                .collect(),
        },
        key_bias: vec![None],
    }
}

/// Attends tokens `first..` whose numbers follow from their positions.
fn pass(
    attention: &mut DenseAttention,
    shape: &AttentionShape,
    first: usize,
    tokens: usize,
) -> Result<Vec<f32>, Stopped> {
    let d = shape.head_dim;
    let numbers = |heads: usize, what: usize| -> Vec<f32> {
        let row = heads * d;
        (first * row..(first + tokens) * row)
            .map(|at| noise(3 * at + what))
            .collect()
    };
    let mut projected = Projected {
        tokens,
        queries: numbers(shape.query_heads, 0),
        keys: numbers(shape.kv_heads, 1),
        values: numbers(shape.kv_heads, 2),
    };
    // Some keys answer to every query, so that pages differ and the choice is not left to rounding.
    let (slowest, _) = pair_channels(shape.rotary.pairing, d / 2, d / 2 - 1);
    for (at, key) in projected.keys.iter_mut().enumerate() {
        let page = (first + at / (shape.kv_heads * d)) / BLOCK_TOKENS;
        if at % d == slowest {
            *key += page as f32 % 5.0;
        }
    }
    for query in projected.queries.iter_mut().skip(slowest).step_by(d) {
        *query += 8.0;
    }
    let mut attended = Vec::new();
    attention.attend(0, &projected, &mut attended)?;
    Ok(attended)
}

/// A number from -1 to 1 for each place.
fn noise(place: usize) -> f32 {
    (drawn(place) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}
