//! What the codes of a composite font mean when the file does not say (no `ToUnicode`).
//!
//! Two cases can be known: an encoding that is Unicode itself (`UniJIS-UTF16-H` and its like), and an embedded TrueType
//! font, whose own table from characters to glyphs is read backwards. pdf-extract gives no text for such fonts, so they
//! get a `ToUnicode` that turns each code into the character of the same number, and the number is looked up here.

use super::open::{dictionary, get};
use pdf_extract::{Dictionary, Document as Pdf, Object, Stream};
use std::collections::HashMap;

/// Characters of codes.
#[derive(Debug, Clone)]
pub(super) enum Codes {
    /// A code is a UTF-16 unit.
    Utf16,
    /// Characters by code.
    Table(HashMap<u16, char>),
}

impl Codes {
    /// The character of a code, given as the character of that number.
    pub fn character(&self, code: char) -> Option<char> {
        match self {
            Codes::Utf16 => Some(code),
            Codes::Table(table) => table.get(&u16::try_from(u32::from(code)).ok()?).copied(),
        }
    }

    /// A `ToUnicode` map that turns each code into the character of its number.
    pub fn as_map(&self) -> Stream {
        let highest = match self {
            Codes::Utf16 => 0xff,
            Codes::Table(table) => table.keys().max().map_or(0, |code| code >> 8),
        };
        let mut map = String::from(
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n1 begincodespacerange\n<0000> <ffff>\n\
             endcodespacerange\n",
        );
        // Surrogates are no characters.
        let pages: Vec<u16> = (0..=highest)
            .filter(|page| !(0xd8..=0xdf).contains(page))
            .collect();
        for pages in pages.chunks(100) {
            map.push_str(&format!("{} beginbfrange\n", pages.len()));
            for page in pages {
                map.push_str(&format!("<{page:02x}00> <{page:02x}ff> <{page:02x}00>\n"));
            }
            map.push_str("endbfrange\n");
        }
        map.push_str("endcmap end end\n");
        Stream::new(Dictionary::new(), map.into_bytes())
    }
}

/// The codes of a font that leaves their meaning open, if it can be known.
pub(super) fn codes(pdf: &Pdf, font: &Dictionary) -> Option<Codes> {
    let subtype = get(pdf, font, b"Subtype")?.as_name().ok()?;
    if subtype != b"Type0" || matches!(get(pdf, font, b"ToUnicode"), Some(Object::Stream(_))) {
        return None;
    }
    let encoding = get(pdf, font, b"Encoding")?.as_name().ok()?;
    let encoding = String::from_utf8_lossy(encoding);
    if encoding.starts_with("Uni") && (encoding.contains("UCS2") || encoding.contains("UTF16")) {
        return Some(Codes::Utf16);
    }
    if !encoding.starts_with("Identity") {
        return None;
    }
    let fonts = get(pdf, font, b"DescendantFonts")?.as_array().ok()?;
    let inner = dictionary(pdf, fonts.first()?)?;
    let descriptor = dictionary(pdf, get(pdf, inner, b"FontDescriptor")?)?;
    let Object::Stream(program) = get(pdf, descriptor, b"FontFile2")? else {
        return None;
    };
    let by_glyph = characters_by_glyph(&program.get_plain_content().ok()?)?;
    let table = match get(pdf, inner, b"CIDToGIDMap") {
        Some(Object::Stream(map)) => map
            .get_plain_content()
            .ok()?
            .chunks_exact(2)
            .zip(0..=u16::MAX)
            .filter_map(|(glyph, code)| {
                let glyph = u16::from_be_bytes([glyph[0], glyph[1]]);
                by_glyph.get(&glyph).map(|character| (code, *character))
            })
            .collect(),
        _ => by_glyph,
    };
    (!table.is_empty()).then_some(Codes::Table(table))
}

/// A TrueType font's table from characters to glyphs, backwards. Where several characters share a glyph, the first
/// in the order of Unicode counts (a blank before a no-break space).
fn characters_by_glyph(program: &[u8]) -> Option<HashMap<u16, char>> {
    let face = ttf_parser::Face::parse(program, 0).ok()?;
    let mut pairs: Vec<(u32, u16)> = Vec::new();
    for table in face
        .tables()
        .cmap?
        .subtables
        .into_iter()
        .filter(|t| t.is_unicode())
    {
        table.codepoints(|code| pairs.extend(table.glyph_index(code).map(|glyph| (code, glyph.0))));
    }
    pairs.sort_unstable();
    let mut found = HashMap::new();
    for (code, glyph) in pairs {
        if let Some(character) = char::from_u32(code) {
            found.entry(glyph).or_insert(character);
        }
    }
    Some(found)
}
