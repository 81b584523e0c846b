//! How far the program may run ahead of a GPU.
//!
//! What is asked of a GPU is put in a line and the call returns. So a pass over hundreds of tokens would be asked for whole within
//! some milliseconds, and could not be stopped any more: on a small GPU and a large model that is a second. Hence a layer is asked for only when
//! the one before the last is done. There is always a layer to do, and what is left of a pass that was stopped is two layers.

use crate::device::{Device, Line, Moment};
use crate::error::CudaError;

/// The lead over one GPU: when each of the last two layers was done.
#[derive(Debug)]
pub(crate) struct Lead([Moment; 2]);

impl Lead {
    /// # Errors
    /// [`CudaError::Driver`].
    pub(crate) fn new(device: &Device) -> Result<Lead, CudaError> {
        Ok(Lead([device.moment()?, device.moment()?]))
    }

    /// Layer `nth` was asked for: waits for the one before it. A moment of an earlier pass is past.
    ///
    /// # Errors
    /// [`CudaError::Driver`], of whatever failed meanwhile.
    pub(crate) fn asked_for(&self, nth: usize, device: &Device) -> Result<(), CudaError> {
        device.mark(&self.0[nth % 2], Line::Work)?;
        device.wait_for(&self.0[(nth + 1) % 2])
    }
}
