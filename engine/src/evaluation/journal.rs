//! A file of results, one JSON object a line, that a measurement goes on from where it was stopped.

use super::EvaluationError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::marker::PhantomData;
use std::path::Path;

/// Where results of one kind are kept; without a file they are forgotten at the end.
pub(super) struct Journal<T> {
    file: Option<File>,
    kind: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens `path`, which need not exist; also returns what it holds. What is no such object is left out: a line that a
    /// kill cut off is measured again, and ends where it was cut.
    pub fn open(path: Option<&Path>) -> Result<(Journal<T>, Vec<T>), EvaluationError> {
        let Some(path) = path else {
            let file = None;
            return Ok((
                Journal {
                    file,
                    kind: PhantomData,
                },
                Vec::new(),
            ));
        };
        let unreadable = |source| EvaluationError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let held = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unreadable(error)),
        };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(unreadable)?;
        if held.last().is_some_and(|last| *last != b'\n') {
            // the next result must not be glued to the half one
            file.write_all(b"\n")?;
        }
        let kept = held
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        let file = Some(file);
        Ok((
            Journal {
                file,
                kind: PhantomData,
            },
            kept,
        ))
    }

    /// Writes a result down, at once.
    pub fn keep(&mut self, result: &T) -> Result<(), EvaluationError> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_string(result).map_err(std::io::Error::from)?;
            line.push('\n');
            file.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn goes_on_after_a_line_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let open = || Journal::<(u32, String)>::open(Some(&path)).unwrap();
        let result = |number: u32| (number, "two\nlines".to_owned());
        let (mut journal, kept) = open();
        assert!(kept.is_empty());
        journal.keep(&result(1)).unwrap();
        journal.keep(&result(2)).unwrap();
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 4]).unwrap();
        let (mut journal, kept) = open();
        assert_eq!(kept, [result(1)]);
        journal.keep(&result(2)).unwrap();
        journal.keep(&result(3)).unwrap();
        assert_eq!(open().1, [result(1), result(2), result(3)]);
    }

    #[test]
    fn without_a_file_nothing_is_kept() {
        let (mut journal, kept) = Journal::<u32>::open(None).unwrap();
        journal.keep(&1).unwrap();
        assert!(kept.is_empty());
    }
}
