//! Block formats for which candle has no fast kernel, turned into Q8_0 when a model is loaded.
//!
//! candle 0.11 multiplies Q8_0 and the K formats with AVX2, AVX-512 VNNI or NEON code, but Q4_1, Q5_0 and Q5_1 with
//! scalar loops. Those, and Q4_0, become Q8_0, which costs memory (34 bytes for 32 weights in place of 18 to 24):
//!
//! * Q4_0 and Q5_0 hold `d * (q - 8)` and `d * (q - 16)` in blocks of 32, Q8_0 holds `d * q` with an 8-bit `q` in
//!   blocks of 32. With the same `d`, and `q - 8` or `q - 16` as the new `q`, **nothing is lost**.
//! * Q4_1 and Q5_1 hold `d * q + m`. A block is dequantized and quantized again with `d' = max |w| / 127`: off by at
//!   most `d' / 2`, that is 0.4% of the block's largest weight, where Q4_1 itself was off by up to a thirtieth of
//!   the block's range.
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

/// Turns whole blocks of a [slow](is_slow) format into Q8_0.
pub(crate) fn to_q8_0(dtype: GgmlDType, blocks: &[u8]) -> Vec<BlockQ8_0> {
    match dtype {
        GgmlDType::Q4_0 => each(blocks, |block: &[u8; 18], out| {
            let qs = low_and_high(&block[2..18]);
            shifted(block, &qs, 8, out);
        }),
        GgmlDType::Q5_0 => each(blocks, |block: &[u8; 22], out| {
            let qs = with_fifth_bits(&block[2..6], &block[6..22]);
            shifted(block, &qs, 16, out);
        }),
        GgmlDType::Q4_1 => each(blocks, |block: &[u8; 20], out| {
            let qs = low_and_high(&block[4..20]);
            quantized_again(block, &qs, out);
        }),
        GgmlDType::Q5_1 => each(blocks, |block: &[u8; 24], out| {
            let qs = with_fifth_bits(&block[4..8], &block[8..24]);
            quantized_again(block, &qs, out);
        }),
        fast => unreachable!("{fast:?} is multiplied as it is"),
    }
}

fn each<const N: usize>(
    blocks: &[u8],
    convert: impl Fn(&[u8; N], &mut [u8; Q8_0_BYTES]),
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

/// The same scale, and the quants without their offset: exact.
fn shifted(block: &[u8], qs: &[u8; 32], offset: i8, out: &mut [u8; Q8_0_BYTES]) {
    out[..2].copy_from_slice(&block[..2]);
    for (out, &q) in out[2..].iter_mut().zip(qs) {
        *out = (q as i8 - offset) as u8;
    }
}

/// Scale and minimum folded into new 8-bit quants.
fn quantized_again(block: &[u8], qs: &[u8; 32], out: &mut [u8; Q8_0_BYTES]) {
    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
    let minimum = f16::from_le_bytes([block[2], block[3]]).to_f32();
    let weights = qs.map(|q| scale * f32::from(q) + minimum);
    let largest = weights.iter().fold(0f32, |most, w| most.max(w.abs()));
    let step = f16::from_f32(largest / 127.0);
    let inverse = match step.to_f32() {
        0.0 => 0.0,
        step => 1.0 / step,
    };
    out[..2].copy_from_slice(&step.to_le_bytes());
    for (out, weight) in out[2..].iter_mut().zip(weights) {
        *out = (weight * inverse).round().clamp(-127.0, 127.0) as i8 as u8;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::quantized::{QStorage, QTensor};
    use candle_core::{Device, Tensor};
    use std::borrow::Cow;

    /// Weights of all sizes, the same every run.
    fn weights() -> Tensor {
        let values: Vec<f32> = (0..64 * 32)
            .map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * (1.0 + (i / 32) as f32))
            .collect();
        Tensor::from_vec(values, (8, 256), &Device::Cpu).unwrap()
    }

    fn dequantized(blocks: Vec<BlockQ8_0>) -> Vec<f32> {
        let tensor = QTensor::new(QStorage::Cpu(Box::new(blocks)), (8, 256)).unwrap();
        flat(&tensor)
    }

    fn flat(tensor: &QTensor) -> Vec<f32> {
        let tensor = tensor.dequantize(&Device::Cpu).unwrap();
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn formats_without_a_minimum_lose_nothing() {
        for dtype in [GgmlDType::Q4_0, GgmlDType::Q5_0] {
            let before = QTensor::quantize(&weights(), dtype).unwrap();
            let after = dequantized(to_q8_0(dtype, &before.data().unwrap()));
            assert_eq!(flat(&before), after, "{dtype:?}");
        }
    }

    #[test]
    fn formats_with_a_minimum_stay_within_half_a_step() {
        for dtype in [GgmlDType::Q4_1, GgmlDType::Q5_1] {
            let before = QTensor::quantize(&weights(), dtype).unwrap();
            let after = dequantized(to_q8_0(dtype, &before.data().unwrap()));
            for (before, after) in flat(&before).chunks(32).zip(after.chunks(32)) {
                let largest = before.iter().fold(0f32, |most, w| most.max(w.abs()));
                // Half a step, and the rounding of the step itself to f16.
                let bound = largest / 127.0 * (0.5 + 127.0 / 2048.0);
                for (before, after) in before.iter().zip(after) {
                    assert!(
                        (before - after).abs() <= bound,
                        "{dtype:?}: {before} {after}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_block_of_zeros_stays_zero() {
        let zeros = QTensor::new(
            QStorage::from_data(Cow::Owned(vec![0; 20]), &Device::Cpu, GgmlDType::Q4_1).unwrap(),
            (1, 32),
        )
        .unwrap();
        let after = to_q8_0(GgmlDType::Q4_1, &zeros.data().unwrap());
        assert_eq!(after, vec![BlockQ8_0::zeros()]);
    }
}
