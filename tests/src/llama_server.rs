//! A real server of the OpenAI protocol: llama.cpp's, on loopback, with a model of the catalogue.

use crate::model;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for it to load its model.
const LOADING: Duration = Duration::from_secs(120);

/// The key it wants.
pub const KEY: &str = "sk-lectern-test-0123456789";

/// The name under which it serves its model.
pub const MODEL: &str = "served-model";

/// The program, named by `LECTERN_LLAMA_SERVER`, which `cargo xtask test` sets to the one that it gets. Where it is missing
/// this prints why the test is skipped; the test then returns.
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os("LECTERN_LLAMA_SERVER").map(PathBuf::from);
    let found = named.filter(|program| program.is_file());
    if found.is_none() {
        println!(
            "skipped: LECTERN_LLAMA_SERVER names no llama-server (`cargo xtask test` gets one)"
        );
    }
    found
}

/// A running server; ended when dropped.
pub struct LlamaServer {
    child: Child,
    port: u16,
}

impl LlamaServer {
    /// Starts `program` on the default model with a window of `window` tokens and waits until it is ready.
    pub fn start(program: &Path, window: usize) -> Result<LlamaServer> {
        // A port that is free now; the server takes it a moment later.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let child = Command::new(program)
            .env("LD_LIBRARY_PATH", program.parent().unwrap_or(program))
            .arg("-m")
            .arg(model::file(model::DEFAULT))
            .args(["-ngl", "0", "-t", "2", "-np", "1", "--no-webui"])
            .args(["-c", &window.to_string(), "--host", "127.0.0.1"])
            .args(["--port", &port.to_string()])
            .args(["--api-key", KEY, "--alias", MODEL])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("llama-server could not be started")?;
        let mut server = LlamaServer { child, port };
        let began = Instant::now();
        while server.get("/health").is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("llama-server ended with {status}");
            }
            ensure!(began.elapsed() < LOADING, "llama-server does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// Host and port.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address of its interface.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.host())
    }

    /// Whether it works on a question.
    pub fn is_busy(&self) -> Result<bool> {
        let slots = self.get("/slots")?;
        let slots = slots.as_array().context("it lists its slots")?;
        Ok(slots.iter().any(|slot| slot["is_processing"] == true))
    }

    fn get(&self, path: &str) -> Result<Value> {
        let text = ureq::get(format!("http://{}{path}", self.host()))
            .header("Authorization", format!("Bearer {KEY}"))
            .call()?
            .into_body()
            .read_to_string()?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
