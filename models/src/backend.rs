//! Who computes a decoder's blocks: this processor, or something else that was given the weights.
//!
//! In: the hidden state of a chunk of tokens, and layer by layer what attention made of it. Out: queries, keys and values
//! for the attention, and at the end logits. The order of things is the decoder's ([`decoder`](crate::decoder)), the same
//! for all; attention is the engine's ([`attention`](crate::attention)).
//!
//! Why the seam is here: between two attentions a block is norms, products and a gate over the same rows, some tens of
//! megabytes a layer that had better stay where the weights are. What crosses it is what attention wants anyway.

use crate::attention::Projected;
use crate::error::ForwardError;
use std::any::Any;

/// Something that computes blocks. Shared between threads; passes come one at a time.
pub trait Backend: Send + Sync {
    /// Calls `work` with a pass over `hidden`, the embedded tokens, `[tokens, width]`, which the pass may write over.
    ///
    /// # Errors
    /// [`BackendError::Failed`] if it cannot take them; those of `work`.
    fn run(&self, hidden: &mut [f32], work: &mut Work<'_>) -> Result<(), ForwardError>;

    /// Where its layers lie, for whoever is to attend in the same places and knows such places.
    fn layout(&self) -> Option<Box<dyn Any>> {
        None
    }
}

/// What is to be done with a pass.
pub type Work<'w> = dyn FnMut(&mut dyn BackendPass) -> Result<(), ForwardError> + 'w;

/// One pass over a chunk of tokens; it has their hidden state. Layers come in order, each `project` before `finish`.
pub trait BackendPass {
    /// Computes the norm and the projections of a layer.
    ///
    /// # Errors
    /// [`BackendError`].
    fn project(&mut self, layer: usize) -> Result<(), BackendError>;

    /// Brings the projections of the layer here.
    ///
    /// # Errors
    /// [`BackendError`].
    fn projected(&mut self) -> Result<&Projected, BackendError>;

    /// Where the projections lie if not here, and where what is attended is wanted: for an
    /// [`Attention`](crate::Attention) that knows such places.
    fn place(&self) -> Option<Box<dyn Any>> {
        None
    }

    /// From now on the last token alone matters.
    fn keep_last(&mut self);

    /// The rest of the layer, from what was attended, `[rows, query_heads * head_dim]`, for as many rows as there are
    /// left; or from what lies where `place` said, if nothing is given. `is_cancelled` is looked at between products that
    /// take long.
    ///
    /// # Errors
    /// [`BackendError`].
    fn finish(
        &mut self,
        layer: usize,
        attended: Option<&[f32]>,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), BackendError>;

    /// The last norm and the head: logits, `[rows, vocabulary]`, in place of what `logits` holds.
    ///
    /// # Errors
    /// [`BackendError`].
    fn logits(&mut self, logits: &mut Vec<f32>) -> Result<(), BackendError>;
}

/// Why a backend gave no result.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// It was asked to stop.
    #[error("stopped before the pass was finished")]
    Cancelled,
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// It cannot, now or ever: no memory, a device that is gone. Somebody else may.
    #[error(transparent)]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}
