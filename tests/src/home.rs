//! A library of one's own for one test, and running `lectern` in it.

use crate::{model, program};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// An empty `LECTERN_HOME` that reads and answers with one model; deleted when dropped.
pub struct Home {
    folder: TempDir,
    models: PathBuf,
}

impl Home {
    /// An empty library on the smallest model.
    pub fn new() -> Home {
        Home::with_model(model::SMALL)
    }

    /// An empty library on a model of the catalogue.
    ///
    /// # Panics
    /// If the model is not installed.
    pub fn with_model(name: &str) -> Home {
        let file = model::file(name);
        let models = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let folder = tempfile::Builder::new()
            .prefix("lectern-test-")
            .tempdir()
            .expect("the folder of temporary files can be written");
        let settings = format!("model = {name:?}\nthreads = 2\nread_when_added = false\n");
        std::fs::write(folder.path().join("settings.toml"), settings)
            .expect("a fresh folder can be written");
        Home { folder, models }
    }

    /// An empty library on a machine that has no model.
    pub fn without_models() -> Home {
        let folder = tempfile::Builder::new()
            .prefix("lectern-test-")
            .tempdir()
            .expect("the folder of temporary files can be written");
        let models = folder.path().join("models");
        Home { folder, models }
    }

    /// The same library with its models elsewhere.
    pub fn models_in(mut self, folder: &Path) -> Home {
        self.models = folder.to_path_buf();
        self
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A folder beside the library's own files for what a test wants to add.
    pub fn desk(&self) -> PathBuf {
        let desk = self.folder.path().join("desk");
        std::fs::create_dir_all(&desk).expect("a fresh folder can be written");
        desk
    }

    /// Writes a file on the desk.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.desk().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a fresh folder can be written");
        }
        std::fs::write(&path, content).expect("a fresh folder can be written");
        path
    }

    /// `lectern` with this library, not yet started.
    pub fn lectern<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(program::lectern());
        command.args(arguments).stdin(Stdio::null());
        self.dress(&mut command);
        command
    }

    /// Makes any program use this library.
    pub fn dress(&self, command: &mut Command) {
        command
            .env("LECTERN_HOME", self.path())
            .env("LECTERN_MODELS", &self.models)
            .env("NO_COLOR", "1");
    }

    /// Runs `lectern` to its end.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        let output = self
            .lectern(arguments)
            .output()
            .expect("lectern can be started");
        Run::of(output)
    }

    /// Runs `lectern`, which must succeed and print one JSON value.
    pub fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Value> {
        self.run(arguments).json()
    }
}

impl Default for Home {
    fn default() -> Home {
        Home::new()
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Run {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

impl Run {
    /// Takes what `std` gives.
    pub fn of(output: Output) -> Run {
        Run {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The one JSON value it printed; an error with what it said if it did not succeed.
    pub fn json(&self) -> Result<Value> {
        ensure!(
            self.code == Some(0),
            "exit code {:?}: {}{}",
            self.code,
            self.stdout,
            self.stderr
        );
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("not one JSON value: {}", self.stdout))
    }

    /// The JSON values it printed, one a line.
    pub fn json_lines(&self) -> Result<Vec<Value>> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }

    /// Everything a person would see.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Asserts that it failed with words for a person: on stderr, naming `fact`, without a panic.
    ///
    /// # Panics
    /// If it did not.
    pub fn assert_refused(&self, fact: &str) {
        assert!(
            self.code.is_some_and(|code| code != 0),
            "it should have failed: {self:?}"
        );
        let said = self.said();
        assert!(!said.contains("panicked at"), "{said}");
        assert!(
            said.to_lowercase().contains(&fact.to_lowercase()),
            "{fact:?} is not in: {said}"
        );
    }
}
