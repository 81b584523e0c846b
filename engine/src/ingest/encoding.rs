//! Bytes of unknown encoding to text.
//!
//! A byte order mark decides; else a declaration that the format carries; else valid UTF-8 is UTF-8; else UTF-16 is
//! told by its zero bytes; else chardetng (the detector of Firefox) guesses among the legacy encodings.

use super::IngestFault;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Bytes a detector looks at; more does not change its mind.
const SAMPLE: usize = 1 << 20;

/// Text of `bytes`, with line ends as `\n`, and the encoding it was in. `declared`: what the format says of itself.
///
/// Fails with [`IngestFault::Binary`] if it is not text in any encoding.
pub(crate) fn decode(
    bytes: &[u8],
    declared: Option<&'static Encoding>,
) -> Result<(String, &'static Encoding), IngestFault> {
    let (encoding, skip) = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => (encoding, length),
        None => (guess(bytes, declared)?, 0),
    };
    let (text, _, _) = encoding.decode(&bytes[skip..]);
    if is_junk(&text) {
        return Err(IngestFault::Binary);
    }
    let text = text.into_owned();
    Ok((
        if text.contains('\r') {
            unix_lines(&text)
        } else {
            text
        },
        encoding,
    ))
}

fn unix_lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn guess(
    bytes: &[u8],
    declared: Option<&'static Encoding>,
) -> Result<&'static Encoding, IngestFault> {
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    if let Some(utf16) = utf16_by_zeros(sample) {
        return Ok(utf16);
    }
    if sample.contains(&0) && sample.iter().filter(|&&b| b == 0).count() * 200 > sample.len() {
        return Err(IngestFault::Binary);
    }
    if std::str::from_utf8(bytes).is_ok() {
        return Ok(UTF_8);
    }
    // A declaration of UTF-8 that the bytes contradict is worth nothing.
    if let Some(encoding) = declared.filter(|&e| e != UTF_8) {
        return Ok(encoding);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(sample, sample.len() == bytes.len());
    Ok(detector.guess(None, Utf8Detection::Allow))
}

/// UTF-16 without a mark: Western text has a zero in nearly every second byte. (Text in other scripts without a
/// mark is not recognised; no program writes it.)
fn utf16_by_zeros(sample: &[u8]) -> Option<&'static Encoding> {
    let (mut even, mut odd) = (0, 0);
    for pair in sample.chunks_exact(2) {
        even += usize::from(pair[0] == 0);
        odd += usize::from(pair[1] == 0);
    }
    let pairs = sample.len() / 2;
    if pairs >= 2 && odd * 10 > pairs * 7 && even * 10 < pairs {
        Some(UTF_16LE)
    } else if pairs >= 2 && even * 10 > pairs * 7 && odd * 10 < pairs {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Text has next to no control characters and next to no undecodable ones.
fn is_junk(text: &str) -> bool {
    let (mut odd, mut all) = (0usize, 0usize);
    for character in text.chars().take(SAMPLE) {
        all += 1;
        let control = character.is_control()
            && !matches!(
                character,
                '\n' | '\r' | '\t' | '\u{c}' | '\u{b}' | '\u{1b}' | '\u{8}' | '\u{85}' | '\u{1a}'
            );
        odd += usize::from(control || character == '\u{fffd}');
    }
    odd * 50 > all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn encodings_are_told_apart() {
        let german =
            "Der Käse war süß, und die Bäcker in Köln übten fröhlich für das große Fest.\r\n"
                .repeat(5);
        let russian =
            "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива.\n"
                .repeat(5);
        let japanese =
            "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n".repeat(5);
        let utf16 = |text: &str, big: bool, mark: bool| -> Vec<u8> {
            mark.then_some('\u{feff}')
                .into_iter()
                .chain(text.chars())
                .collect::<String>()
                .encode_utf16()
                .flat_map(|u| {
                    if big {
                        u.to_be_bytes()
                    } else {
                        u.to_le_bytes()
                    }
                })
                .collect()
        };
        let legacy = |label: &str, text: &str| {
            Encoding::for_label(label.as_bytes())
                .unwrap()
                .encode(text)
                .0
                .into_owned()
        };
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("UTF-8", german.clone().into_bytes(), &german),
            ("UTF-8", format!("\u{feff}{german}").into_bytes(), &german),
            ("UTF-16LE", utf16(&german, false, true), &german),
            ("UTF-16BE", utf16(&german, true, true), &german),
            ("UTF-16LE", utf16(&german, false, false), &german),
            ("UTF-16BE", utf16(&german, true, false), &german),
            ("UTF-16LE", utf16(&japanese, false, true), &japanese),
            ("windows-1252", legacy("windows-1252", &german), &german),
            ("windows-1251", legacy("windows-1251", &russian), &russian),
            ("KOI8-U", legacy("koi8-u", &russian), &russian),
            ("Shift_JIS", legacy("shift_jis", &japanese), &japanese),
            ("EUC-JP", legacy("euc-jp", &japanese), &japanese),
        ];
        for (name, bytes, text) in cases {
            let (decoded, encoding) = decode(&bytes, None).unwrap();
            assert_eq!(encoding.name(), name);
            assert_eq!(decoded, text.replace("\r\n", "\n"), "{name}");
        }
    }

    #[test]
    fn binary_is_refused() {
        let noise: Vec<u8> = (0u32..5000)
            .map(|i| (i.wrapping_mul(2654435761) >> 13) as u8)
            .collect();
        assert_eq!(decode(&noise, None).unwrap_err(), IngestFault::Binary);
        let elf = [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 300]].concat();
        assert_eq!(decode(&elf, None).unwrap_err(), IngestFault::Binary);
    }

    #[test]
    fn a_declaration_counts_unless_the_bytes_contradict_it() {
        let declared = Encoding::for_label(b"iso-8859-2");
        assert_eq!(decode(b"Ko\xb9ice", declared).unwrap().0, "Košice");
        assert_eq!(decode("Košice".as_bytes(), declared).unwrap().0, "Košice");
    }
}
