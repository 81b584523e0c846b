//! Fonts made fit for pdf-extract, which panics on what it does not know.
//!
//! Each font dictionary is copied and normalised: encodings it has no table for are replaced, width lists brought to
//! the one form it reads right, Type 3 widths scaled by their font matrix. What characters look like does not
//! matter; which they are and how wide they are does. What pdf-extract's interface does not pass on (ascent, descent,
//! weight) is read here.

use super::open::{dictionary, get, number, numbers, resolve};
use super::unstated::{Codes, codes};
use pdf_extract::{Dictionary, Document as Pdf, Object, Stream};

/// Ascent and descent where a font names none, in ems (the values poppler takes).
const ASCENT: f32 = 0.95;
const DESCENT: f32 = -0.35;

/// What layout needs to know of a font.
#[derive(Debug, Clone)]
pub(super) struct FontFacts {
    /// Above the baseline, in ems.
    pub ascent: f32,
    /// Below the baseline, in ems; negative.
    pub descent: f32,
    /// Bold by name or weight.
    pub bold: bool,
    /// Its characters, where the file does not say.
    pub codes: Option<Codes>,
}

impl Default for FontFacts {
    fn default() -> FontFacts {
        FontFacts {
            ascent: ASCENT,
            descent: DESCENT,
            bold: false,
            codes: None,
        }
    }
}

/// Facts of a font.
pub(super) fn facts(pdf: &Pdf, font: &Dictionary) -> FontFacts {
    let inner = descendant(pdf, font).unwrap_or(font);
    let descriptor = get(pdf, inner, b"FontDescriptor").and_then(|d| dictionary(pdf, d));
    let value = |key: &[u8]| {
        descriptor
            .and_then(|d| get(pdf, d, key))
            .and_then(number)
            .map(|n| n as f32)
    };
    let flags = value(b"Flags").unwrap_or(0.0) as u32;
    let name = font
        .get(b"BaseFont")
        .ok()
        .and_then(|n| resolve(pdf, n))
        .and_then(|n| n.as_name().ok());
    let name = String::from_utf8_lossy(name.unwrap_or_default()).to_ascii_lowercase();
    let (mut ascent, mut descent) = (
        value(b"Ascent").unwrap_or(0.0),
        value(b"Descent").unwrap_or(0.0),
    );
    if ascent.abs() <= 1.0 && descent.abs() <= 1.0 && ascent != 0.0 {
        (ascent, descent) = (ascent * 1000.0, descent * 1000.0); // given in ems by mistake
    }
    let (ascent, descent) = (ascent / 1000.0, -(descent.abs() / 1000.0));
    FontFacts {
        ascent: if (0.3..=1.05).contains(&ascent) {
            ascent
        } else {
            ASCENT
        },
        descent: if (-0.4..0.0).contains(&descent) {
            descent
        } else {
            DESCENT
        },
        bold: ["bold", "black", "heavy", "demi"]
            .iter()
            .any(|w| name.contains(w))
            || flags & (1 << 18) != 0
            || value(b"FontWeight").is_some_and(|w| w >= 600.0)
            || name.contains("cmbx"),
        codes: codes(pdf, font),
    }
}

fn descendant<'p>(pdf: &'p Pdf, font: &'p Dictionary) -> Option<&'p Dictionary> {
    let fonts = get(pdf, font, b"DescendantFonts")?.as_array().ok()?;
    dictionary(pdf, fonts.first()?)
}

/// How much of a font is left out, step by step, when the parser fails on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trim {
    /// Nothing.
    Whole,
    /// The embedded font program: only needed for encodings that the dictionary leaves out.
    NoProgram,
    /// The map to Unicode as well.
    NoUnicode,
}

impl Trim {
    pub const STEPS: [Trim; 3] = [Trim::Whole, Trim::NoProgram, Trim::NoUnicode];
}

/// A copy of a font dictionary that pdf-extract can read; `None` if nothing can be done for it.
pub(super) fn normalised(
    pdf: &Pdf,
    font: &Dictionary,
    codes: Option<&Codes>,
    trim: Trim,
) -> Option<Dictionary> {
    let subtype = get(pdf, font, b"Subtype")
        .and_then(|s| s.as_name().ok())
        .unwrap_or(b"Type1");
    let mut copy = Dictionary::new();
    copy.set("Type", Object::Name(b"Font".to_vec()));
    copy.set("Subtype", Object::Name(subtype.to_vec()));
    let name = get(pdf, font, b"BaseFont")
        .and_then(|n| n.as_name().ok())
        .unwrap_or(b"Unnamed");
    let widths = get(pdf, font, b"Widths").is_some();
    copy.set(
        "BaseFont",
        Object::Name(if widths { name } else { metric_equal(name) }.to_vec()),
    );
    if trim < Trim::NoUnicode
        && let Some(Object::Stream(map)) = get(pdf, font, b"ToUnicode")
    {
        copy.set("ToUnicode", Object::Stream(plain(map)));
    }
    if let Some(codes) = codes {
        copy.set("ToUnicode", Object::Stream(codes.as_map()));
    }
    match subtype {
        b"Type0" => composite(pdf, font, &mut copy)?,
        b"Type3" => {
            simple_encoding(pdf, font, &mut copy, true);
            let scale = numbers(pdf, font, b"FontMatrix")
                .and_then(|m| m.first().copied())
                .unwrap_or(0.001);
            simple_widths(pdf, font, &mut copy, scale.abs() * 1000.0, true);
        }
        _ => {
            let descriptor = get(pdf, font, b"FontDescriptor").and_then(|d| dictionary(pdf, d));
            let mut program = false;
            if let Some(descriptor) = descriptor.filter(|_| trim < Trim::NoProgram) {
                let mut kept = Dictionary::new();
                for key in [&b"FontFile"[..], b"FontFile3"] {
                    if let Some(value) = get(pdf, descriptor, key) {
                        program = true;
                        kept.set(key, value.clone());
                    }
                }
                // Where pdf-extract looks for it, which is not where it belongs.
                if let Some(width) = get(pdf, descriptor, b"MissingWidth").and_then(number) {
                    copy.set("MissingWidth", Object::Real(width as f32));
                }
                copy.set("FontDescriptor", Object::Dictionary(kept));
            }
            simple_encoding(pdf, font, &mut copy, !program);
            simple_widths(pdf, font, &mut copy, 1.0, false);
        }
    }
    Some(copy)
}

/// The standard font whose widths stand in for those of a font that names none.
fn metric_equal(name: &[u8]) -> &[u8] {
    const STANDARD: [&[u8]; 14] = [
        b"Courier",
        b"Courier-Bold",
        b"Courier-Oblique",
        b"Courier-BoldOblique",
        b"Helvetica",
        b"Helvetica-Bold",
        b"Helvetica-Oblique",
        b"Helvetica-BoldOblique",
        b"Times-Roman",
        b"Times-Bold",
        b"Times-Italic",
        b"Times-BoldItalic",
        b"Symbol",
        b"ZapfDingbats",
    ];
    if STANDARD.contains(&name) {
        return name;
    }
    let lower = String::from_utf8_lossy(name).to_ascii_lowercase();
    let bold = lower.contains("bold");
    if ["courier", "mono", "typewriter"]
        .iter()
        .any(|w| lower.contains(w))
    {
        b"Courier"
    } else if ["times", "serif", "roman", "georgia", "garamond"]
        .iter()
        .any(|w| lower.contains(w))
    {
        if bold { b"Times-Bold" } else { b"Times-Roman" }
    } else if bold {
        b"Helvetica-Bold"
    } else {
        b"Helvetica"
    }
}

/// A stream with its filters undone, so that they are undone once and not for every page.
fn plain(stream: &Stream) -> Stream {
    let content = stream
        .get_plain_content()
        .unwrap_or_else(|_| stream.content.clone());
    Stream::new(Dictionary::new(), content)
}

/// Encodings pdf-extract has tables for.
const KNOWN: [&[u8]; 3] = [
    b"MacRomanEncoding",
    b"MacExpertEncoding",
    b"WinAnsiEncoding",
];

/// Writes an encoding that pdf-extract accepts. `always`: also where the font names none (it would panic on a code
/// that the Unicode map lacks).
fn simple_encoding(pdf: &Pdf, font: &Dictionary, copy: &mut Dictionary, always: bool) {
    let encoding = match get(pdf, font, b"Encoding") {
        Some(Object::Name(name)) if KNOWN.contains(&name.as_slice()) => Object::Name(name.clone()),
        Some(Object::Name(name)) if name == b"StandardEncoding" => {
            Object::Dictionary(with_differences(None, standard_quotes()))
        }
        Some(Object::Dictionary(encoding)) => {
            let base = get(pdf, encoding, b"BaseEncoding")
                .and_then(|b| b.as_name().ok())
                .filter(|b| KNOWN.contains(b));
            let listed = get(pdf, encoding, b"Differences").and_then(|d| d.as_array().ok());
            Object::Dictionary(with_differences(
                base,
                differences(pdf, listed.map_or(&[], |d| d)),
            ))
        }
        _ if !always => return,
        _ => match get(pdf, font, b"Subtype").and_then(|s| s.as_name().ok()) {
            Some(b"TrueType") => Object::Name(b"WinAnsiEncoding".to_vec()),
            _ => Object::Dictionary(with_differences(None, standard_quotes())),
        },
    };
    copy.set("Encoding", encoding);
}

fn with_differences(base: Option<&[u8]>, differences: Vec<Object>) -> Dictionary {
    let mut encoding = Dictionary::new();
    encoding.set("Type", Object::Name(b"Encoding".to_vec()));
    if let Some(base) = base {
        encoding.set("BaseEncoding", Object::Name(base.to_vec()));
    }
    encoding.set("Differences", Object::Array(differences));
    encoding
}

/// Where StandardEncoding differs from the table pdf-extract begins with, as far as text goes.
fn standard_quotes() -> Vec<Object> {
    let named = [
        (39, "quoteright"),
        (96, "quoteleft"),
        (174, "fi"),
        (175, "fl"),
        (169, "quotesingle"),
        (170, "quotedblleft"),
        (186, "quotedblright"),
        (177, "endash"),
        (208, "emdash"),
        (183, "bullet"),
        (193, "grave"),
        (194, "acute"),
        (195, "circumflex"),
        (196, "tilde"),
        (200, "dieresis"),
        (203, "cedilla"),
        (225, "AE"),
        (232, "Lslash"),
        (233, "Oslash"),
        (234, "OE"),
        (241, "ae"),
        (245, "dotlessi"),
        (248, "lslash"),
        (249, "oslash"),
        (250, "oe"),
        (251, "germandbls"),
    ];
    named
        .iter()
        .flat_map(|(code, name)| {
            [
                Object::Integer(*code),
                Object::Name(name.as_bytes().to_vec()),
            ]
        })
        .collect()
}

fn differences(pdf: &Pdf, listed: &[Object]) -> Vec<Object> {
    let mut kept = Vec::with_capacity(listed.len());
    let mut code = 0i64;
    for object in listed {
        match resolve(pdf, object) {
            Some(Object::Name(name)) => {
                if (0..256).contains(&code) {
                    kept.push(Object::Integer(code));
                    kept.push(Object::Name(common_name(name)));
                }
                code += 1;
            }
            Some(other) => code = number(other).unwrap_or(-1.0) as i64,
            None => {}
        }
    }
    kept
}

/// A glyph name as the glyph list has it: "f_i" is "fi", "one.oldstyle" is "one".
fn common_name(name: &[u8]) -> Vec<u8> {
    let stem = match name.iter().position(|&b| b == b'.') {
        Some(dot) if dot > 0 => &name[..dot],
        _ => name,
    };
    match stem {
        b"f_f" | b"f_i" | b"f_l" | b"f_f_i" | b"f_f_l" => {
            stem.iter().copied().filter(|&b| b != b'_').collect()
        }
        _ => stem.to_vec(),
    }
}

/// FirstChar, LastChar and Widths that agree with each other. `full`: a width for every code.
fn simple_widths(pdf: &Pdf, font: &Dictionary, copy: &mut Dictionary, scale: f64, full: bool) {
    let first = get(pdf, font, b"FirstChar").and_then(number).unwrap_or(0.0) as i64;
    let widths = get(pdf, font, b"Widths").and_then(|w| w.as_array().ok());
    let Some(widths) = widths.filter(|w| !w.is_empty() && (0..256).contains(&first)) else {
        if full {
            set_widths(copy, 0, vec![0.0; 256]);
        }
        return;
    };
    let widths = widths.iter().take(256 - first as usize);
    let widths: Vec<f64> = widths
        .map(|w| resolve(pdf, w).and_then(number).unwrap_or(0.0) * scale)
        .collect();
    if full {
        let mut all = vec![0.0; 256];
        all[first as usize..first as usize + widths.len()].copy_from_slice(&widths);
        set_widths(copy, 0, all);
    } else {
        set_widths(copy, first, widths);
    }
}

fn set_widths(copy: &mut Dictionary, first: i64, widths: Vec<f64>) {
    copy.set("FirstChar", Object::Integer(first));
    copy.set("LastChar", Object::Integer(first + widths.len() as i64 - 1));
    copy.set(
        "Widths",
        Object::Array(widths.into_iter().map(|w| Object::Real(w as f32)).collect()),
    );
}

/// A Type 0 font: two-byte codes, or the codes of an embedded map.
fn composite(pdf: &Pdf, font: &Dictionary, copy: &mut Dictionary) -> Option<()> {
    let encoding = match get(pdf, font, b"Encoding")? {
        Object::Stream(map) => Object::Stream(plain(map)),
        _ => Object::Name(b"Identity-H".to_vec()),
    };
    copy.set("Encoding", encoding);
    let inner = descendant(pdf, font)?;
    let mut kept = Dictionary::new();
    kept.set("FontDescriptor", Object::Dictionary(Dictionary::new()));
    let default = get(pdf, inner, b"DW").and_then(number).unwrap_or(1000.0);
    kept.set("DW", Object::Integer(default as i64));
    if let Some(widths) = get(pdf, inner, b"W").and_then(|w| w.as_array().ok()) {
        kept.set("W", Object::Array(listed_widths(pdf, widths)));
    }
    copy.set(
        "DescendantFonts",
        Object::Array(vec![Object::Dictionary(kept)]),
    );
    Some(())
}

/// `W` with every range written out (pdf-extract reads `first last width` wrongly).
fn listed_widths(pdf: &Pdf, widths: &[Object]) -> Vec<Object> {
    /// Codes of a two-byte font.
    const CODES: i64 = 65_536;
    let value = |index: usize| widths.get(index).and_then(|o| resolve(pdf, o));
    let integer = |index: usize| {
        value(index)
            .and_then(number)
            .map(|n| n as i64)
            .filter(|n| (0..CODES).contains(n))
    };
    let mut listed = Vec::new();
    let mut budget = CODES;
    let mut at = 0;
    while let Some(first) = integer(at) {
        let (run, next) = match value(at + 1) {
            Some(Object::Array(run)) => {
                let run: Vec<Object> = run
                    .iter()
                    .map(|w| Object::Real(resolve(pdf, w).and_then(number).unwrap_or(0.0) as f32))
                    .collect();
                (run, at + 2)
            }
            _ => {
                let (Some(last), Some(width)) = (integer(at + 1), value(at + 2).and_then(number))
                else {
                    break;
                };
                let count = (last - first + 1).clamp(0, CODES - first);
                (vec![Object::Real(width as f32); count as usize], at + 3)
            }
        };
        budget -= run.len() as i64;
        if budget < 0 {
            break;
        }
        listed.push(Object::Integer(first));
        listed.push(Object::Array(run));
        at = next;
    }
    listed
}
