//! What the ingest tests share: the real program as the sandbox, the shared files, small files of their own.
#![allow(dead_code)] // each test program uses a part of it
#![allow(clippy::unwrap_used)]

use lectern_engine::document::{BlockKind, Document};
use lectern_engine::ingest::{ExtractOptions, IngestError, IngestFault, Limits, extract};
use std::path::{Path, PathBuf};

/// Extracts in a real child process.
pub fn ingest(path: &Path) -> Result<Document, IngestError> {
    ingest_with(path, None, Limits::default())
}

/// The same with a password and limits.
pub fn ingest_with(
    path: &Path,
    password: Option<&str>,
    limits: Limits,
) -> Result<Document, IngestError> {
    let options = ExtractOptions {
        password: password.map(str::to_owned),
        limits,
        program: Some(env!("CARGO_BIN_EXE_lectern").into()),
        ..ExtractOptions::default()
    };
    extract(path, &options, &mut |_| {}, &|| false)
}

/// The fault of a file that cannot be ingested.
pub fn fault_of(path: &Path) -> IngestFault {
    match ingest(path) {
        Ok(document) => panic!("{}: ingested as {:?}", path.display(), document.title),
        Err(error) => {
            assert_eq!(error.path, path);
            error.fault
        }
    }
}

/// Kind and words of every block.
pub fn blocks(document: &Document) -> Vec<(BlockKind, &str)> {
    document
        .blocks
        .iter()
        .map(|b| (b.kind, b.span.of(&document.text).unwrap()))
        .collect()
}

/// The shared test data: `$LECTERN_TEST_DATA`, or `shared/data` beside the repository. Says so when it is missing.
pub fn data() -> Option<PathBuf> {
    let found = std::env::var_os("LECTERN_TEST_DATA")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    if found.join("formats").is_dir() {
        return Some(found);
    }
    println!(
        "skipped: no test data at {} (set LECTERN_TEST_DATA)",
        found.display()
    );
    None
}

/// Whether poppler's `pdftotext` is installed. Says so when it is not.
pub fn poppler() -> bool {
    let found = std::process::Command::new("pdftotext")
        .arg("-v")
        .output()
        .is_ok();
    if !found {
        println!("skipped: pdftotext (poppler) is not installed");
    }
    found
}

/// A file in a folder.
pub fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A zip archive.
pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        // The type of an EPUB or OpenDocument stands uncompressed among the first bytes.
        let method = match *name {
            "mimetype" => zip::CompressionMethod::Stored,
            _ => zip::CompressionMethod::Deflated,
        };
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        out.start_file(*name, options).unwrap();
        out.write_all(bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

/// A small EPUB of these chapters.
pub fn epub(chapters: &[&str]) -> Vec<u8> {
    let items: String = (0..chapters.len())
        .map(|i| format!("<item id='c{i}' href='c{i}.xhtml' media-type='application/xhtml+xml'/>"))
        .collect();
    let spine: String = (0..chapters.len())
        .map(|i| format!("<itemref idref='c{i}'/>"))
        .collect();
    let opf = format!(
        "<package xmlns='http://www.idpf.org/2007/opf' version='3.0' unique-identifier='id'>\
         <metadata xmlns:dc='http://purl.org/dc/elements/1.1/'><dc:identifier id='id'>x</dc:identifier>\
         <dc:title>Small Book</dc:title><dc:creator>A. Writer</dc:creator><dc:language>en</dc:language></metadata>\
         <manifest>{items}</manifest><spine>{spine}</spine></package>"
    );
    let container = "<container xmlns='urn:oasis:names:tc:opendocument:xmlns:container' version='1.0'><rootfiles>\
         <rootfile full-path='OPS/book.opf' media-type='application/oebps-package+xml'/></rootfiles></container>";
    let names: Vec<String> = (0..chapters.len())
        .map(|i| format!("OPS/c{i}.xhtml"))
        .collect();
    let mut files: Vec<(&str, &[u8])> = vec![
        ("mimetype", b"application/epub+zip"),
        ("META-INF/container.xml", container.as_bytes()),
        ("OPS/book.opf", opf.as_bytes()),
    ];
    files.extend(
        names
            .iter()
            .map(String::as_str)
            .zip(chapters.iter().map(|c| c.as_bytes())),
    );
    zip(&files)
}

/// A PDF with one page for each content stream, in Helvetica named F1; `extra` goes into every page object.
pub fn pdf(pages: &[&str], extra: &str) -> Vec<u8> {
    let mut objects: Vec<String> = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".into(),
        format!(
            "<< /Type /Pages /Count {} /Kids [{}] >>",
            pages.len(),
            (0..pages.len())
                .map(|i| format!("{} 0 R ", 4 + 2 * i))
                .collect::<String>()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".into(),
    ];
    for (i, content) in pages.iter().enumerate() {
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 300] /Resources << /Font << /F1 3 0 R >> >> \
             /Contents {} 0 R {extra} >>",
            5 + 2 * i
        ));
        objects.push(format!(
            "<< /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        ));
    }
    let mut out = String::from("%PDF-1.4\n");
    let mut offsets = Vec::new();
    for (i, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        out.push_str(&format!("{} 0 obj\n{object}\nendobj\n", i + 1));
    }
    let start = out.len();
    out.push_str(&format!(
        "xref\n0 {}\n0000000000 65535 f \n",
        objects.len() + 1
    ));
    for offset in &offsets {
        out.push_str(&format!("{offset:010} 00000 n \n"));
    }
    out.push_str(&format!(
        "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n",
        objects.len() + 1
    ));
    out.into_bytes()
}
