//! Codes in runs of 32, arranged so that vector instructions spread them with a shift and a mask.
//!
//! | bits | bytes of a run | |
//! |---|---|---|
//! | 8 | 32 | in order |
//! | 4 | 16 | byte `i`: code `i` below, code `16 + i` above |
//! | 2 | 8 | byte `i`: codes `i`, `8 + i`, `16 + i`, `24 + i` from the lowest bits up |
//! | 3 | 12 | the lower two bits of each as above, then 4 bytes of highest bits: bit `n` of byte `j` is that of code `4n + j` |

/// Codes of a run.
pub const RUN: usize = 32;

/// Bytes of a run.
pub(super) fn run_bytes(bits: usize) -> usize {
    RUN * bits / 8
}

/// Packs 32 codes of 2, 3, 4 or 8 bits into `packed`, which is zeroed.
pub(super) fn pack(bits: usize, codes: &[u8; RUN], packed: &mut [u8]) {
    match bits {
        8 => packed.copy_from_slice(codes),
        4 => {
            for (nth, code) in codes.iter().enumerate() {
                packed[nth % 16] |= code << (4 * (nth / 16));
            }
        }
        _ => {
            for (nth, code) in codes.iter().enumerate() {
                packed[nth % 8] |= (code & 3) << (2 * (nth / 8));
                if bits == 3 {
                    packed[8 + nth % 4] |= (code >> 2) << (nth / 4);
                }
            }
        }
    }
}

/// Spreads runs of 2 or 3 bits into runs of 4 bits; whole runs, as many in as out.
pub fn nibbles(bits: usize, packed: &[u8], spread: &mut [u8]) {
    for (packed, spread) in packed
        .chunks_exact(run_bytes(bits))
        .zip(spread.chunks_exact_mut(16))
    {
        for nth in 0..8 {
            spread[nth] = packed[nth] & 0x33;
            spread[8 + nth] = (packed[nth] >> 2) & 0x33;
        }
        if bits == 3 {
            for nth in 0..16 {
                spread[nth] |= ((packed[8 + nth % 4] >> (nth / 4)) & 0x11) << 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_lands_in_its_place() {
        for bits in [2, 3, 4, 8] {
            for nth in 0..RUN {
                for code in 0..1u32 << bits {
                    let mut codes = [0; RUN];
                    codes[nth] = code as u8;
                    codes[(nth + 5) % RUN] = 1;
                    let mut packed = vec![0; run_bytes(bits)];
                    pack(bits, &codes, &mut packed);
                    if bits == 8 {
                        assert_eq!(packed, codes);
                        continue;
                    }
                    let mut spread = [0; 16];
                    if bits == 4 {
                        spread.copy_from_slice(&packed);
                    } else {
                        nibbles(bits, &packed, &mut spread);
                    }
                    for (at, code) in codes.iter().enumerate() {
                        assert_eq!(spread[at % 16] >> (4 * (at / 16)) & 15, *code);
                    }
                }
            }
        }
    }
}
