//! Running other programs, and saying what is being done.

use crate::report::Tally;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Says what is done now, does it, and says how long it took.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(&format!("== {name}"));
    let began = Instant::now();
    let result = work();
    let seconds = began.elapsed().as_secs_f64();
    match &result {
        Ok(_) => say(&format!("   done in {}", duration(seconds))),
        Err(_) => say(&format!("   FAILED after {}", duration(seconds))),
    }
    result
}

/// Prints a line at once; bold where it is a heading on a terminal.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe is not a reason to stop a build half-way.
    let _ = if out.is_terminal() && line.starts_with("==") {
        writeln!(out, "\x1b[1m{line}\x1b[0m")
    } else {
        writeln!(out, "{line}")
    };
    let _ = out.flush();
}

/// Seconds in words.
pub fn duration(seconds: f64) -> String {
    if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        format!(
            "{} min {:02} s",
            seconds as u64 / 60,
            seconds.round() as u64 % 60
        )
    }
}

/// Runs a program with this one's terminal; an exit code other than 0 is an error that names the command line.
pub fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    let status = command
        .status()
        .with_context(|| format!("`{line}` could not be started: is it installed?"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs a test program, passes its output on line by line, and counts the tests it reports.
pub fn run_counted(command: &mut Command, tally: &mut Tally) -> Result<()> {
    let line = command_line(command);
    // One pipe for both streams keeps their order, as on a terminal.
    let (reader, writer) = std::io::pipe().context("a pipe could not be made")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("`{line}` could not be started: is it installed?"))?;
    // The command holds our copies of the pipe's writing end: without them gone the reading would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        let text = String::from_utf8_lossy(&bytes);
        say(text.trim_end());
        tally.read(&text);
        bytes.clear();
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// What a program prints, trimmed; `None` if it is not there or fails.
pub fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command line as a person would type it.
pub fn command_line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| {
        let argument = argument.to_string_lossy();
        if argument.contains(' ') {
            format!("{argument:?}")
        } else {
            argument.into_owned()
        }
    }));
    words.join(" ")
}
