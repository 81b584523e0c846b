//! A PDF whose cross-reference table is missing or wrong, given a new one.
//!
//! Every PDF reader does this: objects say their own number ("12 0 obj"), so they can be found without a table. The
//! last object of a number counts, as with an incremental update.

use std::collections::BTreeMap;

/// The file with a new table at its end; `None` if no catalog is found.
pub(super) fn rebuilt(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut objects: BTreeMap<u32, (usize, u16)> = BTreeMap::new();
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], b"obj") {
        let keyword = at + found;
        at = keyword + 3;
        if let Some((number, generation, start)) = object_header(bytes, keyword) {
            objects.insert(number, (start, generation));
        }
    }
    let root = root_of(bytes, &objects)?;
    let header = find(bytes, b"%PDF-").unwrap_or(0);
    let mut out = bytes[header..].to_vec();
    if find(&out[..out.len().min(1024)], b"%PDF-").is_none() {
        out = [b"%PDF-1.4\n".as_slice(), bytes].concat();
    }
    let shift = out.len() as i64 - bytes.len() as i64;
    let start = out.len() + 1;
    out.extend_from_slice(b"\nxref\n0 1\n0000000000 65535 f \n");
    for (number, (offset, generation)) in &objects {
        let offset = *offset as i64 + shift;
        if offset >= 0 {
            out.extend_from_slice(
                format!("{number} 1\n{offset:010} {generation:05} n \n").as_bytes(),
            );
        }
    }
    let size = objects.last_key_value().map_or(1, |(number, _)| number + 1);
    let rest = trailer_entries(bytes);
    out.extend_from_slice(
        format!("trailer\n<< /Size {size} /Root {root} {rest} >>\nstartxref\n{start}\n%%EOF\n")
            .as_bytes(),
    );
    Some(out)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

/// Number, generation and start of the object whose keyword stands at `keyword`.
fn object_header(bytes: &[u8], keyword: usize) -> Option<(u32, u16, usize)> {
    if keyword >= 3 && bytes[keyword - 3..keyword] == *b"end" {
        return None;
    }
    let (generation, rest) = number_before(bytes, keyword)?;
    let (number, start) = number_before(bytes, rest)?;
    Some((number, u16::try_from(generation).ok()?, start))
}

/// The number that ends before `end`, white space aside, and where it starts.
fn number_before(bytes: &[u8], end: usize) -> Option<(u32, usize)> {
    let mut end = end;
    while end > 0 && bytes[end - 1].is_ascii_whitespace() {
        end -= 1;
    }
    let mut start = end;
    while start > 0 && end - start < 10 && bytes[start - 1].is_ascii_digit() {
        start -= 1;
    }
    let number = std::str::from_utf8(&bytes[start..end]).ok()?.parse().ok()?;
    Some((number, start))
}

/// "12 0 R", from a trailer or else from the catalog itself.
fn root_of(bytes: &[u8], objects: &BTreeMap<u32, (usize, u16)>) -> Option<String> {
    if let Some(reference) = last_entry(bytes, b"/Root") {
        let number: u32 = reference.split(' ').next()?.parse().ok()?;
        if objects.contains_key(&number) {
            return Some(reference);
        }
    }
    let (number, (_, generation)) = objects.iter().find(|(_, (start, _))| {
        let body = &bytes[*start..(*start + 400).min(bytes.len())];
        let end = find(body, b"endobj").unwrap_or(body.len());
        let plain: Vec<u8> = body[..end]
            .iter()
            .copied()
            .filter(|b| !b.is_ascii_whitespace())
            .collect();
        find(&plain, b"/Type/Catalog").is_some()
    })?;
    Some(format!("{number} {generation} R"))
}

/// The last `key N G R` in the file.
fn last_entry(bytes: &[u8], key: &[u8]) -> Option<String> {
    let mut found = None;
    let mut at = 0;
    while let Some(position) = find(&bytes[at..], key) {
        at += position + key.len();
        let tail = String::from_utf8_lossy(&bytes[at..(at + 40).min(bytes.len())]).into_owned();
        let words: Vec<&str> = tail.split_whitespace().take(3).collect();
        if let [number, generation, reference] = words[..]
            && number.parse::<u32>().is_ok()
            && generation.parse::<u16>().is_ok()
            && reference.starts_with('R')
        {
            found = Some(format!("{number} {generation} R"));
        }
    }
    found
}

/// What a new trailer must keep: the encryption dictionary, the file's identifier and its metadata.
fn trailer_entries(bytes: &[u8]) -> String {
    let mut entries = String::new();
    for key in ["/Encrypt", "/Info"] {
        if let Some(reference) = last_entry(bytes, key.as_bytes()) {
            entries.push_str(&format!("{key} {reference} "));
        }
    }
    if let Some(at) = find(bytes, b"/ID")
        && let Some(end) = find(&bytes[at..(at + 300).min(bytes.len())], b"]")
        && let Ok(id) = std::str::from_utf8(&bytes[at..=at + end])
    {
        entries.push_str(id);
    }
    entries
}
