//! Whether the GPU multiplies as this processor does, asked for each format of a model's matrices before it is trusted.
//!
//! In: a model's matrices as their file has them. Out: nothing, or what was wrong. The first rows of one matrix of each
//! format are multiplied with noise, by few tokens and by many in each tile, and compared with sums in F64. Milliseconds.

use crate::device::Device;
use crate::error::CudaError;
use crate::matrix::GpuMatrix;
use crate::parameters::{Halve, Product, Rows};
use crate::products::Tile;
use lectern_models::packed::{FileMatrix, Grid};

/// Rows of a matrix that are multiplied: more than a block takes, or fewer than a large one does.
const ROWS: usize = 72;

/// Tokens, and in which tile: one launch of `few`, and of `many` one of each, with a block that is not full.
const TOKENS: [(usize, Option<Tile>); 4] = [
    (3, None),
    (70, Some(Tile::Large)),
    (70, Some(Tile::Middle)),
    (70, Some(Tile::Small)),
];

/// Compares products of one matrix of each format.
///
/// # Errors
/// [`CudaError::Unsound`] where they differ; [`CudaError::OutOfMemory`], [`CudaError::Driver`].
pub(crate) fn check<'a>(
    device: &Device,
    matrices: impl Iterator<Item = &'a FileMatrix<'a>>,
) -> Result<(), CudaError> {
    let mut checked = Vec::new();
    for matrix in matrices {
        let format = (matrix.bits(), std::mem::discriminant(&matrix.grid(0, 0)));
        if !checked.contains(&format) {
            checked.push(format);
            let part = matrix.first_rows(ROWS);
            TOKENS
                .into_iter()
                .try_for_each(|(tokens, tile)| compare(device, &part, tokens, tile))?;
        }
    }
    Ok(())
}

fn compare(
    device: &Device,
    matrix: &FileMatrix<'_>,
    tokens: usize,
    tile: Option<Tile>,
) -> Result<(), CudaError> {
    let columns = matrix.columns();
    let activations: Vec<f32> = (0..tokens * columns).map(noise).collect();
    let found = product(device, matrix, &activations, tile)?;
    let rows = matrix.rows();
    for row in 0..rows {
        let weights: Vec<f64> = (0..columns / 32)
            .flat_map(|group| {
                let grid = matrix.grid(row, group);
                let codes = matrix.codes(row, group);
                (0..32).map(move |column| grid.weight(codes[column], column))
            })
            .collect();
        for (token, activations) in activations.chunks_exact(columns).enumerate() {
            let products = weights.iter().zip(activations);
            let (sum, size) = products.fold((0.0, 0.0), |(sum, size), (weight, activation)| {
                let product = weight * f64::from(*activation);
                (sum + product, size + product.abs())
            });
            let difference = (f64::from(found[token * rows + row]) - sum).abs();
            // Rounding to halves, of both sides at most; sums in F32 are far better.
            let bound = if tile.is_none() { 1e-5 } else { 1e-3 } * size + 1e-30;
            if difference.is_nan() || difference > bound {
                return Err(CudaError::Unsound {
                    bits: matrix.bits(),
                    kind: match matrix.grid(0, 0) {
                        Grid::Flat { .. } => "a grid for 32 columns",
                        Grid::Nested { .. } => "nested scales",
                        Grid::Halved { .. } => "nested scales for 16 columns",
                    },
                    tokens,
                    difference,
                    bound,
                });
            }
        }
    }
    Ok(())
}

/// `[tokens, rows]`.
pub(crate) fn product(
    device: &Device,
    matrix: &FileMatrix<'_>,
    activations: &[f32],
    tile: Option<Tile>,
) -> Result<Vec<f32>, CudaError> {
    let columns = matrix.columns();
    let tokens = activations.len() / columns;
    let on_gpu = GpuMatrix::upload(device, matrix)?;
    let numbers = device.upload(activations)?;
    let halves = device.allocate::<u16>(activations.len())?;
    let scales = device.allocate::<f32>(tokens)?;
    let to = device.allocate::<f32>(tokens * matrix.rows())?;
    let halve = Halve {
        numbers: device.address(&numbers),
        to: Rows {
            plain: 0,
            halves: device.address(&halves),
            scales: device.address(&scales),
        },
        columns: columns as i32,
    };
    let product = Product {
        matrix: on_gpu.parameter(device),
        bias: 0,
        to: device.address(&to),
        adds: 0,
        first_block: 0,
    };
    let Rows { halves, scales, .. } = halve.to;
    // SAFETY: the buffers above, which live until the download has waited for the work.
    unsafe {
        device.halve_rows(tokens, &halve)?;
        match tile {
            Some(tile) => device.multiply_many(tile, tokens, (halves, scales), &[product])?,
            None => device.multiply(tokens, (halve.numbers, halves, scales), &[product])?,
        }
    }
    device.download(&to, tokens * matrix.rows())
}

/// A number from -1 to 1 for each place (splitmix64: Steele et al. 2014).
fn noise(place: usize) -> f32 {
    let mut bits = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}
