//! Whether there is a GPU that can be used, asked without loading anything onto it.
//!
//! `lectern-cuda --probe` prints the answer as one line of JSON; the window shows its words.

use crate::device::{Device, DeviceFacts};
use crate::error::CudaError;
use crate::plan::Plan;

/// Bytes without which it is not worth while: the smallest model's plan for a short document.
const WORTH_WHILE: usize = 256 << 20;

/// A GPU that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What the driver says of it.
    pub facts: DeviceFacts,
    /// Bytes that a plan may take.
    pub room: usize,
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let gigabytes = |bytes: usize| bytes as f64 / (1u64 << 30) as f64;
        write!(
            f,
            "{}: {:.1} of {:.1} GB free, {:.1} GB can be used",
            self.facts.name,
            gigabytes(self.facts.memory.free),
            gigabytes(self.facts.memory.total),
            gigabytes(self.room)
        )
    }
}

/// Looks at a GPU.
///
/// # Errors
/// [`CudaError`] says what is missing and what to do about it.
pub fn probe(ordinal: usize) -> Result<Probe, CudaError> {
    let facts = Device::facts(ordinal)?;
    let room = Plan::room(facts.memory.free);
    if room < WORTH_WHILE {
        return Err(CudaError::TooLittleMemory {
            free: room,
            needed: WORTH_WHILE,
        });
    }
    Ok(Probe { facts, room })
}
