//! What is measured, in which order, and which rows it makes.

use super::limits::{Machine, Work};
use super::ours::{Ours, Program};
use super::peer::Peer;
use super::table::{Row, median};
use crate::model::{MEASURED, Measured};
use crate::step::say;
use anyhow::{Context, Result};
use serde_json::json;
use std::path::Path;

/// Tokens of a prefill, as llama.cpp's own benchmark has it.
const PREFILL: usize = 512;

/// Tokens of a question with the template around it.
const QUESTION: usize = 32;

/// Steps of a decode.
const STEPS: usize = 32;

/// Tokens of a pass that is stopped, as reading has them, and how often it is in a run.
const STOPPED: usize = 256;
const STOPS: usize = 15;

/// Tokens of the documents, shortest first.
const DEPTHS: [usize; 2] = [4096, 16384];

/// Tokens of the one document of `--quick`.
const QUICK_DEPTHS: [usize; 1] = [1024];

/// Depths, repetitions, rows.
pub struct Plan {
    quick: bool,
    only: Vec<String>,
}

/// Both programs with the same model loaded.
pub struct Pair {
    ours: Ours,
    /// candle-transformers, in a process of its own.
    reference: Ours,
    peer: Peer,
    work: Work,
    vocabulary: u32,
}

impl Pair {
    /// Starts both.
    pub fn start(
        program: &Program,
        llama: &Path,
        file: &Path,
        plan: &Plan,
        short: &str,
        threads: usize,
    ) -> Result<Pair> {
        let mut ours = Ours::start(program, Some(file), threads)?;
        let description = ours.tell(&json!({ "do": "describe" }))?;
        let depth = plan.wanted_depths(short).max().unwrap_or(PREFILL);
        let room = depth + PREFILL + 2 * STEPS;
        Ok(Pair {
            work: Work::of(&description)?,
            vocabulary: description["vocabulary"]
                .as_u64()
                .and_then(|size| u32::try_from(size).ok())
                .context("the benchmark program gave no vocabulary")?,
            reference: Ours::start(program, Some(file), threads)?,
            peer: Peer::start(llama, file, room, threads)?,
            ours,
        })
    }

    /// `count` token ids, the same for both: arithmetic does not care what they mean.
    fn tokens(&self, count: usize, seed: u32) -> Vec<u32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
        (0..count)
            .map(|_| {
                // xorshift32 (Marsaglia 2003)
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                // Leaves out the ends, where special tokens live.
                1000 + state % (self.vocabulary - 3000)
            })
            .collect()
    }
}

/// Figures of one row, run by run.
#[derive(Default)]
struct Runs {
    ours: Vec<f64>,
    peer: Vec<f64>,
}

impl Runs {
    fn add(&mut self, ours: f64, peer: f64) {
        self.ours.push(ours);
        self.peer.push(peer);
    }

    fn medians(self) -> (f64, f64) {
        (median(self.ours), median(self.peer))
    }
}

impl Plan {
    /// A plan for the rows that `only` names, or whose names contain one of `only`; for all if it is empty.
    pub fn new(quick: bool, only: &[String]) -> Plan {
        Plan {
            quick,
            only: only.to_vec(),
        }
    }

    /// The models of which any row is wanted.
    pub fn models(&self) -> impl Iterator<Item = &'static Measured> + '_ {
        let count = if self.quick { 1 } else { MEASURED.len() };
        MEASURED[..count]
            .iter()
            .filter(|model| self.wants_model(model.short))
    }

    fn depths(&self) -> &'static [usize] {
        if self.quick { &QUICK_DEPTHS } else { &DEPTHS }
    }

    /// Depths at which any row of a model is wanted, shortest first.
    fn wanted_depths(&self, short: &str) -> impl Iterator<Item = usize> {
        let depths = self.depths().iter().copied();
        depths.filter(move |depth| {
            let mut names = self.deep_names(short, *depth).into_iter();
            names.any(|name| self.wants(&name))
        })
    }

    fn runs(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    fn wants(&self, name: &str) -> bool {
        let wanted = |only: &String| match self.names_a_row(only) {
            true => name == only,
            false => name.contains(only),
        };
        self.only.is_empty() || self.only.iter().any(wanted)
    }

    /// Whether a pattern is the whole name of a row: other names may begin with it.
    fn names_a_row(&self, pattern: &str) -> bool {
        MEASURED.iter().any(|model| {
            let depths = self.depths().iter();
            let deep = depths.flat_map(|depth| self.deep_names(model.short, *depth));
            let mut names = deep
                .chain(Plan::shallow_names(model.short))
                .chain(Plan::reference_names(model.short));
            names.any(|name| name == pattern)
        })
    }

    /// Names of a model's rows on an empty cache.
    fn shallow_names(short: &str) -> [String; 2] {
        [
            format!("{short} prefill {PREFILL} @ 0"),
            format!("{short} decode @ 0"),
        ]
    }

    /// Names of a model's rows on a document; memory is a row of the shortest alone.
    fn deep_names(&self, short: &str, depth: usize) -> [String; 7] {
        let memory = if depth == self.depths()[0] {
            format!("{short} peak memory")
        } else {
            format!("{short} peak memory @ {depth}")
        };
        [
            format!("{short} read {depth}"),
            format!("{short} prefill {PREFILL} @ {depth}"),
            format!("{short} decode @ {depth}"),
            format!("{short} warm first token @ {depth}"),
            format!("{short} warm first token @ {depth}, peer with a restored slot"),
            memory,
            format!("{short} stopping a chunk, longest @ {depth}"),
        ]
    }

    /// Names of a model's rows beside candle-transformers.
    fn reference_names(short: &str) -> [String; 2] {
        [
            format!("{short} prefill {PREFILL} @ 0, peer candle-transformers"),
            format!("{short} decode @ {PREFILL}, peer candle-transformers"),
        ]
    }

    fn wants_any(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.wants(name))
    }

    fn wants_model(&self, short: &str) -> bool {
        self.wants_any(&Plan::shallow_names(short))
            || self.wanted_depths(short).next().is_some()
            || !self.quick && self.wants_any(&Plan::reference_names(short))
    }

    /// Measures one model.
    pub fn measure(
        &self,
        model: &Measured,
        pair: &mut Pair,
        machine: &mut Machine,
    ) -> Result<Vec<Row>> {
        machine.peer_build = pair.peer.build();
        let short = model.short;
        let mut rows = Vec::new();
        let names = Plan::shallow_names(short);
        if self.wants_any(&names) {
            rows.extend(self.shallow(model, pair, machine, &names)?);
        }
        for depth in self.wanted_depths(short) {
            let names = self.deep_names(short, depth);
            rows.extend(self.deep(model, pair, machine, depth, &names)?);
        }
        // candle takes longer for its two rows than all else in a first look.
        let names = Plan::reference_names(short);
        if !self.quick && self.wants_any(&names) {
            rows.extend(self.reference(model, pair, machine, &names)?);
        }
        rows.retain(|row| self.wants(&row.name));
        Ok(rows)
    }

    /// Rows on an empty cache.
    fn shallow(
        &self,
        model: &Measured,
        pair: &mut Pair,
        machine: &Machine,
        [prefill_name, decode_name]: &[String; 2],
    ) -> Result<[Row; 2]> {
        let (mut prefill, mut decode) = (Runs::default(), Runs::default());
        pair.ours.tell(&json!({ "do": "empty" }))?;
        for run in 0..self.runs() {
            say(&format!("   empty cache, run {}", run + 1));
            let tokens = pair.tokens(PREFILL, run as u32);
            let ours = pair
                .ours
                .seconds(&json!({ "do": "prefill", "tokens": tokens }))?;
            let peer = pair.peer.complete(&tokens, 1, false)?;
            prefill.add(PREFILL as f64 / ours, peer.prompt_tokens / peer.prompt);
            let ours = pair
                .ours
                .seconds(&json!({ "do": "decode", "count": STEPS }))?;
            let peer = pair.peer.complete(&tokens[..1], STEPS + 1, false)?;
            decode.add(STEPS as f64 / ours, peer.steps / peer.generation);
        }
        let limit = pair.work.prefill(machine, PREFILL as f64, 0.0);
        let (ours, peer) = prefill.medians();
        let prefill = Row::speed(
            prefill_name.clone(),
            model.title,
            ours,
            peer,
            limit.map(|seconds| PREFILL as f64 / seconds),
        );
        let (ours, peer) = decode.medians();
        let limit = 1.0 / pair.work.step(machine, 0.0);
        let decode = Row::speed(decode_name.clone(), model.title, ours, peer, Some(limit));
        Ok([prefill, decode])
    }

    /// Rows on a document of `depth` tokens.
    fn deep(
        &self,
        model: &Measured,
        pair: &mut Pair,
        machine: &Machine,
        depth: usize,
        names: &[String; 7],
    ) -> Result<Vec<Row>> {
        let [mut read, mut prefill, mut decode, mut cold, mut restored] =
            [(); 5].map(|()| Runs::default());
        let mut memory = None;
        let mut longest = 0.0f64;
        for run in 0..self.runs() {
            say(&format!("   document of {depth} tokens, run {}", run + 1));
            let document = pair.tokens(depth, 100 + run as u32);
            let question = pair.tokens(QUESTION, 200 + run as u32);
            let more = pair.tokens(PREFILL, 300 + run as u32);
            let with = |tail: &[u32]| [&document, tail].concat();

            let ours = pair
                .ours
                .seconds(&json!({ "do": "read", "tokens": document }))?;
            let peer = pair.peer.complete(&document, 1, false)?;
            read.add(depth as f64 / ours, peer.prompt_tokens / peer.prompt);
            pair.peer.slot("save")?;

            let ours = pair
                .ours
                .seconds(&json!({ "do": "decode", "count": STEPS }))?;
            let peer = pair.peer.complete(&document, STEPS + 1, true)?;
            decode.add(STEPS as f64 / ours, peer.steps / peer.generation);
            if memory.is_none() {
                // Both have loaded, read a document and answered: the job that a person has.
                memory = pair.ours.peak_memory()?.zip(pair.peer.peak_memory());
            }

            let ours = pair
                .ours
                .seconds(&json!({ "do": "question", "tokens": question }))?;
            pair.peer.slot("erase")?;
            let restore = pair.peer.slot("restore")?;
            let peer = pair.peer.complete(&with(&question), 1, true)?;
            restored.add(ours * 1e3, (restore + peer.wall) * 1e3);

            let ours_deep = pair
                .ours
                .seconds(&json!({ "do": "prefill", "tokens": more }))?;
            let peer = pair.peer.complete(&with(&more), 1, true)?;
            prefill.add(PREFILL as f64 / ours_deep, peer.prompt_tokens / peer.prompt);

            if self.wants(&names[6]) {
                let stop = json!({ "do": "stop", "tokens": more[..STOPPED], "times": STOPS });
                let reply = pair.ours.tell(&stop)?;
                let seconds = reply["seconds"].as_array().context("no seconds")?;
                longest = seconds
                    .iter()
                    .filter_map(serde_json::Value::as_f64)
                    .fold(longest, f64::max);
            }

            // A whole prompt again: only where its row is wanted.
            if self.wants(&names[3]) {
                let peer = pair.peer.complete(&with(&question), 1, false)?;
                cold.add(ours * 1e3, peer.wall * 1e3);
            }
        }
        let work = pair.work;
        let at = depth as f64;
        let speed = |name: &String, runs: Runs, limit: Option<f64>| {
            let (ours, peer) = runs.medians();
            Row::speed(name.clone(), model.title, ours, peer, limit)
        };
        let cost = |name: &String, unit, (ours, peer), limit| {
            Row::cost(name.clone(), model.title, unit, ours, peer, limit)
        };
        let per_token = |tokens: usize, seconds: Option<f64>| seconds.map(|s| tokens as f64 / s);
        let question = work
            .prefill(machine, QUESTION as f64, at)
            .map(|seconds| seconds * 1e3);
        let [
            read_name,
            prefill_name,
            decode_name,
            first,
            first_restored,
            memory_name,
            stop_name,
        ] = names;
        let mut rows = vec![
            speed(
                read_name,
                read,
                per_token(depth, work.prefill(machine, at, 0.0)),
            ),
            speed(
                prefill_name,
                prefill,
                per_token(PREFILL, work.prefill(machine, PREFILL as f64, at)),
            ),
            speed(decode_name, decode, Some(1.0 / work.step(machine, at))),
        ];
        if !cold.ours.is_empty() {
            rows.push(cost(first, "ms", cold.medians(), question));
        }
        rows.push(cost(first_restored, "ms", restored.medians(), question));
        if let Some((ours, peer)) = memory {
            let megabytes = (ours / 1e6, peer / 1e6);
            let limit = Some(work.memory(at) / 1e6);
            rows.push(cost(memory_name, "MB", megabytes, limit));
        }
        if longest > 0.0 {
            rows.push(Row::alone(
                stop_name.clone(),
                model.title,
                "ms",
                longest * 1e3,
            ));
        }
        Ok(rows)
    }

    /// Rows beside candle-transformers.
    fn reference(
        &self,
        model: &Measured,
        pair: &mut Pair,
        machine: &Machine,
        [prefill_name, decode_name]: &[String; 2],
    ) -> Result<[Row; 2]> {
        let (mut prefill, mut decode) = (Runs::default(), Runs::default());
        for run in 0..self.runs() {
            say(&format!("   candle-transformers, run {}", run + 1));
            let tokens = pair.tokens(PREFILL, run as u32);
            pair.ours.tell(&json!({ "do": "empty" }))?;
            let ours = pair
                .ours
                .seconds(&json!({ "do": "prefill", "tokens": tokens }))?;
            let reply = pair
                .reference
                .tell(&json!({ "do": "reference", "tokens": tokens, "decode": STEPS }))?;
            let theirs = |name: &str| reply[name].as_f64().context("no seconds");
            let size = PREFILL as f64;
            prefill.add(size / ours, size / theirs("prefill_seconds")?);
            pair.ours.tell(&json!({ "do": "read", "tokens": tokens }))?;
            let ours = pair
                .ours
                .seconds(&json!({ "do": "decode", "count": STEPS }))?;
            let steps = STEPS as f64;
            decode.add(steps / ours, steps / theirs("decode_seconds")?);
        }
        let at = PREFILL as f64;
        let limit = pair.work.prefill(machine, at, 0.0);
        let (ours, peer) = prefill.medians();
        let prefill = Row::speed(
            prefill_name.clone(),
            model.title,
            ours,
            peer,
            limit.map(|seconds| at / seconds),
        );
        let (ours, peer) = decode.medians();
        let limit = Some(1.0 / pair.work.step(machine, at));
        let decode = Row::speed(decode_name.clone(), model.title, ours, peer, limit);
        Ok([prefill, decode])
    }
}
