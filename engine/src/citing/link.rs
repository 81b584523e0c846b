//! Links that open Lectern at cited words: `lectern://open/<document>?start=<byte>&end=<byte>&words=<fingerprint>`.
//!
//! `<document>` is the document's id, its 16 hexadecimal digits: the same content has the same id in everybody's library.
//! `start` and `end` count bytes of its canonical text. `words` is a fingerprint of the words between them; a link without
//! it is followed wherever it points. With it, words that have moved since, because the document was taken in anew, are
//! found where they stand now, and words that are gone are not mistaken for others.
//!
//! The fingerprint is Rabin and Karp's: the bytes as digits of a number, modulo a prime. It can be rolled along a text, so
//! that one pass finds words of any length. It guards against accidents, not against forgery: whoever can forge it may as
//! well leave it out.
//!
//! A link comes from anywhere: a web page, a mail. All it can do is to name a place in a document that is in the library.

use crate::document::Span;
use std::fmt;
use thiserror::Error;

/// What every link begins with.
pub const SCHEME: &str = "lectern:";

/// Bytes of a link at most; our own have fewer than 120.
const LONGEST_LINK: usize = 512;

/// Bytes of text that a link may name: a long quotation, not a book.
const LONGEST_SPAN: usize = 1 << 16;

/// The largest prime below 2^61: products fit in 128 bits.
const PRIME: u128 = (1 << 61) - 1;

/// The value of a byte's place is this many times that of the place behind it; any number far above 256 will do.
const BASE: u128 = 0x0009_7a6f_1c5d_3e2b;

/// A place in a document, as a link names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Document id.
    pub document: String,
    /// Bytes of the canonical text.
    pub span: Span,
    /// Of the words that stood there when the link was made.
    pub words: Option<Fingerprint>,
}

/// Of words, whatever their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// Why a link is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinkError {
    /// It is no link of this program.
    #[error("a link of {bytes} bytes is longer than any that Lectern makes")]
    TooLong {
        /// Of the link.
        bytes: usize,
    },
    /// Another scheme, or another wish than to open.
    #[error("{link:?} is not a link into Lectern: it does not begin with lectern://open/")]
    Foreign {
        /// As given.
        link: String,
    },
    /// What stands in the id's place is none.
    #[error("the link names no document: {id:?} is not 16 hexadecimal digits")]
    NoDocument {
        /// As given.
        id: String,
    },
    /// A bound of the span is missing.
    #[error("the link does not say where the words {name}")]
    NoBound {
        /// Which.
        name: &'static str,
    },
    /// Two values, of which only one can be meant.
    #[error("the link says twice what {name} is")]
    Twice {
        /// Of the parameter.
        name: String,
    },
    /// A bound of the span is no place in a text.
    #[error("{name}={value:?} in the link is not a number of bytes that a document can have")]
    NoNumber {
        /// Of the parameter.
        name: &'static str,
        /// As given.
        value: String,
    },
    /// The fingerprint is none.
    #[error("words={value:?} in the link is not a fingerprint of 16 hexadecimal digits")]
    NoFingerprint {
        /// As given.
        value: String,
    },
    /// The span holds nothing.
    #[error("the link names no words: it starts at byte {start} and ends at byte {end}")]
    Empty {
        /// First byte.
        start: usize,
        /// Byte after the last.
        end: usize,
    },
    /// The span holds more than anybody cites.
    #[error("the link names {bytes} bytes of text, more than a quotation has")]
    NoQuotation {
        /// Of the span.
        bytes: usize,
    },
}

impl Link {
    /// The link to words of a document.
    pub fn to(document: &str, span: Span, words: &str) -> Link {
        Link {
            document: document.to_owned(),
            span,
            words: Some(Fingerprint::of(words)),
        }
    }

    /// Takes a link apart. Parameters that are not known are left out: later versions may add some.
    pub fn parse(link: &str) -> Result<Link, LinkError> {
        let link = link.trim();
        if link.len() > LONGEST_LINK {
            return Err(LinkError::TooLong { bytes: link.len() });
        }
        let foreign = || LinkError::Foreign {
            link: link.to_owned(),
        };
        // Browsers write scheme and host in small letters, whoever types a link may not.
        let host = link.get(..SCHEME.len() + 7).ok_or_else(foreign)?;
        if !host.eq_ignore_ascii_case("lectern://open/") {
            return Err(foreign());
        }
        let (id, query) = link[host.len()..]
            .split_once('?')
            .unwrap_or((&link[host.len()..], ""));
        let id = id.trim_end_matches('/');
        if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(LinkError::NoDocument { id: id.to_owned() });
        }
        let start = byte("start", parameter(query, "start")?)?;
        let end = byte("end", parameter(query, "end")?)?;
        if end <= start {
            return Err(LinkError::Empty { start, end });
        }
        if end - start > LONGEST_SPAN {
            return Err(LinkError::NoQuotation { bytes: end - start });
        }
        let words = parameter(query, "words")?
            .map(|value| Fingerprint::parse(value).ok_or_else(|| no_fingerprint(value)))
            .transpose()?;
        Ok(Link {
            document: id.to_ascii_lowercase(),
            span: Span::new(start, end),
            words,
        })
    }

    /// Where the words stand in `text`: at the span, or where the same words are now, the nearest to it. Nothing if the
    /// text has no such place, or other words there and the linked ones nowhere.
    pub fn find_in(&self, text: &str) -> Option<Span> {
        let here = self.span.of(text).filter(|words| !words.trim().is_empty());
        let Some(wanted) = self.words else {
            return here.map(|_| self.span);
        };
        if here.is_some_and(|words| Fingerprint::of(words) == wanted) {
            return Some(self.span);
        }
        let length = self.span.end - self.span.start;
        wanted
            .places(text, length)
            .map(|start| Span::new(start, start + length))
            .filter(|span| span.of(text).is_some())
            .min_by_key(|span| span.start.abs_diff(self.span.start))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span { start, end } = self.span;
        write!(
            f,
            "{SCHEME}//open/{}?start={start}&end={end}",
            self.document
        )?;
        match self.words {
            Some(Fingerprint(words)) => write!(f, "&words={words:016x}"),
            None => Ok(()),
        }
    }
}

impl Fingerprint {
    fn of(words: &str) -> Fingerprint {
        let sum = words
            .bytes()
            .fold(0, |sum, byte| (sum * BASE + digit(byte)) % PRIME);
        Fingerprint(sum as u64)
    }

    fn parse(digits: &str) -> Option<Fingerprint> {
        let plain = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(digits, 16)
            .ok()
            .filter(|_| plain)
            .map(Fingerprint)
    }

    /// Where in `text` runs of `length` bytes with this fingerprint begin.
    fn places(self, text: &str, length: usize) -> impl Iterator<Item = usize> {
        let bytes = text.as_bytes();
        // What the byte that leaves the window was worth.
        let leaving = (1..length).fold(1, |power, _| power * BASE % PRIME);
        let mut sum = 0;
        (0..bytes.len()).filter_map(move |at| {
            if at >= length {
                sum = (sum + PRIME - digit(bytes[at - length]) * leaving % PRIME) % PRIME;
            }
            sum = (sum * BASE + digit(bytes[at])) % PRIME;
            (at + 1 >= length && sum == u128::from(self.0)).then(|| at + 1 - length)
        })
    }
}

/// Never nothing, so that zeros at the beginning count.
fn digit(byte: u8) -> u128 {
    u128::from(byte) + 1
}

fn parameter<'q>(query: &'q str, name: &str) -> Result<Option<&'q str>, LinkError> {
    let mut values = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(LinkError::Twice {
            name: name.to_owned(),
        }),
        (value, None) => Ok(value),
    }
}

/// A byte's place; canonical texts are shorter than 4 GiB.
fn byte(name: &'static str, value: Option<&str>) -> Result<usize, LinkError> {
    let value = value.ok_or(LinkError::NoBound { name })?;
    let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse::<u32>().ok().filter(|_| plain);
    number
        .map(|number| number as usize)
        .ok_or_else(|| LinkError::NoNumber {
            name,
            value: value.to_owned(),
        })
}

fn no_fingerprint(value: &str) -> LinkError {
    LinkError::NoFingerprint {
        value: value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "3fa9c2d1e0b48776";

    fn refusal(link: &str) -> String {
        Link::parse(link).unwrap_err().to_string()
    }

    #[test]
    fn a_link_names_document_span_and_words() {
        let link = Link::to(ID, Span::new(17, 22), "goats");
        let written = link.to_string();
        assert!(
            written.starts_with("lectern://open/3fa9c2d1e0b48776?start=17&end=22&words="),
            "{written}"
        );
        assert_eq!(Link::parse(&written), Ok(link.clone()));
        // As a browser or a person may write it.
        let changed = written
            .replace("lectern://open/", "LECTERN://Open/")
            .replace('?', "/?");
        assert_eq!(
            Link::parse(&format!(" {changed}&later=1\n")),
            Ok(link.clone())
        );
        let bare = format!("lectern://open/{ID}?end=22&start=17");
        assert_eq!(
            Link::parse(&bare),
            Ok(Link {
                words: None,
                ..link
            })
        );
    }

    #[test]
    fn what_is_no_link_is_refused_with_the_fact() {
        let foreign = "does not begin with lectern://open/";
        let document = "names no document";
        let good = format!("lectern://open/{ID}");
        for (link, fact) in [
            ("", foreign),
            ("lectern:", foreign),
            ("https://open/3fa9c2d1e0b48776?start=1&end=2", foreign),
            ("file:///etc/passwd", foreign),
            ("javascript:alert(1)", foreign),
            ("lectern://remove/3fa9c2d1e0b48776", foreign),
            ("lectern://öpen/x", foreign),
            ("lectern://open/", document),
            ("lectern://open/../../etc/passwd?start=1&end=2", document),
            ("lectern://open/3fa9?start=1&end=2", document),
            ("lectern://open/3fa9c2d1e0b4877%36?start=1&end=2", document),
            (&good, "where the words start"),
            (&format!("{good}?start=1"), "where the words end"),
            (&format!("{good}?start=1&end=2&end=3"), "twice"),
            (&format!("{good}?start=-1&end=2"), "not a number of bytes"),
            (&format!("{good}?start=+1&end=2"), "not a number of bytes"),
            (&format!("{good}?start=&end=2"), "not a number of bytes"),
            (
                &format!("{good}?start=1&end=99999999999999999999999999"),
                "not a number of bytes",
            ),
            (&format!("{good}?start=5&end=5"), "names no words"),
            (&format!("{good}?start=9&end=3"), "names no words"),
            (
                &format!("{good}?start=0&end=4294967295"),
                "more than a quotation",
            ),
            (
                &format!("{good}?start=1&end=2&words=zz"),
                "not a fingerprint",
            ),
            (
                &format!("{good}?start=1&end=2&words=+123456789abcdef"),
                "not a fingerprint",
            ),
            (
                &format!("{good}?start=1&end=2&x={}", "y".repeat(600)),
                "longer than any",
            ),
        ] {
            assert!(refusal(link).contains(fact), "{link}: {}", refusal(link));
        }
    }

    #[test]
    fn words_that_moved_are_found_and_words_that_are_gone_are_not() {
        let text = "Drei Ziegen. The goats ate kelp. Nobody saw the goats again.";
        let start = text.find("goats").unwrap();
        let link = Link::to(ID, Span::new(start, start + 5), "goats");
        assert_eq!(link.find_in(text), Some(link.span));
        let later = format!("Ein Vorwort über Ziegen.\n\n{text}");
        let moved = link.find_in(&later).unwrap();
        assert_eq!(moved.of(&later), Some("goats"));
        assert_eq!(moved.start, later.find("goats").unwrap());
        assert_eq!(link.find_in("The goat ate kelp."), None);
        assert_eq!(link.find_in(""), None);
        // Without words it points where it points, but never into the middle of a character.
        let bare = |start, end| Link {
            words: None,
            span: Span::new(start, end),
            ..link.clone()
        };
        assert_eq!(bare(0, 4).find_in(text), Some(Span::new(0, 4)));
        assert_eq!(bare(13, 15).find_in("Ein Vorwort \u{fc}ber"), None);
        assert_eq!(bare(50, 500).find_in(text), None);
        assert_eq!(bare(2, 4).find_in("a    b"), None);
    }

    proptest! {
        #[test]
        fn no_string_is_a_link_by_chance_or_ends_the_program(link in "\\PC{0,80}", rest in "[a-z0-9=&?/%]{0,60}") {
            prop_assert!(Link::parse(&link).is_err());
            let _ = Link::parse(&format!("lectern://open/{ID}{rest}"));
        }

        #[test]
        fn every_place_is_found_again(text in "\\PC{1,60}", before in "\\PC{0,30}", from in 0usize..60, to in 0usize..60) {
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let (from, to) = (ends[from % ends.len()], ends[to % ends.len()]);
            let span = Span::new(from.min(to), from.max(to));
            let words = span.of(&text).unwrap().to_owned();
            prop_assume!(!words.trim().is_empty());
            let link = Link::to(ID, span, &words);
            let later = format!("{before}{text}");
            let found = link.find_in(&later).unwrap();
            prop_assert_eq!(found.of(&later), Some(words.as_str()));
        }
    }
}
