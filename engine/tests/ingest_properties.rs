//! Whatever comes in, what comes out is a sound document or a reason. In this process, for speed: these inputs are
//! small.
#![allow(clippy::unwrap_used)]

mod ingest_support;

use ingest_support::*;
use lectern_engine::document::{Anchor, Document, DocumentKind, Span};
use lectern_engine::ingest::{IngestError, IngestFault, Limits, extract_here};
use proptest::prelude::*;

fn extract_bytes(name: &str, bytes: &[u8]) -> Result<Document, IngestError> {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), name, bytes);
    extract_here(&path, None, &Limits::default(), &mut |_| {})
}

/// Fails if a document is unsound; a reason is fine, except that the document contradicts itself.
fn sound(result: &Result<Document, IngestError>) -> Result<(), TestCaseError> {
    match result {
        Ok(document) => {
            prop_assert_eq!(document.check(), Ok(()));
            anchors_hold(document)
        }
        Err(error) => {
            prop_assert!(
                !matches!(error.fault, IngestFault::Unsound { .. }),
                "{}",
                error
            );
            Ok(())
        }
    }
}

/// The anchor of every block leads back to that block.
fn anchors_hold(document: &Document) -> Result<(), TestCaseError> {
    for (index, block) in document.blocks.iter().enumerate() {
        let found = match document.anchor(block.span) {
            Anchor::Pages(pages) => {
                prop_assert!(!pages.is_empty());
                continue;
            }
            Anchor::Element { block, .. } | Anchor::Flow { block, .. } => block,
            Anchor::Lines {
                block: found,
                lines,
                file,
                ..
            } => {
                prop_assert!(!file.is_empty());
                prop_assert!(lines.first_line <= lines.last_line);
                let text = block.span.of(&document.text).unwrap();
                prop_assert_eq!(
                    lines.last_line - lines.first_line,
                    text.matches('\n').count() as u32
                );
                found
            }
        };
        prop_assert_eq!(found as usize, index);
    }
    // Spans that mean nothing are narrowed, not fatal.
    for span in [
        Span::new(0, usize::MAX),
        Span::new(usize::MAX, usize::MAX),
        Span::new(1, 2),
    ] {
        document.anchor(span);
    }
    Ok(())
}

fn rtf_piece() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "\\par ",
        "\\pard",
        "\\b ",
        "\\cell",
        "\\row",
        "\\intbl",
        "\\footnote ",
        "\\u-10179?",
        "\\u8220",
        "\\'e9",
        "\\'",
        "\\bin3 ",
        "\\outlinelevel1",
        "\\ls1\\ilvl2",
        "\\f1",
        "{\\fonttbl{\\f1\\fcharset128 x;}}",
        "{\\*\\x y}",
        "\\uc2 ",
        "\\ansicpg932",
        "\\",
        "\n",
        "text ",
        "\\v ",
        "\\trowd",
    ];
    prop::sample::select(words.to_vec()).prop_map(str::to_owned)
}

/// Elements of all the office formats in one pot, opened and closed in any order.
fn office_piece() -> impl Strategy<Value = String> {
    let names = [
        "p",
        "r",
        "t",
        "tbl",
        "tr",
        "tc",
        "txbxContent",
        "del",
        "oMath",
        "sup",
        "sp",
        "h",
        "span",
        "list",
        "list-item",
        "note",
        "table-row",
        "table-cell",
        "frame",
        "page",
        "title",
        "annotation",
    ];
    let empty = [
        "<tab/>",
        "<br/>",
        "<s c='3'/>",
        "<ph type='title'/>",
        "<pPr lvl='99'/>",
        "<ilvl val='70000'/>",
        "<outlineLvl val='300'/>",
        "<table-cell number-columns-repeated='9999999'/>",
        "<numId val='1'/>",
        "&lt;",
        "&#0;",
        "&x;",
        "words ",
        "\u{a0}",
    ];
    prop_oneof![
        3 => (prop::sample::select(names.to_vec()), prop::sample::select(empty.to_vec()))
            .prop_map(|(name, inner)| format!("<{name}>{inner}</{name}>")),
        2 => prop::sample::select(names.to_vec()).prop_map(|name| format!("<p><{name}>a<t>b</t></{name}>c</p>")),
        1 => prop::sample::select(empty.to_vec()).prop_map(str::to_owned),
    ]
}

fn fragment() -> impl Strategy<Value = String> {
    let tag = prop::sample::select(vec![
        "p",
        "div",
        "h1",
        "h2",
        "h6",
        "ul",
        "ol",
        "li",
        "table",
        "tr",
        "td",
        "th",
        "pre",
        "code",
        "b",
        "em",
        "br",
        "blockquote",
        "script",
        "style",
        "title",
        "a",
        "img alt='x y z'",
        "aside class=footnote",
        "section hidden",
        "figcaption",
        "dl",
        "dt",
        "dd",
        "math alttext='E'",
        "ruby",
        "rt",
        "span",
        "q",
        "body",
        "template",
        "svg",
    ]);
    prop_oneof![
        4 => "[ -~\u{a0}\u{ad}\u{e9}\u{4e2d}\u{5d0}\u{1f600}\n\t]{0,20}",
        3 => tag.clone().prop_map(|t| format!("<{t}>")),
        3 => tag.prop_map(|t| format!("</{}>", t.split(' ').next().unwrap())),
        1 => Just("<!--".to_owned()),
        1 => Just("&amp;&#0;&#x85;&nbsp;".to_owned()),
        1 => Just("<![CDATA[x]]>".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_html(parts in prop::collection::vec(fragment(), 0..60)) {
        sound(&extract_bytes("a.html", parts.concat().as_bytes()))?;
    }

    #[test]
    fn any_chapter(parts in prop::collection::vec(fragment(), 0..40)) {
        let page = parts.concat();
        sound(&extract_bytes("a.epub", &epub(&[&page, "<p>end</p>", &page])))?;
    }

    #[test]
    fn any_markdown(text in "([#>*`|\\-\\[\\]()_~:^0-9. ]{0,4}[a-z\u{e9}\u{4e2d}<>/ ]{0,8}\n{0,2}){0,30}") {
        sound(&extract_bytes("a.md", text.as_bytes()))?;
    }

    #[test]
    fn any_text(text in "([ \t]{0,6}[A-Za-z\u{4e2d}.\u{a0}]{0,12}[\n\r\u{c}\u{2028}]{0,3}|CHAPTER [IVX1-9]{1,3}\n\n|\u{feff}){0,30}") {
        sound(&extract_bytes("a.txt", text.as_bytes()))?;
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400), name in prop::sample::select(vec![
        "a.txt", "a.html", "a.md", "a.rs", "a.epub", "a.pdf", "a",
    ])) {
        sound(&extract_bytes(name, &bytes))?;
    }

    #[test]
    fn any_source(lines in prop::collection::vec("[ \t]{0,4}[a-z{}();\u{e9}\u{b}]{0,10}", 0..350)) {
        let result = extract_bytes("a.rs", lines.join("\n").as_bytes());
        sound(&result)?;
        if let Ok(document) = result {
            prop_assert_eq!(document.kind, DocumentKind::Code);
            // Each line stands where the file has it.
            for block in &document.blocks[1..] {
                let Anchor::Lines { lines: at, .. } = document.anchor(block.span) else { panic!() };
                let first = block.span.of(&document.text).unwrap().lines().next().unwrap();
                let line = lines[at.first_line as usize - 1].replace('\u{b}', " ");
                prop_assert_eq!(first.trim_end(), line.trim_end());
            }
        }
    }

    #[test]
    fn damaged_pdfs(cut in 0usize..100, flips in prop::collection::vec((0usize..10_000, any::<u8>()), 0..12)) {
        let mut bytes = pdf(&["BT /F1 12 Tf 50 100 Td (Some words to lose) Tj ET", "BT /F1 9 Tf [(a) -300 (b)] TJ ET"], "");
        let length = bytes.len();
        for (at, value) in flips {
            bytes[at % length] = value;
        }
        bytes.truncate(length * (100 - cut) / 100);
        let outcome = std::panic::catch_unwind(|| extract_bytes("a.pdf", &bytes));
        // A panic of the parser is caught by the child; here it only must not be ours to fix.
        if let Ok(result) = outcome {
            sound(&result)?;
        }
    }

    #[test]
    fn any_rtf(parts in prop::collection::vec(rtf_piece(), 0..60), noise: Vec<u8>) {
        let mut bytes = b"{\\rtf1 ".to_vec();
        parts.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
        bytes.extend(noise);
        sound(&extract_bytes("a.rtf", &bytes))?;
    }

    #[test]
    fn any_office_part(parts in prop::collection::vec(office_piece(), 0..40)) {
        let xml = format!("<d><body>{}</body></d>", parts.concat());
        for (name, part) in [("a.docx", "word/document.xml"), ("a.odt", "content.xml")] {
            sound(&extract_bytes(name, &zip(&[(part, xml.as_bytes())])))?;
        }
        let slide = [
            ("ppt/presentation.xml", "<p xmlns:r='r'><sldId r:id='a'/></p>".as_bytes()),
            ("ppt/_rels/presentation.xml.rels", b"<R><Relationship Id='a' Type='slide' Target='s.xml'/></R>"),
            ("ppt/s.xml", xml.as_bytes()),
        ];
        sound(&extract_bytes("a.pptx", &zip(&slide)))?;
    }

    #[test]
    fn any_table_or_message(text in "([a-z]{0,4}[,;|\t\"\n:<>]{0,3}){0,40}", noise: Vec<u8>) {
        sound(&extract_bytes("a.csv", text.as_bytes()))?;
        let message = [b"From: a\nSubject: b\n\n".as_slice(), text.as_bytes(), &noise].concat();
        sound(&extract_bytes("a.eml", &message))?;
        sound(&extract_bytes("a.tsv", &noise))?;
        sound(&extract_bytes("a.tar", &[vec![b'a'; 257], b"ustar".to_vec(), noise].concat()))?;
    }

    #[test]
    fn damaged_epubs(cut in 0usize..100, flips in prop::collection::vec((0usize..10_000, any::<u8>()), 0..12)) {
        let mut bytes = epub(&["<html><body><h1>A</h1><p>b</p></body></html>"]);
        let length = bytes.len();
        for (at, value) in flips {
            bytes[at % length] = value;
        }
        bytes.truncate(length * (100 - cut) / 100);
        sound(&extract_bytes("a.epub", &bytes))?;
    }

    #[test]
    fn damaged_kindle_books(cut in 0usize..100, flips in prop::collection::vec((0usize..2_000, any::<u8>()), 0..12)) {
        let mut bytes = include_bytes!("../../tests/files/alice-in-wonderland.azw3").to_vec();
        let length = bytes.len();
        for (at, value) in flips {
            bytes[at] = value;
        }
        bytes.truncate(length * (100 - cut) / 100);
        sound(&extract_bytes("a.azw3", &bytes))?;
    }
}
