//! A block that is still being filled, in memory.

use super::{BLOCK_TOKENS, KvShape, PartHalves};
use half::f16;

/// Keys and values of up to 64 tokens, all layers, in half precision.
///
/// Numbers are rounded to half precision when they come in, so attention over tokens that are still in memory gives
/// exactly what it gives once they are sealed. Beyond ±65,504 they saturate: one infinite value would turn every
/// later answer into NaN.
#[derive(Debug, Clone)]
pub struct OpenBlock {
    shape: KvShape,
    /// Per layer: keys `[kv_heads][64][head_dim]`, then values likewise.
    halves: Vec<f16>,
}

impl OpenBlock {
    /// An empty block (all zeros).
    pub fn new(shape: KvShape) -> OpenBlock {
        OpenBlock {
            shape,
            halves: vec![f16::ZERO; shape.layers * 2 * shape.layer_values()],
        }
    }

    /// Shape it was made for.
    pub fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// Puts the keys and values of one token of one layer in place.
    ///
    /// `keys` and `values` are `[kv_heads][head_dim]`; `slot` is the token's place in the block, 0 to 63.
    pub fn put(&mut self, layer: usize, slot: usize, keys: &[f32], values: &[f32]) {
        assert!(slot < BLOCK_TOKENS && layer < self.shape.layers);
        let layer_values = self.shape.layer_values();
        let head_dim = self.shape.head_dim;
        let part = &mut self.halves[layer * 2 * layer_values..][..2 * layer_values];
        let (part_keys, part_values) = part.split_at_mut(layer_values);
        for (part, rows) in [(part_keys, keys), (part_values, values)] {
            for (head, row) in rows.chunks_exact(head_dim).enumerate() {
                let at = (head * BLOCK_TOKENS + slot) * head_dim;
                for (half, value) in part[at..at + head_dim].iter_mut().zip(row) {
                    *half = saturate(*value);
                }
            }
        }
    }

    /// One layer's keys and values, each `[kv_heads][64][head_dim]`; slots not filled yet hold anything.
    pub fn part(&self, layer: usize) -> PartHalves<'_> {
        let layer_values = self.shape.layer_values();
        let part = &self.halves[layer * 2 * layer_values..][..2 * layer_values];
        let (keys, values) = part.split_at(layer_values);
        PartHalves { keys, values }
    }

    /// Takes over one layer's keys and values from a sealed block.
    pub(super) fn fill(&mut self, layer: usize, halves: &PartHalves<'_>) {
        let layer_values = self.shape.layer_values();
        let part = &mut self.halves[layer * 2 * layer_values..][..2 * layer_values];
        let (keys, values) = part.split_at_mut(layer_values);
        keys.copy_from_slice(halves.keys);
        values.copy_from_slice(halves.values);
    }
}

fn saturate(value: f32) -> f16 {
    f16::from_f32(value.clamp(-65504.0, 65504.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_saturate_and_land_in_their_slot() {
        let shape = KvShape {
            layers: 2,
            kv_heads: 2,
            head_dim: 2,
        };
        let mut block = OpenBlock::new(shape);
        block.put(
            1,
            63,
            &[1.0, 2.0, 3.0, 1e9],
            &[f32::NEG_INFINITY, 5.0, 6.0, 7.0],
        );
        let part = block.part(1);
        assert_eq!(part.keys[63 * 2].to_f32(), 1.0);
        assert_eq!(part.keys[(64 + 63) * 2 + 1].to_f32(), 65504.0);
        assert_eq!(part.values[63 * 2].to_f32(), -65504.0);
        assert!(block.part(0).keys.iter().all(|half| half.to_f32() == 0.0));
    }
}
