//! The peer: llama.cpp's server, running.

use super::http;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The word that it is made to say again and again: what a model makes of random tokens need not be text, and an answer that
/// its parser does not take for text is an error 500 in place of the timings.
const WORD: u32 = 1000;

/// Longest wait for the server to load a model.
const LOADING: Duration = Duration::from_secs(180);

/// A running server with one model; ended when dropped.
pub struct Peer {
    child: Child,
    port: u16,
    slots: PathBuf,
}

impl Peer {
    /// Starts it with room for `context` tokens and waits until it answers.
    pub fn start(server: &Path, model: &Path, context: usize, threads: usize) -> Result<Peer> {
        // A port that is free now; the server takes it a moment later.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let programs = server.parent().unwrap_or(server);
        let slots = std::env::temp_dir().join(format!("lectern-bench-slots-{port}"));
        fs::create_dir_all(&slots)?;
        let log = fs::File::create(slots.join("log"))?;
        let threads = threads.to_string();
        let child = Command::new(server)
            .env("LD_LIBRARY_PATH", programs)
            .args(["-m"])
            .arg(model)
            .args(["-ngl", "0", "-t", &threads, "-tb", &threads])
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["-c", &context.to_string(), "-np", "1", "--no-webui"])
            // What it keeps of earlier prompts in memory would count as its own need.
            .args(["--cache-ram", "0", "--slot-save-path"])
            .arg(&slots)
            // The level from which its log says what it was compiled for; a line a request, nothing a token.
            .args(["-lv", "4"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("llama-server could not be started")?;
        let mut peer = Peer { child, port, slots };
        let began = Instant::now();
        while http::call(port, "GET", "/health", None).is_err() {
            if let Some(status) = peer.child.try_wait()? {
                bail!("llama-server ended with {status}:\n{}", peer.log_tail());
            }
            ensure!(
                began.elapsed() < LOADING,
                "llama-server does not answer:\n{}",
                peer.log_tail()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(peer)
    }

    /// Evaluates `tokens` (`cached`: but for the part that its slot holds already), then generates `generate`
    /// tokens. Seconds of prompt and of all steps after the first token, by its own clock; tokens it evaluated.
    pub fn complete(&self, tokens: &[u32], generate: usize, cached: bool) -> Result<Completion> {
        let began = Instant::now();
        let answer = http::call(
            self.port,
            "POST",
            "/completion",
            Some(&json!({
                "prompt": tokens,
                "n_predict": generate,
                "cache_prompt": cached,
                "ignore_eos": true,
                "logit_bias": [[WORD, 1e3]],
                "temperature": 0.0,
                "id_slot": 0,
            })),
        )?;
        let wall = began.elapsed().as_secs_f64();
        let timing = |name: &str| {
            answer["timings"][name]
                .as_f64()
                .with_context(|| format!("llama-server gave no {name}: {}", answer["timings"]))
        };
        Ok(Completion {
            wall,
            prompt_tokens: timing("prompt_n")?,
            prompt: timing("prompt_ms")? / 1e3,
            // Its clock for generation starts when the first token is there.
            steps: timing("predicted_n")? - 1.0,
            generation: timing("predicted_ms")? / 1e3,
        })
    }

    /// Writes its slot to disk, reads it back, or empties it. Seconds by our clock.
    pub fn slot(&self, action: &str) -> Result<f64> {
        let began = Instant::now();
        let path = format!("/slots/0?action={action}");
        http::call(
            self.port,
            "POST",
            &path,
            Some(&json!({ "filename": "document" })),
        )?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Peak resident memory in bytes, where the system says.
    pub fn peak_memory(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024.0)
    }

    /// What it was compiled for, in its own words.
    pub fn build(&self) -> Option<String> {
        let log = fs::read_to_string(self.slots.join("log")).ok()?;
        let line = log.lines().find(|line| line.contains("system_info"))?;
        Some(line.split_once("system_info:")?.1.trim().to_owned())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.slots.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.slots);
    }
}

/// What a completion took.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    /// Seconds from request to answer, by our clock.
    pub wall: f64,
    /// Tokens evaluated; fewer than the prompt's where its slot held a part.
    pub prompt_tokens: f64,
    /// Seconds for them.
    pub prompt: f64,
    /// Tokens generated after the first.
    pub steps: f64,
    /// Seconds for them.
    pub generation: f64,
}
