//! `cargo xtask bench`: Lectern beside llama.cpp on the same file, the same threads, the same token ids, in one run.
//!
//! In: installed models. Out: a table, and with `--json` a file. Both programs stay loaded and take turns
//! (interleaved), so that whatever else the machine does hits both alike; each figure is a median. Beside each stands
//! what the hardware would allow, measured in the same run. Ratios above 1 always mean that ours is better.

mod caches;
mod http;
mod limits;
mod ours;
mod peer;
mod peer_program;
mod plan;
mod table;

use crate::model;
use crate::step::{say, step};
use anyhow::{Context, Result, ensure};
use peer_program::{Program, Target};
use std::path::PathBuf;

pub use caches::{Options as CacheOptions, caches};

/// What to measure.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench                                the whole table, some hours on two slow cores
  cargo xtask bench --quick                        a first look, within two minutes
  cargo xtask bench --json speed.json              also as a file
  cargo xtask bench --only decode                  rows whose names contain `decode`
  cargo xtask bench --only \"0.5B prefill 512 @ 0\"
  cargo xtask bench --only 16384                   rows at depth 16,384
  cargo xtask bench --avx2 --only \"@ 0\"            as on a processor without AVX-512, both programs")]
pub struct Options {
    /// Write {\"machine\", \"rows\"} to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only the row of this name, or rows whose names contain this; may be given several times.
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// The small model, short documents, one run of each.
    #[arg(long)]
    quick: bool,
    /// Threads of both programs.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// AVX2 at most, for both programs: llama.cpp is built once more, without AVX-512.
    #[arg(long)]
    avx2: bool,
}

/// Any llama.cpp server, got once: enough for a first look, and a server of the OpenAI protocol for tests.
pub fn llama_server(threads: usize) -> Result<PathBuf> {
    peer_program::install(&model::file(&model::MEASURED[0])?, threads)
}

/// `cargo xtask bench`.
pub fn bench(options: &Options) -> Result<()> {
    let plan = plan::Plan::new(options.quick, &options.only);
    let program = step("Benchmark (release build)", || ours::build(options.avx2))?;
    let llama = step("Peer: llama.cpp", || match (options.avx2, options.quick) {
        (true, _) => peer_program::compiled(Target::Avx2, Program::Server),
        // A ready build may decode a third slower than one compiled for the very processor.
        (false, false) => peer_program::compiled(Target::Native, Program::Server),
        (false, true) => llama_server(options.threads),
    })?;
    let mut machine = step("Machine", || limits::measure(&program, options.threads))?;
    let mut rows = Vec::new();
    for measured in plan.models() {
        let file = model::file(measured)?;
        rows.extend(step(measured.title, || {
            let short = measured.short;
            let mut pair =
                plan::Pair::start(&program, &llama, &file, &plan, short, options.threads)?;
            plan.measure(measured, &mut pair, &mut machine)
        })?);
    }
    ensure!(!rows.is_empty(), "no row is called like that");
    say("");
    table::print(&machine, &rows);
    if let Some(path) = &options.json {
        let report = table::Report { machine, rows };
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json + "\n")
            .with_context(|| format!("{} could not be written", path.display()))?;
        say(&format!("\nwritten to {}", path.display()));
    }
    Ok(())
}
