//! Where things lie: the repository, what cargo builds, and the programs in it.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The repository's root.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        // As cargo says when it runs this: clones that share what cargo builds also share this program.
        let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        xtask.parent().unwrap_or(&xtask).to_owned()
    })
}

/// `cargo` in the repository's root, the one that started this program.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// How the programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What tests use; everything that computes is optimised here too.
    Dev,
    /// What a person uses, and what is measured.
    Release,
}

/// What cargo knows of the workspace.
fn metadata() -> Result<serde_json::Value> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .output()
        .context("cargo metadata could not be started")?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The folder into which cargo builds `profile`, wherever the environment or a configuration file puts it.
pub fn build_folder(profile: Profile) -> Result<PathBuf> {
    let metadata = metadata()?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target_directory")?;
    Ok(PathBuf::from(target).join(match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    }))
}

/// Names of all integration tests in the workspace that need no feature.
pub fn integration_tests() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array();
    let targets = packages
        .into_iter()
        .flatten()
        .filter_map(|package| package["targets"].as_array())
        .flatten();
    Ok(targets
        .filter(|target| target["kind"] == serde_json::json!(["test"]))
        .filter(|target| target["required-features"].is_null())
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect())
}

/// Programs that a person runs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The engine.
    pub lectern: PathBuf,
    /// The window, if it was asked for.
    pub desktop: Option<PathBuf>,
}

/// Builds the engine and, if `window`, the window with the web view inside it (which must have been built).
pub fn build_programs(profile: Profile, window: bool) -> Result<Programs> {
    let mut command = cargo();
    command.args(["build", "--locked", "--package", "lectern-engine"]);
    if window {
        command.args(["--package", "lectern-desktop"]);
        command.args(["--features", "lectern-desktop/custom-protocol"]);
    }
    if profile == Profile::Release {
        command.arg("--release");
    }
    crate::step::run(command.arg("--bins"))?;
    let folder = build_folder(profile)?;
    Ok(Programs {
        lectern: folder.join(program_name("lectern")),
        desktop: window.then(|| folder.join(program_name("lectern-desktop"))),
    })
}

/// File name of a program on this platform.
pub fn program_name(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}
