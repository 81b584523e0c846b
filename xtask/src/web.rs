//! The web view: its packages and its build.

use crate::step::{output_of, run, say};
use crate::workspace::root;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Oldest Node.js that the web view's tools run on.
const NODE_MAJOR: u32 = 20;

/// The folder of the web view.
pub fn folder() -> PathBuf {
    root().join("ui")
}

/// `npm` in the web view's folder.
pub fn npm(arguments: &[&str]) -> Command {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.args(arguments).current_dir(folder());
    command
}

/// Installs the packages of the lock file; costs nothing while they match it.
pub fn install_packages() -> Result<()> {
    let version = output_of("node", &["--version"]).context(
        "Node.js is not there: install version 20 or later (Debian 13, Ubuntu 24.10: apt-get install nodejs npm)",
    )?;
    let major: u32 = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .with_context(|| format!("node calls its version {version:?}"))?;
    ensure!(
        major >= NODE_MAJOR,
        "Node.js is {version}, the web view needs version {NODE_MAJOR} or later"
    );
    // npm writes this file at the end of an installation, as a copy of what it installed.
    let lock = folder().join("package-lock.json");
    let installed = folder().join("node_modules/.package-lock.json");
    if is_newer(&installed, &lock) {
        say("   web packages are there");
        return Ok(());
    }
    if !lock.exists() {
        bail!("{} is missing", lock.display());
    }
    run(&mut npm(&["ci", "--no-audit", "--no-fund"]))
}

/// Builds the web view into `ui/dist`, which the window embeds; costs nothing while that is newer than what it is built
/// from. A new build has the window compiled again, even if nothing in it changed.
pub fn build() -> Result<()> {
    let page = folder().join("dist/index.html");
    // Of a package that was installed anew npm writes this; of a file that was removed its folder tells.
    let mut sources = vec![folder().join("node_modules/.package-lock.json"), folder()];
    let mut is_current = true;
    while let Some(source) = sources.pop() {
        is_current &= is_newer(&page, &source);
        if source.is_dir() {
            let entries = std::fs::read_dir(&source)
                .with_context(|| format!("{} cannot be listed", source.display()))?;
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                if name != "node_modules" && name != "dist" {
                    sources.push(entry.path());
                }
            }
        }
    }
    if is_current {
        say("   the web view is built");
        return Ok(());
    }
    run(&mut npm(&["run", "--silent", "build"]))
}

/// Whether `made` was written after `source`; false if one of them is not there.
fn is_newer(made: &Path, source: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    match (modified(made), modified(source)) {
        (Some(made), Some(source)) => made >= source,
        _ => false,
    }
}
