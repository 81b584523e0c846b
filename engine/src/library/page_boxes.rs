//! Character boxes of a page as a compact blob.
//!
//! A page of 3,000 characters has 48 kB of boxes as floats. Neighbouring boxes stand side by side on one line, so
//! what is stored is the difference to the box before, in steps of 1/64 point (0.006 mm; a screen pixel is 0.5
//! point), as zigzag varints: about 6 bytes a character. Characters that are not drawn (all zeros) take one byte.

/// Steps per point.
const STEPS: f32 = 64.0;

/// A blob that is no page's boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the boxes end after {found} of {expected} characters")]
pub struct TruncatedBoxes {
    found: usize,
    expected: usize,
}

/// Encodes `[x0, y0, x1, y1]` boxes; coordinates beyond ±2^24 points are clamped.
pub fn encode(boxes: &[[f32; 4]]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(boxes.len() * 6 + 4);
    put(&mut blob, boxes.len() as u64);
    let mut before = [0i64; 4];
    for values in boxes {
        if *values == [0.0; 4] {
            put(&mut blob, 0);
            continue;
        }
        let steps = values.map(|v| (v.clamp(-16_777_216.0, 16_777_216.0) * STEPS).round() as i64);
        // x0 follows the end of the box before, x1 its own x0; both y stay on the line. Shifted by one, so that the
        // first number of a drawn box is never the 0 that stands for "not drawn".
        put(&mut blob, zigzag(steps[0] - before[2]) + 1);
        put(&mut blob, zigzag(steps[2] - steps[0]));
        put(&mut blob, zigzag(steps[1] - before[1]));
        put(&mut blob, zigzag(steps[3] - before[3]));
        before = steps;
    }
    blob
}

/// Decodes what [`encode`] made.
pub fn decode(blob: &[u8]) -> Result<Vec<[f32; 4]>, TruncatedBoxes> {
    let mut rest = blob;
    let expected = take(&mut rest).unwrap_or(0) as usize;
    // A count beyond the blob's own length is damage; never allocate for it.
    let mut boxes = Vec::with_capacity(expected.min(blob.len()));
    let mut before = [0i64; 4];
    while boxes.len() < expected {
        let truncated = TruncatedBoxes {
            found: boxes.len(),
            expected,
        };
        let mut next = || take(&mut rest).ok_or(truncated);
        let first = next()?;
        if first == 0 {
            boxes.push([0.0; 4]);
            continue;
        }
        let x0 = before[2].wrapping_add(unzigzag(first - 1));
        let x1 = x0.wrapping_add(unzigzag(next()?));
        let y0 = before[1].wrapping_add(unzigzag(next()?));
        let y1 = before[3].wrapping_add(unzigzag(next()?));
        before = [x0, y0, x1, y1];
        boxes.push(before.map(|steps| steps as f32 / STEPS));
    }
    Ok(boxes)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn put(blob: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        blob.push(value as u8 | 0x80);
        value >>= 7;
    }
    blob.push(value as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_of_text_is_small() {
        let line: Vec<[f32; 4]> = (0..1000u16)
            .map(|i| {
                let x = 72.0 + f32::from(i % 80) * 5.5;
                let y = 100.0 + f32::from(i / 80) * 14.0;
                [x, y, x + 5.5, y + 10.0]
            })
            .collect();
        let blob = encode(&line);
        assert!(blob.len() < 7 * line.len(), "{} bytes", blob.len());
        assert_eq!(decode(&blob), Ok(line));
    }

    proptest! {
        #[test]
        fn boxes_come_back_within_a_step(
            boxes in prop::collection::vec(prop::array::uniform4(-5000f32..5000.0), 0..50),
            undrawn in prop::collection::vec(any::<bool>(), 50),
        ) {
            let boxes: Vec<[f32; 4]> = boxes
                .into_iter()
                .zip(undrawn)
                .map(|(values, undrawn)| if undrawn { [0.0; 4] } else { values })
                .collect();
            let decoded = decode(&encode(&boxes));
            prop_assert!(decoded.is_ok());
            let decoded = decoded.unwrap_or_default();
            prop_assert_eq!(decoded.len(), boxes.len());
            for (was, is) in boxes.iter().flatten().zip(decoded.iter().flatten()) {
                prop_assert!((was - is).abs() <= 0.5 / STEPS + 1e-3, "{} became {}", was, is);
            }
        }

        #[test]
        fn damage_is_an_error_never_a_panic(blob in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&blob);
        }
    }
}
