//! What is highlighted on a page is what is cited, as an independent reader of the page sees it.
#![allow(clippy::unwrap_used)]

mod ingest_support;

use ingest_support::*;
use lectern_engine::document::{Anchor, Document, Span};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use unicode_normalization::UnicodeNormalization;

/// A word on a page as poppler sees it: its letters and the middle of its box, in points from the top left.
struct Seen {
    letters: String,
    x: f32,
    y: f32,
}

/// Letters and digits only, in the compatibility form (ligatures spelled out).
fn letters(text: &str) -> String {
    text.nfkc().filter(|c| c.is_alphanumeric()).collect()
}

/// The words of every page, by page number.
fn seen_by_poppler(path: &Path) -> HashMap<u32, Vec<Seen>> {
    let output = Command::new("pdftotext")
        .args(["-bbox".as_ref(), path.as_os_str(), "-".as_ref()])
        .output()
        .unwrap();
    let mut pages: HashMap<u32, Vec<Seen>> = HashMap::new();
    let mut page = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        page += u32::from(line.contains("<page "));
        let Some(word) = line.trim().strip_prefix("<word ") else {
            continue;
        };
        let sides: Vec<f32> = word
            .split('"')
            .skip(1)
            .step_by(2)
            .take(4)
            .map(|s| s.parse().unwrap())
            .collect();
        let text = word
            .split_once('>')
            .unwrap()
            .1
            .strip_suffix("</word>")
            .unwrap();
        let entities = [
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&apos;", "'"),
            ("&#39;", "'"),
            ("&amp;", "&"),
        ];
        let text = entities
            .iter()
            .fold(text.to_owned(), |text, (name, is)| text.replace(name, is));
        pages.entry(page).or_default().push(Seen {
            letters: letters(&text),
            x: (sides[0] + sides[2]) / 2.0,
            y: (sides[1] + sides[3]) / 2.0,
        });
    }
    pages
}

/// A rectangle of a highlight: its page, and its left, top, right and bottom in points from the top left.
type Rectangle = (u32, [f32; 4]);

/// A sentence's highlight, line after line.
fn highlight(document: &Document, sentence: Span) -> Vec<Rectangle> {
    let Anchor::Pages(marks) = document.anchor(sentence) else {
        panic!("a PDF has pages");
    };
    let quads = marks
        .iter()
        .flat_map(|mark| mark.quads.iter().map(|quad| (mark.page, quad)));
    quads
        .map(|(page, quad)| {
            let corner = |axis: usize| quad.0.iter().copied().skip(axis).step_by(2);
            let least = |axis| corner(axis).fold(f32::MAX, f32::min);
            let most = |axis| corner(axis).fold(f32::MIN, f32::max);
            (page, [least(0), least(1), most(0), most(1)])
        })
        .collect()
}

/// The letters of the words whose middle lies in the highlight, from left to right in each line.
fn words_under(highlight: &[Rectangle], pages: &HashMap<u32, Vec<Seen>>) -> String {
    let mut letters = String::new();
    for (page, [left, top, right, bottom]) in highlight {
        let within =
            |seen: &&Seen| (left..=right).contains(&&seen.x) && (top..=bottom).contains(&&seen.y);
        let mut under: Vec<&Seen> = pages[page].iter().filter(within).collect();
        under.sort_by(|a, b| a.x.total_cmp(&b.x));
        under
            .iter()
            .for_each(|seen| letters.push_str(&seen.letters));
    }
    letters
}

/// The letters of the highlight as poppler cuts them out of the page, letter by letter.
fn cut_out(path: &Path, highlight: &[Rectangle]) -> String {
    const DOTS_A_POINT: f32 = 10.0;
    let mut cut = String::new();
    for (page, sides) in highlight {
        let [left, top, right, bottom] = sides.map(|side| (side * DOTS_A_POINT).round());
        let numbers = [
            ("-f", f64::from(*page)),
            ("-l", f64::from(*page)),
            ("-r", f64::from(72.0 * DOTS_A_POINT)),
            ("-x", left.into()),
            ("-y", top.into()),
            ("-W", (right - left).into()),
            ("-H", (bottom - top).into()),
        ];
        let numbers = numbers.map(|(name, number)| [name.to_owned(), number.to_string()]);
        let output = Command::new("pdftotext")
            .args(numbers.as_flattened())
            .args([path.as_os_str(), "-".as_ref()])
            .output()
            .unwrap();
        cut.push_str(&letters(&String::from_utf8_lossy(&output.stdout)));
    }
    cut
}

#[test]
fn the_highlight_of_a_sentence_covers_its_words_and_no_others() {
    let Some(data) = data() else { return };
    if !poppler() {
        return;
    }
    let (mut asked, mut exact) = (0, 0);
    for (name, count) in [
        ("debian-policy/policy.pdf", 50),
        ("pdfjs/tracemonkey.pdf", 40),
        ("docling/pdf/sources/normal_4pages.pdf", 10),
    ] {
        let path = data.join("formats").join(name);
        let document = ingest(&path).unwrap();
        let pages = seen_by_poppler(&path);
        let mut sentences = document.sentences();
        sentences.retain(|span| span.of(&document.text).unwrap().split_whitespace().count() >= 6);
        let step = sentences.len() / count;
        for sentence in sentences.into_iter().step_by(step).take(count) {
            let cited = letters(sentence.of(&document.text).unwrap());
            let highlight = highlight(&document, sentence);
            let mut covered = words_under(&highlight, &pages);
            if covered != cited {
                // It may begin or end inside of what poppler takes for one word.
                covered = cut_out(&path, &highlight);
            }
            asked += 1;
            exact += usize::from(covered == cited);
            if covered != cited {
                println!("{name}:\n  cited   {cited}\n  covered {covered}");
            }
        }
    }
    println!("{exact} of {asked} highlights cover exactly the words of their sentence");
    assert_eq!((exact, asked), (100, 100));
}
