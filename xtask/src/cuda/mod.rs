//! `cargo xtask cuda-build`: the kernels through NVIDIA's own compiler, and the program that has them.
//!
//! In: nothing but `python3` and a package index. Out: a table of registers, shared memory and occupancy for six
//! architectures, or a failure where a kernel spills or goes over the budget that stands beside it; then
//! `lectern-cuda`. No GPU and no driver is needed; none is used.

mod check;
mod occupancy;
mod ptxas;
mod toolchain;

use crate::step::{output_of, run, say, step};
use crate::workspace::{self, Profile, cargo};
use anyhow::{Context, Result, ensure};

pub use check::{Options as CheckOptions, check};

/// What to build.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask cuda-build                  the kernels checked, lectern-cuda built
  cargo xtask cuda-build --kernels-only   the kernels checked, some two minutes")]
pub struct Options {
    /// Check the kernels and build nothing.
    #[arg(long)]
    kernels_only: bool,
}

/// `cargo xtask cuda-build`.
pub fn build(options: &Options) -> Result<()> {
    let nvcc = step("CUDA toolchain", toolchain::install)?;
    let kernels = step("Kernels for six architectures", || ptxas::compile(&nvcc))?;
    say(&occupancy::table(&kernels));
    ptxas::check(&kernels)?;
    if options.kernels_only {
        return Ok(());
    }
    step("lectern-cuda (release build)", || {
        run(cargo()
            .args([
                "build",
                "--locked",
                "--release",
                "--package",
                "lectern-engine",
            ])
            .args(["--package", "lectern-cuda", "--bin", "lectern-cuda"])
            .args(["--features", "lectern-engine/cuda,lectern-cuda/device-code"])
            .env("NVCC", &nvcc))
    })?;
    step("Checks of the program", check_program)
}

/// That the program starts on a machine without a driver, and says so.
fn check_program() -> Result<()> {
    let folder = workspace::build_folder(Profile::Release)?;
    let program = folder.join(workspace::program_name("lectern-cuda"));
    let answer = std::process::Command::new(&program)
        .arg("--probe")
        .output()
        .context("lectern-cuda could not be started")?;
    let words = String::from_utf8_lossy(&answer.stdout);
    say(&format!("   --probe: {}", words.trim()));
    let answer: serde_json::Value =
        serde_json::from_str(&words).context("the probe's answer is one line of JSON")?;
    ensure!(answer["words"].is_string(), "the probe's answer has words");
    if let Some(needed) = output_of("readelf", &["-d", &program.to_string_lossy()]) {
        // The driver's library is looked for when it is needed; linked, the program would not even start without it.
        ensure!(
            !needed.contains("libcuda") && !needed.contains("libcublas"),
            "lectern-cuda is linked against CUDA"
        );
    }
    Ok(())
}
