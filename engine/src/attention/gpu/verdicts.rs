//! What self-checks of GPUs found, kept in a file between starts: a GPU is checked once for each driver and each build of
//! this program.
//!
//! In: [`remember_gpu_checks_in`] names the file, a few hundred bytes beside the library. Out: what was found, if it was.
//! Only verdicts are kept: a check that could not be made, because the GPU was full, say, is made again.

use super::check::Unsound;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Names the file; the first name holds for the process. Without one nothing is remembered.
pub fn remember_gpu_checks_in(file: &Path) {
    let _ = FILE.set(file.to_owned());
}

/// A verdict; `None`: it computes what the processor does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    unsound: Option<String>,
}

/// The file, and the program whose verdicts count.
#[derive(Debug, Clone)]
pub(super) struct Verdicts {
    file: PathBuf,
    program: String,
}

impl Verdicts {
    /// Those of this program; `None` if there is no place to keep them, or the program cannot be told from another.
    pub fn here() -> Option<Verdicts> {
        let program = std::env::current_exe().ok()?.metadata().ok()?;
        let built = program.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Verdicts {
            file: FILE.get()?.clone(),
            program: format!("{} bytes of {}", program.len(), built.as_millis()),
        })
    }

    /// What was found of this GPU.
    pub fn of(&self, gpu: &str) -> Option<Result<(), Unsound>> {
        let verdict = self.read().remove(&self.key(gpu))?;
        Some(verdict.unsound.map_or(Ok(()), |what| {
            Err(Unsound::Remembered {
                what,
                kept: self.file.clone(),
            })
        }))
    }

    /// Keeps what was found. Where that fails, it is found again at the next start.
    pub fn keep(&self, gpu: &str, found: &Result<(), Unsound>) {
        let unsound = match found {
            Ok(()) => None,
            Err(unsound @ Unsound::Differs { .. }) => Some(unsound.to_string()),
            Err(Unsound::Failed(_) | Unsound::Remembered { .. }) => return,
        };
        let mut all = self.read();
        // Those of earlier builds are of no use any more.
        all.retain(|key, _| key.ends_with(&self.program));
        all.insert(self.key(gpu), Verdict { unsound });
        if let Err(error) = self.write(&all) {
            tracing::warn!("{}: {error}", self.file.display());
        }
    }

    fn key(&self, gpu: &str) -> String {
        format!("{gpu}, {}", self.program)
    }

    fn read(&self) -> BTreeMap<String, Verdict> {
        let nothing = |fact: &dyn std::fmt::Display| {
            tracing::warn!("{}: {fact}; GPUs are checked anew", self.file.display());
            BTreeMap::new()
        };
        match std::fs::read(&self.file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| nothing(&error)),
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => nothing(&error),
        }
    }

    /// Replaces the file: a crash leaves the old or the new one.
    fn write(&self, all: &BTreeMap<String, Verdict>) -> std::io::Result<()> {
        let fresh = self.file.with_extension(std::process::id().to_string());
        std::fs::write(&fresh, serde_json::to_vec_pretty(all)?)?;
        std::fs::rename(&fresh, &self.file)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_verdict_holds_for_the_same_gpu_and_the_same_program() {
        let folder = tempfile::tempdir().unwrap();
        let verdicts = |program: &str| Verdicts {
            file: folder.path().join("gpu-checks.json"),
            program: program.to_owned(),
        };
        let first = verdicts("first");
        assert!(first.of("GPU 1").is_none());
        first.keep("GPU 1", &Ok(()));
        let unsound = Unsound::Differs {
            what: "attended values",
            difference: 0.5,
            head_dim: 64,
        };
        first.keep("GPU 2", &Err(unsound));
        first.keep("GPU 3", &Err(Unsound::Failed("it is full".to_owned())));
        assert!(first.of("GPU 1").unwrap().is_ok());
        let words = first.of("GPU 2").unwrap().unwrap_err().to_string();
        assert!(
            words.contains("attended values") && words.contains("gpu-checks.json"),
            "{words}"
        );
        assert!(first.of("GPU 3").is_none(), "it is tried again");

        let second = verdicts("second");
        assert!(second.of("GPU 1").is_none());
        second.keep("GPU 1", &Ok(()));
        assert!(second.of("GPU 1").unwrap().is_ok());
        assert!(first.of("GPU 1").is_none(), "what is of no use goes");
    }

    #[test]
    fn a_broken_file_remembers_nothing_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let verdicts = Verdicts {
            file: folder.path().join("gpu-checks.json"),
            program: "a program".to_owned(),
        };
        std::fs::write(&verdicts.file, "{\"GPU").unwrap();
        assert!(verdicts.of("GPU").is_none());
        verdicts.keep("GPU", &Ok(()));
        assert!(verdicts.of("GPU").unwrap().is_ok());
    }
}
