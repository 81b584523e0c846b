//! Every file of the shared formats: opened or refused with a reason; no crash, no hang, no more than 1 GB.
//!
//! A sample by default; all of them with `LECTERN_SLOW_TESTS=1`, which prints a table by outcome.
#![allow(clippy::unwrap_used)]

mod ingest_support;

use ingest_support::*;
use lectern_engine::ingest::{IngestFault, Limits};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One file in so many is read without `LECTERN_SLOW_TESTS`.
const SAMPLE: usize = 12;

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// A short name for how an item ended.
fn outcome(
    result: &Result<lectern_engine::document::Document, lectern_engine::ingest::IngestError>,
) -> String {
    match result {
        Ok(document) => format!("read as {:?}", document.kind),
        Err(error) => {
            let name = format!("{:?}", error.fault);
            let end = name.find([' ', '{', '(']).unwrap_or(name.len());
            match &error.fault {
                IngestFault::UnknownFormat { what } => format!("UnknownFormat: {what}"),
                IngestFault::Damaged { format, .. } => format!("Damaged {format}"),
                _ => name[..end].to_owned(),
            }
        }
    }
}

#[test]
fn every_real_file_is_read_or_refused_with_a_reason() {
    let Some(data) = data() else { return };
    let all = std::env::var_os("LECTERN_SLOW_TESTS").is_some();
    let files = files_below(&data.join("formats"));
    let chosen: Vec<&PathBuf> = files
        .iter()
        .enumerate()
        .filter(|(i, _)| all || i % SAMPLE == 0)
        .map(|(_, f)| f)
        .collect();
    // The child may take 1 GB; more is an OutOfMemory fault, which is not allowed here.
    let limits = Limits {
        memory_bytes: 1 << 30,
        ..Limits::default()
    };
    let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut bad = Vec::new();
    for path in chosen {
        let began = Instant::now();
        let result = ingest_with(path, None, limits.clone());
        let took = began.elapsed();
        let name = path.strip_prefix(&data).unwrap().display().to_string();
        if let Err(error) = &result {
            let torn = matches!(
                error.fault,
                IngestFault::Crashed { .. }
                    | IngestFault::TimedOut { .. }
                    | IngestFault::OutOfMemory { .. }
                    | IngestFault::Unsound { .. }
                    | IngestFault::NotStarted { .. }
            );
            if torn && !name.contains("bomb") {
                bad.push(format!("{name}: {error}"));
            }
        }
        if took > Duration::from_secs(60) {
            bad.push(format!("{name}: took {took:?}"));
        }
        if took > Duration::from_secs(5) {
            println!("{name}: {:.1} s", took.as_secs_f64());
        }
        table.entry(outcome(&result)).or_default().push(name);
    }
    for (outcome, names) in &table {
        println!(
            "{:5}  {outcome}  ({}{})",
            names.len(),
            names[0],
            if names.len() > 1 { ", ..." } else { "" }
        );
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn one_manual_in_three_formats_holds_the_same_words() {
    let Some(data) = data() else { return };
    let folder = data.join("formats/debian-policy");
    let documents =
        ["policy.pdf", "policy.epub", "policy.txt"].map(|name| ingest(&folder.join(name)).unwrap());
    let sentence = "the maintainer is responsible for maintaining the Debian packaging files";
    let squeezed = |text: &str| {
        text.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .to_lowercase()
    };
    for document in &documents {
        let text = squeezed(&document.text);
        assert!(
            text.contains("maintaining the debian packaging files"),
            "{:?} lacks {sentence:?}",
            document.kind
        );
        assert!(
            document.sections.len() > 50
                || document.kind == lectern_engine::document::DocumentKind::Text
        );
    }
    assert_eq!(documents[0].title, "Debian Policy Manual");
    assert_eq!(documents[1].title, "Debian Policy Manual");
}
