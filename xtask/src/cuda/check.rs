//! `cargo xtask cuda-check`: what only a GPU can show, as programs that travel without a compiler.
//!
//! In: nothing; NVIDIA's compiler comes from Python packages. Out: a folder with the tests of the kernels, the measurements, the
//! probe and a script that runs them all, in a minute or two, on any x86-64 Linux with NVIDIA's driver: neither compiler
//! nor network is needed there. Where this machine has a GPU the script is run here.

use super::toolchain;
use crate::step::{output_of, run, say, step};
use crate::workspace::{Profile, build_folder, cargo};
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to do with the programs.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask cuda-check --model M.gguf --text BOOK.txt     build, and check the GPU of this machine
  cargo xtask cuda-check --pack gpu/                        build, to be carried to another machine

There: sh gpu/run.sh [M.gguf BOOK.txt]")]
pub struct Options {
    /// Put the programs into this folder and run nothing.
    #[arg(long, value_name = "FOLDER")]
    pack: Option<PathBuf>,
    /// A model that is to run on the GPU and on the processor, and be compared.
    #[arg(long, value_name = "FILE", requires = "text")]
    model: Option<PathBuf>,
    /// A text of at least as many tokens as are to be read, for that model.
    #[arg(long, value_name = "FILE", requires = "model")]
    text: Option<PathBuf>,
}

/// Tests that need nothing of the fake driver.
const TESTS: [&str; 6] = [
    "products",
    "attention",
    "choosing",
    "sealing",
    "cache",
    "cuda_attention",
];

/// What measures.
const BENCH: &str = "gpu";
const EXAMPLE: &str = "kernel_speed";
const PROGRAM: &str = "lectern-cuda";

/// Runs everything that lies beside it; the exit status says whether all of it passed.
const SCRIPT: &str = r#"#!/bin/sh
# Checks the GPU of this machine: sh run.sh [MODEL.gguf TEXT.txt]
here=$(cd "$(dirname "$0")" && pwd)
status=0
"$here/lectern-cuda" --probe || exit 1
for test in TESTS; do
    echo "== $test"
    LECTERN_TEST_REAL_GPU=1 "$here/$test" --test-threads 1 --show-output || status=1
done
echo "== kernels"
"$here/kernel_speed" || status=1
if [ -n "$1" ]; then
    echo "== $1"
    "$here/gpu" --model "$1" --text "$2" --depths 4096,16384,30000,131072 || status=1
    echo "== $1, needles and chains, all pages and chosen ones"
    "$here/lectern-cuda" --model "$1" eval sparse --text "$2" --tokens 4096,16384 --policies keys --budgets 2048 ||
        status=1
    echo "== weights of noise, sizes of 7B"
    "$here/gpu" --model "$1" --text "$2" --noise-7b --depths 4096,16384 || status=1
    echo "== the same in 5 GB"
    LECTERN_GPU_MEMORY=5GB "$here/gpu" --model "$1" --text "$2" --noise-7b --depths 4096,16384 || status=1
fi
exit $status
"#;

/// `cargo xtask cuda-check`.
pub fn check(options: &Options) -> Result<()> {
    let nvcc = step("CUDA toolchain", toolchain::install)?;
    let programs = step("Tests and measurements (release build)", || build(&nvcc))?;
    let folder = match &options.pack {
        Some(folder) => folder.clone(),
        None => build_folder(Profile::Release)?.join("cuda-check"),
    };
    step("One folder", || pack(&programs, &folder))?;
    if options.pack.is_some() {
        say(&format!(
            "   sh {}/run.sh [MODEL.gguf TEXT.txt]",
            folder.display()
        ));
        return Ok(());
    }
    step("On this machine's GPU", || {
        let mut command = Command::new("sh");
        command.arg(folder.join("run.sh"));
        run(command.args(&options.model).args(&options.text))
    })
}

/// Builds all programs; where each lies, by its target's name.
fn build(nvcc: &Path) -> Result<HashMap<String, PathBuf>> {
    let mut command = cargo();
    command
        .args([
            "build",
            "--locked",
            "--release",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(["--package", "lectern-engine", "--package", "lectern-cuda"])
        .args(["--features", "lectern-engine/cuda,lectern-cuda/device-code"])
        .args(["--bin", PROGRAM, "--bench", BENCH, "--example", EXAMPLE])
        .env("NVCC", nvcc);
    for test in TESTS {
        command.args(["--test", test]);
    }
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo could not be started")?;
    ensure!(output.status.success(), "cargo build failed");
    let programs = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        })
        .collect();
    Ok(programs)
}

fn pack(programs: &HashMap<String, PathBuf>, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for name in TESTS.into_iter().chain([BENCH, EXAMPLE, PROGRAM]) {
        let program = programs
            .get(name)
            .with_context(|| format!("cargo built no program named {name}"))?;
        let copy = folder.join(name);
        std::fs::copy(program, &copy)?;
        // A fifth of the bytes; where there is no `strip`, all of them travel.
        let _ = output_of("strip", &[&copy.to_string_lossy()]);
    }
    let script = SCRIPT.replace("TESTS", &TESTS.join(" "));
    std::fs::write(folder.join("run.sh"), script)?;
    Ok(())
}
