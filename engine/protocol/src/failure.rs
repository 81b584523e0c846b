//! Errors that reach a person.

use serde::{Deserialize, Serialize};
use specta::Type;

/// What went wrong, and what to do next, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Failure {
    /// Only what a client handles in a way of its own.
    pub code: FailureCode,
    /// What happened, naming the file or thing and the fact.
    pub message: String,
    /// The way out, if there is one.
    pub advice: Option<String>,
}

/// What a client handles in a way of its own; all else is [`Other`](FailureCode::Other).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The person cancelled; say nothing.
    Cancelled,
    /// Ask for a password and add again.
    PasswordNeeded,
    /// Offer to download or import a model.
    ModelMissing,
    /// Offer to download what recognises scanned pages, then add again.
    RecogniserMissing,
    /// The disk is full: nothing was lost, the job can go on later.
    DiskFull,
    /// No such document, conversation or model: refresh.
    NotFound,
    /// Show the message.
    Other,
}
