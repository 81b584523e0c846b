//! A weight matrix on the device.
//!
//! In: a matrix as its file has it. Out: the same codes and scales in the planes of `kernels/matrix.cuh`; nothing is
//! rounded. A matrix takes the bytes it has in the file, and a byte more for 32 weights with nested scales; its rows are
//! filled up to fours with zeros.

use crate::device::{Buffer, Device};
use crate::error::CudaError;
use crate::parameters;
use lectern_models::packed::{FileMatrix, Grid};
use rayon::prelude::*;

/// Columns of a group.
const GROUP: usize = 32;

/// Rows that lie beside each other.
const FOUR: usize = 4;

/// Columns of a group that a lane of a kernel takes.
const LANE_COLUMNS: usize = 8;

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

/// Bytes of each plane of a four of rows.
#[derive(Debug, Clone, Copy)]
struct Planes {
    fours: usize,
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
            fours: matrix.rows().div_ceil(FOUR),
            low: FOUR * 16 * groups,
            high: FOUR * high_bytes(matrix.bits()) * groups,
            grids: FOUR * grid_bytes(kind) * groups,
            scales: match kind {
                0 => 0,
                _ => FOUR * 4 * groups.div_ceil(NESTED_GROUPS),
            },
        }
    }
}

/// Bytes that a row's group has in the second plane.
fn high_bytes(bits: usize) -> usize {
    4 * (bits - 4)
}

/// Bytes of the grids of a row's group.
fn grid_bytes(kind: i32) -> usize {
    if kind == 0 { 4 } else { 2 }
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
        planes.fours * (planes.low + planes.high + planes.grids + planes.scales)
    }

    /// Brings a matrix to the device.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], [`CudaError::Driver`].
    pub fn upload(device: &Device, matrix: &FileMatrix<'_>) -> Result<GpuMatrix, CudaError> {
        let planes = Planes::of(matrix);
        let (bits, kind) = (matrix.bits(), kind_of(matrix));
        let rows = matrix.rows();
        // A plane, whose row's part of a group (or run of groups) `put` puts into the part of all four.
        let plane = |four_bytes: usize, part: usize, put: &(dyn Fn(Place, &mut [u8]) + Sync)| {
            let mut plane = vec![0; planes.fours * four_bytes];
            plane
                .par_chunks_exact_mut(four_bytes.max(1))
                .enumerate()
                .for_each(|(four, bytes)| {
                    for (group, bytes) in bytes.chunks_exact_mut(part).enumerate() {
                        for (nth, row) in (FOUR * four..rows).take(FOUR).enumerate() {
                            put(Place { row, nth, group }, bytes);
                        }
                    }
                });
            plane
        };
        let low = plane(planes.low, FOUR * 16, &|place, bytes| {
            put_low(&matrix.codes(place.row, place.group), place.nth, bytes);
        });
        let high = plane(
            planes.high,
            FOUR * high_bytes(bits).max(1),
            &|place, bytes| {
                let codes = matrix.codes(place.row, place.group);
                put_high(&codes, bits, place.nth, bytes);
            },
        );
        let grids = plane(planes.grids, FOUR * grid_bytes(kind), &|place, bytes| {
            put_grid(&matrix.grid(place.row, place.group), place.nth, bytes);
        });
        let scales = plane(planes.scales, FOUR * 4, &|place, bytes| {
            let grid = matrix.grid(place.row, place.group * NESTED_GROUPS);
            put_scales(&grid, &mut bytes[4 * place.nth..][..4]);
        });
        Ok(GpuMatrix {
            low: device.upload(&low)?,
            high: device.upload(&high)?,
            grids: device.upload(&grids)?,
            scales: device.upload(&scales)?,
            rows,
            groups: matrix.columns() / GROUP,
            bits,
            kind,
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

/// A row's group, or run of groups, in a plane.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Of the matrix.
    row: usize,
    /// Of its four.
    nth: usize,
    group: usize,
}

/// The lower four bits of a row's codes, into the 64 bytes of its four; see `kernels/matrix.cuh`.
fn put_low(codes: &[u8; GROUP], nth: usize, low: &mut [u8]) {
    for (lane, codes) in codes.chunks_exact(LANE_COLUMNS).enumerate() {
        let word = &mut low[4 * (FOUR * lane + nth)..][..4];
        for (byte, low) in word.iter_mut().enumerate() {
            *low = codes[byte] & 15 | codes[4 + byte] << 4;
        }
    }
}

/// The bits above the fourth.
fn put_high(codes: &[u8; GROUP], bits: usize, nth: usize, high: &mut [u8]) {
    for (column, code) in codes.iter().enumerate() {
        let lane = column / LANE_COLUMNS;
        let (half, byte) = (column % LANE_COLUMNS / 4, column % 4);
        let upper = code >> 4;
        match bits {
            5 => high[4 * lane + byte] |= upper << (2 * nth + half),
            6 => high[4 * (2 * lane + half) + byte] |= upper << (2 * nth),
            _ => high[4 * (FOUR * lane + nth) + byte] |= upper << (4 * half),
        }
    }
}

/// What is a group's own of its grid.
fn put_grid(grid: &Grid, nth: usize, grids: &mut [u8]) {
    match grid {
        Grid::Flat { step, least } => {
            grids[4 * nth..][..2].copy_from_slice(&step.to_le_bytes());
            grids[4 * nth + 2..][..2].copy_from_slice(&least.to_le_bytes());
        }
        Grid::Nested {
            factor, minimum, ..
        } => {
            grids[nth] = *factor;
            grids[FOUR + nth] = *minimum;
        }
        Grid::Halved { factors, .. } => {
            grids[nth] = factors[0] as u8;
            grids[FOUR + nth] = factors[1] as u8;
        }
    }
}

/// What eight groups share of theirs.
fn put_scales(grid: &Grid, pair: &mut [u8]) {
    match grid {
        Grid::Flat { .. } => {}
        Grid::Nested {
            scale,
            minimum_scale,
            ..
        } => {
            pair[..2].copy_from_slice(&scale.to_le_bytes());
            pair[2..].copy_from_slice(&minimum_scale.to_le_bytes());
        }
        Grid::Halved { scale, .. } => pair[..2].copy_from_slice(&scale.to_le_bytes()),
    }
}
