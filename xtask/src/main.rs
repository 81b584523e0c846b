//! Every chore of the repository, one command each: `cargo xtask run | test | bench | caches | cuda-build | cuda-check | model | types`.
//!
//! In: a command line. Out: a program that runs, a verdict, a table. Each command first puts in place what it needs
//! (system libraries, web packages, a model) and costs nothing where that is there already, so the first command on
//! a fresh machine and the hundredth are the same. The engine is used through its own binary, as a person would:
//! this crate depends on nothing else in the workspace and compiles in seconds.

mod bench;
mod cuda;
mod model;
mod report;
mod run;
mod step;
mod system;
mod test;
mod types;
mod web;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Every chore of Lectern, one command each.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Examples:
  cargo xtask run              set up what is missing, build, open the window with the sample book
  cargo xtask test             set up what is missing, run every check and every test
  cargo xtask test --quick     without the tests that run whole programs
  cargo xtask model get qwen2.5-1.5b"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up, build and open Lectern with a sample book; without a display, do the same job in the terminal.
    Run(run::Options),
    /// Set up and run every check and every test.
    Test(test::Options),
    /// Measure Lectern beside llama.cpp in one run, with what the hardware would allow.
    Bench(bench::Options),
    /// Measure what compressed caches lose, ours and llama.cpp's, on the same text.
    Caches(bench::CacheOptions),
    /// Compile the GPU kernels with NVIDIA's compiler, check their registers, and build lectern-cuda; needs no GPU.
    CudaBuild(cuda::Options),
    /// Check kernels, model and speed on a GPU: this machine's, or, packed into a folder, another's.
    CudaCheck(cuda::CheckOptions),
    /// List the models of the catalogue, or get one.
    #[command(subcommand)]
    Model(model::Options),
    /// Write the TypeScript types that the web view shares with the window again.
    #[command(
        after_help = "Example:\n  cargo xtask types    after a change of lectern-protocol or of the window's commands"
    )]
    Types,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Test(options) => test::test(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Caches(options) => bench::caches(&options),
        Command::CudaBuild(options) => cuda::build(&options),
        Command::CudaCheck(options) => cuda::check(&options),
        Command::Model(options) => model::model(&options),
        Command::Types => types::types(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
