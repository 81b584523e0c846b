//! Every key, in 7 bits a channel: its product with a query is taken in whole numbers, and a page is worth its best key.
//!
//! A fact stands in a few tokens, and what tells its page from others is one key among 64; means, bounds and signs of
//! keys lose it (measured, see `docs/long-context.md`). Looking at all keys should cost a fifteenth of dense attention,
//! by count of instructions: one byte for a number of 4, four products an instruction lane, and no values. The label
//! cache of Double Sparsity (Yang et al. 2024, arXiv 2408.07092) does the same with few channels in place of few bits.
//!
//! A key is the centre of its page and a multiple of a step for each channel, the same for all pages so that a query is
//! rounded once. Steps are twice as wide as the second page needs (the first holds the sinks, which lie far out, and is
//! never chosen by estimate); what lies beyond is cut off.

use super::super::kernels::Kernels;
use super::PageIndex;
use super::columns::Columns;
use crate::kv::BLOCK_TOKENS;

/// The code of a key at its page's centre; codes are 0 to 127.
const MIDDLE: f32 = 64.0;

/// Codes to each side of the middle that the second page takes.
const USED: f32 = 32.0;

/// The nearest whole number to one that is not below 0, without the call that `round` is on processors before SSE4.
fn nearest(number: f32) -> i32 {
    (number + 0.5) as i32
}

/// Channels that an instruction multiplies together.
const TOGETHER: usize = 4;

/// `[pages][head_dim / 4][64][4]` codes, and where they lie.
#[derive(Debug)]
pub(super) struct Keys {
    head_dim: usize,
    centres: Columns,
    /// By channel; empty before the second page.
    steps: Vec<f32>,
    codes: Vec<u8>,
}

impl Keys {
    pub(super) fn new(head_dim: usize) -> Keys {
        Keys {
            head_dim,
            centres: Columns::new(head_dim),
            steps: Vec::new(),
            codes: Vec::new(),
        }
    }

    fn page_bytes(&self) -> usize {
        self.head_dim.next_multiple_of(TOGETHER) * BLOCK_TOKENS
    }

    fn first(&self) -> bool {
        self.codes.is_empty()
    }
}

impl PageIndex for Keys {
    fn push(&mut self, keys: &[f32]) {
        let ranges: Vec<(f32, f32)> = keys
            .chunks_exact(BLOCK_TOKENS)
            .map(|channel| {
                let least = channel.iter().copied().fold(f32::INFINITY, f32::min);
                let largest = channel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                ((least + largest) / 2.0, (largest - least) / 2.0)
            })
            .collect();
        self.centres.push(ranges.iter().map(|range| range.0));
        if self.steps.is_empty() && !self.first() {
            let step = |range: &(f32, f32)| (range.1 / USED).max(f32::MIN_POSITIVE);
            self.steps = ranges.iter().map(step).collect();
        }
        let start = self.codes.len();
        self.codes.resize(start + self.page_bytes(), MIDDLE as u8);
        let quads = self.codes[start..].chunks_exact_mut(TOGETHER * BLOCK_TOKENS);
        let channels = keys
            .chunks_exact(BLOCK_TOKENS)
            .zip(&ranges)
            .zip(&self.steps);
        let mut channels = channels.map(|((keys, (centre, _)), step)| (keys, centre, step));
        for quad in quads {
            for (nth, (keys, centre, step)) in channels.by_ref().take(TOGETHER).enumerate() {
                let per_step = step.recip();
                for (codes, key) in quad.as_chunks_mut::<TOGETHER>().0.iter_mut().zip(keys) {
                    codes[nth] = nearest((key - centre) * per_step + MIDDLE).clamp(0, 127) as u8;
                }
            }
        }
    }

    fn estimate(&self, kernels: &Kernels, queries: &[f32], pages: usize, estimates: &mut [f32]) {
        self.centres
            .products(kernels, queries, pages, |row, first, products| {
                estimates[row * pages + first..][..products.len()].copy_from_slice(products);
            });
        let width = self.head_dim.next_multiple_of(TOGETHER);
        let rows = queries.len() / self.head_dim;
        let mut rounded = vec![0i8; rows * width];
        let mut units = vec![0.0; rows];
        let mut offsets = vec![0i32; rows];
        for (row, query) in queries.chunks_exact(self.head_dim).enumerate() {
            let steps: Vec<f32> = query
                .iter()
                .zip(&self.steps)
                .map(|(query, step)| query * step)
                .collect();
            let largest = steps
                .iter()
                .fold(f32::MIN_POSITIVE, |largest, step| largest.max(step.abs()));
            units[row] = largest / 127.0;
            let rounded = &mut rounded[row * width..(row + 1) * width];
            for (rounded, step) in rounded.iter_mut().zip(&steps) {
                *rounded = (nearest(step / units[row] + 127.0) - 127) as i8;
            }
            offsets[row] = rounded
                .iter()
                .map(|rounded| i32::from(*rounded))
                .sum::<i32>()
                * MIDDLE as i32;
        }
        let mut largest = vec![0; rows];
        for (page, codes) in self
            .codes
            .chunks_exact(self.page_bytes())
            .take(pages)
            .enumerate()
        {
            (kernels.best_key)(&rounded, codes, &mut largest);
            for (row, largest) in largest.iter().enumerate() {
                estimates[row * pages + page] += (largest - offsets[row]) as f32 * units[row];
            }
        }
    }

    fn bytes(&self) -> usize {
        self.centres.bytes() + self.codes.len() + 4 * self.steps.len()
    }
}
