//! What words are compared by: terms that survive case, inflection, number formatting and scripts without spaces.

use crate::document::Span;
use unicode_segmentation::UnicodeSegmentation;
use xxhash_rust::xxh3::xxh3_64;

/// Letters of a stem: "interceptions", "interception" and "intercepted" all begin with `interc`. Truncation is the
/// oldest stemmer, and needs no language; only short verbs need their endings taken off.
const STEM_LETTERS: usize = 6;

/// English words for small numbers, sorted; "one" is seldom a number.
const NUMBER_WORDS: &[(&str, &str)] = &[
    ("eight", "8"),
    ("eleven", "11"),
    ("fifteen", "15"),
    ("fifty", "50"),
    ("five", "5"),
    ("forty", "40"),
    ("four", "4"),
    ("nine", "9"),
    ("seven", "7"),
    ("six", "6"),
    ("ten", "10"),
    ("thirty", "30"),
    ("three", "3"),
    ("twelve", "12"),
    ("twenty", "20"),
    ("two", "2"),
];

/// What makes a number a share of a hundred, in small letters. "16%" is not borne out by "oxygen-16".
const PER_CENT: &[&str] = &[
    "%",
    "％",
    "percent",
    "per cent",
    "prozent",
    "pour cent",
    "por ciento",
    "per cento",
];

/// What a term is, which decides how much it weighs and whether it must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TermKind {
    /// Anything else.
    Word,
    /// Begins with a capital letter and has two letters or more.
    Capitalised,
    /// Holds a digit, or is a number word.
    Number,
    /// Two neighbouring characters of a script without spaces (or a lone one).
    Pair,
}

/// One term of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    /// Hash of the normal form: small letters, possessive and plural `s` taken off, digits without separators and with a
    /// sign if they are a share of a hundred; a pair of neighbouring characters in scripts without spaces.
    pub exact: u64,
    /// Hash of the first letters, equal for most inflections of a word; `exact` where the word is short.
    pub stem: u64,
    /// What it is.
    pub kind: TermKind,
    /// Where it stands.
    pub span: Span,
}

/// The terms of `text`, in order.
pub(super) fn terms(text: &str) -> Vec<Term> {
    let mut found = Vec::new();
    let mut run: Vec<(usize, char)> = Vec::new();
    for (at, word) in text.unicode_word_indices() {
        let mut chars = word.chars();
        if let (Some(c), None) = (chars.next(), chars.next())
            && is_unspaced(c)
        {
            if run
                .last()
                .is_some_and(|(last, c)| last + c.len_utf8() != at)
            {
                push_pairs(&mut run, &mut found);
            }
            run.push((at, c));
            continue;
        }
        push_pairs(&mut run, &mut found);
        if word.chars().any(is_unspaced) {
            // Katakana and Thai come as longer runs
            run.extend(word.char_indices().map(|(inner, c)| (at + inner, c)));
            push_pairs(&mut run, &mut found);
            continue;
        }
        let behind_number = found
            .last()
            .is_some_and(|term: &Term| term.kind == TermKind::Number);
        if behind_number && is_share(word) {
            continue; // the number has it
        }
        push_word(at, word, &text[at + word.len()..], &mut found);
    }
    push_pairs(&mut run, &mut found);
    found
}

/// Splits what Unicode takes for one word where programmers do not (`snake_case`, `a.b`), and pushes its parts.
fn push_word(at: usize, word: &str, after: &str, found: &mut Vec<Term>) {
    let numeric = word.chars().next().is_some_and(char::is_numeric);
    if numeric || !word.contains(['_', '.', ':']) || is_initialism(word) {
        found.extend(term(at, word, after));
        return;
    }
    let mut start = 0;
    for part in word.split_inclusive(['_', '.', ':']) {
        let part_alone = part.trim_end_matches(['_', '.', ':']);
        found.extend(term(at + start, part_alone, ""));
        start += part.len();
    }
}

/// Whether a number before `after` is a share of a hundred.
fn is_share(after: &str) -> bool {
    let after = after.trim_start_matches([' ', '\u{a0}', '\u{202f}']);
    PER_CENT.iter().any(|sign| {
        let begins = after.get(..sign.len());
        begins.is_some_and(|begins| begins.eq_ignore_ascii_case(sign))
    })
}

/// "U.S", "e.g": single letters between periods.
fn is_initialism(word: &str) -> bool {
    word.split('.').all(|part| part.chars().count() <= 1)
}

/// The term of a word that `after` follows.
fn term(at: usize, word: &str, after: &str) -> Option<Term> {
    let first = word.chars().next()?;
    let span = Span::new(at, at + word.len());
    if word.chars().any(char::is_numeric) {
        let normal: String = word
            .chars()
            .filter(|c| !matches!(c, ',' | '\'' | '’' | '_'))
            .map(ascii_digit)
            .flat_map(char::to_lowercase)
            .chain(is_share(after).then_some('%'))
            .collect();
        let exact = xxh3_64(normal.as_bytes());
        return Some(Term {
            exact,
            stem: exact,
            kind: TermKind::Number,
            span,
        });
    }
    let lower = word.to_lowercase().replace('’', "'").replace('.', "");
    if let Ok(at) = NUMBER_WORDS.binary_search_by_key(&lower.as_str(), |(word, _)| word) {
        let sign = if is_share(after) { "%" } else { "" };
        let exact = xxh3_64(format!("{}{sign}", NUMBER_WORDS[at].1).as_bytes());
        return Some(Term {
            exact,
            stem: exact,
            kind: TermKind::Number,
            span,
        });
    }
    let base = lower.strip_suffix("'s").unwrap_or(&lower);
    let normal = match base.strip_suffix('s') {
        Some(singular) if singular.chars().count() >= 3 && !singular.ends_with(['s', 'u', 'i']) => {
            singular
        }
        _ => base,
    };
    let letters = normal.chars().count();
    let kind = if first.is_uppercase() && letters >= 2 {
        TermKind::Capitalised
    } else {
        TermKind::Word
    };
    Some(Term {
        exact: xxh3_64(normal.as_bytes()),
        stem: stem_hash(&stem(normal)),
        kind,
        span,
    })
}

/// What is left of a word without the ending of an English verb or plural, cut off after [`STEM_LETTERS`].
fn stem(word: &str) -> String {
    // "died" is of "die"
    if word.len() == 4 && word.ends_with("ied") {
        return word[..3].to_owned();
    }
    let shorter = [("ing", 3), ("ed", 3), ("e", 3)]
        .into_iter()
        .find_map(|(ending, least)| {
            let rest = word.strip_suffix(ending)?;
            (rest.len() >= least).then_some(rest)
        })
        .unwrap_or(word);
    // "stopped" is of "stop"
    let last = shorter.chars().next_back();
    let single =
        last.and_then(|c| shorter.strip_suffix([c, c].iter().collect::<String>().as_str()));
    let base = match (shorter.len() < word.len(), single, last) {
        (true, Some(single), Some(c)) if single.len() >= 2 => {
            &shorter[..single.len() + c.len_utf8()]
        }
        _ => shorter,
    };
    // "carried" and "counties" are of "carry" and "county"
    let base = match base.strip_suffix('y') {
        Some(rest) if rest.len() >= 3 => format!("{rest}i"),
        _ => base.to_owned(),
    };
    base.chars().take(STEM_LETTERS).collect()
}

/// Stems live in a space of their own, so that the word "interc" is not the stem of "interception".
fn stem_hash(stem: &str) -> u64 {
    xxh3_64(stem.as_bytes()).rotate_left(1)
}

/// Pairs of neighbouring characters of a run without spaces; a lone character stands for itself.
fn push_pairs(run: &mut Vec<(usize, char)>, found: &mut Vec<Term>) {
    let mut push = |from: (usize, char), to: (usize, char)| {
        let pair = if from.0 == to.0 {
            [from.1, '\0']
        } else {
            [from.1, to.1]
        };
        let exact = xxh3_64(&pair.map(|c| (c as u32).to_le_bytes()).concat());
        let span = Span::new(from.0, to.0 + to.1.len_utf8());
        found.push(Term {
            exact,
            stem: exact,
            kind: TermKind::Pair,
            span,
        });
    };
    match run.as_slice() {
        [] => {}
        [only] => push(*only, *only),
        several => several.windows(2).for_each(|pair| push(pair[0], pair[1])),
    }
    run.clear();
}

/// Scripts that put no spaces between words.
fn is_unspaced(c: char) -> bool {
    matches!(c as u32,
        0x0E00..=0x0EFF            // Thai, Lao
        | 0x1000..=0x109F          // Burmese
        | 0x1780..=0x17FF          // Khmer
        | 0x3040..=0x30FF          // Hiragana, Katakana
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF // Han
    )
}

/// Digits of other scripts as ASCII ones.
fn ascii_digit(c: char) -> char {
    let zero = match c as u32 {
        0x0660..=0x0669 => 0x0660,
        0x06F0..=0x06F9 => 0x06F0,
        0x0966..=0x096F => 0x0966,
        0xFF10..=0xFF19 => 0xFF10,
        _ => return c,
    };
    char::from_u32(c as u32 - zero + u32::from(b'0')).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> Vec<u64> {
        terms(text).iter().map(|term| term.exact).collect()
    }

    #[test]
    fn equal_words_have_equal_terms() {
        for (a, b) in [
            ("1,200", "1200"),
            ("٣٠٨", "308"),
            ("Holmes's cats", "holmes cat"),
            ("U.S. ARMY", "us army"),
            ("read_file", "read file"),
            ("Seven sacks", "7 sack"),
            ("黑豹队", "黑豹队"),
            ("12%", "12 %"),
        ] {
            assert_eq!(exact(a), exact(b), "{a} / {b}");
        }
        assert_ne!(exact("12"), exact("1.2"));
        assert_ne!(exact("12"), exact("12%"));
        for share in ["12 percent", "twelve Percent", "12\u{a0}%"] {
            assert_eq!(exact(share), exact("12%"), "{share}");
        }
        assert_eq!(exact("12 per cent")[0], exact("12%")[0]);
        assert_ne!(exact("Norm"), exact("Josh"));
    }

    #[test]
    fn inflections_share_a_stem() {
        for (a, b) in [
            ("interceptions", "intercepted"),
            ("played", "play"),
            ("stopping", "stops"),
            ("rating", "rates"),
            ("died", "die"),
            ("carried", "carry"),
            ("counties", "county"),
        ] {
            assert_eq!(terms(a)[0].stem, terms(b)[0].stem, "{a} / {b}");
        }
        for (a, b) in [("boss", "bus"), ("bring", "bred"), ("red", "ring")] {
            assert_ne!(terms(a)[0].stem, terms(b)[0].stem, "{a} / {b}");
        }
    }

    #[test]
    fn unspaced_scripts_give_pairs() {
        let found = terms("职业碗 Bowl 308分");
        let words: Vec<&str> = found
            .iter()
            .filter_map(|term| term.span.of("职业碗 Bowl 308分"))
            .collect();
        assert_eq!(words, ["职业", "业碗", "Bowl", "308", "分"]);
        assert_eq!(found[2].kind, TermKind::Capitalised);
        assert_eq!(found[3].kind, TermKind::Number);
    }
}
