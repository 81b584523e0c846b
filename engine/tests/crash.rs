//! `kill -9` at random moments of adding, in a child process: a document is in the library whole or not at all, and
//! what was half done leaves nothing behind.
#![allow(clippy::unwrap_used)]

use proptest::test_runner::TestRunner;
use proptest::{prelude::*, strategy::ValueTree};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const KILLS: u32 = 20;

fn lectern(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lectern"));
    command
        .args(arguments)
        .env("LECTERN_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn output(home: &Path, arguments: &[&str]) -> String {
    let output = lectern(home, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A text of its own for each number, large enough that every stage of adding takes a while.
fn text(number: u32) -> String {
    (0..4000)
        .map(|line| {
            format!(
                "Entry {line} of log {number}: the crew counted {} seals.\n\n",
                line * 7 % 31
            )
        })
        .collect()
}

/// Names in `originals`, but for the lock.
fn originals(home: &Path) -> Vec<String> {
    std::fs::read_dir(home.join("originals"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "incoming.lock")
        .collect()
}

#[test]
fn a_killed_add_leaves_a_whole_document_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let file = |number: u32| {
        let path = folder.path().join(format!("log-{number}.txt"));
        std::fs::write(&path, text(number)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let began = Instant::now();
    output(&home, &["add", &file(0)]);
    let undisturbed = began.elapsed();

    let mut random = TestRunner::default();
    let (mut whole, mut none) = (1, 0);
    for number in 1..=KILLS {
        let path = file(number);
        let share = (0.0..1.1f64).new_tree(&mut random).unwrap().current();
        let mut child = lectern(&home, &["add", &path]).spawn().unwrap();
        std::thread::sleep(undisturbed.mul_f64(share));
        child.kill().unwrap();
        child.wait().unwrap();
        // The extracting child ends with its parent; give it the moment that takes.
        std::thread::sleep(Duration::from_millis(20));

        let listed: Value = serde_json::from_str(&output(&home, &["list", "--json"])).unwrap();
        let listed = listed.as_array().unwrap();
        let document = listed
            .iter()
            .find(|document| document["source"] == path.as_str());
        match document {
            Some(document) => {
                whole += 1;
                let id = document["id"].as_str().unwrap();
                assert_eq!(
                    output(&home, &["show", id, "--text"]).trim(),
                    text(number).trim(),
                    "killed after {share} of the time"
                );
                let found = output(
                    &home,
                    &[
                        "search",
                        &format!("entry 3999 of log {number}:"),
                        "--in",
                        id,
                    ],
                );
                assert_eq!(found.lines().count(), 1);
            }
            None => none += 1,
        }
        assert_eq!(listed.len(), whole, "a document was lost");
        // The list above was a start, and a start sweeps.
        let kept = originals(&home);
        assert_eq!(
            kept.len(),
            whole,
            "killed after {share} of the time: {kept:?}"
        );
    }
    println!(
        "killed {KILLS} times: {none} not added, {} added whole",
        whole - 1
    );
    // What was lost can be added again.
    for number in 1..=KILLS {
        output(&home, &["add", &file(number)]);
    }
    let listed: Value = serde_json::from_str(&output(&home, &["list", "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), KILLS as usize + 1);
}
