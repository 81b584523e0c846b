use lectern_protocol::{Failure, FailureCode};
use std::process::ExitCode;

/// Exit codes, as `lectern --help` documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// No such document, conversation or model.
    NotFound = 3,
    /// A model must be downloaded or imported first.
    ModelMissing = 4,
    /// The file needs a password.
    PasswordNeeded = 5,
    /// The disk is full.
    DiskFull = 6,
    /// Stopped with Ctrl-C, as shells count it.
    Cancelled = 130,
}

impl Exit {
    /// The code of a failure.
    pub fn of(failure: &Failure) -> Exit {
        match failure.code {
            FailureCode::Cancelled => Exit::Cancelled,
            FailureCode::PasswordNeeded => Exit::PasswordNeeded,
            FailureCode::ModelMissing => Exit::ModelMissing,
            FailureCode::DiskFull => Exit::DiskFull,
            FailureCode::NotFound => Exit::NotFound,
            FailureCode::RecogniserMissing | FailureCode::Other => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
