//! `kill -9` at random moments of ingest and reading, through the command line.
//!
//! Nothing may be lost but what was open: a document is in the library whole or not at all, and of a reading every
//! token that was reported as read is there at the next start. At the end the answer is the one that an undisturbed
//! library gives.
#![allow(clippy::unwrap_used)]

use anyhow::{Context, Result, bail, ensure};
use lectern_protocol::{DocumentSummary, ReadState};
use lectern_tests::{Home, Serve, canonical, texts};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const ADD_KILLS: usize = 8;
const READ_KILLS: usize = 12;

/// A random share in 0..1, from the operating system's seed of hash maps.
fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

fn library(home: &Home) -> Result<Vec<DocumentSummary>> {
    let mut serve = Serve::start(home)?;
    canonical::library(&mut serve)
}

fn tokens_read(document: &DocumentSummary) -> u32 {
    match document.reading {
        ReadState::Partly { tokens, .. } | ReadState::Read { tokens, .. } => tokens,
        _ => 0,
    }
}

/// Starts `lectern` and hands on its lines as they come.
fn start(home: &Home, arguments: &[&str]) -> Result<(Child, Receiver<String>)> {
    let mut child = home
        .lectern(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take().context("stdout was asked for")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok((child, lines))
}

fn answer(home: &Home, target: &Path) -> Result<serde_json::Value> {
    home.json([
        "ask",
        target.to_str().unwrap(),
        "What did the crew count?",
        "--json",
        "--greedy",
        "--max-tokens",
        "24",
    ])
}

#[test]
fn a_killed_add_leaves_a_whole_document_or_none() -> Result<()> {
    let sample = lectern_tests::program::sample_book();
    let sample = sample.to_str().unwrap();
    let whole = {
        let home = Home::new();
        let began = Instant::now();
        ensure!(home.run(["add", sample]).code == Some(0));
        (began.elapsed(), library(&home)?.remove(0))
    };
    let (undisturbed, expected) = whole;
    let home = Home::new();
    for _ in 0..ADD_KILLS {
        let after = undisturbed.mul_f64(chance());
        let (mut child, _) = start(&home, &["add", sample])?;
        std::thread::sleep(after);
        child.kill()?;
        child.wait()?;
        let documents = library(&home)?;
        match &documents[..] {
            [] => {}
            [document] => {
                ensure!(
                    document.id == expected.id && document.words == expected.words,
                    "killed after {after:?}: {document:?}"
                );
                let id = document.id.clone();
                let removed = home.run(["remove", "--yes", &id]);
                ensure!(removed.code == Some(0), "{removed:?}");
            }
            more => bail!("killed after {after:?}: {more:?}"),
        }
    }
    ensure!(home.run(["add", sample]).code == Some(0));
    let documents = library(&home)?;
    ensure!(documents.len() == 1 && documents[0].words == expected.words);
    Ok(())
}

#[test]
fn a_killed_reading_keeps_every_token_it_reported() -> Result<()> {
    let text = texts::filler(2500);
    let home = Home::new();
    let file = home.write("log.txt", &text);
    ensure!(home.run(["add", file.to_str().unwrap()]).code == Some(0));
    let mut kills = 0;
    let mut kept = 0;
    while kills < READ_KILLS {
        // Long enough for the model to load and some chunks to be read, short enough to hit every stage.
        let after = Duration::from_millis(100 + (chance() * 2900.0) as u64);
        let (mut child, lines) = start(&home, &["read", file.to_str().unwrap(), "--json"])?;
        let deadline = Instant::now() + after;
        let mut reported = kept;
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            let line: serde_json::Value = serde_json::from_str(&line)?;
            if let Some(tokens) = line["tokens"].as_u64() {
                reported = reported.max(tokens as u32);
            }
        }
        child.kill()?;
        child.wait()?;
        kills += 1;
        // Lines that were on their way when it died count as reported.
        while let Ok(line) = lines.recv_timeout(Duration::from_secs(5)) {
            if let Ok(line) = serde_json::from_str::<serde_json::Value>(&line)
                && let Some(tokens) = line["tokens"].as_u64()
            {
                reported = reported.max(tokens as u32);
            }
        }
        let document = library(&home)?.remove(0);
        kept = tokens_read(&document);
        ensure!(
            kept >= reported,
            "killed after {after:?}: {reported} tokens were reported, {kept} are kept"
        );
        if matches!(document.reading, ReadState::Read { .. }) {
            // It was faster than the kills: read it once more.
            let forgotten = home.run(["remove", "--yes", &document.id]);
            ensure!(forgotten.code == Some(0), "{forgotten:?}");
            ensure!(home.run(["add", file.to_str().unwrap()]).code == Some(0));
            kept = 0;
        }
    }
    let disturbed = answer(&home, &file)?;

    let calm = Home::new();
    let file = calm.write("log.txt", &text);
    let undisturbed = answer(&calm, &file)?;
    ensure!(
        disturbed["answer"] == undisturbed["answer"],
        "{disturbed} differs from {undisturbed}"
    );
    Ok(())
}
