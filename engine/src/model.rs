//! Loading a model: its weights go to a GPU where this program can use one, to the processor otherwise.
//!
//! In: a GGUF file. Out: a [`Model`]. Why not in `models/`: which GPU there is, and whether it computes rightly, is known to
//! `lectern-cuda`, and only the program built with it has it.

use lectern_models::{Model, ModelError};
use std::path::Path;

/// Keeps everything on the processor if it is set to `off`.
pub const GPU_SWITCH: &str = "LECTERN_GPU";

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
        return Model::load_stretched(path, stretch, Some(Box::new(on_gpu)));
    }
    Model::load_stretched(path, stretch, None)
}

/// Whether a GPU is to be used if there is one.
pub fn is_gpu_wanted() -> bool {
    std::env::var_os(GPU_SWITCH).is_none_or(|value| value != "off")
}

#[cfg(feature = "cuda")]
fn on_gpu(
    weights: &lectern_models::DecoderWeights<lectern_models::packed::FileMatrix<'_>>,
) -> Option<std::sync::Arc<dyn lectern_models::backend::Backend>> {
    let decoder = lectern_cuda::Device::shared(0)
        .and_then(|device| lectern_cuda::GpuDecoder::new(device, weights));
    match decoder {
        Ok(decoder) => Some(std::sync::Arc::new(decoder)),
        Err(reason) => {
            tracing::info!("the model stays on the processor: {reason}");
            None
        }
    }
}
