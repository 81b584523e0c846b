//! Our side of `cargo xtask bench`: loads a model once and measures what it is told to, over the real path
//! (`Model::forward`, `DenseAttention`, `KvCache` on disk, `reading::read`).
//!
//! In: one JSON command a line on stdin. Out: one JSON object a line on stdout. It is a process of its own so that its
//! peak memory is the engine's, and lives as long as the comparison, so that measurements of two programs can be
//! interleaved. `xtask` starts it; by hand:
//!
//! ```text
//! echo '{"do":"machine"}' | cargo bench -p lectern-engine --bench speed -- --threads 2
//! ```

mod command;
mod machine;
mod ours;
mod reference;

use anyhow::{Context, Result, bail};
use command::Command;
use std::io::{BufRead, Write};
use std::path::PathBuf;

fn main() -> Result<()> {
    let mut model: Option<PathBuf> = None;
    let mut threads = 2;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--model" => model = arguments.next().map(PathBuf::from),
            "--threads" => {
                threads = arguments
                    .next()
                    .and_then(|n| n.parse().ok())
                    .context("--threads takes a number")?;
            }
            "--bench" => {} // cargo adds it
            other => bail!("unknown argument {other:?}"),
        }
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()?;

    let mut engine = None;
    let mut reference = None;
    for line in std::io::stdin().lock().lines() {
        let command: Command = serde_json::from_str(&line?)?;
        let path = || model.as_deref().context("--model is needed for this");
        let reply = match command {
            Command::Machine => machine::measure(threads)?,
            Command::Reference { tokens, decode } => {
                if reference.is_none() {
                    reference = Some(reference::Reference::load(path()?)?);
                }
                let reference = reference.as_mut().context("it was loaded")?;
                reference.measure(&tokens, decode)?
            }
            command => {
                if engine.is_none() {
                    engine = Some(ours::Engine::load(path()?)?);
                }
                let engine = engine.as_mut().context("it was loaded")?;
                engine.measure(command)?
            }
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{reply}")?;
        out.flush()?;
    }
    Ok(())
}
