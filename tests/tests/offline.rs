//! No network: everything but a download works in a network namespace that holds nothing, not even a route.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use anyhow::{Result, ensure};
use lectern_tests::{Home, Run, program, texts};
use std::process::Command;

#[test]
fn adding_reading_and_asking_need_no_network() -> Result<()> {
    let permitted = Command::new("unshare").args(["-n", "true"]).output();
    if !permitted.is_ok_and(|output| output.status.success()) {
        println!("skipped: this user may not make a network namespace (unshare -n)");
        return Ok(());
    }
    let home = Home::new();
    let file = home.write("skarn.txt", texts::lighthouse_text());
    let isolated = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.arg("-n").arg(program::lectern()).args(arguments);
        home.dress(&mut command);
        command.output().map(Run::of)
    };
    let file = file.to_str().unwrap();
    let answer = isolated(&["ask", file, "When was the lamp lit?", "--json"])?.json()?;
    ensure!(answer["timings"]["read_tokens"].as_u64() > Some(100));
    // A download is refused in words, and soon.
    let empty = tempfile::tempdir()?;
    let mut command = Command::new("unshare");
    command.arg("-n").arg(program::lectern());
    command.args(["models", "get", lectern_tests::model::SMALL]);
    home.dress(&mut command);
    let refused = Run::of(command.env("LECTERN_MODELS", empty.path()).output()?);
    ensure!(refused.code.is_some_and(|code| code != 0), "{refused:?}");
    ensure!(!refused.said().contains("panicked"), "{refused:?}");
    ensure!(!refused.stderr.trim().is_empty(), "{refused:?}");
    Ok(())
}

#[test]
fn not_one_internet_socket_is_opened() -> Result<()> {
    if Command::new("strace").arg("--version").output().is_err() {
        println!("skipped: strace is not there");
        return Ok(());
    }
    let home = Home::new();
    let file = home.write("skarn.txt", texts::lighthouse_text());
    let trace = home.path().join("trace");
    let mut command = Command::new("strace");
    command
        .args(["-f", "--seccomp-bpf", "-e", "trace=socket,connect", "-o"])
        .arg(&trace)
        .arg(program::lectern())
        .args(["ask", file.to_str().unwrap(), "When was the lamp lit?"]);
    home.dress(&mut command);
    let run = Run::of(command.output()?);
    ensure!(run.code == Some(0), "{run:?}");
    let trace = std::fs::read_to_string(trace)?;
    ensure!(!trace.contains("AF_INET"), "{trace}");
    Ok(())
}
