//! Blocks of a GGUF file ([`file`](super::file)) to tiles.

use super::file::{codes_of, factor_and_minimum, file_block, file_block_bytes};
use super::layout::{
    BLOCK, BLOCK_CODES, CHUNK_BLOCKS, GROUP_CODES, GROUPS, Layout, NESTED_BLOCKS, Scales, TILE_ROWS,
};

/// Writes the tile of at most 16 `rows`, each the bytes of the file's blocks of one row, to `tile`, which is zeros.
pub(super) fn pack_tile(layout: Layout, rows: &[&[u8]], tile: &mut [u8]) {
    let chunks = tile.chunks_mut(layout.tile_bytes(CHUNK_BLOCKS));
    let row_bytes = CHUNK_BLOCKS * BLOCK / layout.file_block() * file_block_bytes(layout);
    for (chunk, packed) in chunks.enumerate() {
        let start = chunk * row_bytes;
        let rows: Vec<&[u8]> = rows
            .iter()
            .map(|row| &row[start..row.len().min(start + row_bytes)])
            .collect();
        pack_chunk(layout, &rows, packed);
    }
}

/// The same for a chunk of the tile.
fn pack_chunk(layout: Layout, rows: &[&[u8]], chunk: &mut [u8]) {
    let file_blocks = chunk.len() / TILE_ROWS / file_block_bytes(layout);
    let blocks = file_blocks * layout.file_block() / BLOCK;
    let (codes, scales) = chunk.split_at_mut(layout.code_bytes(blocks));
    for (block, packed) in codes.chunks_exact_mut(layout.code_bytes(1)).enumerate() {
        let mut wide = [0; BLOCK_CODES];
        for (row, bytes) in rows.iter().enumerate() {
            let codes = codes_of(layout, bytes, block);
            for (group, four) in codes.as_chunks::<4>().0.iter().enumerate() {
                wide[group * GROUP_CODES + row * 4..][..4].copy_from_slice(four);
            }
        }
        fold(layout.bits, &wide, packed);
    }
    for (row, bytes) in rows.iter().enumerate() {
        pack_scales(layout, bytes, row, blocks, scales);
    }
}

/// The inverse of [`unfold`](super::unpack): a byte for each code to the packed form.
fn fold(bits: usize, wide: &[u8; BLOCK_CODES], packed: &mut [u8]) {
    if bits == 8 {
        packed.copy_from_slice(wide);
        return;
    }
    let (low, high) = packed.split_at_mut(BLOCK_CODES / 2);
    for group in 0..GROUPS {
        for i in 0..GROUP_CODES {
            let code = wide[group * GROUP_CODES + i];
            low[group / 2 * GROUP_CODES + i] |= (code & 15) << (group % 2 * 4);
            match bits {
                5 => high[i] |= code >> 4 << group,
                6 => high[group / 4 * GROUP_CODES + i] |= code >> 4 << (group % 4 * 2),
                _ => {}
            }
        }
    }
}

fn pack_scales(layout: Layout, bytes: &[u8], row: usize, blocks: usize, scales: &mut [u8]) {
    let mut put_half = |at: usize, half: &[u8]| {
        scales[at + 2 * row..][..2].copy_from_slice(&half[..2]);
    };
    match layout.scales {
        Scales::Block => {
            for block in 0..blocks {
                let (bytes, _) = file_block(layout, bytes, block);
                put_half(block * 2 * TILE_ROWS, bytes);
            }
        }
        Scales::BlockAndMinimum => {
            for block in 0..blocks {
                let (bytes, _) = file_block(layout, bytes, block);
                put_half(block * 4 * TILE_ROWS, bytes);
                put_half((block * 4 + 2) * TILE_ROWS, &bytes[2..]);
            }
        }
        Scales::Nested => {
            let scales = scales.chunks_exact_mut(layout.scale_bytes(NESTED_BLOCKS));
            for (outer, scales) in scales.enumerate() {
                let (bytes, _) = file_block(layout, bytes, outer * NESTED_BLOCKS);
                scales[2 * row..][..2].copy_from_slice(&bytes[..2]);
                scales[2 * (TILE_ROWS + row)..][..2].copy_from_slice(&bytes[2..4]);
                let (low, high) = scales[4 * TILE_ROWS..].split_at_mut(NESTED_BLOCKS * TILE_ROWS);
                for block in 0..NESTED_BLOCKS {
                    let (factor, minimum) = factor_and_minimum(&bytes[4..16], block);
                    low[block * TILE_ROWS + row] = factor & 15 | minimum << 4;
                    high[block / 2 * TILE_ROWS + row] |=
                        (factor >> 4 | minimum >> 4 << 2) << (block % 2 * 4);
                }
            }
        }
        Scales::NestedHalves => {
            let scales = scales.chunks_exact_mut(layout.scale_bytes(NESTED_BLOCKS));
            for (outer, scales) in scales.enumerate() {
                let (bytes, _) = file_block(layout, bytes, outer * NESTED_BLOCKS);
                scales[2 * row..][..2].copy_from_slice(&bytes[208..210]);
                for (half, factor) in bytes[192..208].iter().enumerate() {
                    scales[(2 + half) * TILE_ROWS + row] = *factor;
                }
            }
        }
    }
}
