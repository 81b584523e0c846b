//! `cargo xtask caches`: what compressed caches lose, ours and llama.cpp's, each against its own in half precision.
//!
//! In: a text and a model. Out: a table. Both programs read the same tokens, as `lectern eval kv` plants needles in them;
//! `llama-perplexity` predicts the second half of them, so the divergence and perplexity of ours are taken there too.

use super::peer_program::{self, Program, Target};
use crate::model::{self, MEASURED};
use crate::step::{command_line, say, step};
use crate::workspace::{Profile, build_programs};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What to measure.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask caches --text novel.txt                        the 0.5B model, 4,096 tokens; some minutes
  cargo xtask caches --text novel.txt --model 1.5B --tokens 16384")]
pub struct Options {
    /// A plain text with more words than there are tokens to read.
    #[arg(long)]
    text: PathBuf,
    /// Tokens read.
    #[arg(long, default_value_t = 4096)]
    tokens: usize,
    /// The model, as rows of `cargo xtask bench` call it.
    #[arg(long, default_value = "0.5B")]
    model: String,
    /// Threads of both programs.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Our formats that are measured, as `lectern eval kv` calls them.
const OURS: &str = "8/8,4/4";

/// llama.cpp's types of keys and values.
const THEIRS: [&str; 2] = ["q8_0", "q4_0"];

/// Bits a number of llama.cpp's types: blocks of 32 with a half for a scale.
fn bits(kind: &str) -> f64 {
    match kind {
        "q8_0" => 8.5,
        _ => 4.5,
    }
}

/// A cache against its own program's half precision.
struct Row {
    cache: String,
    /// Of the bytes of half precision.
    share: f64,
    /// In nats.
    divergence: f64,
    perplexity: f64,
    ratio: f64,
}

/// `cargo xtask caches`.
pub fn caches(options: &Options) -> Result<()> {
    let measured = MEASURED
        .iter()
        .find(|measured| measured.short == options.model)
        .with_context(|| {
            let known: Vec<&str> = MEASURED.iter().map(|measured| measured.short).collect();
            format!("{:?} is none of {}", options.model, known.join(", "))
        })?;
    let programs = step("Engine (release build)", || {
        build_programs(Profile::Release, false)
    })?;
    let llama = step("Peer: llama.cpp", || {
        peer_program::compiled(Target::Native, Program::Perplexity)
    })?;
    let file = model::file(measured)?;
    let folder = std::env::temp_dir().join(format!("lectern-caches-{}", std::process::id()));
    std::fs::create_dir_all(&folder).context("a temporary folder could not be made")?;
    let measure = || -> Result<Vec<Row>> {
        let text = folder.join("text");
        let mut rows = step("Ours", || ours(&programs.lectern, &file, &text, options))?;
        rows.extend(step("llama.cpp", || {
            theirs(&llama, &file, &text, &folder, options)
        })?);
        Ok(rows)
    };
    let rows = measure();
    // The logits of thousands of tokens over the whole vocabulary: not to be left lying about.
    let _ = std::fs::remove_dir_all(&folder);
    let rows = rows?;
    say(&format!(
        "\n{}, {} tokens of {}; predictions of the second half\n",
        measured.title,
        options.tokens,
        options.text.display()
    ));
    say("cache            share of f16  KL divergence  perplexity   ratio");
    for row in rows {
        say(&format!(
            "{:15}  {:12.3}  {:13.5}  {:10.3}  {:.4}",
            row.cache, row.share, row.divergence, row.perplexity, row.ratio
        ));
    }
    Ok(())
}

/// Ours, and the text that was read, for the other.
fn ours(lectern: &Path, model: &Path, text: &Path, options: &Options) -> Result<Vec<Row>> {
    let mut command = Command::new(lectern);
    command
        .env("RAYON_NUM_THREADS", options.threads.to_string())
        .args(["eval", "--model"])
        .arg(model)
        .args(["kv", "--second-half", "--json", "--formats", OURS])
        .args(["--tokens", &options.tokens.to_string(), "--text"])
        .arg(&options.text)
        .arg("--write-text")
        .arg(text);
    let printed = printed(&mut command)?;
    let report: Value = serde_json::from_str(&printed).context("`lectern eval kv --json`")?;
    let rows = report["rows"].as_array().context("it gave no rows")?;
    let number = |row: &Value, name: &str| {
        let number = row[name].as_f64();
        number.with_context(|| format!("a row has no {name}: {row}"))
    };
    let exact = rows.first().context("it gave no rows")?;
    let exact_bytes = number(exact, "bytes_a_token")?;
    rows.iter()
        .map(|row| {
            Ok(Row {
                cache: format!("Lectern {}", row["format"].as_str().unwrap_or("?")),
                share: number(row, "bytes_a_token")? / exact_bytes,
                divergence: number(row, "divergence")?,
                perplexity: number(row, "perplexity")?,
                ratio: number(row, "ratio")?,
            })
        })
        .collect()
}

/// llama.cpp's, on a text that was read.
fn theirs(
    llama: &Path,
    model: &Path,
    text: &Path,
    folder: &Path,
    options: &Options,
) -> Result<Vec<Row>> {
    let base = folder.join("base");
    let command = || {
        let mut command = Command::new(llama);
        let threads = options.threads.to_string();
        command
            .arg("-m")
            .arg(model)
            .arg("-f")
            .arg(text)
            .args(["-c", &options.tokens.to_string(), "--chunks", "1"])
            .args(["-t", &threads, "-tb", &threads, "-fa", "on"])
            .arg("--kl-divergence-base")
            .arg(&base);
        command
    };
    printed(&mut command())?;
    let mut rows = Vec::new();
    for kind in THEIRS {
        let found = printed(command().args(["--kl-divergence", "-ctk", kind, "-ctv", kind]))?;
        if rows.is_empty() {
            rows.push(Row {
                cache: "llama.cpp f16".to_owned(),
                share: 1.0,
                divergence: 0.0,
                perplexity: after(&found, "Mean PPL(base)")?,
                ratio: 1.0,
            });
        }
        rows.push(Row {
            cache: format!("llama.cpp {kind}"),
            share: bits(kind) / 16.0,
            divergence: after(&found, "Mean    KLD")?,
            perplexity: after(&found, "Mean PPL(Q) ")?,
            ratio: after(&found, "Mean PPL(Q)/PPL(base)")?,
        });
    }
    Ok(rows)
}

/// The number behind these words and a colon.
fn after(printed: &str, words: &str) -> Result<f64> {
    let line = printed.lines().find_map(|line| line.strip_prefix(words));
    let line = line.with_context(|| format!("llama-perplexity gave no {words:?}:\n{printed}"))?;
    let number = line.trim_start().trim_start_matches(':');
    let number = number.split_whitespace().next().unwrap_or("");
    number
        .parse()
        .with_context(|| format!("llama-perplexity gave {number:?} for {words:?}"))
}

/// What a program prints, if it ends well.
fn printed(command: &mut Command) -> Result<String> {
    let line = command_line(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{line}` could not be started"))?;
    ensure!(
        output.status.success(),
        "`{line}` ended with {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
