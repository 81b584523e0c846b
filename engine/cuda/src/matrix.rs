//! A weight matrix on the device.
//!
//! In: a matrix as its file has it. Out: the same codes and scales in the planes of `kernels/matrix.cuh`; nothing is
//! rounded. A matrix takes the bytes it has in the file, and a byte more for 32 weights with nested scales.

use crate::device::{Buffer, Device};
use crate::error::CudaError;
use crate::parameters;
use lectern_models::packed::{FileMatrix, Grid};
use rayon::prelude::*;

/// Columns of a group.
const GROUP: usize = 32;

/// Groups under one scale where scales are nested.
const NESTED_GROUPS: usize = 8;

/// A matrix, `[rows, columns]`.
#[derive(Debug)]
pub struct GpuMatrix {
    low: Buffer<u8>,
    high: Buffer<u8>,
    grids: Buffer<u8>,
    scales: Buffer<u8>,
    rows: usize,
    groups: usize,
    bits: usize,
    kind: i32,
}

/// Bytes of each plane of a row.
#[derive(Debug, Clone, Copy)]
struct Planes {
    low: usize,
    high: usize,
    grids: usize,
    scales: usize,
}

impl Planes {
    fn of(matrix: &FileMatrix<'_>) -> Planes {
        let groups = matrix.columns() / GROUP;
        let kind = kind_of(matrix);
        Planes {
            low: 16 * groups,
            high: 4 * (matrix.bits() - 4) * groups,
            grids: if kind == 0 { 4 } else { 2 } * groups,
            scales: if kind == 0 {
                0
            } else {
                4 * groups.div_ceil(NESTED_GROUPS)
            },
        }
    }
}

/// As `kernels/matrix.cuh` numbers them.
fn kind_of(matrix: &FileMatrix<'_>) -> i32 {
    match matrix.grid(0, 0) {
        Grid::Flat { .. } => 0,
        Grid::Nested { .. } => 1,
        Grid::Halved { .. } => 2,
    }
}

impl GpuMatrix {
    /// Bytes that a matrix will take.
    pub fn bytes_for(matrix: &FileMatrix<'_>) -> usize {
        let planes = Planes::of(matrix);
        matrix.rows() * (planes.low + planes.high + planes.grids + planes.scales)
    }

    /// Brings a matrix to the device.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], [`CudaError::Driver`].
    pub fn upload(device: &Device, matrix: &FileMatrix<'_>) -> Result<GpuMatrix, CudaError> {
        let planes = Planes::of(matrix);
        let rows = matrix.rows();
        let mut low = vec![0; rows * planes.low];
        let mut high = vec![0; rows * planes.high];
        let mut grids = vec![0; rows * planes.grids];
        let mut scales = vec![0; rows * planes.scales];
        low.par_chunks_exact_mut(planes.low)
            .enumerate()
            .for_each(|(row, low)| {
                for (group, low) in low.chunks_exact_mut(16).enumerate() {
                    let codes = matrix.codes(row, group);
                    for (nth, byte) in low.iter_mut().enumerate() {
                        *byte = codes[nth] & 15 | codes[16 + nth] << 4;
                    }
                }
            });
        if planes.high > 0 {
            let group_bytes = 4 * (matrix.bits() - 4);
            high.par_chunks_exact_mut(planes.high)
                .enumerate()
                .for_each(|(row, high)| {
                    for (group, high) in high.chunks_exact_mut(group_bytes).enumerate() {
                        put_high(&matrix.codes(row, group), matrix.bits(), high);
                    }
                });
        }
        grids
            .par_chunks_exact_mut(planes.grids)
            .enumerate()
            .for_each(|(row, grids)| {
                let each = if planes.scales == 0 { 4 } else { 2 };
                for (group, grid) in grids.chunks_exact_mut(each).enumerate() {
                    match matrix.grid(row, group) {
                        Grid::Flat { step, least } => {
                            grid[..2].copy_from_slice(&step.to_le_bytes());
                            grid[2..].copy_from_slice(&least.to_le_bytes());
                        }
                        Grid::Nested {
                            factor, minimum, ..
                        } => grid.copy_from_slice(&[factor, minimum]),
                        Grid::Halved { factors, .. } => {
                            grid.copy_from_slice(&factors.map(|factor| factor as u8));
                        }
                    }
                }
            });
        if planes.scales > 0 {
            scales
                .par_chunks_exact_mut(planes.scales)
                .enumerate()
                .for_each(|(row, scales)| {
                    for (run, pair) in scales.chunks_exact_mut(4).enumerate() {
                        match matrix.grid(row, run * NESTED_GROUPS) {
                            Grid::Flat { .. } => {}
                            Grid::Nested {
                                scale,
                                minimum_scale,
                                ..
                            } => {
                                pair[..2].copy_from_slice(&scale.to_le_bytes());
                                pair[2..].copy_from_slice(&minimum_scale.to_le_bytes());
                            }
                            Grid::Halved { scale, .. } => {
                                pair[..2].copy_from_slice(&scale.to_le_bytes());
                            }
                        }
                    }
                });
        }
        Ok(GpuMatrix {
            low: device.upload(&low)?,
            high: device.upload(&high)?,
            grids: device.upload(&grids)?,
            scales: device.upload(&scales)?,
            rows,
            groups: matrix.columns() / GROUP,
            bits: matrix.bits(),
            kind: kind_of(matrix),
        })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// For a kernel.
    pub fn parameter(&self, device: &Device) -> parameters::Matrix {
        parameters::Matrix {
            low: device.address(&self.low),
            high: device.address(&self.high),
            grids: device.address(&self.grids),
            scales: device.address(&self.scales),
            rows: self.rows as i32,
            groups: self.groups as i32,
            bits: self.bits as i32,
            kind: self.kind,
        }
    }
}

/// The bits of 32 codes above the fourth, see `kernels/matrix.cuh`.
fn put_high(codes: &[u8; GROUP], bits: usize, high: &mut [u8]) {
    for (nth, code) in codes.iter().enumerate() {
        let upper = code >> 4;
        match bits {
            5 => high[nth / 8] |= upper << (nth % 8),
            6 => high[nth / 4] |= upper << (2 * (nth % 4)),
            _ => high[nth % 16] |= upper << (nth / 16 * 4),
        }
    }
}
