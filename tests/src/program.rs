//! The programs under test.
//!
//! `LECTERN_BIN` and `LECTERN_DESKTOP` name them (`cargo xtask test` sets both). Without, they are built on first
//! use, so that `cargo test -p lectern-tests` never runs yesterday's binary.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The engine's binary.
pub fn lectern() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| find("LECTERN_BIN", "lectern", &["--package", "lectern-engine"]))
}

/// The window's binary, with the web view inside.
pub fn desktop() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let feature = [
            "--package",
            "lectern-desktop",
            "--features",
            "custom-protocol",
        ];
        find("LECTERN_DESKTOP", "lectern-desktop", &feature)
    })
}

/// The repository's root.
pub fn repository() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        // As cargo says when it runs a test: clones that share what cargo builds also share the tests.
        let tests = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        tests.parent().unwrap_or(&tests).to_owned()
    })
}

/// The book that comes with the repository: three chapters of *Alice's Adventures in Wonderland*.
pub fn sample_book() -> PathBuf {
    repository().join("assets/alice-in-wonderland.epub")
}

fn find(variable: &str, name: &str, package: &[&str]) -> PathBuf {
    if let Some(program) = std::env::var_os(variable) {
        return program.into();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--bin", name])
        .args(package)
        .current_dir(repository())
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "{name} could not be built"
    );
    // Tests lie in `<target>/<profile>/deps`.
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.parent().and_then(Path::parent).unwrap_or(&test);
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
