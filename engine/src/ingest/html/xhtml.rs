//! XHTML read by an HTML parser: the one difference that would lose text.

use std::borrow::Cow;

/// Elements that have no end tag in HTML.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];

/// Writes `<title/>` as `<title></title>`, and so on for every element that HTML would leave open: to an HTML parser
/// `<title/>` swallows the whole chapter. CDATA sections become text.
pub(crate) fn expand_empty_elements(page: &str) -> Cow<'_, str> {
    if !page.contains("/>") && !page.contains("<![CDATA[") {
        return Cow::Borrowed(page);
    }
    let mut out = String::with_capacity(page.len() + page.len() / 16);
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if let Some(body) = rest.strip_prefix("<![CDATA[") {
            let end = body.find("]]>").unwrap_or(body.len());
            for character in body[..end].chars() {
                match character {
                    '<' => out.push_str("&lt;"),
                    '&' => out.push_str("&amp;"),
                    c => out.push(c),
                }
            }
            (9 + end + 3).min(rest.len())
        } else if rest.starts_with("<!--") {
            let end = rest.find("-->").map_or(rest.len(), |end| end + 3);
            out.push_str(&rest[..end]);
            end
        } else {
            let end = tag_end(rest);
            let tag = &rest[..end];
            match empty_element_name(tag) {
                Some(name) if !VOID.contains(&&*name.to_ascii_lowercase()) => {
                    out.push_str(&tag[..tag.len() - 2]);
                    out.push_str("></");
                    out.push_str(name);
                    out.push('>');
                }
                _ => out.push_str(tag),
            }
            end
        };
        rest = &rest[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Length of the tag that `text` begins with, quoted attribute values respected.
fn tag_end(text: &str) -> usize {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match (quote, byte) {
            (None, b'>') => return at + 1,
            (None, b'<') => return at, // a stray "<"
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    text.len()
}

fn empty_element_name(tag: &str) -> Option<&str> {
    let body = tag.strip_prefix('<')?.strip_suffix("/>")?;
    let end = body
        .find(|c: char| c.is_ascii_whitespace())
        .unwrap_or(body.len());
    let name = &body[..end];
    let plain = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || ":-_.".contains(c));
    plain.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::expand_empty_elements;

    #[test]
    fn only_what_html_would_leave_open_changes() {
        let cases = [
            ("<p>a<br/>b</p>", "<p>a<br/>b</p>"),
            ("<title/><p/>x", "<title></title><p></p>x"),
            ("<a id=\"x/>\" />é", "<a id=\"x/>\" ></a>é"),
            ("<!-- <p/> --><i/>", "<!-- <p/> --><i></i>"),
            ("a < b <i/> <", "a < b <i></i> <"),
            ("<![CDATA[1 < 2 & 3]]>.", "1 &lt; 2 &amp; 3."),
            ("<svg:rect w='1'/>", "<svg:rect w='1'></svg:rect>"),
            ("<i/", "<i/"),
        ];
        for (page, expected) in cases {
            assert_eq!(expand_empty_elements(page), expected);
        }
    }
}
