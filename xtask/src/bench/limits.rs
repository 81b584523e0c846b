//! What the hardware would allow: the column that no program can beat.
//!
//! A prefill is bound by arithmetic: every weight is multiplied once a token at the machine's 8-bit peak, and
//! attention over what came before at its f32 peak. A decode step is bound by memory: every weight and the whole
//! cache (as ours keeps it) must be fetched once. These are bounds, not estimates.

use super::ours::{Ours, Program};
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// What stands over the table.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// As the system calls it.
    pub cpu: String,
    /// Logical processors.
    pub cores: usize,
    /// Used by both programs.
    pub threads: usize,
    /// Bytes/s that all threads read together.
    pub memory_bandwidth: f64,
    /// f32 multiply-accumulates/s, all threads.
    pub f32_macs: f64,
    /// 8-bit multiply-accumulates/s, all threads; `None` where the benchmark knows no instruction for it.
    pub int8_macs: Option<f64>,
    /// That instruction.
    pub int8_instruction: Option<String>,
    /// Bytes of memory.
    pub memory: Option<f64>,
    /// Load average when the run began: a busy machine makes every figure worse.
    pub load: Option<f64>,
    /// The day, as ISO 8601.
    pub date: String,
    /// What llama.cpp was compiled for, in its own words.
    pub peer_build: Option<String>,
}

/// Measures the machine.
pub fn measure(program: &Program, threads: usize) -> Result<Machine> {
    let load = proc_line("/proc/loadavg", "").and_then(|line| first_number(&line));
    let reply = Ours::start(program, None, threads)?.tell(&json!({ "do": "machine" }))?;
    let number = |name: &str| {
        reply[name]
            .as_f64()
            .with_context(|| format!("the benchmark program gave no {name}"))
    };
    Ok(Machine {
        cpu: proc_line("/proc/cpuinfo", "model name")
            .map(|line| line.trim_start_matches([':', ' ', '\t']).to_owned())
            .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        threads,
        memory_bandwidth: number("bandwidth")?,
        f32_macs: number("f32_macs")?,
        int8_macs: reply["int8_macs"].as_f64(),
        int8_instruction: reply["int8_instruction"].as_str().map(str::to_owned),
        memory: proc_line("/proc/meminfo", "MemTotal:")
            .and_then(|line| first_number(&line))
            .map(|kilobytes| kilobytes * 1024.0),
        load,
        date: crate::step::output_of("date", &["+%F"]).unwrap_or_default(),
        peer_build: None,
    })
}

/// The rest of the first line of `path` that begins with `start`.
fn proc_line(path: &str, start: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(start))
        .map(|rest| rest.trim().to_owned())
}

fn first_number(line: &str) -> Option<f64> {
    line.split_whitespace().next()?.parse().ok()
}

/// A model as limits need it.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    file_bytes: f64,
    macs_per_token: f64,
    head_macs: f64,
    bytes_per_step: f64,
    /// Values of keys and values that one token adds to the cache.
    kv_values: f64,
    /// Multiply-accumulates of one token with one earlier token: its share of scores and of the sum of values.
    attention_macs: f64,
}

/// Bytes of one cached value as ours keeps it by default, grids included: 4.5 bits of a key, 5 of a value. llama.cpp keeps
/// 16 unless told otherwise.
const KV_VALUE_BYTES: f64 = 4.75 / 8.0;

impl Work {
    /// From what the benchmark program says of its model.
    pub fn of(description: &Value) -> Result<Work> {
        let number = |name: &str| {
            description[name]
                .as_f64()
                .with_context(|| format!("the benchmark program gave no {name}"))
        };
        let layers_channels = number("layers")? * number("head_dim")?;
        Ok(Work {
            file_bytes: number("file_bytes")?,
            macs_per_token: number("macs_per_token")?,
            head_macs: number("head_macs")?,
            bytes_per_step: number("bytes_per_step")?,
            kv_values: 2.0 * layers_channels * number("kv_heads")?,
            attention_macs: 2.0 * layers_channels * number("query_heads")?,
        })
    }

    /// Least seconds to prefill `tokens` at `depth`, logits of the last.
    pub fn prefill(&self, machine: &Machine, tokens: f64, depth: f64) -> Option<f64> {
        let int8 = machine.int8_macs?;
        let pairs = tokens * (depth + (tokens + 1.0) / 2.0);
        let weights = (self.macs_per_token * tokens + self.head_macs) / int8;
        let attention = self.attention_macs * pairs / machine.f32_macs;
        Some((weights + attention).max(self.step(machine, depth)))
    }

    /// Least seconds for one step at `depth`.
    pub fn step(&self, machine: &Machine, depth: f64) -> f64 {
        (self.bytes_per_step + self.cache(depth)) / machine.memory_bandwidth
    }

    /// Least bytes to hold the model and a cache of `depth` tokens.
    pub fn memory(&self, depth: f64) -> f64 {
        self.file_bytes + self.cache(depth)
    }

    fn cache(&self, depth: f64) -> f64 {
        self.kv_values * KV_VALUE_BYTES * depth
    }
}
