//! Matrices as a GGUF file has them: the codes and scales of its blocks, 32 columns at a time.
//!
//! The layouts: ggml-common.h and ggml-quants.c of llama.cpp. In blocks of 32 a byte of `qs` holds weight `j` in its low
//! half and weight `j + 16` in its high half, and the fifth bits lie in 32 bits, weight `j` at bit `j`.

use super::layout::{BLOCK, Layout, Scales, TILE_ROWS};
use candle_core::quantized::GgmlDType;
use half::f16;

/// A weight matrix in a file, `[rows, columns]`, for whoever keeps weights in a form of their own.
#[derive(Clone, Copy)]
pub struct FileMatrix<'a> {
    layout: Layout,
    bytes: &'a [u8],
    rows: usize,
    columns: usize,
}

/// How the codes of 32 columns become weights. Scales are the file's own bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Grid {
    /// `step * code + least`.
    Flat {
        /// Between two codes.
        step: f16,
        /// What code 0 stands for.
        least: f16,
    },
    /// `scale * factor * code - minimum_scale * minimum`; the scales are those of 256 columns.
    Nested {
        /// Of factors.
        scale: f16,
        /// Of minimums.
        minimum_scale: f16,
        /// 6 bits.
        factor: u8,
        /// 6 bits.
        minimum: u8,
    },
    /// `scale * factor * (code - 32)`, with a factor for each 16 columns; the scale is that of 256 columns.
    Halved {
        /// Of factors.
        scale: f16,
        /// Of columns 0 to 15, and of the others.
        factors: [i8; 2],
    },
}

impl Grid {
    /// The weight that a code of column `column` stands for.
    pub fn weight(&self, code: u8, column: usize) -> f64 {
        let code = f64::from(code);
        match *self {
            Grid::Flat { step, least } => step.to_f64() * code + least.to_f64(),
            Grid::Nested {
                scale,
                minimum_scale,
                factor,
                minimum,
            } => {
                scale.to_f64() * f64::from(factor) * code
                    - minimum_scale.to_f64() * f64::from(minimum)
            }
            Grid::Halved { scale, factors } => {
                scale.to_f64() * f64::from(factors[column / 16]) * (code - 32.0)
            }
        }
    }
}

impl<'a> FileMatrix<'a> {
    /// `bytes` as they stand in the file; `None` for formats that hardly any model uses for its matrices.
    ///
    /// # Panics
    ///
    /// If there are not as many bytes as the matrix needs.
    pub fn of(
        dtype: GgmlDType,
        bytes: &'a [u8],
        rows: usize,
        columns: usize,
    ) -> Option<FileMatrix<'a>> {
        let layout = Layout::of(dtype)?;
        assert!(columns.is_multiple_of(layout.file_block()));
        assert_eq!(
            bytes.len(),
            rows * (columns / layout.file_block()) * file_block_bytes(layout)
        );
        Some(FileMatrix {
            layout,
            bytes,
            rows,
            columns,
        })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, a multiple of 32.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bits of a code: 4, 5, 6 or 8.
    pub fn bits(&self) -> usize {
        self.layout.bits
    }

    /// The first so many rows.
    pub fn first_rows(&self, rows: usize) -> FileMatrix<'a> {
        let rows = rows.min(self.rows);
        let row_bytes = self.bytes.len() / self.rows;
        FileMatrix {
            rows,
            bytes: &self.bytes[..rows * row_bytes],
            ..*self
        }
    }

    fn row(&self, row: usize) -> &'a [u8] {
        let row_bytes = self.bytes.len() / self.rows;
        &self.bytes[row * row_bytes..][..row_bytes]
    }

    /// Codes of columns `32 * group` to `32 * group + 31` of a row.
    pub fn codes(&self, row: usize, group: usize) -> [u8; BLOCK] {
        codes_of(self.layout, self.row(row), group)
    }

    /// What they stand for.
    pub fn grid(&self, row: usize, group: usize) -> Grid {
        let (bytes, place) = file_block(self.layout, self.row(row), group);
        let half = |at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]);
        match self.layout.scales {
            Scales::Block => Grid::Flat {
                step: half(0),
                // A power of two times a half is a half.
                least: f16::from_f32(-half(0).to_f32() * (1 << self.layout.offset) as f32),
            },
            Scales::BlockAndMinimum => Grid::Flat {
                step: half(0),
                least: half(2),
            },
            Scales::Nested => {
                let (factor, minimum) = factor_and_minimum(&bytes[4..16], place);
                Grid::Nested {
                    scale: half(0),
                    minimum_scale: half(2),
                    factor,
                    minimum,
                }
            }
            Scales::NestedHalves => Grid::Halved {
                scale: half(208),
                factors: [192, 193].map(|at| bytes[at + 2 * place] as i8),
            },
        }
    }
}

impl std::fmt::Debug for FileMatrix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("FileMatrix")
            .field("layout", &self.layout)
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// The bytes of the file's block that holds a block of a row, and the place of the latter in the former.
pub(super) fn file_block(layout: Layout, row: &[u8], block: usize) -> (&[u8], usize) {
    let blocks = layout.file_block() / BLOCK;
    let bytes = file_block_bytes(layout);
    (&row[block / blocks * bytes..][..bytes], block % blocks)
}

/// Bytes of a block in the file: those of its codes and scales, which are the tile's for one row.
pub(super) fn file_block_bytes(layout: Layout) -> usize {
    layout.tile_bytes(layout.file_block() / BLOCK) / TILE_ROWS
}

/// The codes of 32 columns of a row, column by column.
pub(super) fn codes_of(layout: Layout, row: &[u8], block: usize) -> [u8; BLOCK] {
    let (bytes, place) = file_block(layout, row, block);
    match (layout.scales, layout.bits) {
        (Scales::Block, 8) => std::array::from_fn(|j| bytes[2 + j] ^ 0x80), // -128 to 127 as 0 to 255
        (Scales::Block, 4) => halves_of(&bytes[2..]),
        (Scales::Block, _) => with_fifth_bits(&bytes[2..6], halves_of(&bytes[6..])),
        (Scales::BlockAndMinimum, 4) => halves_of(&bytes[4..]),
        (Scales::BlockAndMinimum, _) => with_fifth_bits(&bytes[4..8], halves_of(&bytes[8..])),
        (Scales::Nested, bits) => {
            let fifth = (bits == 5).then(|| &bytes[16..48]);
            let low = &bytes[if bits == 5 { 48 } else { 16 }..][place / 2 * BLOCK..][..BLOCK];
            std::array::from_fn(|j| {
                let code = low[j] >> (place % 2 * 4) & 15;
                code | fifth.map_or(0, |fifth| (fifth[j] >> place & 1) << 4)
            })
        }
        (Scales::NestedHalves, _) => {
            // Half a file's block of 256 at a time: 64 bytes of low bits, 32 bytes of high bits.
            let (half, quarter) = (place / 4, place % 4);
            let low = &bytes[half * 64 + quarter % 2 * 32..][..BLOCK];
            let high = &bytes[128 + half * 32..][..BLOCK];
            std::array::from_fn(|j| {
                low[j] >> (quarter / 2 * 4) & 15 | (high[j] >> (2 * quarter) & 3) << 4
            })
        }
    }
}

fn halves_of(packed: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|j| packed[j % 16] >> (j / 16 * 4) & 15)
}

fn with_fifth_bits(bits: &[u8], mut codes: [u8; BLOCK]) -> [u8; BLOCK] {
    for (j, code) in codes.iter_mut().enumerate() {
        *code |= (bits[j / 8] >> (j % 8) & 1) << 4;
    }
    codes
}

/// The 6-bit factor and minimum of a block of 32 (`get_scale_min_k4` of ggml-quants.c).
pub(super) fn factor_and_minimum(packed: &[u8], block: usize) -> (u8, u8) {
    if block < 4 {
        (packed[block] & 63, packed[block + 4] & 63)
    } else {
        (
            packed[block + 4] & 15 | packed[block - 4] >> 6 << 4,
            packed[block + 4] >> 4 | packed[block] >> 6 << 4,
        )
    }
}
