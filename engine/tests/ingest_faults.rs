//! Bad input: each case says what is wrong with that file and what to do, and nothing is torn.
#![allow(clippy::unwrap_used)]

mod ingest_support;

use ingest_support::*;
use lectern_engine::ingest::{ExtractOptions, IngestFault, Limits, extract, fingerprint};
use lectern_protocol::{Failure, FailureCode};
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn every_bad_file_has_its_own_reason() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let good_epub = epub(&["<html><body><p>Fine.</p></body></html>"]);
    let half_epub = &good_epub[..good_epub.len() / 2];
    let locked = zip(&[
        ("mimetype", b"application/epub+zip"),
        ("META-INF/encryption.xml", b"<encryption><EncryptedData><CipherReference URI='OPS/c0.xhtml'/></EncryptedData></encryption>"),
    ]);
    let noise: Vec<u8> = (0u32..20_000)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect();
    std::fs::create_dir(dir.join("nothing")).unwrap();

    assert_eq!(fault_of(&dir.join("absent.pdf")), IngestFault::NotFound);
    assert_eq!(fault_of(&write(dir, "empty.txt", "")), IngestFault::Empty);
    assert_eq!(
        fault_of(&write(dir, "blank.md", " \n\n\t\n")),
        IngestFault::Empty
    );
    assert_eq!(
        fault_of(&write(dir, "pages0.pdf", pdf(&[], ""))),
        IngestFault::NoPages
    );
    assert_eq!(
        fault_of(&write(
            dir,
            "scan.pdf",
            pdf(&["q 100 0 0 100 0 0 cm Q", ""], "")
        )),
        IngestFault::NoWords { pages: 2 }
    );
    assert!(matches!(
        fault_of(&write(dir, "cut.epub", half_epub)),
        IngestFault::Damaged { format, .. } if format == "EPUB"
    ));
    assert!(matches!(
        fault_of(&write(dir, "junk.pdf", &noise)),
        IngestFault::Damaged { format, .. } if format == "PDF"
    ));
    assert_eq!(
        fault_of(&write(dir, "locked.epub", locked)),
        IngestFault::Drm
    );
    assert_eq!(
        fault_of(&write(dir, "junk.txt", &noise)),
        IngestFault::Binary
    );
    assert_eq!(
        fault_of(&write(
            dir,
            "letter.doc",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 word"
        )),
        IngestFault::UnknownFormat {
            what: "Word documents of before 2007".into()
        }
    );
    assert_eq!(
        fault_of(&write(dir, "photo.xyz", b"\x89PNG\r\n\x1a\n")),
        IngestFault::UnknownFormat {
            what: "pictures".into()
        }
    );
    assert_eq!(
        fault_of(&dir.join("nothing")),
        IngestFault::NoTextFiles {
            left_out: String::new()
        }
    );
    #[cfg(unix)]
    assert_eq!(fault_of(Path::new("/dev/null")), IngestFault::NotAFile);
}

#[test]
fn reasons_reach_a_person_with_the_name_of_the_file_and_advice() {
    let folder = tempfile::tempdir().unwrap();
    let error = ingest(&write(folder.path(), "letter.doc", b"PK\x03\x04")).unwrap_err();
    let failure = Failure::from(error);
    assert_eq!(failure.code, FailureCode::Other);
    assert_eq!(
        failure.message,
        "letter.doc: Lectern cannot read Word documents of before 2007"
    );
    assert!(failure.advice.unwrap().contains("EPUB"));
    let needed = IngestFault::PasswordNeeded.at(Path::new("/x/secret.pdf"));
    assert_eq!(Failure::from(needed).code, FailureCode::PasswordNeeded);
}

#[test]
fn a_gigabyte_of_text_is_refused_without_reading_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.txt");
    let file = std::fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut &file, b"words at the beginning\n").unwrap();
    file.set_len(1 << 30).unwrap(); // sparse: costs no disk
    let began = Instant::now();
    assert_eq!(
        fault_of(&path),
        IngestFault::TooLarge {
            bytes: 1 << 30,
            limit: Limits::default().plain_file_bytes()
        }
    );
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn text_longer_than_a_document_may_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        folder.path(),
        "long.txt",
        "A line of words.\n\n".repeat(4000),
    );
    let limits = Limits {
        text_bytes: 50_000,
        ..Limits::default()
    };
    let error = ingest_with(&path, None, limits).unwrap_err();
    assert_eq!(error.fault, IngestFault::TextTooLong { limit: 50_000 });
}

#[test]
fn a_chapter_that_unpacks_without_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let chapter = format!("<html><body><p>{}</p></body></html>", "a".repeat(3_000_000));
    let path = write(folder.path(), "bomb.epub", epub(&[&chapter]));
    let limits = Limits {
        part_bytes: 1_000_000,
        ..Limits::default()
    };
    let error = ingest_with(&path, None, limits).unwrap_err();
    assert_eq!(error.fault, IngestFault::Bomb { limit: 1_000_000 });
}

#[test]
fn deep_nesting_is_read_or_refused_but_never_fatal() {
    let folder = tempfile::tempdir().unwrap();
    let html = format!(
        "{}deep{}",
        "<div><b>".repeat(20_000),
        "</b></div>".repeat(20_000)
    );
    let document = ingest(&write(folder.path(), "deep.html", html)).unwrap();
    assert_eq!(document.text, "deep\n");
    let quotes = format!("{} deep\n", "> ".repeat(5_000));
    let _ = ingest(&write(folder.path(), "deep.md", quotes));
    let arrays = pdf(
        &[&format!("{}BT /F1 12 Tf (deep) Tj ET", "[".repeat(50_000))],
        "",
    );
    let _ = ingest(&write(folder.path(), "deep.pdf", arrays));
}

#[test]
fn a_child_that_exceeds_its_memory_is_an_error_on_that_file() {
    let folder = tempfile::tempdir().unwrap();
    let page: String = (0..400_000)
        .map(|i| format!("<p><b>{i}</b> word</p>"))
        .collect();
    let path = write(folder.path(), "large.html", page);
    let limits = Limits {
        memory_bytes: 200 << 20,
        ..Limits::default()
    };
    let error = ingest_with(&path, None, limits).unwrap_err();
    assert_eq!(error.fault, IngestFault::OutOfMemory { limit: 200 << 20 });
}

#[test]
fn a_child_that_takes_too_long_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let page: String = (0..300_000)
        .map(|i| format!("<p><b>{i}</b> word</p>"))
        .collect();
    let path = write(folder.path(), "slow.html", page);
    let limits = Limits {
        base_time: Duration::from_millis(1),
        ..Limits::default()
    };
    let error = ingest_with(&path, None, limits).unwrap_err();
    assert!(
        matches!(error.fault, IngestFault::TimedOut { .. }),
        "{error}"
    );
}

#[test]
fn cancelling_ends_the_child_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let page: String = (0..400_000)
        .map(|i| format!("<p><b>{i}</b> word</p>"))
        .collect();
    let path = write(folder.path(), "long.html", page);
    let options = ExtractOptions {
        program: Some(env!("CARGO_BIN_EXE_lectern").into()),
        ..ExtractOptions::default()
    };
    let began = Instant::now();
    let cancelled = || began.elapsed() > Duration::from_millis(100);
    let error = extract(&path, &options, &mut |_| {}, &cancelled).unwrap_err();
    assert_eq!(error.fault, IngestFault::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_program_that_is_not_lectern_is_an_error_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.txt", "words");
    for program in ["/bin/false", "/bin/true", "/no/such/program"] {
        let options = ExtractOptions {
            program: Some(program.into()),
            ..ExtractOptions::default()
        };
        let error = extract(&path, &options, &mut |_| {}, &|| false).unwrap_err();
        assert!(
            matches!(
                error.fault,
                IngestFault::Crashed { .. }
                    | IngestFault::Unsound { .. }
                    | IngestFault::NotStarted { .. }
            ),
            "{program}: {error}"
        );
    }
}

#[test]
fn files_of_a_folder_may_vanish_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("p");
    write(&root, "stays.py", "print(1)\n");
    // A dangling name is what a file that vanished looks like to a reader.
    #[cfg(unix)]
    std::os::unix::fs::symlink("gone.py", root.join("dangling.py")).unwrap();
    let document = ingest(&root).unwrap();
    assert!(document.text.contains("print(1)"));
    assert!(fingerprint(&root).is_ok());
    assert_eq!(
        fingerprint(&root.join("gone.py")).unwrap_err().fault,
        IngestFault::NotFound
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_child_can_reach_neither_network_nor_other_files() {
    // The child's own words about what it could not give up, from a run with an order it refuses.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lectern"))
        .arg("extract")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("lectern add"));
}
