//! Block formats for which candle has no fast kernel, turned into Q8_0 when a model is loaded.
//!
//! candle 0.11 multiplies Q8_0 and the K formats with AVX2, AVX-512 VNNI or NEON code, but Q4_1, Q5_0 and Q5_1 with
//! scalar loops. Those, and Q4_0, become Q8_0, which costs memory (34 bytes for 32 weights in place of 18 to 24):
//!
//! * Q4_0 and Q5_0 hold `d * (q - 8)` and `d * (q - 16)` in blocks of 32, Q8_0 holds `d * q` with an 8-bit `q` in
//!   blocks of 32. The same `d`, and `q - 8` or `q - 16` as the new `q`, are the same weights.
//! * Q4_1 and Q5_1 hold `d * q + m`, that is `d * (q - 8) + (m + 8 d)`. The first part becomes Q8_0 as above; the
//!   second is the same for all 32 weights of a block, so its share of a product is `m + 8 d` times the sum of the
//!   block's activations: a product with a matrix of one 32nd of the columns, kept in F32.
//!
//! So **nothing is lost**. Quantizing Q4_1 again to Q8_0 would be simpler, and off by up to 0.4% of a block's largest
//! weight.
//!
//! Layouts: ggml-common.h of llama.cpp. In all of them a byte of `qs` holds weight `j` in its low half and weight
//! `j + 16` in its high half; the fifth bits of Q5 lie in the 32 bits of `qh`, weight `j` at bit `j`.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::k_quants::{BlockQ8_0, GgmlType};
use half::f16;

/// Bytes of a Q8_0 block: an f16 scale and 32 signed bytes.
const Q8_0_BYTES: usize = 34;
const _: () = assert!(size_of::<BlockQ8_0>() == Q8_0_BYTES);

/// Whether matrices of this format are to be turned into Q8_0.
pub(crate) fn is_slow(dtype: GgmlDType) -> bool {
    matches!(
        dtype,
        GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1
    )
}

/// Weights in Q8_0, and what is to be added to all 32 weights of a block, where the format had such a thing.
pub(crate) struct Requantized {
    pub(crate) blocks: Vec<BlockQ8_0>,
    pub(crate) offsets: Option<Vec<f32>>,
}

/// Turns whole blocks of a [slow](is_slow) format into Q8_0, or copies those of Q8_0.
pub(crate) fn to_q8_0(dtype: GgmlDType, blocks: &[u8]) -> Requantized {
    let mut offsets = Vec::new();
    let blocks = match dtype {
        GgmlDType::Q4_0 => each(blocks, |block: &[u8; 18], out| {
            shifted(block, &low_and_high(&block[2..18]), 8, out);
        }),
        GgmlDType::Q5_0 => each(blocks, |block: &[u8; 22], out| {
            shifted(
                block,
                &with_fifth_bits(&block[2..6], &block[6..22]),
                16,
                out,
            );
        }),
        GgmlDType::Q4_1 => each(blocks, |block: &[u8; 20], out| {
            shifted(block, &low_and_high(&block[4..20]), 8, out);
            offsets.push(offset(block, 8.0));
        }),
        GgmlDType::Q5_1 => each(blocks, |block: &[u8; 24], out| {
            shifted(
                block,
                &with_fifth_bits(&block[4..8], &block[8..24]),
                16,
                out,
            );
            offsets.push(offset(block, 16.0));
        }),
        GgmlDType::Q8_0 => each(blocks, |block: &[u8; Q8_0_BYTES], out| *out = *block),
        fast => unreachable!("{fast:?} is multiplied as it is"),
    };
    Requantized {
        blocks,
        offsets: (!offsets.is_empty()).then_some(offsets),
    }
}

fn each<const N: usize>(
    blocks: &[u8],
    mut convert: impl FnMut(&[u8; N], &mut [u8; Q8_0_BYTES]),
) -> Vec<BlockQ8_0> {
    let (blocks, _) = blocks.as_chunks::<N>();
    let mut converted = vec![BlockQ8_0::zeros(); blocks.len()];
    // SAFETY: a `BlockQ8_0` is `repr(C)`, 34 bytes without padding (asserted above), and any bytes are valid for it;
    // a byte array has no alignment.
    let out = unsafe {
        std::slice::from_raw_parts_mut(
            converted.as_mut_ptr().cast::<[u8; Q8_0_BYTES]>(),
            blocks.len(),
        )
    };
    for (block, out) in blocks.iter().zip(out) {
        convert(block, out);
    }
    converted
}

fn low_and_high(packed: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (j, &byte) in packed.iter().enumerate() {
        out[j] = byte & 15;
        out[j + 16] = byte >> 4;
    }
    out
}

fn with_fifth_bits(bits: &[u8], packed: &[u8]) -> [u8; 32] {
    let bits = bits
        .iter()
        .rev()
        .fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
    let mut out = low_and_high(packed);
    for (j, q) in out.iter_mut().enumerate() {
        *q |= ((bits >> j & 1) as u8) << 4;
    }
    out
}

/// The same scale, and the quants less what is subtracted from them.
fn shifted(block: &[u8], qs: &[u8; 32], by: i8, out: &mut [u8; Q8_0_BYTES]) {
    out[..2].copy_from_slice(&block[..2]);
    for (out, &q) in out[2..].iter_mut().zip(qs) {
        *out = (q as i8 - by) as u8;
    }
}

/// What shifting the quants took from every weight of a block that starts with its scale and its minimum.
fn offset(block: &[u8], by: f32) -> f32 {
    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
    let minimum = f16::from_le_bytes([block[2], block[3]]).to_f32();
    minimum + by * scale
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::quantized::{QStorage, QTensor};
    use candle_core::{Device, Tensor};

    /// Weights of all sizes, the same every run.
    fn weights() -> Tensor {
        let values: Vec<f32> = (0..64 * 32)
            .map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * (1.0 + (i / 32) as f32))
            .collect();
        Tensor::from_vec(values, (8, 256), &Device::Cpu).unwrap()
    }

    fn flat(tensor: &QTensor) -> Vec<f32> {
        let tensor = tensor.dequantize(&Device::Cpu).unwrap();
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Weights before and after.
    fn both(dtype: GgmlDType) -> (Vec<f32>, Vec<f32>) {
        let before = QTensor::quantize(&weights(), dtype).unwrap();
        let Requantized { blocks, offsets } = to_q8_0(dtype, &before.data().unwrap());
        let after = QTensor::new(QStorage::Cpu(Box::new(blocks)), (8, 256)).unwrap();
        let mut after = flat(&after);
        for (block, offset) in after.chunks_mut(32).zip(offsets.unwrap_or_default()) {
            block.iter_mut().for_each(|weight| *weight += offset);
        }
        (flat(&before), after)
    }

    #[test]
    fn formats_without_a_minimum_lose_nothing() {
        for dtype in [GgmlDType::Q4_0, GgmlDType::Q5_0] {
            let (before, after) = both(dtype);
            assert_eq!(before, after, "{dtype:?}");
        }
    }

    #[test]
    fn formats_with_a_minimum_lose_nothing_but_rounding() {
        for dtype in [GgmlDType::Q4_1, GgmlDType::Q5_1] {
            let (before, after) = both(dtype);
            for (before, after) in before.iter().zip(after) {
                let error = (before - after).abs();
                assert!(error <= 1e-4, "{dtype:?}: {before} {after}");
            }
        }
    }
}
