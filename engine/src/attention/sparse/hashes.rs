//! Locality-sensitive hashes: of each key the sides of random planes on which it lies (SimHash, Charikar 2002; for
//! attention MagicPIG, Chen et al. 2024, arXiv 2410.16179, and HashAttention, Desai et al. 2024, arXiv 2412.14468).
//!
//! On as many planes as differ, so large is the angle between a key and a query. Keys are hashed from the centre of their
//! page, since those of a head lie to one side of the origin, with their distance from it beside; a page is worth its best
//! key. MagicPIG draws keys by collisions in many tables in place of that: tables serve to look at few keys, and here all
//! are looked at, four words each.

use super::super::drawn;
use super::super::kernels::Kernels;
use super::PageIndex;
use super::columns::Columns;
use crate::kv::BLOCK_TOKENS;

/// Planes, and words of a hash.
const PLANES: usize = 256;
const WORDS: usize = PLANES / 64;

/// A hash and a distance a key.
#[derive(Debug)]
pub(super) struct Hashes {
    head_dim: usize,
    /// `[planes][head_dim]`: 1 or -1.
    planes: Vec<f32>,
    centres: Columns,
    /// `[pages][64]`.
    hashes: Vec<[u64; WORDS]>,
    lengths: Vec<f32>,
}

impl Hashes {
    pub(super) fn new(head_dim: usize) -> Hashes {
        Hashes {
            head_dim,
            planes: (0..PLANES * head_dim).map(side).collect(),
            centres: Columns::new(head_dim),
            hashes: Vec::new(),
            lengths: Vec::new(),
        }
    }
}

/// A number of a plane.
fn side(nth: usize) -> f32 {
    if drawn(nth) >> 63 == 0 { 1.0 } else { -1.0 }
}

impl PageIndex for Hashes {
    fn push(&mut self, keys: &[f32]) {
        let mut off = keys.to_vec();
        let mut squares = [0.0f32; BLOCK_TOKENS];
        let mut centre = Vec::with_capacity(self.head_dim);
        for channel in off.chunks_exact_mut(BLOCK_TOKENS) {
            let mean = channel.iter().sum::<f32>() / BLOCK_TOKENS as f32;
            centre.push(mean);
            for (key, square) in channel.iter_mut().zip(&mut squares) {
                *key -= mean;
                *square += *key * *key;
            }
        }
        self.centres.push(centre.into_iter());
        self.lengths.extend(squares.map(f32::sqrt));
        let mut hashes = [[0u64; WORDS]; BLOCK_TOKENS];
        for (nth, plane) in self.planes.chunks_exact(self.head_dim).enumerate() {
            let mut products = [0.0f32; BLOCK_TOKENS];
            for (side, channel) in plane.iter().zip(off.chunks_exact(BLOCK_TOKENS)) {
                for (product, key) in products.iter_mut().zip(channel) {
                    *product += side * key;
                }
            }
            for (hash, product) in hashes.iter_mut().zip(products) {
                hash[nth / 64] |= u64::from(product >= 0.0) << (nth % 64);
            }
        }
        self.hashes.extend(hashes);
    }

    fn estimate(&self, kernels: &Kernels, queries: &[f32], pages: usize, estimates: &mut [f32]) {
        self.centres
            .products(kernels, queries, pages, |row, first, products| {
                estimates[row * pages + first..][..products.len()].copy_from_slice(products);
            });
        // By planes that differ.
        let cosines: Vec<f32> = (0..=PLANES)
            .map(|differ| (std::f32::consts::PI * differ as f32 / PLANES as f32).cos())
            .collect();
        let rows = queries.chunks_exact(self.head_dim);
        for (query, estimates) in rows.zip(estimates.chunks_exact_mut(pages)) {
            let length = query.iter().map(|q| q * q).sum::<f32>().sqrt();
            let mut hash = [0u64; WORDS];
            for (nth, plane) in self.planes.chunks_exact(self.head_dim).enumerate() {
                let product: f32 = plane.iter().zip(query).map(|(side, q)| side * q).sum();
                hash[nth / 64] |= u64::from(product >= 0.0) << (nth % 64);
            }
            let keys = self.hashes.chunks_exact(BLOCK_TOKENS);
            let lengths = self.lengths.chunks_exact(BLOCK_TOKENS);
            for (estimate, (keys, lengths)) in estimates.iter_mut().zip(keys.zip(lengths)) {
                let scores = keys.iter().zip(lengths).map(|(key, far)| {
                    let differ: u32 = (0..WORDS).map(|w| (key[w] ^ hash[w]).count_ones()).sum();
                    far * cosines[differ as usize]
                });
                *estimate += length * scores.fold(f32::NEG_INFINITY, f32::max);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.centres.bytes()
            + 4 * (self.planes.len() + self.lengths.len())
            + 8 * WORDS * self.hashes.len()
    }
}
