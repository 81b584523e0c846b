//! Each format, from a small file to a checked document, through the real sandbox.
#![allow(clippy::unwrap_used)]

mod ingest_support;

use ingest_support::*;
use lectern_engine::document::{
    Anchor, BlockKind, Document, DocumentKind, LineRange, MarkKind, SectionKind, Span,
};
use lectern_engine::ingest::{IngestFault, fingerprint};

fn find(document: &Document, words: &str) -> Span {
    let start = document
        .text
        .find(words)
        .unwrap_or_else(|| panic!("{words:?} is not in the text"));
    Span::new(start, start + words.len())
}

#[test]
fn html_keeps_words_and_nothing_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let page = r#"<!doctype html><html><head><title>The  Title</title><meta name=author content="Ann Author">
        <style>p { color: red }</style><script>alert(1)</script></head><body>
        <h1>One</h1><p>Some <b>bold and <i>both</i></b> words.<br>Second line &amp; more<script>evil()</script></p>
        <p style="display: none">hidden</p><p hidden>hidden too</p><iframe src="x">frame</iframe>
        <ul><li>first<ol start=3><li>inner</li></ol></li><li><p>second</p><p>goes on</p></li></ul>
        <blockquote>quoted</blockquote><pre>  a
  b</pre><table><tr><th>H1</th><th>H2</th></tr><tr><td>a</td><td>b <i>c</i></td></tr><tr><td></td><td>d</td></tr></table>
        <img src=x onerror=alert(1) alt="A picture of a duck"><aside role="doc-footnote">1. A note.</aside>
        <h3>Deep</h3><p>so<wbr>ft&shy;hyphen</p></body></html>"#;
    let document = ingest(&write(folder.path(), "page.html", page)).unwrap();
    assert_eq!(document.kind, DocumentKind::Html);
    assert_eq!(document.title, "The Title");
    assert_eq!(document.authors.as_deref(), Some("Ann Author"));
    use BlockKind::*;
    assert_eq!(
        blocks(&document),
        [
            (Heading(1), "One"),
            (Paragraph, "Some bold and both words.\nSecond line & more"),
            (
                ListItem {
                    depth: 0,
                    number: None
                },
                "first"
            ),
            (
                ListItem {
                    depth: 1,
                    number: Some(3)
                },
                "inner"
            ),
            (
                ListItem {
                    depth: 0,
                    number: None
                },
                "second"
            ),
            (Paragraph, "goes on"),
            (Quote, "quoted"),
            (Preformatted { first_line: 1 }, "  a\n  b"),
            (TableRow { header: true }, "H1\tH2"),
            (TableRow { header: false }, "a\tb c"),
            (TableRow { header: false }, "\td"),
            (Caption, "A picture of a duck"),
            (Note, "1. A note."),
            (Heading(3), "Deep"),
            (Paragraph, "softhyphen"),
        ]
    );
    let marks: Vec<(MarkKind, &str)> = document.blocks[1]
        .marks
        .iter()
        .map(|m| (m.kind, m.span.of(&document.text).unwrap()))
        .collect();
    assert_eq!(
        marks,
        [
            (MarkKind::Strong, "bold and both"),
            (MarkKind::Emphasis, "both")
        ]
    );
    let deep = find(&document, "softhyphen");
    assert_eq!(
        document.anchor(deep),
        Anchor::Flow {
            section: "Deep".into(),
            line: 31,
            block: 14
        }
    );
    assert_eq!(document.sections[1].depth, 1);
}

#[test]
fn markdown_is_read_with_its_html_and_front_matter() {
    let folder = tempfile::tempdir().unwrap();
    let text = "---\ntitle: \"Front\"\nauthor: B. Writer\n---\n\n# Head *line*\n\nText with `code` and <kbd>key</kbd>[^1].\n\n\
        | a | b |\n|---|---|\n| 1 | 2 |\n\n```rust\nfn main() {}\n```\n\n<div onclick='x()'>Inside <b>HTML</b></div>\n\n\
        - [x] done\n\n[^1]: The note.\n";
    let document = ingest(&write(folder.path(), "notes.md", text)).unwrap();
    assert_eq!(
        (document.kind, document.title.as_str()),
        (DocumentKind::Markdown, "Front")
    );
    assert_eq!(document.authors.as_deref(), Some("B. Writer"));
    use BlockKind::*;
    let found = blocks(&document);
    assert!(found.contains(&(Heading(1), "Head line")));
    assert!(found.contains(&(TableRow { header: true }, "a\tb")));
    assert!(found.contains(&(Preformatted { first_line: 1 }, "fn main() {}")));
    assert!(found.contains(&(Paragraph, "Inside HTML")));
    assert!(found.contains(&(
        ListItem {
            depth: 0,
            number: None
        },
        "done"
    )));
    assert!(
        found
            .iter()
            .any(|(kind, text)| *kind == Note && text.contains("The note.")),
        "{found:?}"
    );
    assert!(!document.text.contains("onclick") && !document.text.contains("Front"));
}

#[test]
fn plain_text_in_any_encoding_gives_the_same_document() {
    let folder = tempfile::tempdir().unwrap();
    let text = "Title: Käse\r\n\r\nCHAPTER I\r\n\r\nDer Käse ist süß, und das Brot ist frisch\r\ngebacken; die Bäckerin übt.\r\n\r\n\
        CHAPTER II\r\nDas Ende\r\n\r\nZwölf Köche kochen für fünf Gäste größere Töpfe.\r\n";
    let utf16: Vec<u8> = "\u{feff}"
        .encode_utf16()
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
    let paths = [
        write(folder.path(), "utf8.txt", text),
        write(folder.path(), "bom.txt", format!("\u{feff}{text}")),
        write(folder.path(), "utf16.txt", utf16),
        write(folder.path(), "latin.txt", latin),
    ];
    for path in &paths {
        let document = ingest(path).unwrap();
        assert_eq!(document.title, "Käse", "{}", path.display());
        let titles: Vec<&str> = document.sections.iter().map(|s| s.title.as_str()).collect();
        assert_eq!(
            titles,
            ["CHAPTER I", "CHAPTER II Das Ende"],
            "{}",
            path.display()
        );
        assert!(
            document.text.contains("frisch\ngebacken"),
            "lines keep their ends"
        );
    }
    assert_ne!(
        fingerprint(&paths[0]).unwrap(),
        fingerprint(&paths[1]).unwrap()
    );
}

#[test]
fn epub_chapters_come_in_the_order_of_the_spine() {
    let folder = tempfile::tempdir().unwrap();
    let book = epub(&[
        "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><head><title/></head>\
         <body><h1>First</h1><p>Alpha <a id='x'/>beta.</p></body></html>",
        "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>2</title></head><body><h1>Second</h1>\
         <p>Gamma<script src='x'/> delta.</p></body></html>",
    ]);
    let document = ingest(&write(folder.path(), "book.epub", book)).unwrap();
    assert_eq!(
        (document.kind, document.title.as_str()),
        (DocumentKind::Epub, "Small Book")
    );
    assert_eq!(document.authors.as_deref(), Some("A. Writer"));
    assert_eq!(
        document.text,
        "First\n\nAlpha beta.\n\nSecond\n\nGamma delta.\n"
    );
    assert_eq!(
        document.anchor(find(&document, "delta")),
        Anchor::Element {
            item: "OPS/c1.xhtml".into(),
            section: "Second".into(),
            block: 3
        }
    );
}

#[test]
fn folders_keep_paths_and_lines_and_leave_out_what_is_not_source() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("project");
    write(&root, ".gitignore", "secret.txt\n/generated/\n");
    write(
        &root,
        "src/main.rs",
        "// entry\n\nfn main() {\n    println!(\"hi\");\n}\n",
    );
    write(&root, "README.md", "# Project\n\nRead me.\n");
    write(&root, "secret.txt", "password");
    write(&root, "generated/out.rs", "fn generated() {}");
    write(&root, ".hidden", "hidden");
    write(&root, "node_modules/dep/index.js", "module.exports = 1");
    write(&root, "logo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    write(&root, "app.min.js", "var a=1;");
    write(&root, "bundle.js", "var a=1;".repeat(2000));
    write(&root, "schema.rs", "// @generated by a tool\nfn s() {}\n");
    write(&root, "empty.py", "");
    write(folder.path(), "outside.txt", "not part of it");
    #[cfg(unix)]
    std::os::unix::fs::symlink("../outside.txt", root.join("link.txt")).unwrap();
    let document = ingest(&root).unwrap();
    assert_eq!(
        (document.kind, document.title.as_str()),
        (DocumentKind::Code, "project")
    );
    let files: Vec<(SectionKind, &str)> = document
        .sections
        .iter()
        .map(|s| (s.kind, s.title.as_str()))
        .collect();
    assert_eq!(
        files,
        [
            (SectionKind::File, "README.md"),
            (SectionKind::File, "src/main.rs"),
            (SectionKind::Symbol, "fn main"),
        ]
    );
    assert_eq!(
        document.notices,
        [
            "Left out of the folder: 1 binary file (logo.png), 1 minified file (bundle.js), \
             1 generated file (schema.rs), 1 lock file or bundle that a tool wrote (app.min.js), \
             1 folder of dependencies or build results (node_modules), 1 symbolic link (link.txt)."
        ]
    );
    assert_eq!(
        document.anchor(find(&document, "println")),
        Anchor::Lines {
            file: "src/main.rs".into(),
            symbol: "fn main".into(),
            lines: LineRange {
                first_line: 4,
                first_column: 5,
                last_line: 4,
                last_column: 11
            },
            block: 3
        }
    );
    let before = fingerprint(&root).unwrap();
    write(&root, "secret.txt", "changed, but ignored");
    assert_eq!(fingerprint(&root).unwrap(), before);
    write(&root, "src/main.rs", "fn main() {}\n");
    assert_ne!(fingerprint(&root).unwrap(), before);
}

#[test]
fn a_codebase_has_symbols_and_ends_with_its_map() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("project");
    write(
        &root,
        "src/kv/cache.rs",
        "//! One cache.\n\n/// What is open.\npub struct Cache;\n\nimpl Cache {\n    /// Opens it.\n    \
         pub fn open() -> Cache {\n        Cache\n    }\n}\n",
    );
    write(&root, "src/main.rs", "fn main() {\n    start();\n}\n");
    write(&root, "web/app.ts", "export class App {\n  run() {}\n}\n");
    // The repository above is none of its business, and the child may not look there.
    write(folder.path(), ".git", "gitdir: elsewhere\n");
    let document = ingest(&root).unwrap();
    assert!(document.notices.is_empty(), "{:?}", document.notices);
    let sections: Vec<(u16, &str)> = document
        .sections
        .iter()
        .map(|s| (s.depth, s.title.as_str()))
        .collect();
    assert_eq!(
        sections,
        [
            (0, "src/kv/cache.rs"),
            (1, "struct Cache"),
            (1, "impl Cache"),
            (2, "fn open"),
            (0, "src/main.rs"),
            (1, "fn main"),
            (0, "web/app.ts"),
            (1, "class App"),
            (2, "run()"),
            (0, "Map of the folder"),
        ]
    );
    let open = document.sections[3].span;
    assert_eq!(
        open.of(&document.text),
        Some("/// Opens it.\n    pub fn open() -> Cache {\n        Cache\n    }")
    );
    let Anchor::Lines {
        file,
        symbol,
        lines,
        ..
    } = document.anchor(open)
    else {
        panic!()
    };
    assert_eq!(
        (
            file.as_str(),
            symbol.as_str(),
            lines.first_line,
            lines.last_line
        ),
        ("src/kv/cache.rs", "impl Cache \u{203A} fn open", 7, 10)
    );
    // What spans two symbols is in neither.
    let both = Span::new(document.sections[1].span.start, open.end);
    assert!(matches!(document.anchor(both), Anchor::Lines { symbol, .. } if symbol.is_empty()));

    let map = document.sections.last().unwrap().span;
    assert_eq!(
        map.of(&document.text).unwrap().trim_end(),
        "Map of the folder\n\nMade by Lectern from the files: 3 files, 17 lines.\n\n\
         Folder src: 2 files, 14 lines.\n\nFolder web: 1 file, 3 lines.\n\n\
         src/kv/cache.rs, 11 lines: One cache. Holds struct Cache.\n\n\
         src/main.rs, 3 lines: fn main.\n\nweb/app.ts, 3 lines: class App."
    );
    // Words of the map are ours and never shown as a file's.
    let said = find(&document, "Holds struct Cache");
    assert!(matches!(
        document.anchor(said),
        Anchor::Element { section, .. } if section == "Map of the folder"
    ));
    assert_eq!(
        document
            .belongs_to(find(&document, "Cache\n    }"))
            .as_deref(),
        Some("src/kv/cache.rs \u{203A} impl Cache \u{203A} fn open")
    );
    assert_eq!(document.belongs_to(said), None);
}

#[test]
fn a_source_file_alone_is_code() {
    let folder = tempfile::tempdir().unwrap();
    let source: String = (1..=230).map(|n| format!("line_{n}()\n")).collect();
    let document = ingest(&write(folder.path(), "tool.py", source)).unwrap();
    assert_eq!(document.kind, DocumentKind::Code);
    assert_eq!(document.blocks.len(), 4); // path, 100, 100, 30 lines
    let Anchor::Lines { file, lines, .. } = document.anchor(find(&document, "line_201()")) else {
        panic!()
    };
    assert_eq!((file.as_str(), lines.first_line), ("tool.py", 201));
    // Runs of one file are joined by what stands between them in the file.
    assert!(document.text.contains("line_100()\nline_101()"));
}

#[test]
fn archives_of_source_are_read_as_the_folder_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 7] = [
        ("tool-1.0/src/main.rs", b"fn main() {\n    start();\n}\n"),
        ("tool-1.0/README.md", b"A tool.\n"),
        ("tool-1.0/../../../tool-1.0/up.rs", b"// climbs\n"),
        ("tool-1.0/.git/config", b"[core]\n"),
        ("tool-1.0/node_modules/x/index.js", b"x()\n"),
        ("tool-1.0/logo.png", b"\x89PNG\r\n\x1a\n\0\0"),
        ("tool-1.0/empty.txt", b""),
    ];
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::fast(),
    ));
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    }
    let packed = tar.into_inner().unwrap().finish().unwrap();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(packed.as_slice()),
        &mut plain,
    )
    .unwrap();
    for (name, bytes) in [
        ("tool-1.0.zip", zip(&files)),
        ("tool-1.0.tar.gz", packed.clone()),
        ("tool-1.0.tar", plain),
    ] {
        let document = ingest(&write(folder.path(), name, bytes)).unwrap();
        assert_eq!(
            (document.kind, document.title.as_str()),
            (DocumentKind::Code, "tool-1.0"),
            "{name}"
        );
        let paths: Vec<&str> = document.sections.iter().map(|s| s.title.as_str()).collect();
        // a path that climbs stays inside
        assert_eq!(
            paths,
            [
                "README.md",
                "src/main.rs",
                "fn main",
                "tool-1.0/up.rs",
                "Map of the archive"
            ],
            "{name}"
        );
        let span = find(&document, "start();");
        let Anchor::Lines { file, lines, .. } = document.anchor(span) else {
            panic!("{name}: not lines");
        };
        assert_eq!(
            (file.as_str(), lines.first_line),
            ("src/main.rs", 2),
            "{name}"
        );
        assert_eq!(
            document.notices,
            ["Left out of the archive: 1 binary file (logo.png), \
              1 folder of dependencies or build results (tool-1.0/node_modules)."]
        );
    }
    let cut = packed[..packed.len() - 30].to_vec();
    let fault = fault_of(&write(folder.path(), "cut.tgz", cut));
    assert!(
        matches!(fault, lectern_engine::ingest::IngestFault::Damaged { .. }),
        "{fault}"
    );
}

/// *Alice*, as calibre makes Kindle books of this repository's EPUB (see `tests/files/README.md`), says the same in the
/// same sections.
#[test]
fn kindle_books_say_what_their_epub_says() {
    let files = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let epub = ingest(&files.join("../assets/alice-in-wonderland.epub")).unwrap();
    let words = |document: &Document| -> Vec<String> {
        document
            .text
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let headings = |document: &Document| -> Vec<String> {
        let is_heading = |block: &(BlockKind, &str)| matches!(block.0, BlockKind::Heading(_));
        let headings = blocks(document).into_iter().filter(is_heading);
        headings
            .map(|(_, words)| words.replace('\n', " "))
            .collect()
    };
    for name in ["alice-in-wonderland.mobi", "alice-in-wonderland.azw3"] {
        let book = ingest(&files.join("../tests/files").join(name)).unwrap();
        assert_eq!(
            (&book.title, &book.authors),
            (&epub.title, &epub.authors),
            "{name}"
        );
        let (found, expected) = (words(&book), words(&epub));
        let differ = found.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!((differ, found.len()), (None, expected.len()), "{name}");
        assert_eq!(headings(&book), headings(&epub), "{name}");
        let titles = |document: &Document| -> Vec<String> {
            document
                .sections
                .iter()
                .map(|section| section.title.clone())
                .collect()
        };
        assert_eq!(titles(&book), titles(&epub), "{name}");
    }
}

#[test]
fn kindle_books_that_cannot_be_read_say_why() {
    let files = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let whole = std::fs::read(files.join("../tests/files/alice-in-wonderland.mobi")).unwrap();
    let record = usize::from(u16::from_be_bytes([whole[80], whole[81]]));
    let folder = tempfile::tempdir().unwrap();
    let fault = |at: usize, bytes: &[u8]| {
        let mut book = whole.clone();
        book[record + at..][..bytes.len()].copy_from_slice(bytes);
        fault_of(&write(folder.path(), "book.azw", book))
    };
    assert!(matches!(fault(12, &[0, 2]), IngestFault::Drm));
    let packed = fault(0, &17_480u16.to_be_bytes());
    assert!(
        matches!(packed, IngestFault::UnknownFormat { .. }),
        "{packed}"
    );
    let missing = fault(8, &[0, 200]);
    assert!(matches!(missing, IngestFault::Damaged { .. }), "{missing}");
    let other = fault_of(&write(folder.path(), "topaz.azw", b"TPZ0\0\0\0\0"));
    assert!(
        other.to_string().contains("Kindle books of that kind"),
        "{other}"
    );
}
