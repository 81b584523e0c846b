//! A PDF whose cross-reference table or stream lengths are wrong, written anew.
//!
//! Every PDF reader does this: objects say their own number ("12 0 obj"), so they can be found without a table. The
//! last object of a number counts, as with an incremental update. A stream ends at "endstream" if not where its
//! dictionary says.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// The file with its objects under a new table; `None` if no catalog is found.
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
    let mut starts: Vec<usize> = objects.values().map(|(start, _)| *start).collect();
    starts.sort_unstable();
    let mut out = b"%PDF-1.7\n".to_vec();
    let mut table = String::from("xref\n0 1\n0000000000 65535 f \n");
    for (number, (start, generation)) in &objects {
        let next = starts.partition_point(|other| other <= start);
        let end = starts.get(next).copied().unwrap_or(bytes.len());
        table.push_str(&format!(
            "{number} 1\n{:010} {generation:05} n \n",
            out.len()
        ));
        out.extend_from_slice(&with_true_length(&bytes[*start..end]));
        out.push(b'\n');
    }
    let at = out.len();
    let size = objects.last_key_value().map_or(1, |(number, _)| number + 1);
    let rest = trailer_entries(bytes);
    out.extend_from_slice(table.as_bytes());
    out.extend_from_slice(
        format!("trailer\n<< /Size {size} /Root {root} {rest} >>\nstartxref\n{at}\n%%EOF\n")
            .as_bytes(),
    );
    Some(out)
}

/// An object whose stream is as long as its dictionary says: where that is not so, the dictionary is corrected.
fn with_true_length(object: &[u8]) -> Cow<'_, [u8]> {
    corrected(object).map_or(Cow::Borrowed(object), Cow::Owned)
}

fn corrected(object: &[u8]) -> Option<Vec<u8>> {
    let keyword = find(object, b"stream")?;
    let mut data = keyword + b"stream".len();
    data += usize::from(object.get(data) == Some(&b'\r'));
    data += usize::from(object.get(data) == Some(&b'\n'));
    let key = find(&object[..keyword], b"/Length")? + b"/Length".len();
    let blanks = object[key..]
        .iter()
        .take_while(|b| b.is_ascii_whitespace())
        .count();
    let digits = object[key + blanks..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let value = key + blanks..key + blanks + digits;
    let said: usize = std::str::from_utf8(&object[value.clone()])
        .ok()?
        .parse()
        .ok()?;
    let after: Vec<u8> = object[value.end..].iter().copied().take(6).collect();
    let reference = after.iter().filter(|b| !b.is_ascii_whitespace()).nth(1) == Some(&b'R');
    let ends_there = |at: usize| {
        let tail = object.get(at..)?;
        let blanks = tail.iter().take_while(|b| b.is_ascii_whitespace()).count();
        tail[blanks..].starts_with(b"endstream").then_some(())
    };
    if reference || ends_there(data.checked_add(said)?).is_some() {
        return None;
    }
    let mut end = data + find(&object[data..], b"endstream")?;
    for end_of_line in [b'\n', b'\r'] {
        end -= usize::from(end > data && object[end - 1] == end_of_line);
    }
    let length = (end - data).to_string();
    Some(
        [
            &object[..value.start],
            length.as_bytes(),
            &object[value.end..],
        ]
        .concat(),
    )
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
