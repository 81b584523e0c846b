//! What of a model and of a cache's format decides sizes on the device.

use crate::error::CudaError;
use crate::parameters::{HALF_BITS, Page};
use lectern_models::attention::{AttentionShape, RotaryPairing};

/// Tokens of a page: a block of the cache.
pub const PAGE_TOKENS: usize = 64;

/// Channels of a value that share a grid.
const VALUE_GROUP: usize = 32;

/// A model's attention, with kernels for it.
#[derive(Debug, Clone)]
pub struct Shape(AttentionShape);

impl Shape {
    /// Of a model.
    ///
    /// # Errors
    /// [`CudaError::HeadDim`] if there are no kernels for it.
    pub fn new(shape: &AttentionShape) -> Result<Shape, CudaError> {
        match shape.head_dim {
            64 | 128 => Ok(Shape(shape.clone())),
            head_dim => Err(CudaError::HeadDim { head_dim }),
        }
    }

    /// The same of some of the layers alone.
    pub fn of_layers(&self, layers: &std::ops::Range<usize>) -> Shape {
        let AttentionShape {
            ref rotary,
            ref key_bias,
            ..
        } = self.0;
        Shape(AttentionShape {
            layers: layers.len(),
            rotary: rotary.clone(),
            key_bias: key_bias[layers.clone()].to_vec(),
            ..self.0
        })
    }

    /// As the model says.
    pub fn attention(&self) -> &AttentionShape {
        &self.0
    }

    /// Transformer blocks.
    pub fn layers(&self) -> usize {
        self.0.layers
    }

    /// Query heads of a layer.
    pub fn query_heads(&self) -> usize {
        self.0.query_heads
    }

    /// Key/value heads of a layer.
    pub fn kv_heads(&self) -> usize {
        self.0.kv_heads
    }

    /// Channels of a head, 64 or 128.
    pub fn head_dim(&self) -> usize {
        self.0.head_dim
    }

    /// Query heads that share a key/value head.
    pub fn group_size(&self) -> usize {
        self.0.group_size()
    }

    /// Pairs of channels of a head, those that are not turned among them.
    pub fn pairs(&self) -> usize {
        self.0.head_dim / 2
    }

    /// Softmax scale for a softmax of powers of two.
    pub fn scale(&self) -> f32 {
        self.0.softmax_scale * std::f32::consts::LOG2_E
    }

    /// A layer's key bias, zeros if it has none.
    pub fn bias(&self, layer: usize) -> Vec<f32> {
        let none = || vec![0.0; self.kv_heads() * self.head_dim()];
        self.0.key_bias[layer].clone().unwrap_or_else(none)
    }

    /// The two channels of each pair; those that are not turned are paired at the end.
    pub fn pair_channels(&self) -> Vec<[i32; 2]> {
        let rotary = &self.0.rotary;
        let turned = rotary.inverse_frequencies.len();
        (0..self.pairs())
            .map(|pair| {
                let (first, second) = match rotary.pairing {
                    RotaryPairing::Halves if pair < turned => (pair, pair + turned),
                    _ => (2 * pair, 2 * pair + 1),
                };
                [first as i32, second as i32]
            })
            .collect()
    }

    /// Cosine and sine of each pair's angle at a position, computed in F64; those that are not turned have angle 0.
    pub fn turn(&self, position: usize) -> Vec<[f32; 2]> {
        let frequencies = &self.0.rotary.inverse_frequencies;
        (0..self.pairs())
            .map(|pair| {
                let frequency = frequencies.get(pair).copied().unwrap_or(0.0);
                let (sin, cos) = (position as f64 * f64::from(frequency)).sin_cos();
                [cos as f32, sin as f32]
            })
            .collect()
    }
    /// The turns of the places of a page as a lane of `decode` wants them, `[pairs / 4][8][32]`: pair `4 * i + lane % 4`, and
    /// of the eight tokens that lanes of `lane / 4` take (`kernels/eight.cuh`) the nth.
    pub fn turns_by_lane(&self) -> Vec<[f32; 2]> {
        let by_place: Vec<Vec<[f32; 2]>> = (0..PAGE_TOKENS).map(|place| self.turn(place)).collect();
        let of = |pair: usize, group: usize, nth: usize| {
            by_place[32 * (group / 4) + 4 * (group % 4) + nth % 4 + 16 * (nth / 4)][pair]
        };
        (0..self.pairs() / 4)
            .flat_map(|quad| (0..8).map(move |nth| (quad, nth)))
            .flat_map(|(quad, nth)| (0..32).map(move |lane| (quad, nth, lane)))
            .map(|(quad, nth, lane)| of(4 * quad + lane % 4, lane / 4, nth))
            .collect()
    }
}

/// How the keys and values of a page are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFormat {
    key_bits: usize,
    value_bits: usize,
}

impl PageFormat {
    /// Half precision.
    pub const HALVES: PageFormat = PageFormat {
        key_bits: HALF_BITS as usize,
        value_bits: HALF_BITS as usize,
    };

    /// Codes of 4 or 8 bits.
    ///
    /// # Errors
    /// [`CudaError::Format`] for other codes.
    pub fn codes(key_bits: usize, value_bits: usize) -> Result<PageFormat, CudaError> {
        match (key_bits, value_bits) {
            (4 | 8, 4 | 8) => Ok(PageFormat {
                key_bits,
                value_bits,
            }),
            _ => Err(CudaError::Format {
                key_bits,
                value_bits,
            }),
        }
    }

    /// Bytes of one layer's part of a page, as in the cache's file; a multiple of 64.
    pub fn part_bytes(self, shape: &Shape) -> usize {
        let numbers = PAGE_TOKENS * shape.head_dim();
        let head = if self == PageFormat::HALVES {
            2 * 2 * numbers
        } else {
            let side = |grids: usize, bits: usize| {
                let grid_bytes = if bits == 8 { 4 } else { 2 };
                grids * grid_bytes + numbers * bits / 8
            };
            side(shape.head_dim(), self.key_bits) + side(numbers / VALUE_GROUP, self.value_bits)
        };
        shape.kv_heads() * head
    }

    /// Bits of a key.
    pub fn key_bits(self) -> usize {
        self.key_bits
    }

    /// Bits of a value.
    pub fn value_bits(self) -> usize {
        self.value_bits
    }

    /// The entry of a page of this format that lies at `address`.
    pub fn page(self, address: u64) -> Page {
        Page {
            bytes: address,
            key_bits: self.key_bits as i32,
            value_bits: self.value_bits as i32,
        }
    }
}
