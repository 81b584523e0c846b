//! Whether there are GPUs that can be used, and how much may be taken of them, asked without loading anything onto them.
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

/// Looks at all GPUs; those that can be used, at least one.
///
/// # Errors
/// What is missing of the first, if there is none.
pub fn probe_all() -> Result<Vec<Probe>, CudaError> {
    let mut usable = Vec::new();
    let mut missing = None;
    for found in (0..Device::count()?).map(probe) {
        match found {
            Ok(found) => usable.push(found),
            Err(error) => missing = missing.or(Some(error)),
        }
    }
    match usable.is_empty() {
        true => Err(missing.unwrap_or(CudaError::NoDevice)),
        false => Ok(usable),
    }
}

/// What may be taken of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Which GPU, from 0.
    pub ordinal: usize,
    /// Bytes.
    pub bytes: usize,
}

/// What may be taken of a GPU now.
///
/// # Errors
/// As [`Device::facts`].
pub fn room(ordinal: usize) -> Result<Room, CudaError> {
    let memory = match Device::in_use(ordinal) {
        Some(device) => device.memory()?,
        None => Device::facts(ordinal)?.memory,
    };
    Ok(Room {
        ordinal,
        bytes: Plan::room(memory.free),
    })
}

/// The same of each GPU, looked at when it is asked for: one that nobody uses takes a third of a second.
pub fn rooms() -> Box<dyn Iterator<Item = Result<Room, CudaError>>> {
    match Device::count() {
        Ok(count) => Box::new((0..count).map(room)),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}
