//! NVIDIA's compiler from Python packages, outside of the repository.
//!
//! 13.0, the oldest whose packages hold a whole `nvcc`: what it emits is understood by the oldest drivers (580 and later).
//! 0.3 GB on disk.

use crate::step::{run, say};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// What compiles a kernel: the driver of the compiler, its front ends, headers.
const PACKAGES: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.*",
    "nvidia-cuda-crt==13.0.*",
    "nvidia-cuda-runtime==13.0.*",
    "nvidia-nvvm==13.0.*",
    "nvidia-cuda-cccl==13.0.*",
];

/// The compiler: that of the environment variable NVCC, or the one installed here, which is put there if it is missing.
pub fn install() -> Result<PathBuf> {
    if let Some(nvcc) = std::env::var_os("NVCC") {
        say("   as NVCC says");
        return Ok(nvcc.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("there is no home folder")?;
    let environment = cache.join("lectern").join("cuda-13.0");
    if let Some(nvcc) = find(&environment) {
        say("   the toolchain is there");
        return Ok(nvcc);
    }
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment))
    .context("python3 with its module venv is needed to install NVIDIA's compiler")?;
    run(Command::new(environment.join("bin").join("pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(PACKAGES))?;
    find(&environment).context("the packages were installed, but hold no nvcc")
}

/// `lib/python3.*/site-packages/nvidia/cu13/bin/nvcc`.
fn find(environment: &std::path::Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(environment.join("lib")).ok()?;
    versions
        .flatten()
        .map(|version| version.path().join("site-packages/nvidia/cu13/bin/nvcc"))
        .find(|nvcc| nvcc.exists())
}
