//! Opens a PDF: broken cross references, encryption, the list of pages.

use super::repair::rebuilt;
use crate::ingest::{Extraction, IngestFault};
use pdf_extract::encryption::DecryptionError;
use pdf_extract::{
    Dictionary, Document as Pdf, Error, IncrementalDocument, LoadOptions, Object, ObjectId,
};
use std::collections::HashSet;
use unicode_normalization::UnicodeNormalization;

/// Deepest page tree; honest ones have three or four levels.
const DEPTH: usize = 64;
/// Most pages.
const PAGES: usize = 100_000;

/// Parses and decrypts the file. An encrypted file opens with the empty password or the given one.
pub(super) fn open(extraction: &Extraction, bytes: &[u8]) -> Result<Pdf, IngestFault> {
    let password = extraction.password();
    let pdf = match load(bytes, password) {
        Ok(pdf) if catalog(&pdf).is_some() || is_locked(&pdf) => pdf,
        Err(error) if is_about_password(&error) => return Err(encryption_fault(error, password)),
        broken => {
            // A cross-reference table that is missing or wrong: find the objects by looking for them.
            let reason = broken
                .err()
                .map_or_else(|| "it has no catalog".into(), |e| e.to_string());
            match open_rebuilt(extraction, bytes) {
                Some(pdf) => pdf,
                None => {
                    return Err(IngestFault::Damaged {
                        format: "PDF".into(),
                        reason,
                    });
                }
            }
        }
    };
    if is_locked(&pdf) {
        return Err(match password {
            None => IngestFault::PasswordNeeded,
            Some(_) => IngestFault::WrongPassword,
        });
    }
    Ok(pdf)
}

/// Opens the file by looking for its objects, whatever its cross-reference table says.
pub(super) fn open_rebuilt(extraction: &Extraction, bytes: &[u8]) -> Option<Pdf> {
    let pdf = rebuilt(bytes).and_then(|bytes| load(&bytes, extraction.password()).ok())?;
    (catalog(&pdf).is_some() || is_locked(&pdf)).then_some(pdf)
}

fn load(bytes: &[u8], password: Option<&str>) -> Result<Pdf, Error> {
    match Pdf::load_mem(bytes) {
        Ok(pdf) if is_locked_by_its_trailer(&pdf) => {
            let bytes = referring_to_encryption(bytes, pdf)?;
            unlocked(Pdf::load_mem(&bytes), &bytes, password)
        }
        loaded => unlocked(loaded, bytes, password),
    }
}

/// What was `loaded` from `bytes` without a password, or with it if it is locked.
fn unlocked(
    loaded: Result<Pdf, Error>,
    bytes: &[u8],
    password: Option<&str>,
) -> Result<Pdf, Error> {
    match (loaded, password) {
        (Ok(pdf), _) if !is_locked(&pdf) => Ok(pdf),
        (_, Some(password)) => {
            let with = |password: &str| {
                Pdf::load_mem_with_options(bytes, LoadOptions::with_password(password))
            };
            with(password).or_else(|error| match prepared(password) {
                Some(prepared) => with(&prepared),
                None => Err(error),
            })
        }
        (loaded, None) => loaded,
    }
}

/// Whether how the file is encrypted stands in the trailer itself. It may (ISO 32000-2, 7.5.5), but lopdf only follows a
/// reference to it.
fn is_locked_by_its_trailer(pdf: &Pdf) -> bool {
    let encryption = pdf.trailer.get(b"Encrypt");
    encryption.is_ok_and(|found| found.as_dict().is_ok())
}

/// The same file with an update behind it whose trailer refers to how it is encrypted.
fn referring_to_encryption(bytes: &[u8], pdf: Pdf) -> Result<Vec<u8>, Error> {
    let encryption = pdf.trailer.get(b"Encrypt")?.clone();
    let mut file = IncrementalDocument::create_from(bytes.to_vec(), pdf);
    let update = &mut file.new_document;
    let id = update.add_object(encryption);
    update.trailer.set("Encrypt", id);
    let mut updated = Vec::with_capacity(bytes.len() + 1024);
    file.save_to(&mut updated)?;
    Ok(updated)
}

/// A password as newer files keep it: characters that look alike are one, invisible ones are none (SASLprep,
/// RFC 4013, 2.1 and 2.2). `None` if it is so already.
fn prepared(password: &str) -> Option<String> {
    let prepared: String = password
        .chars()
        .filter(|c| {
            !matches!(
                c,
                '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'
            )
        })
        .nfkc()
        .collect();
    (prepared != password).then_some(prepared)
}

fn is_locked(pdf: &Pdf) -> bool {
    pdf.trailer.get(b"Encrypt").is_ok()
}

fn is_about_password(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidPassword | Error::Decryption(_) | Error::UnsupportedSecurityHandler(_)
    )
}

fn encryption_fault(error: Error, password: Option<&str>) -> IngestFault {
    match (error, password) {
        (Error::InvalidPassword | Error::Decryption(DecryptionError::IncorrectPassword), None) => {
            IngestFault::PasswordNeeded
        }
        (
            Error::InvalidPassword | Error::Decryption(DecryptionError::IncorrectPassword),
            Some(_),
        ) => IngestFault::WrongPassword,
        (error, _) => IngestFault::UnknownEncryption {
            reason: error.to_string(),
        },
    }
}

/// The catalog, if the file has one.
pub(super) fn catalog(pdf: &Pdf) -> Option<&Dictionary> {
    pdf.trailer
        .get(b"Root")
        .ok()
        .and_then(|root| dictionary(pdf, root))
}

/// Follows a reference, if it is one.
pub(super) fn resolve<'p>(pdf: &'p Pdf, object: &'p Object) -> Option<&'p Object> {
    pdf.dereference(object).ok().map(|(_, object)| object)
}

/// The value of a key, references followed.
pub(super) fn get<'p>(pdf: &'p Pdf, dictionary: &'p Dictionary, key: &[u8]) -> Option<&'p Object> {
    resolve(pdf, dictionary.get(key).ok()?)
}

/// An object as a dictionary; a stream's dictionary counts.
pub(super) fn dictionary<'p>(pdf: &'p Pdf, object: &'p Object) -> Option<&'p Dictionary> {
    match resolve(pdf, object)? {
        Object::Dictionary(dictionary) => Some(dictionary),
        Object::Stream(stream) => Some(&stream.dict),
        _ => None,
    }
}

/// The value of a key as numbers.
pub(super) fn numbers(pdf: &Pdf, dictionary: &Dictionary, key: &[u8]) -> Option<Vec<f64>> {
    let array = get(pdf, dictionary, key)?.as_array().ok()?;
    array
        .iter()
        .map(|o| resolve(pdf, o).and_then(number))
        .collect()
}

/// An object as a number.
pub(super) fn number(object: &Object) -> Option<f64> {
    match object {
        Object::Integer(i) => Some(*i as f64),
        Object::Real(r) => Some(f64::from(*r)).filter(|r| r.is_finite()),
        _ => None,
    }
}

/// A page with what it inherits.
pub(super) struct PageFacts {
    /// The page object.
    pub id: ObjectId,
    /// Visible part of user space: `[x0, y0, x1, y1]`.
    pub crop: [f64; 4],
    /// Clockwise, in quarter turns.
    pub turns: u8,
}

/// The pages in order. Damaged branches are left out.
pub(super) fn pages(pdf: &Pdf) -> Vec<PageFacts> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let root = catalog(pdf)
        .and_then(|c| c.get(b"Pages").ok())
        .and_then(|p| p.as_reference().ok());
    let Some(root) = root else { return found };
    let mut stack = vec![(root, 0usize)];
    while let Some((id, depth)) = stack.pop() {
        if !seen.insert(id) || depth > DEPTH || found.len() >= PAGES {
            continue;
        }
        let Ok(node) = pdf.get_dictionary(id) else {
            continue;
        };
        match get(pdf, node, b"Kids").and_then(|kids| kids.as_array().ok()) {
            Some(kids) => {
                let kids = kids.iter().filter_map(|kid| kid.as_reference().ok());
                stack.extend(
                    kids.map(|kid| (kid, depth + 1))
                        .collect::<Vec<_>>()
                        .into_iter()
                        .rev(),
                );
            }
            None => found.push(PageFacts {
                id,
                crop: crop(pdf, node),
                turns: turns(pdf, node),
            }),
        }
    }
    found
}

/// A value that a page may have from its ancestors.
pub(super) fn inherited<'p>(pdf: &'p Pdf, page: &'p Dictionary, key: &[u8]) -> Option<&'p Object> {
    let mut node = page;
    for _ in 0..DEPTH {
        if let Some(value) = get(pdf, node, key).filter(|v| !v.is_null()) {
            return Some(value);
        }
        node = node
            .get(b"Parent")
            .ok()
            .and_then(|parent| dictionary(pdf, parent))?;
    }
    None
}

fn rectangle(pdf: &Pdf, page: &Dictionary, key: &[u8]) -> Option<[f64; 4]> {
    let array = inherited(pdf, page, key)?.as_array().ok()?;
    let n: Vec<f64> = array
        .iter()
        .filter_map(|o| resolve(pdf, o).and_then(number))
        .collect();
    let [a, b, c, d] = n[..] else { return None };
    let sides = [a.min(c), b.min(d), a.max(c), b.max(d)];
    (sides[2] - sides[0] > 1.0 && sides[3] - sides[1] > 1.0).then_some(sides)
}

/// The crop box within the media box; US Letter where the file names none.
fn crop(pdf: &Pdf, page: &Dictionary) -> [f64; 4] {
    let media = rectangle(pdf, page, b"MediaBox").unwrap_or([0.0, 0.0, 612.0, 792.0]);
    let Some(crop) = rectangle(pdf, page, b"CropBox") else {
        return media;
    };
    let both = [
        crop[0].max(media[0]),
        crop[1].max(media[1]),
        crop[2].min(media[2]),
        crop[3].min(media[3]),
    ];
    if both[2] - both[0] > 1.0 && both[3] - both[1] > 1.0 {
        both
    } else {
        media
    }
}

fn turns(pdf: &Pdf, page: &Dictionary) -> u8 {
    let degrees = inherited(pdf, page, b"Rotate")
        .and_then(number)
        .unwrap_or(0.0);
    ((degrees / 90.0).round() as i64).rem_euclid(4) as u8
}
