//! The outline (bookmarks) and the page labels of a PDF.

use super::open::{catalog, dictionary, get, number, resolve};
use crate::ingest::numerals::{letters, roman};
use pdf_extract::{Dictionary, Document as Pdf, Object, ObjectId};
use std::collections::{HashMap, HashSet};

/// Most entries that are read.
const ENTRIES: usize = 20_000;
/// Deepest nesting.
const DEPTH: u16 = 16;

/// An entry of the outline.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// As shown.
    pub title: String,
    /// 0 for the outermost.
    pub depth: u16,
    /// Index of its page.
    pub page: usize,
    /// Height on the page in user space, if the file says.
    pub top: Option<f64>,
}

/// The outline in order; empty if there is none. `pages`: object ids in order.
pub(super) fn outline(pdf: &Pdf, pages: &[ObjectId]) -> Vec<Entry> {
    let index: HashMap<ObjectId, usize> =
        pages.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut entries = Vec::new();
    let Some(root) = catalog(pdf)
        .and_then(|c| get(pdf, c, b"Outlines"))
        .and_then(|o| dictionary(pdf, o))
    else {
        return entries;
    };
    let names = named_destinations(pdf);
    let mut seen = HashSet::new();
    let mut stack: Vec<(ObjectId, u16)> = root
        .get(b"First")
        .ok()
        .and_then(|f| f.as_reference().ok())
        .map(|id| (id, 0))
        .into_iter()
        .collect();
    while let Some((id, depth)) = stack.pop() {
        if !seen.insert(id) || seen.len() > ENTRIES {
            continue;
        }
        let Ok(item) = pdf.get_dictionary(id) else {
            continue;
        };
        let child = |key: &[u8]| item.get(key).ok().and_then(|o| o.as_reference().ok());
        stack.extend(child(b"Next").map(|next| (next, depth)));
        stack.extend(
            child(b"First")
                .filter(|_| depth < DEPTH)
                .map(|first| (first, depth + 1)),
        );
        let title = get(pdf, item, b"Title").and_then(text);
        if let (Some(title), Some((page, top))) = (title, destination(pdf, item, &names, &index)) {
            entries.push(Entry {
                title,
                depth,
                page,
                top,
            });
        }
    }
    entries
}

/// A text string's words on one line.
pub(super) fn text(object: &Object) -> Option<String> {
    let text = pdf_extract::decode_text_string(object).ok()?;
    crate::ingest::html::one_line(&text)
}

fn destination(
    pdf: &Pdf,
    item: &Dictionary,
    names: &HashMap<Vec<u8>, Object>,
    index: &HashMap<ObjectId, usize>,
) -> Option<(usize, Option<f64>)> {
    let target = get(pdf, item, b"Dest").or_else(|| {
        get(pdf, item, b"A")
            .and_then(|a| dictionary(pdf, a))
            .and_then(|a| get(pdf, a, b"D"))
    })?;
    let target = match target {
        Object::Name(name) => names.get(name)?,
        Object::String(name, _) => names.get(name)?,
        other => other,
    };
    let target = match resolve(pdf, target)? {
        Object::Dictionary(d) => get(pdf, d, b"D")?,
        other => other,
    };
    let array = target.as_array().ok()?;
    let page = match array.first()? {
        Object::Reference(id) => *index.get(id)?,
        Object::Integer(n) => usize::try_from(*n).ok().filter(|n| *n < index.len())?,
        _ => return None,
    };
    let kind = array.get(1).and_then(|k| k.as_name().ok());
    let top = match kind {
        Some(b"XYZ") => array.get(3),
        Some(b"FitH" | b"FitBH") => array.get(2),
        _ => None,
    };
    Some((page, top.and_then(|t| resolve(pdf, t)).and_then(number)))
}

/// Destinations by name: the dictionary of PDF 1.1 and the name tree of later ones.
fn named_destinations(pdf: &Pdf) -> HashMap<Vec<u8>, Object> {
    let mut found = HashMap::new();
    let Some(catalog) = catalog(pdf) else {
        return found;
    };
    if let Some(old) = get(pdf, catalog, b"Dests").and_then(|d| dictionary(pdf, d)) {
        found.extend(
            old.iter()
                .map(|(name, target)| (name.clone(), target.clone())),
        );
    }
    let tree = get(pdf, catalog, b"Names")
        .and_then(|n| dictionary(pdf, n))
        .and_then(|n| n.get(b"Dests").ok());
    leaves(pdf, tree, b"Names", &mut |pairs| {
        for pair in pairs.chunks_exact(2) {
            if let Some(Object::String(name, _)) = resolve(pdf, &pair[0]) {
                found.insert(name.clone(), pair[1].clone());
            }
        }
    });
    found
}

/// Walks a name or number tree and hands over the array under `key` of each node.
fn leaves(pdf: &Pdf, root: Option<&Object>, key: &[u8], visit: &mut dyn FnMut(&[Object])) {
    let mut stack: Vec<&Object> = root.into_iter().collect();
    let mut visited = 0;
    while let Some(node) = stack.pop() {
        visited += 1;
        if visited > ENTRIES {
            return;
        }
        let Some(node) = dictionary(pdf, node) else {
            continue;
        };
        if let Some(Object::Array(pairs)) = get(pdf, node, key) {
            visit(pairs);
        }
        if let Some(Object::Array(kids)) = get(pdf, node, b"Kids") {
            stack.extend(kids.iter().rev());
        }
    }
}

/// The label of each page as printed; its number where the file names none.
pub(super) fn page_labels(pdf: &Pdf, count: usize) -> Vec<String> {
    let mut ranges: Vec<(usize, Dictionary)> = Vec::new();
    let tree = catalog(pdf).and_then(|c| c.get(b"PageLabels").ok());
    leaves(pdf, tree, b"Nums", &mut |pairs| {
        for pair in pairs.chunks_exact(2) {
            let first = resolve(pdf, &pair[0])
                .and_then(number)
                .filter(|n| *n >= 0.0);
            if let (Some(first), Some(range)) = (first, dictionary(pdf, &pair[1])) {
                ranges.push((first as usize, range.clone()));
            }
        }
    });
    ranges.sort_by_key(|(first, _)| *first);
    (0..count)
        .map(|page| {
            let next = ranges.partition_point(|(first, _)| *first <= page);
            let label = next
                .checked_sub(1)
                .map(|i| &ranges[i])
                .map(|(first, range)| {
                    let start = get(pdf, range, b"St")
                        .and_then(number)
                        .unwrap_or(1.0)
                        .max(0.0) as usize;
                    let style = get(pdf, range, b"S")
                        .and_then(|s| s.as_name().ok())
                        .unwrap_or_default();
                    let prefix = get(pdf, range, b"P").and_then(text).unwrap_or_default();
                    format!("{prefix}{}", numeral(style, start + page - first))
                });
            label
                .filter(|l| !l.is_empty())
                .unwrap_or_else(|| (page + 1).to_string())
        })
        .collect()
}

fn numeral(style: &[u8], n: usize) -> String {
    match style {
        b"D" => n.to_string(),
        b"R" => roman(n),
        b"r" => roman(n).to_lowercase(),
        b"A" => letters(n),
        b"a" => letters(n).to_lowercase(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerals() {
        assert_eq!(numeral(b"r", 14), "xiv");
        assert_eq!(numeral(b"R", 1994), "MCMXCIV");
        assert_eq!(numeral(b"a", 28), "bb");
        assert_eq!(numeral(b"D", 7), "7");
        assert_eq!(numeral(b"", 7), "");
    }
}
