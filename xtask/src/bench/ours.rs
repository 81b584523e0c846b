//! Our side: the benchmark program of the engine, spoken to in lines.

use crate::step::command_line;
use crate::workspace::cargo;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The benchmark program, and what it may use of the processor.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    /// AVX2 at most.
    avx2: bool,
}

/// Builds the program.
pub fn build(avx2: bool) -> Result<Program> {
    let mut command = cargo();
    command.args([
        "bench",
        "--locked",
        "--package",
        "lectern-engine",
        "--bench",
        "speed",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
    ]);
    let line = command_line(&command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{line}` could not be started"))?;
    ensure!(output.status.success(), "`{line}` failed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "speed")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .map(|path| Program { path, avx2 })
        .with_context(|| format!("`{line}` names no program"))
}

/// The running program; ended when dropped.
pub struct Ours {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Ours {
    /// Starts it; the model is loaded by the first command that needs it.
    pub fn start(program: &Program, model: Option<&Path>, threads: usize) -> Result<Ours> {
        let mut command = Command::new(&program.path);
        if program.avx2 {
            command.env("LECTERN_KERNELS", "avx2");
        }
        command.args(["--threads", &threads.to_string()]);
        // candle's own kernels ask the environment.
        command.env("RAYON_NUM_THREADS", threads.to_string());
        if let Some(model) = model {
            command.arg("--model").arg(model);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the benchmark program could not be started")?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the benchmark program has no pipes");
        };
        Ok(Ours {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// Sends a command and waits for its reply.
    pub fn tell(&mut self, command: &Value) -> Result<Value> {
        writeln!(self.input, "{command}")?;
        self.input.flush()?;
        let mut line = String::new();
        let length = self.output.read_line(&mut line)?;
        ensure!(
            length > 0,
            "the benchmark program ended at {}",
            command["do"]
        );
        Ok(serde_json::from_str(&line)?)
    }

    /// Sends a command and returns the seconds it took.
    pub fn seconds(&mut self, command: &Value) -> Result<f64> {
        self.tell(command)?["seconds"]
            .as_f64()
            .context("the benchmark program gave no seconds")
    }

    /// Peak resident memory in bytes, where the system says.
    pub fn peak_memory(&mut self) -> Result<Option<f64>> {
        Ok(self.tell(&json!({ "do": "memory" }))?["bytes"].as_f64())
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
