//! Scanned pages: recognised in real children, with the real networks.
#![allow(clippy::unwrap_used)]

#[path = "../ingest_support/mod.rs"]
mod ingest_support;
mod scan;

use ingest_support::*;
use lectern_engine::document::{Anchor, Document, Span};
use lectern_engine::home::Home;
use lectern_engine::ingest::{
    ExtractOptions, IngestFault, Limits, Recogniser, RecognitionProgress, recognise, survey,
};
use lectern_models::catalogue::Catalogue;
use scan::{Grey, Scanner, of_pictures, scan};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The recogniser, its pages kept in `folder`. Says so when it is missing.
fn recogniser(folder: &Path) -> Option<Recogniser> {
    let home = Home::find().unwrap();
    let catalogue = Catalogue::load(home.models()).unwrap();
    let entry = catalogue.recogniser().unwrap();
    if !catalogue.is_installed(entry) {
        println!(
            "skipped: text recognition is not here (`cargo xtask model get {}`)",
            entry.name
        );
        return None;
    }
    Some(Recogniser {
        networks: catalogue.path(entry),
        parts: entry.parts.clone(),
        identity: entry.sha256.clone().unwrap(),
        kept: folder.join("kept").join("it.pages"),
    })
}

fn options() -> ExtractOptions {
    ExtractOptions {
        program: Some(env!("CARGO_BIN_EXE_lectern").into()),
        ..ExtractOptions::default()
    }
}

/// Recognises all of a file, and tells how it went on.
fn recognised(
    path: &Path,
    recogniser: &Recogniser,
    mut options: ExtractOptions,
) -> (Result<Document, IngestFault>, Vec<RecognitionProgress>) {
    let surveyed = survey(path, &options, &mut |_| {}, &|| false);
    let mut told = Vec::new();
    let pages = recognise(
        path,
        &surveyed.scanned,
        recogniser,
        &options,
        &mut |now| told.push(now),
        &|| false,
    );
    options.recognised = match pages {
        Ok(pages) => pages,
        Err(error) => return (Err(error.fault), told),
    };
    let again = survey(path, &options, &mut |_| {}, &|| false);
    assert!(again.scanned.pages.is_empty(), "{:?}", again.scanned);
    (again.document.map_err(|error| error.fault), told)
}

fn page_text(document: &Document, index: usize) -> String {
    let words = document.pages[index].span.of(&document.text).unwrap();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One minus the edits from one text to the other by the length of the first.
fn accuracy(expected: &str, found: &str) -> f64 {
    let (a, b): (Vec<char>, Vec<char>) = (expected.chars().collect(), found.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let best = (corner + usize::from(x != y))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], best);
        }
    }
    1.0 - row[b.len()] as f64 / a.len().max(1) as f64
}

fn box_of(document: &Document, words: &str) -> (u32, [f32; 4]) {
    let start = document
        .text
        .find(words)
        .unwrap_or_else(|| panic!("{words:?} is not there"));
    let Anchor::Pages(pages) = document.anchor(Span::new(start, start + words.len())) else {
        panic!("no pages");
    };
    assert!(pages[0].recognised == document.pages[pages[0].page as usize - 1].recognised);
    let [x0, y0, _, _, x1, y1, _, _] = pages[0].quads[0].0;
    (pages[0].page, [x0, y0, x1, y1])
}

#[test]
fn a_scanned_page_reads_as_its_text_layer_does_and_lights_up_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(data), Some(recogniser)) = (data(), recogniser(folder.path())) else {
        return;
    };
    // Two columns.
    let original = data.join("formats/pdfjs/tracemonkey.pdf");
    let bytes = std::fs::read(&original).unwrap();
    let written = ingest(&original).unwrap();
    let crooked = Scanner {
        crooked: 0.8,
        ..Scanner::default()
    };
    let path = write(folder.path(), "paper.pdf", scan(&bytes, &[1], crooked));
    let (document, told) = recognised(&path, &recogniser, options());
    let document = document.unwrap();

    assert!(document.pages[0].recognised);
    assert!(
        document.notices[0].contains("Recognised text: the words of page 1"),
        "{:?}",
        document.notices
    );
    let (expected, found) = (page_text(&written, 1), page_text(&document, 0));
    let share = accuracy(&expected, &found);
    println!("{share:.4} of {} characters", expected.chars().count());
    assert!(share > 0.95, "{share}\n{found}");
    let last = told.last().unwrap();
    assert_eq!((last.done, last.total), (1, 1));

    // The scan is the page turned about its middle by 0.8 degrees: at most 6 points away.
    for words in [
        "contains all the guards",
        "Nested loops can be difficult",
        "unintended tail duplication",
    ] {
        let (_, there) = box_of(&written_page(&written, 1), words);
        let (page, here) = box_of(&document, words);
        assert_eq!(page, 1);
        let middle = |b: [f32; 4]| [(b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0];
        let (a, b) = (middle(there), middle(here));
        assert!(
            (a[0] - b[0]).abs() < 9.0 && (a[1] - b[1]).abs() < 9.0,
            "{words}: {there:?} {here:?}"
        );
    }
}

/// A document of one of its pages, so that words are looked for there.
fn written_page(document: &Document, index: usize) -> Document {
    let page = &document.pages[index];
    let mut alone = document.clone();
    alone.text = page.span.of(&document.text).unwrap().to_owned();
    alone.sections = Vec::new();
    alone.blocks = Vec::new();
    let mut page = page.clone();
    page.span = Span::new(0, alone.text.len());
    page.number = 1;
    alone.pages = vec![page];
    alone
}

#[test]
fn pages_that_lie_on_their_side_or_head_are_read_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(data), Some(recogniser)) = (data(), recogniser(folder.path())) else {
        return;
    };
    for turned in ["", "_rotated_90", "_rotated_180", "_rotated_270"] {
        let path = data.join(format!("formats/docling/ocr/sources/ocr_test{turned}.pdf"));
        let kept = folder.path().join(format!("kept{turned}"));
        let (document, _) = recognised(
            &path,
            &Recogniser {
                kept,
                ..recogniser.clone()
            },
            options(),
        );
        let text = document.unwrap().text;
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "Docling bundles PDF document conversion to JSON and Markdown in an easy self contained package",
            "{turned}"
        );
    }
}

#[test]
fn a_page_with_a_text_layer_is_not_touched_and_an_unread_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let page = "BT /F1 12 Tf 50 200 Td (Written, not drawn, and long enough to count.) Tj ET";
    let picture = "q 200 0 0 200 50 50 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \u{1} EI Q";
    let path = write(dir, "half.pdf", pdf(&[page, picture], ""));
    let surveyed = survey(&path, &options(), &mut |_| {}, &|| false);
    assert_eq!(surveyed.scanned.count, 2);
    assert_eq!(surveyed.scanned.pages.len(), 1);
    assert_eq!(surveyed.scanned.pages[0].0, 1);
    let document = surveyed.document.unwrap();
    assert_eq!(
        document.notices,
        [
            "Page 2 holds no text; it is probably scanned. `lectern models get ocr` gets what recognises it (32 MB); then \
          add the file again."
        ]
    );
    let fault = fault_of(&write(dir, "whole.pdf", pdf(&[picture], "")));
    assert_eq!(fault, IngestFault::NoText { pages: 1 });
    assert!(fault.advice().unwrap().contains("lectern models get ocr"));
}

/// Pages of 50 points in grey, which hold nothing and are read at once.
fn blank_pages(count: usize) -> Vec<u8> {
    let pictures: Vec<Grey> = (0..count)
        .map(|_| Grey {
            width: 50,
            height: 50,
            pixels: vec![200; 2500],
        })
        .collect();
    of_pictures(&pictures, 1.0)
}

#[test]
fn what_was_recognised_before_it_was_stopped_is_not_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(recogniser) = recogniser(folder.path()) else {
        return;
    };
    let path = write(folder.path(), "blank.pdf", blank_pages(4));
    let surveyed = survey(&path, &options(), &mut |_| {}, &|| false);
    assert_eq!(surveyed.scanned.pages.len(), 4);
    let done = std::cell::Cell::new(0);
    let stopped = recognise(
        &path,
        &surveyed.scanned,
        &recogniser,
        &options(),
        &mut |now| done.set(now.done),
        &|| done.get() >= 2,
    );
    assert_eq!(stopped.unwrap_err().fault, IngestFault::Cancelled);
    let (document, told) = recognised(&path, &recogniser, options());
    assert!(told[0].done >= 2, "{told:?}");
    assert_eq!(told.last().unwrap().done, 4);
    assert_eq!(
        document.unwrap_err(),
        IngestFault::NoneRecognised { pages: 4 }
    );
}

#[test]
fn a_page_that_takes_too_long_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let Some(recogniser) = recogniser(folder.path()) else {
        return;
    };
    let path = write(folder.path(), "blank.pdf", blank_pages(2));
    let limits = Limits {
        page_time: Duration::from_millis(1),
        ..Limits::default()
    };
    let hurried = ExtractOptions {
        limits,
        ..options()
    };
    let (document, _) = recognised(&path, &recogniser, hurried);
    assert_eq!(
        document.unwrap_err(),
        IngestFault::NoneRecognised { pages: 2 }
    );
    // Given up, not kept: with more time they are tried again.
    let (_, told) = recognised(&path, &recogniser, options());
    assert_eq!((told[0].done, told.last().unwrap().done), (0, 2));
}

#[test]
fn networks_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "blank.pdf", blank_pages(1));
    let networks = write(folder.path(), "networks", [7; 300]);
    for parts in [vec![100, 100, 100], vec![100, 100, 1000]] {
        let recogniser = Recogniser {
            networks: networks.clone(),
            parts,
            identity: "none".into(),
            kept: folder.path().join("kept"),
        };
        let (document, _) = recognised(&path, &recogniser, options());
        let fault = document.unwrap_err();
        assert!(
            matches!(fault, IngestFault::RecogniserUnusable { .. }),
            "{fault:?}"
        );
        assert!(fault.advice().unwrap().contains("lectern models get ocr"));
    }
}

fn lectern(home: &Path, models: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lectern"));
    command
        .args(arguments)
        .env("LECTERN_HOME", home)
        .env("LECTERN_MODELS", models)
        .stdin(Stdio::null());
    command
}

#[test]
fn a_kill_costs_at_most_the_page_it_was_at() {
    let folder = tempfile::tempdir().unwrap();
    let Some(recogniser) = recogniser(folder.path()) else {
        return;
    };
    let (home, models) = (
        folder.path().join("home"),
        recogniser.networks.parent().unwrap(),
    );
    let path = write(folder.path(), "blank.pdf", blank_pages(20));
    let file = path.to_str().unwrap();
    let mut adding = lectern(&home, models, &["add", file])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Eight bytes begin the file, then a record a page.
    let kept = || {
        let files = std::fs::read_dir(home.join("recognised")).ok()?;
        let path = files.flatten().next()?.path();
        std::fs::read(path).ok().filter(|bytes| bytes.len() > 8)
    };
    let began = Instant::now();
    while kept().is_none_or(|bytes| bytes.len() < 30) {
        assert!(
            began.elapsed() < Duration::from_secs(100),
            "no page was kept"
        );
        assert!(adding.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    adding.kill().unwrap();
    adding.wait().unwrap();
    let before = kept().unwrap();
    let again = lectern(&home, models, &["add", file]).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("none was recognised on them"), "{said}");
    let after = kept().unwrap();
    // Whole records stay as they were, and nothing is recognised twice: all records are alike but for the page.
    let record = (after.len() - 8) / 20;
    assert_eq!(after.len(), 8 + 20 * record);
    let whole = 8 + (before.len() - 8) / record * record;
    assert!(whole > 8, "{} bytes", before.len());
    assert_eq!(after[..whole], before[..whole]);
}

#[test]
fn a_half_scanned_document_is_taken_in_anew_once_recognition_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let Some(recogniser) = recogniser(folder.path()) else {
        return;
    };
    let home = folder.path().join("home");
    let page = "BT /F1 12 Tf 50 200 Td (Written, not drawn, and long enough to count.) Tj ET";
    let picture = "q 200 0 0 200 50 50 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \u{1} EI Q";
    let path = write(folder.path(), "half.pdf", pdf(&[page, picture], ""));
    let add = |models: &Path| {
        let output = lectern(&home, models, &["add", path.to_str().unwrap(), "--json"]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let first = add(&folder.path().join("none"));
    assert_eq!(first["document"]["scans_unread"], true, "{first}");
    let still = add(&folder.path().join("none"));
    assert_eq!(still["known"], true, "{still}");
    let then = add(recogniser.networks.parent().unwrap());
    assert_eq!(then["document"]["id"], first["document"]["id"]);
    assert_eq!(then["refreshed"]["state"], "updated", "{then}");
    assert_eq!(then["document"]["scans_unread"], false, "{then}");
    let notice = then["document"]["notices"][0].as_str().unwrap();
    assert_eq!(
        notice,
        "Page 2 is a picture on which no text was recognised."
    );
    let known = add(recogniser.networks.parent().unwrap());
    assert_eq!(known["known"], true, "{known}");
}

/// The figures of `docs/formats.md`: accuracy and time on scans whose text is known.
#[test]
fn measured_on_pages_whose_text_is_known() {
    if std::env::var_os("LECTERN_SLOW_TESTS").is_none() {
        println!("skipped: set LECTERN_SLOW_TESTS to run it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (Some(data), Some(recogniser)) = (data(), recogniser(folder.path())) else {
        return;
    };
    let scans: [(&str, &[usize], f32); 5] = [
        ("debian-policy/policy.pdf", &[20, 60, 80, 120], 200.0),
        ("pdfjs/freeculture.pdf", &[30, 60, 90, 120], 150.0),
        ("pdfjs/freeculture.pdf", &[30, 60, 90, 120], 200.0),
        ("pdfjs/freeculture.pdf", &[30, 60, 90, 120], 300.0),
        ("pdfjs/tracemonkey.pdf", &[1, 5, 7, 9], 200.0),
    ];
    for (place, (book, pages, resolution)) in scans.into_iter().enumerate() {
        let original: PathBuf = data.join("formats").join(book);
        let written = ingest(&original).unwrap();
        let scanner = Scanner {
            resolution,
            ..Scanner::default()
        };
        let bytes = scan(&std::fs::read(&original).unwrap(), pages, scanner);
        let path = write(folder.path(), "scan.pdf", bytes);
        let kept = folder.path().join(format!("{place}.pages"));
        let began = Instant::now();
        let (document, _) = recognised(
            &path,
            &Recogniser {
                kept,
                ..recogniser.clone()
            },
            options(),
        );
        let seconds = began.elapsed().as_secs_f64() / pages.len() as f64;
        let document = document.unwrap();
        let shares: Vec<f64> = pages
            .iter()
            .enumerate()
            .map(|(here, &there)| {
                accuracy(&page_text(&written, there), &page_text(&document, here))
            })
            .collect();
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        println!(
            "{book} {resolution} dpi: accuracy {mean:.4} ({shares:.4?}), {seconds:.1} s a page"
        );
        assert!(mean > 0.9, "{book}");
    }
}
