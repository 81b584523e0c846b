//! The block formats that GGUF knows, by their number.

use std::fmt;

use candle_core::quantized::GgmlDType;

/// A tensor type of GGUF, known to this program or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantization(pub(crate) u32);

/// Number, name, weights in a block, bytes of a block (ggml.h and ggml-common.h).
const KINDS: [(u32, &str, u64, u64); 32] = [
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
];

impl Quantization {
    fn kind(self) -> Option<&'static (u32, &'static str, u64, u64)> {
        KINDS.iter().find(|kind| kind.0 == self.0)
    }

    /// Bytes of a tensor, outermost dimension first; `None` if rows are not whole blocks or the number overflows. An
    /// unknown type counts as no bytes: it only matters, and is refused by name, when the tensor is used.
    pub(crate) fn bytes(self, shape: &[usize]) -> Option<u64> {
        let elements = shape
            .iter()
            .try_fold(1u64, |product, &length| product.checked_mul(length as u64))?;
        let Some(&(_, _, block, size)) = self.kind() else {
            return Some(0);
        };
        let row = shape.last().copied().unwrap_or(1) as u64;
        if !row.is_multiple_of(block) {
            return None;
        }
        (elements / block).checked_mul(size)
    }

    /// candle's type, for those that the forward pass can multiply with.
    pub(crate) fn dtype(self) -> Option<GgmlDType> {
        Some(match self.0 {
            0 => GgmlDType::F32,
            1 => GgmlDType::F16,
            2 => GgmlDType::Q4_0,
            3 => GgmlDType::Q4_1,
            6 => GgmlDType::Q5_0,
            7 => GgmlDType::Q5_1,
            8 => GgmlDType::Q8_0,
            10 => GgmlDType::Q2K,
            11 => GgmlDType::Q3K,
            12 => GgmlDType::Q4K,
            13 => GgmlDType::Q5K,
            14 => GgmlDType::Q6K,
            30 => GgmlDType::BF16,
            _ => return None,
        })
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.kind() {
            Some(kind) => f.write_str(kind.1),
            None => write!(f, "type {}", self.0),
        }
    }
}
