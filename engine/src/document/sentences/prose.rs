//! Sentences of one paragraph of running text.

use super::Span;
use unicode_segmentation::UnicodeSegmentation;

/// Abbreviations after which a sentence goes on, whatever follows.
const TITLES: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "gen", "rev", "hon", "capt", "lt", "col", "sgt", "maj",
    "gov", "sen", "rep", "messrs", "mme", "mlle", "sr", "sra", "srta", "fr", "vs", "viz", "cf",
    "e.g", "i.e", "eg", "ie", "resp", "approx", "z.b", "bzw", "d.h", "u.a", "mt", "ft", "esq",
    "adm", "cmdr", "pres", "supt", "insp",
];

/// Abbreviations that go on when a number follows ("No. 5", "Fig. 3", "Jan. 12").
const BEFORE_NUMBERS: &[&str] = &[
    "no", "nos", "nr", "fig", "figs", "eq", "eqs", "sec", "ch", "chap", "vol", "vols", "art", "p",
    "pp", "pg", "par", "app", "tab", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep",
    "sept", "oct", "nov", "dec", "c", "ca", "circa", "ver", "v", "ed", "bd", "num", "n", "op",
];

/// Words that open a new sentence even after an initial or "U.S.".
const OPENERS: &[&str] = &[
    "the", "a", "an", "he", "she", "it", "they", "we", "you", "this", "that", "these", "those",
    "in", "on", "at", "but", "and", "however", "there", "its", "his", "her", "their", "as", "for",
    "if", "when", "while", "after", "before", "from", "by", "with", "to", "no", "not", "what",
    "who", "how", "why", "where",
];

/// The sentences of one paragraph, relative to it and not yet trimmed; list items are kept apart.
pub(super) fn sentences(paragraph: &str) -> Vec<Span> {
    let mut found = Vec::new();
    for item in items(paragraph) {
        let words = &paragraph[item.start..item.end];
        let mut start = 0;
        for (at, part) in masked(words).split_sentence_bound_indices() {
            // a quotation mark that opens right after a terminator (scripts without spaces) belongs to what follows
            let end = at
                + words[at..at + part.len()]
                    .trim_end_matches(['“', '‘', '「', '『', '《', '（'])
                    .len();
            if end > start {
                found.push(Span::new(item.start + start, item.start + end));
                start = end;
            }
        }
        if start < words.len() {
            found.push(Span::new(item.start + start, item.end));
        }
    }
    found
}

/// Splits a paragraph before every line that opens a list item.
fn items(paragraph: &str) -> Vec<Span> {
    let mut found: Vec<Span> = Vec::new();
    let mut at = 0;
    for line in paragraph.split_inclusive('\n') {
        let end = at + line.len();
        match found.last_mut() {
            Some(open) if marker(line).is_none() => open.end = end,
            _ => found.push(Span::new(at, end)),
        }
        at = end;
    }
    found
}

/// Bytes of indentation and list marker ("- ", "* ", "• ", "12. ", "3) ", "(4) ") that `line` opens with.
fn marker(line: &str) -> Option<usize> {
    let body = line.trim_start();
    let indent = line.len() - body.len();
    let bullet = ["- ", "* ", "+ ", "• ", "– ", "— ", "· "];
    if let Some(bullet) = bullet.iter().find(|bullet| body.starts_with(**bullet)) {
        return Some(indent + bullet.len());
    }
    let inner = body.strip_prefix('(').unwrap_or(body);
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    let after = inner.get(digits..)?;
    let closed = after.starts_with(". ") || after.starts_with(") ");
    (closed && (1..=3).contains(&digits)).then(|| indent + (body.len() - inner.len()) + digits + 2)
}

/// A copy of equal length in which every character that only looks like the end of a sentence is replaced by one
/// that does not, and every end that Unicode's rules do not see by one that they do.
fn masked(item: &str) -> String {
    let mut bytes = item.as_bytes().to_vec();
    for byte in &mut bytes {
        // a hard-wrapped line goes on: UAX #29 would end a sentence here
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    let opening = marker(item).unwrap_or(0);
    bytes[..opening].fill(b' ');
    for (at, c) in item.char_indices().skip_while(|(at, _)| *at < opening) {
        let after = at + c.len_utf8();
        match c {
            '.' if goes_on_after_period(item, at) => bytes[at] = b',',
            '.' | '!' | '?' => {
                let closed = hide_reference(item, after, &mut bytes);
                if goes_on(item, closed) {
                    bytes[at] = b',';
                }
            }
            // three bytes of a character that is no terminator, made one that is
            '…' if !goes_on(item, after) => bytes[at..after].copy_from_slice(b"..."),
            // Japanese reported speech: 「…。」と言った is one sentence
            '。' | '！' | '？' => {
                let rest = item[after..].trim_start_matches(['」', '』', '”', '）']);
                if rest.len() < item.len() - after && rest.starts_with(['と', 'っ']) {
                    bytes[at..after].copy_from_slice("、".as_bytes());
                }
            }
            _ => {}
        }
    }
    // only whole characters were replaced, by ASCII or by a whole character of the same length
    String::from_utf8(bytes).unwrap_or_else(|_| item.to_owned())
}

/// Makes a reference mark that clings to a terminator ("text.[12]") part of the sentence it closes; returns where
/// the text goes on.
fn hide_reference(item: &str, after: usize, bytes: &mut [u8]) -> usize {
    let mut at = after;
    while let Some(inner) = item[at..].strip_prefix('[') {
        let length = inner
            .bytes()
            .take_while(|b| b.is_ascii_alphanumeric())
            .count();
        if !(1..=4).contains(&length) || !inner[length..].starts_with(']') {
            break;
        }
        bytes[at..at + length + 2].fill(b')');
        at += length + 2;
    }
    at
}

/// Whether the text from `after`, which follows a terminator, still belongs to the sentence: no white space, or a
/// small letter ("Yes!" he said).
fn goes_on(item: &str, after: usize) -> bool {
    let rest = item[after..].trim_start_matches(is_closing);
    let Some(next) = rest.chars().next() else {
        return false;
    };
    if !next.is_whitespace() {
        return !is_terminator(next) && next.is_ascii();
    }
    let rest = rest.trim_start();
    rest.trim_start_matches(is_opening)
        .chars()
        .next()
        .is_some_and(char::is_lowercase)
}

/// Whether the period at `at` belongs to an abbreviation or an initial that the sentence goes on after.
fn goes_on_after_period(item: &str, at: usize) -> bool {
    let before = &item[..at];
    let start = before
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphanumeric() || *c == '.' || *c == '-')
        .last()
        .map_or(at, |(start, _)| start);
    let word = before[start..].to_lowercase();
    if word.is_empty() {
        return false;
    }
    let rest = item[at + 1..].trim_start();
    let spaced = rest.len() < item.len() - at - 1;
    if TITLES.contains(&word.as_str()) {
        return !rest.is_empty();
    }
    if BEFORE_NUMBERS.contains(&word.as_str()) && rest.starts_with(|c: char| c.is_ascii_digit()) {
        return true;
    }
    // an initial, alone ("J. Smith") or last of several ("U.S. Army", "J.F. Kennedy")
    let last = word.rsplit(['.', '-']).next().unwrap_or_default();
    let initial =
        before.chars().next_back().is_some_and(char::is_uppercase) && last.chars().count() == 1;
    if initial && spaced {
        let next: String = rest.chars().take_while(|c| c.is_alphabetic()).collect();
        let capital = next.chars().next().is_some_and(char::is_uppercase);
        return capital
            && before[start..] != *"I"
            && !OPENERS.contains(&next.to_lowercase().as_str());
    }
    false
}

fn is_terminator(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？')
}

fn is_closing(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '”' | '’' | ')' | ']' | '}' | '»' | '」' | '』' | '*' | '_'
    )
}

fn is_opening(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '“' | '‘' | '(' | '[' | '«' | '—' | '–' | '-'
    )
}
