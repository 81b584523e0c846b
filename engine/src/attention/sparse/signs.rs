//! Self-Indexing KV (arXiv 2603.14224): of each key, for every 4 channels, the signs of its distance from the channel's
//! middle, 16 codes that stand for the mean of all keys with those signs. A query's product with a key is then the sum
//! of what it has with each code's mean, looked up in a table.
//!
//! Reimplemented from the paper, with two differences: the middle of a channel is the mean over the first page, not the
//! median over all, so that pages can be added one by one; and a page is worth the sum over its keys.

use super::super::kernels::Kernels;
use super::PageIndex;
use crate::kv::BLOCK_TOKENS;

/// Channels that share a code, and codes.
const CHANNELS: usize = 4;
const CODES: usize = 16;

/// One byte a key and group of channels.
#[derive(Debug)]
pub(super) struct Signs {
    head_dim: usize,
    groups: usize,
    middle: Vec<f32>,
    /// `[keys][groups]`, two codes a byte.
    codes: Vec<u8>,
    /// `[groups][16][4]`, and how many keys each is the sum of.
    sums: Vec<[f32; CHANNELS]>,
    counts: Vec<u32>,
}

impl Signs {
    pub(super) fn new(head_dim: usize) -> Signs {
        let groups = head_dim.div_ceil(CHANNELS).next_multiple_of(2);
        Signs {
            head_dim,
            groups,
            middle: Vec::new(),
            codes: Vec::new(),
            sums: vec![[0.0; CHANNELS]; groups * CODES],
            counts: vec![0; groups * CODES],
        }
    }

    /// For one query, what each code of each group adds to a score.
    fn table(&self, query: &[f32]) -> Vec<f32> {
        let means = self.sums.iter().zip(&self.counts).enumerate();
        means
            .map(|(nth, (sum, count))| {
                let channels = query[(nth / CODES * CHANNELS).min(query.len())..].iter();
                let product: f32 = channels.zip(sum).map(|(query, sum)| query * sum).sum();
                product / (*count).max(1) as f32
            })
            .collect()
    }
}

impl PageIndex for Signs {
    fn push(&mut self, keys: &[f32]) {
        let key_at = |channel: usize, key: usize| keys[channel * BLOCK_TOKENS + key];
        if self.middle.is_empty() {
            let mean = |channel: &[f32]| channel.iter().sum::<f32>() / BLOCK_TOKENS as f32;
            self.middle = keys.chunks_exact(BLOCK_TOKENS).map(mean).collect();
        }
        for key in 0..BLOCK_TOKENS {
            for pair in 0..self.groups / 2 {
                let mut byte = 0;
                for group in [2 * pair, 2 * pair + 1] {
                    let first = (group * CHANNELS).min(self.head_dim);
                    let last = (first + CHANNELS).min(self.head_dim);
                    let code = (first..last).fold(0, |code, channel| {
                        let above = key_at(channel, key) >= self.middle[channel];
                        code | usize::from(above) << (channel - first)
                    });
                    let at = group * CODES + code;
                    for channel in first..last {
                        self.sums[at][channel - first] += key_at(channel, key);
                    }
                    self.counts[at] += 1;
                    byte |= (code as u8) << (4 * (group % 2));
                }
                self.codes.push(byte);
            }
        }
    }

    fn estimate(&self, _kernels: &Kernels, queries: &[f32], pages: usize, estimates: &mut [f32]) {
        let bytes = self.groups / 2;
        let rows = queries.chunks_exact(self.head_dim);
        for (query, estimates) in rows.zip(estimates.chunks_exact_mut(pages)) {
            let table = self.table(query);
            let page_codes = self.codes.chunks_exact(BLOCK_TOKENS * bytes);
            for (estimate, codes) in estimates.iter_mut().zip(page_codes) {
                let mut scores = [0.0; BLOCK_TOKENS];
                for (score, codes) in scores.iter_mut().zip(codes.chunks_exact(bytes)) {
                    for (pair, byte) in codes.iter().enumerate() {
                        let low = 2 * pair * CODES + usize::from(byte & 15);
                        let high = (2 * pair + 1) * CODES + usize::from(byte >> 4);
                        *score += table[low] + table[high];
                    }
                }
                let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = scores.iter().map(|score| (score - largest).exp2()).sum();
                *estimate = largest + sum.log2();
            }
        }
    }

    fn bytes(&self) -> usize {
        self.codes.len() + self.sums.len() * 4 * CHANNELS + self.counts.len() * 4
    }
}
