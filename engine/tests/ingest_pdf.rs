//! PDF text and boxes, from small files of our own and against poppler on real ones.
#![allow(clippy::unwrap_used)]

mod ingest_support;

use ingest_support::*;
use lectern_engine::document::{Anchor, BlockKind, Document, Span};
use lectern_engine::ingest::IngestFault;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

fn quads(document: &Document, words: &str) -> Vec<(u32, [f32; 8])> {
    let start = document
        .text
        .find(words)
        .unwrap_or_else(|| panic!("{words:?} not in {:?}", document.text));
    match document.anchor(Span::new(start, start + words.len())) {
        Anchor::Pages(pages) => pages
            .iter()
            .flat_map(|p| p.quads.iter().map(|q| (p.page, q.0)))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_are_joined_and_hyphens_go_with_boxes_kept() {
    let folder = tempfile::tempdir().unwrap();
    let page = "BT /F1 12 Tf 14 TL 50 250 Td (This sentence is continued on the next) Tj T* \
        (line, where a word is di-) Tj T* (vided. The end of it.) Tj ET";
    let document = ingest(&write(folder.path(), "a.pdf", pdf(&[page], ""))).unwrap();
    assert_eq!(
        document.text,
        "This sentence is continued on the next line, where a word is divided. The end of it."
    );
    let divided = quads(&document, "divided");
    assert_eq!(divided.len(), 2, "one quad for each line");
    let [x0, y0, ..] = divided[1].1;
    assert!((x0 - 50.0).abs() < 0.5, "{x0}");
    assert!(y0 < 300.0 - 222.0 && y0 > 300.0 - 222.0 - 13.0, "{y0}");
}

#[test]
fn comments_in_a_page_do_not_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let page = "0 g\nBT\n   % Move there\n   /F1 12 Tf\n 50 200 Td (Before 100%) Tj\n\n   % and here\n 0 -30 Td (behind it) Tj ET";
    let document = ingest(&write(folder.path(), "c.pdf", pdf(&[page], ""))).unwrap();
    assert!(document.text.contains("Before 100%") && document.text.contains("behind it"));
    let Some(data) = data() else { return };
    let real = ingest(&data.join("formats/pypdf/Sample_Td-matrix.pdf")).unwrap();
    assert_eq!(real.text.matches("Hello PDF").count(), 4, "{}", real.text);
}

#[test]
fn turned_pages_and_crop_boxes_are_in_displayed_space() {
    let folder = tempfile::tempdir().unwrap();
    let page = "BT /F1 10 Tf 60 200 Td (Anchor) Tj ET";
    // Helvetica: "Anchor" at 10 points is 31.68 wide. The page is 400 x 300.
    let cases = [
        ("", [60.0, 300.0 - 200.0]),
        ("/CropBox [50 100 350 290]", [10.0, 290.0 - 200.0]),
        ("/Rotate 90", [200.0, 60.0]),
        ("/Rotate 180", [340.0, 200.0]),
        ("/Rotate 270", [300.0 - 200.0, 400.0 - 60.0]),
    ];
    for (index, (extra, origin)) in cases.into_iter().enumerate() {
        let path = write(folder.path(), &format!("{index}.pdf"), pdf(&[page], extra));
        let document = ingest(&path).unwrap();
        let all = quads(&document, "Anchor");
        let x = |q: &[f32; 8]| [q[0], q[2], q[4], q[6]];
        let y = |q: &[f32; 8]| [q[1], q[3], q[5], q[7]];
        let fold = |v: Vec<f32>| {
            (
                v.iter().copied().fold(f32::INFINITY, f32::min),
                v.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            )
        };
        let (x0, x1) = fold(all.iter().flat_map(|(_, q)| x(q)).collect());
        let (y0, y1) = fold(all.iter().flat_map(|(_, q)| y(q)).collect());
        let [ox, oy] = origin;
        assert!(
            x0 - 4.0 < ox && ox < x1 + 4.0 && y0 - 4.0 < oy && oy < y1 + 4.0,
            "{extra}: {x0} {y0} {x1} {y1}"
        );
        let long = (x1 - x0).max(y1 - y0);
        assert!((long - 31.68).abs() < 0.6, "{extra}: {long}");
        let sideways = matches!(index, 2 | 4);
        assert_eq!(sideways, y1 - y0 > x1 - x0, "{extra}");
        let size = (document.pages[0].width, document.pages[0].height);
        let expected = match index {
            1 => (300.0, 190.0),
            2 | 4 => (300.0, 400.0),
            _ => (400.0, 300.0),
        };
        assert_eq!(size, expected, "{extra}");
    }
}

#[test]
fn columns_are_read_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut page =
        String::from("BT /F1 14 Tf 90 270 Td (A title that runs across both columns) Tj ET\n");
    for line in 0..8 {
        let y = 240 - line * 12;
        page += &format!("BT /F1 9 Tf 40 {y} Td (left column words number {line}) Tj ET\n");
        page += &format!("BT /F1 9 Tf 220 {y} Td (right column words number {line}) Tj ET\n");
    }
    let document = ingest(&write(folder.path(), "columns.pdf", pdf(&[&page], ""))).unwrap();
    let at = |words: &str| document.text.find(words).unwrap();
    assert!(at("A title") < at("left column words number 0"));
    assert!(at("left column words number 7") < at("right column words number 0"));
    assert_eq!(document.blocks[0].kind, BlockKind::Heading(1));
}

#[test]
fn headers_and_page_numbers_are_left_out_and_paragraphs_go_on_over_pages() {
    let folder = tempfile::tempdir().unwrap();
    let pages: Vec<String> = (1..=5)
        .map(|n| {
            format!(
                "BT /F1 8 Tf 40 285 Td (THE RUNNING HEAD) Tj ET BT /F1 8 Tf 200 12 Td ({n}) Tj ET \
                 BT /F1 10 Tf 12 TL 40 200 Td (Page number {} begins here and says something) Tj T* \
                 (that goes on without an end until the next) Tj ET",
                ["one", "two", "three", "four", "five"][n - 1]
            )
        })
        .collect();
    let pages: Vec<String> = pages
        .iter()
        .enumerate()
        .map(|(i, p)| {
            if i == 0 {
                p.clone()
            } else {
                p.replace("(Page", "(page")
            }
        })
        .collect();
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let document = ingest(&write(folder.path(), "book.pdf", pdf(&pages, ""))).unwrap();
    assert!(!document.text.contains("RUNNING"), "{}", document.text);
    assert!(
        document
            .text
            .contains("until the next page number two begins"),
        "{}",
        document.text
    );
    assert_eq!(document.blocks.len(), 1);
    let across = quads(&document, "the next page number two");
    assert_eq!(
        across.iter().map(|(page, _)| *page).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn a_broken_cross_reference_table_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let good = pdf(&["BT /F1 12 Tf 50 100 Td (Still readable) Tj ET"], "");
    let text = String::from_utf8(good).unwrap();
    let broken = text.replace("startxref\n", "startxref\n9");
    let cut = text[..text.find("xref\n0").unwrap()].to_owned();
    let at = text.find("/Length ").unwrap();
    let wrong_length = format!(
        "{}/Length 9999 >>{}",
        &text[..at],
        &text[at + text[at..].find(">>").unwrap() + 2..]
    );
    for (name, bytes) in [
        ("broken.pdf", broken),
        ("cut.pdf", cut),
        ("length.pdf", wrong_length),
    ] {
        let document = ingest(&write(folder.path(), name, bytes)).unwrap();
        assert_eq!(document.text, "Still readable", "{name}");
    }
}

#[test]
fn passwords_are_asked_for_and_checked() {
    let Some(data) = data() else { return };
    let locked = data.join("formats/py-pdf-sample-files/005-libreoffice-writer-password/libreoffice-writer-password.pdf");
    assert_eq!(fault_of(&locked), IngestFault::PasswordNeeded);
    let wrong = ingest_with(&locked, Some("not this"), Default::default()).unwrap_err();
    assert_eq!(wrong.fault, IngestFault::WrongPassword);
    let opened = ingest_with(&locked, Some("openpassword"), Default::default()).unwrap();
    assert!(!opened.blocks.is_empty());
    // typed with a feminine ordinal and an invisible hyphen, kept without
    let prepared = data.join("formats/pdfjs/saslprep-r6.pdf");
    let opened = ingest_with(&prepared, Some("S\u{aa}SL\u{ad}prep"), Default::default()).unwrap();
    assert!(!opened.blocks.is_empty());
}

#[test]
fn how_a_file_is_encrypted_may_stand_in_its_trailer() {
    let folder = tempfile::tempdir().unwrap();
    let locked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/files/locked.pdf");
    let locked = std::fs::read(locked).unwrap();
    let find = |what: &[u8]| locked.windows(what.len()).position(|w| w == what).unwrap();
    let object = b"6 0 obj";
    let dictionary = &locked[find(object) + object.len()..find(b"endobj\nxref")];
    let reference = b"6 0 R\n>>\nstartxref";
    let at = find(reference);
    let direct = [&locked[..at], dictionary, &locked[at + 5..]].concat();
    let direct = write(folder.path(), "direct.pdf", direct);
    assert_eq!(fault_of(&direct), IngestFault::PasswordNeeded);
    let with = |path: &Path, password| ingest_with(path, Some(password), Default::default());
    let wrong = with(&direct, "not this").unwrap_err();
    assert_eq!(wrong.fault, IngestFault::WrongPassword);
    let opened = with(&direct, "petrel").unwrap();
    assert!(opened.text.contains("Marta Olsen"), "{}", opened.text);
    // two made by others, with AES-256
    let Some(data) = data() else { return };
    for (name, password) in [("issue6010_1.pdf", "abc"), ("issue6010_2.pdf", "æøå")] {
        let path = data.join("formats/pdfjs").join(name);
        assert_eq!(fault_of(&path), IngestFault::PasswordNeeded);
        let opened = with(&path, password).unwrap();
        assert!(!opened.text.is_empty(), "{name}");
    }
}

/// Words of a text, letters and digits only, in the compatibility form (ligatures spelled out).
fn words(text: &str) -> Vec<String> {
    use unicode_normalization::UnicodeNormalization;
    let text: String = text.nfkc().flat_map(char::to_lowercase).collect();
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect()
}

fn pdftotext(path: &Path, options: &[&str]) -> String {
    let output = Command::new("pdftotext")
        .arg("-q")
        .args(options)
        .arg(path)
        .arg("-")
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// (precision, recall) of words as a multiset.
fn precision_recall(ours: &[String], theirs: &[String]) -> (f64, f64) {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in theirs {
        *left.entry(word).or_default() += 1;
    }
    let common = ours
        .iter()
        .filter(|word| {
            left.get_mut(word.as_str())
                .filter(|n| **n > 0)
                .map(|n| *n -= 1)
                .is_some()
        })
        .count();
    (
        common as f64 / ours.len().max(1) as f64,
        common as f64 / theirs.len().max(1) as f64,
    )
}

/// Lines of poppler's text without running heads and page numbers: the first and last two lines of each page whose
/// words, numbers aside, recur on three pages. An independent and simpler rule than ours.
fn without_furniture(text: &str) -> String {
    let pages: Vec<Vec<&str>> = text
        .split('\u{c}')
        .map(|page| page.lines().filter(|l| !l.trim().is_empty()).collect())
        .collect();
    let edge = |page: &[&str], index: usize| index < 3 || index + 4 > page.len();
    let key = |line: &str| {
        let mut words: Vec<String> = words(line)
            .into_iter()
            .map(|w| {
                if w.chars().all(|c| c.is_ascii_digit() || "ivxl".contains(c)) {
                    "#".into()
                } else {
                    w
                }
            })
            .collect();
        words.sort();
        words.join(" ")
    };
    let mut counts: HashMap<String, usize> = HashMap::new();
    for page in &pages {
        for (_, line) in page.iter().enumerate().filter(|(i, _)| edge(page, *i)) {
            *counts.entry(key(line)).or_default() += 1;
        }
    }
    let mut kept = String::new();
    for page in &pages {
        for (index, line) in page.iter().enumerate() {
            if !(edge(page, index) && counts.get(&key(line)).is_some_and(|n| *n >= 3)) {
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    kept
}

#[test]
fn words_agree_with_poppler() {
    let Some(data) = data() else { return };
    if !poppler() {
        return;
    }
    let formats = data.join("formats");
    // File, options for poppler, pages, lowest F1. Poppler does not leave out what the crop box hides (the printer's
    // marks and line numbers of freeculture.pdf), so there it is told the rectangle.
    let visible = ["-x", "41", "-y", "41", "-W", "397", "-H", "595"];
    let bars: [(&str, &[&str], std::ops::RangeInclusive<u32>, f64); 7] = [
        ("debian-policy/policy.pdf", &[], 1..=193, 0.99),
        ("pdfjs/tracemonkey.pdf", &[], 1..=14, 0.99),
        ("pdfjs/freeculture.pdf", &visible, 40..=300, 0.98),
        ("docling/pdf/sources/2305.03393v1-pg9.pdf", &[], 1..=1, 0.98),
        ("docling/pdf/sources/multi_page.pdf", &[], 1..=5, 0.98),
        ("docling/pdf/sources/normal_4pages.pdf", &[], 1..=4, 0.98),
        (
            "py-pdf-sample-files/026-latex-multicolumn/multicolumn.pdf",
            &[],
            1..=5,
            0.97,
        ),
    ];
    for (name, options, pages, bar) in bars {
        let path = formats.join(name);
        let document = ingest(&path).unwrap();
        let [first, last] = [pages.start(), pages.end()].map(u32::to_string);
        let options = [&["-f", &first, "-l", &last], options].concat();
        let theirs = words(&without_furniture(&pdftotext(&path, &options)));
        let text: Vec<&str> = document
            .pages
            .iter()
            .filter(|page| pages.contains(&page.number))
            .map(|page| page.span.of(&document.text).unwrap())
            .collect();
        let (precision, recall) = precision_recall(&words(&text.join("\n")), &theirs);
        let f1 = 2.0 * precision * recall / (precision + recall);
        println!("{name}: precision {precision:.4}, recall {recall:.4}, F1 {f1:.4}");
        assert!(f1 >= bar, "{name}: F1 {f1:.4} is below {bar}");
    }
}

/// Kendall's tau between the order of words that occur once in both texts.
fn order_agreement(ours: &[String], theirs: &[String]) -> f64 {
    let once = |words: &[String]| {
        let mut places: HashMap<String, Option<usize>> = HashMap::new();
        for (index, word) in words.iter().enumerate() {
            places
                .entry(word.clone())
                .and_modify(|p| *p = None)
                .or_insert(Some(index));
        }
        places
    };
    let (a, b) = (once(ours), once(theirs));
    let mut pairs: Vec<(usize, usize)> = a
        .iter()
        .filter_map(|(word, place)| Some(((*place)?, (*b.get(word)?)?)))
        .collect();
    pairs.sort_unstable();
    let (mut agree, mut all) = (0i64, 0i64);
    for i in 0..pairs.len() {
        for j in i + 1..pairs.len() {
            agree += if pairs[i].1 < pairs[j].1 { 1 } else { -1 };
            all += 1;
        }
    }
    agree as f64 / all.max(1) as f64
}

#[test]
fn two_columns_are_read_in_the_order_of_poppler() {
    let Some(data) = data() else { return };
    if !poppler() {
        return;
    }
    let path = data.join("formats/pdfjs/tracemonkey.pdf");
    let document = ingest(&path).unwrap();
    let mut sum = 0.0;
    for page in &document.pages {
        let number = page.number.to_string();
        let theirs = words(&pdftotext(&path, &["-f", &number, "-l", &number]));
        let ours = words(page.span.of(&document.text).unwrap());
        let tau = order_agreement(&ours, &theirs);
        println!("page {number}: tau {tau:.3}");
        sum += tau;
    }
    let mean = sum / document.pages.len() as f64;
    assert!(mean >= 0.95, "mean tau {mean:.3}");
}

#[test]
fn boxes_agree_with_poppler() {
    let Some(data) = data() else { return };
    if !poppler() {
        return;
    }
    for name in ["debian-policy/policy.pdf", "pdfjs/tracemonkey.pdf"] {
        let path = data.join("formats").join(name);
        let document = ingest(&path).unwrap();
        let (mut found, mut asked, mut worst) = (0usize, 0usize, 0.0f32);
        let bbox = pdftotext(&path, &["-bbox", "-f", "3", "-l", "12"]);
        let mut page = 2;
        let mut boxes: Vec<(String, [f32; 4])> = Vec::new();
        for line in bbox.lines() {
            if line.contains("<page ") {
                page += 1;
                boxes = word_boxes(&document, page);
            }
            let Some((word, sides)) = parse_word(line) else {
                continue;
            };
            if word.chars().count() < 5 || !word.chars().all(char::is_alphabetic) {
                continue;
            }
            let nearest = boxes
                .iter()
                .filter(|(w, _)| *w == word)
                .map(|(_, b)| {
                    b.iter()
                        .zip(sides)
                        .map(|(a, b)| (a - b).abs())
                        .fold(0.0, f32::max)
                })
                .fold(f32::INFINITY, f32::min);
            if nearest.is_finite() {
                asked += 1;
                if nearest <= 2.0 {
                    found += 1;
                    worst = worst.max(nearest);
                }
            }
        }
        let share = found as f64 / asked.max(1) as f64;
        println!(
            "{name}: {found} of {asked} words within 2 points on every side; the farthest of them {worst:.2}"
        );
        assert!(asked > 500 && share >= 0.97, "{name}: {share:.3}");
    }
}

/// The words of a page with the box around their characters.
fn word_boxes(document: &Document, number: u32) -> Vec<(String, [f32; 4])> {
    let Some(page) = document.pages.iter().find(|p| p.number == number) else {
        return Vec::new();
    };
    let mut words = Vec::new();
    let mut word = String::new();
    let mut sides = [
        f32::INFINITY,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NEG_INFINITY,
    ];
    for (character, b) in page
        .span
        .of(&document.text)
        .unwrap()
        .chars()
        .zip(&page.boxes)
    {
        if character.is_alphabetic() {
            word.push(character);
            sides = [
                sides[0].min(b[0]),
                sides[1].min(b[1]),
                sides[2].max(b[2]),
                sides[3].max(b[3]),
            ];
        } else if !word.is_empty() {
            words.push((std::mem::take(&mut word), sides));
            sides = [
                f32::INFINITY,
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::NEG_INFINITY,
            ];
        }
    }
    words
}

/// `<word xMin="1" yMin="2" xMax="3" yMax="4">text</word>`
fn parse_word(line: &str) -> Option<(String, [f32; 4])> {
    let mut parts = line.trim().strip_prefix("<word ")?.split('"');
    let mut sides = [0.0; 4];
    for side in &mut sides {
        parts.next()?;
        *side = parts.next()?.parse().ok()?;
    }
    let text = parts.next()?.strip_prefix('>')?.strip_suffix("</word>")?;
    Some((text.to_owned(), sides))
}
