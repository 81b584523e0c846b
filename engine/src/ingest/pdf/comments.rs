//! Comments in content streams, at which the parser may stop without a word, losing the rest of the page.

use pdf_extract::content::Content;
use std::borrow::Cow;

/// The operations of a content stream, or of the part of it that can be read.
pub(super) fn decode(content: &[u8]) -> Option<Content> {
    let plain = match content.contains(&b'%') {
        true => Cow::Owned(without_comments(content)),
        false => Cow::Borrowed(content),
    };
    Content::decode(&plain).ok()
}

/// `content` with a blank in place of each comment (ISO 32000-1, 7.2.4), strings and pictures in the stream left alone.
fn without_comments(content: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(content.len());
    let mut depth = 0; // of parentheses: a string may hold balanced ones
    let mut at = 0;
    while let Some(&byte) = content.get(at) {
        match byte {
            b'\\' if depth > 0 => {
                plain.push(byte);
                at += 1;
                plain.extend(content.get(at));
            }
            b'%' if depth == 0 => {
                let line = content[at..]
                    .iter()
                    .position(|b| matches!(b, b'\r' | b'\n'));
                plain.push(b' ');
                at += line.unwrap_or(content.len() - at);
                continue;
            }
            b'I' if depth == 0 && starts_picture(content, at) => {
                let end = end_of_picture(content, at);
                plain.extend(&content[at..end]);
                at = end;
                continue;
            }
            _ => {
                match byte {
                    b'(' => depth += 1,
                    b')' if depth > 0 => depth -= 1,
                    _ => {}
                }
                plain.push(byte);
            }
        }
        at += 1;
    }
    plain
}

/// Whether the data of a picture in the stream begins: `ID` between white space.
fn starts_picture(content: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| content.get(before));
    content[at..].starts_with(b"ID")
        && before.is_some_and(u8::is_ascii_whitespace)
        && content.get(at + 2).is_some_and(u8::is_ascii_whitespace)
}

/// After the `EI` that ends a picture's data, or the end of the stream.
fn end_of_picture(content: &[u8], at: usize) -> usize {
    let ends = content[at..].windows(4).position(|four| {
        four[0].is_ascii_whitespace() && &four[1..3] == b"EI" && four[3].is_ascii_whitespace()
    });
    ends.map_or(content.len(), |end| at + end + 3)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn operators(content: &[u8]) -> Vec<String> {
        let decoded = decode(content).unwrap();
        decoded.operations.into_iter().map(|o| o.operator).collect()
    }

    #[test]
    fn comments_go_and_percent_signs_in_strings_stay() {
        let content =
            b"BT % a (comment\n(100 % \\) and (50 %) more) Tj %at the end\r1 0 Td ET % last";
        assert_eq!(operators(content), ["BT", "Tj", "Td", "ET"]);
        let strings = decode(content).unwrap().operations.swap_remove(1).operands;
        assert_eq!(strings[0].as_str().unwrap(), b"100 % ) and (50 %) more");
        let picture = b"q\nBI /W 1 ID x%( EI Q % done\nBT ET";
        assert_eq!(
            without_comments(picture),
            b"q\nBI /W 1 ID x%( EI Q  \nBT ET"
        );
    }

    #[test]
    fn what_is_cut_off_gives_what_came_before() {
        let cut = operators(b"BT (a) Tj ET % one\nBT (b) Tj ET BT (c");
        assert_eq!(cut[..6], ["BT", "Tj", "ET", "BT", "Tj", "ET"]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            let plain = without_comments(&bytes);
            assert!(plain.len() <= bytes.len());
            decode(&bytes);
        }
    }
}
