//! The reference, for every processor.

use super::{Kernels, Panel, Weights};
use crate::level::Level;
use crate::packed::layout::{BLOCK, GROUP_CODES, GROUPS, Scales, TILE_ROWS};
use crate::packed::{activations, rows, unpack};

pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Portable,
    panel_rows: 4,
    multiply,
    packed: None,
    unpack: unpack::unpack,
    quantize: activations::quantize,
    rms_norm: rows::rms_norm,
    swiglu: rows::swiglu,
};

fn multiply(weights: &Weights<'_>, panel: &Panel<'_>, totals: &mut [[f32; TILE_ROWS]]) {
    weights.check(panel, totals);
    let rows = panel.rows;
    let parts = match weights.layout.scales {
        Scales::NestedHalves => 2,
        _ => 1,
    };
    let groups = GROUPS / parts;
    for (block, codes) in weights.codes.iter().enumerate() {
        let codes = codes.as_chunks::<GROUP_CODES>().0;
        for (row, total) in totals.iter_mut().enumerate() {
            let at = block * rows + row;
            let activations = panel.codes[at * BLOCK..][..BLOCK].as_chunks::<4>().0;
            let activation_scale = panel.scales[at];
            for part in 0..parts {
                let correction = panel.corrections[(block * parts + part) * rows + row];
                let scales = &weights.scales[block * parts + part];
                let mut sums = [0; TILE_ROWS];
                for group in part * groups..(part + 1) * groups {
                    add_group(&codes[group], &activations[group], &mut sums);
                }
                for lane in 0..TILE_ROWS {
                    let product = match weights.minimums.get(block) {
                        Some(minimums) => {
                            sums[lane] as f32 * scales[lane] + correction as f32 * minimums[lane]
                        }
                        None => (sums[lane] + correction) as f32 * scales[lane],
                    };
                    total[lane] += product * activation_scale;
                }
            }
        }
    }
}

/// Adds the products of four columns, in 16 bits each and in 32 bits together.
#[inline(always)]
fn add_group(codes: &[u8; GROUP_CODES], activations: &[i8; 4], sums: &mut [i32; TILE_ROWS]) {
    for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<4>().0) {
        for (code, activation) in codes.iter().zip(activations) {
            *sum += i32::from(*code) * i32::from(*activation);
        }
    }
}
