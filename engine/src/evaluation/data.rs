//! Files of question sets.

use super::EvaluationError;
use serde::de::DeserializeOwned;
use std::path::Path;

/// One JSON value.
///
/// # Errors
/// [`EvaluationError::Unreadable`], [`EvaluationError::Malformed`].
pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Result<T, EvaluationError> {
    serde_json::from_str(&text(path)?).map_err(|source| EvaluationError::Malformed {
        path: path.to_owned(),
        source,
    })
}

/// A JSON value a line.
///
/// # Errors
/// As [`json`].
pub(super) fn json_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, EvaluationError> {
    let text = text(path)?;
    let lines = text.lines().map(serde_json::from_str);
    let values: Result<Vec<T>, _> = lines.collect();
    values.map_err(|source| EvaluationError::Malformed {
        path: path.to_owned(),
        source,
    })
}

/// All of a text.
///
/// # Errors
/// [`EvaluationError::Unreadable`].
pub(super) fn text(path: &Path) -> Result<String, EvaluationError> {
    std::fs::read_to_string(path).map_err(|source| EvaluationError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
