//! The TypeScript types that the web view shares with the window: generated, committed, checked for drift.

use crate::step::run;
use crate::workspace::{cargo, root};
use crate::{system, web};
use anyhow::{Context, Result, ensure};

/// Where they are.
const BINDINGS: &str = "ui/src/backend/bindings.ts";

/// How to treat them.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask types            write them
  cargo xtask types --check    fail if they are not what the code says")]
pub struct Options {
    /// Change nothing; fail if they have drifted.
    #[arg(long)]
    check: bool,
}

/// `cargo xtask types`.
pub fn types(options: &Options) -> Result<()> {
    system::ensure_packages(system::Need::Window)?;
    web::install_packages()?;
    if options.check { check() } else { write() }
}

fn write() -> Result<()> {
    // The generator is the window's own crate, which embeds what Vite builds: an empty folder will do.
    std::fs::create_dir_all(root().join("ui/dist"))?;
    run(cargo().args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "lectern-desktop",
        "--bin",
        "export-types",
    ]))
}

/// Fails if what is committed is not what the code says, and leaves it as it was.
pub fn check() -> Result<()> {
    let path = root().join(BINDINGS);
    let before = std::fs::read(&path).with_context(|| format!("{BINDINGS} is missing"))?;
    write()?;
    let after = std::fs::read(&path)?;
    if after != before {
        std::fs::write(&path, &before)?;
    }
    ensure!(
        after == before,
        "{BINDINGS} is not what the code says: run `cargo xtask types` and commit the file"
    );
    Ok(())
}
