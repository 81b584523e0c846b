//! Models: the engine's own catalogue, reached through its binary.

use crate::step::run;
use crate::workspace::{Profile, build_programs};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// The model that reads and answers where the person has chosen none.
pub const DEFAULT: &str = "qwen2.5-0.5b";

/// What the tests run: the smallest for speed, the default for answers.
pub const TESTED: &[&str] = &["smollm2-135m", DEFAULT];

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
