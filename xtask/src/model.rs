//! Models: the engine's own catalogue, reached through its binary.

use crate::step::run;
use crate::workspace::{Profile, build_programs};
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The model that reads and answers where the person has chosen none.
pub const DEFAULT: &str = "qwen2.5-0.5b";

/// A model that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Name in the catalogue.
    pub name: &'static str,
    /// What rows call it.
    pub short: &'static str,
    /// What a person calls it.
    pub title: &'static str,
    /// Its file in the folder of models.
    pub file: &'static str,
}

/// The models that are measured, smallest first.
pub const MEASURED: &[Measured] = &[
    Measured {
        name: DEFAULT,
        short: "0.5B",
        title: "Qwen2.5-Coder-0.5B-Instruct Q4_K_M",
        file: "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf",
    },
    Measured {
        name: "qwen2.5-1.5b",
        short: "1.5B",
        title: "Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
        file: "Qwen2.5-Coder-1.5B-Instruct.Q4_K_M.gguf",
    },
];

/// What finds passages by their meaning.
pub const EMBEDDER: &str = "minilm";

/// What the tests run: the smallest for speed, the default for answers, what finds passages by their meaning, and what
/// recognises scanned pages.
pub const TESTED: &[&str] = &["smollm2-135m", DEFAULT, EMBEDDER, "ocr"];

/// What to do about models.
#[derive(clap::Subcommand)]
pub enum Options {
    /// List the catalogue: what is here, what can be had, what it needs.
    #[command(after_help = "Example:\n  cargo xtask model list")]
    List,
    /// Get a model, or go on getting it: progress, resume, SHA-256. Costs nothing if it is there.
    #[command(after_help = "Examples:
  cargo xtask model get smollm2-135m
  cargo xtask model get qwen2.5-1.5b")]
    Get {
        /// Name in the catalogue.
        name: String,
    },
}

/// `cargo xtask model`.
pub fn model(options: &Options) -> Result<()> {
    let lectern = build_programs(Profile::Dev, false)?.lectern;
    match options {
        Options::List => run(Command::new(lectern).arg("models")),
        Options::Get { name } => get(&lectern, name),
    }
}

/// Puts a model of the catalogue in place.
pub fn get(lectern: &Path, name: &str) -> Result<()> {
    run(Command::new(lectern).args(["models", "get", name]))
}

/// Where the file of a measured model is.
pub fn file(model: &Measured) -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let data = || {
        set("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".local/share")))
            .unwrap_or_default()
            .join("lectern")
    };
    let folder = set("LECTERN_MODELS").map_or_else(
        || {
            set("LECTERN_HOME")
                .map_or_else(data, PathBuf::from)
                .join("models")
        },
        PathBuf::from,
    );
    let file = folder.join(model.file);
    ensure!(
        file.exists(),
        "{} is missing: run `cargo xtask model get {}`",
        file.display(),
        model.name
    );
    Ok(file)
}
