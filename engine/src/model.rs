//! Loading a model: its weights go to a GPU where this program can use one, to the processor otherwise.
//!
//! In: a GGUF file. Out: a [`Model`]. Why not in `models/`: which GPU there is, and whether it computes rightly, is known to
//! `lectern-cuda`, and only the program built with it has it.

use lectern_models::{Model, ModelError};
use std::path::Path;

/// Keeps everything on the processor if it is set to `off`.
pub const GPU_SWITCH: &str = "LECTERN_GPU";

/// A model's weights as they stand in its file.
#[cfg(feature = "cuda")]
type FileWeights<'f> = lectern_models::DecoderWeights<lectern_models::packed::FileMatrix<'f>>;

/// Opens a model and makes it ready to run.
///
/// # Errors
/// As [`Model::load`]. A GPU that cannot take the weights is none: the log says why.
pub fn load(path: &Path) -> Result<Model, ModelError> {
    load_stretched(path, 1.0)
}

/// As [`load`], of a model that is to read `stretch` times further than it was trained for ([`Model::load_stretched`]).
///
/// # Errors
/// As there.
pub fn load_stretched(path: &Path, stretch: f64) -> Result<Model, ModelError> {
    #[cfg(feature = "cuda")]
    if is_gpu_wanted() {
        let place = Box::new(|weights: &FileWeights<'_>| on_gpu(path, stretch, weights));
        return Model::load_stretched(path, stretch, Some(place));
    }
    Model::load_stretched(path, stretch, None)
}

/// Whether a GPU is to be used if there is one.
pub fn is_gpu_wanted() -> bool {
    std::env::var_os(GPU_SWITCH).is_none_or(|value| value != "off")
}

/// The longest document that a model reads, in the finest codes: room for it decides on how many GPUs the model's layers go.
///
/// `None` for heads that are not attended to on GPUs.
#[cfg(feature = "cuda")]
pub fn longest_document(
    facts: &lectern_models::ModelFacts,
    stretch: f64,
) -> Option<lectern_cuda::Demand> {
    let read = crate::attention::GpuRead {
        spread: None,
        format: crate::kv::BlockFormat::K8V8,
        cached_tokens: (facts.context_length as f64 * stretch.max(1.0)) as usize,
        window_tokens: crate::reading::GPU_CHUNK_TOKENS,
        pass_tokens: crate::reading::GPU_CHUNK_TOKENS,
    };
    read.demand(&facts.shape, None).ok()
}

/// Where a model's layers lie; `None` where the processor has them.
#[cfg(feature = "cuda")]
pub fn spread_of(model: &Model) -> Option<lectern_cuda::Spread> {
    let spread = model.layout()?.downcast().ok()?;
    Some(*spread)
}

#[cfg(feature = "cuda")]
fn on_gpu(
    path: &Path,
    stretch: f64,
    weights: &FileWeights<'_>,
) -> Option<std::sync::Arc<dyn lectern_models::backend::Backend>> {
    let facts = Model::facts(path).ok()?;
    let demand = longest_document(&facts, stretch);
    let burden = lectern_cuda::Burden::of_model(weights, demand);
    let decoder = lectern_cuda::Spread::choose(lectern_cuda::rooms(), &burden).and_then(|spread| {
        let decoder = lectern_cuda::GpuDecoder::new(&spread, weights)?;
        tracing::info!("the model lies on the GPU: {spread}");
        Ok(decoder)
    });
    match decoder {
        Ok(decoder) => Some(std::sync::Arc::new(decoder)),
        Err(reason) => {
            tracing::info!("the model stays on the processor: {reason}");
            None
        }
    }
}
