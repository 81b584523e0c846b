//! How much each token of a cache is worth to each head, kept in the file `scores` beside the blocks: made once, applied to any
//! share afterwards.
//!
//! One record a block, at its index: 8 bytes xxh3, seeded with the chained hash of the block's tokens, of what follows; then a byte for
//! each layer, key/value head and token, `[layers][kv_heads][64]`. A record that does not match its hash, or is of other tokens, is one
//! that is not there: a crash, damage or another text costs that the block is scored again.

use super::thin::is_never_thinned;
use super::{BLOCK_TOKENS, Kept, KvCache, KvError, KvShape, KvView};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(super) const SCORES_FILE: &str = "scores";

/// Steps of a worth between one attention and twice as much: with 16, a byte reaches down to 2^-16, and neighbours differ by 4%.
const STEPS: f32 = 16.0;

/// An attention probability as a worth: its logarithm. 0 for less than about 2^-16.
pub fn worth(attention: f32) -> u8 {
    // `as` saturates, and takes what is no number to 0.
    (255.0 + STEPS * attention.log2()).round() as u8
}

/// The scores of one cache.
#[derive(Debug)]
pub struct Scores {
    file: File,
    path: PathBuf,
    shape: KvShape,
}

impl KvCache {
    /// What its blocks were scored with.
    ///
    /// # Errors
    /// [`KvError::Io`].
    pub fn scores(&self) -> Result<Scores, KvError> {
        let path = self.folder().join(SCORES_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(KvError::io(&path, "open"))?;
        Ok(Scores {
            file,
            path,
            shape: *self.shape(),
        })
    }
}

impl Scores {
    /// The worth of a block's tokens, `[layer][kv_head][64]`; `None` if they were not scored. `view` is of all of the cache.
    ///
    /// # Errors
    /// [`KvError::Io`].
    pub fn of_block(&mut self, view: &KvView, block: usize) -> Result<Option<Vec<u8>>, KvError> {
        let mut record = vec![0; self.record_bytes()];
        let at = (block * record.len()) as u64;
        let read = self.file.seek(SeekFrom::Start(at));
        match read.and_then(|_| self.file.read_exact(&mut record)) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(KvError::io(&self.path, "read"))?,
        }
        let worth = record.split_off(8);
        let is_its = record == hash(view, block, &worth).to_le_bytes();
        Ok(is_its.then_some(worth))
    }

    /// Keeps the worth of the tokens of blocks from `first` on, each `[layer][kv_head][64]`; durable when this returns.
    ///
    /// # Errors
    /// [`KvError::DiskFull`], [`KvError::Io`]: none of these may count as scored then.
    pub fn put(&mut self, view: &KvView, first: usize, blocks: &[Vec<u8>]) -> Result<(), KvError> {
        let bytes = self.record_bytes();
        let mut records = Vec::with_capacity(blocks.len() * bytes);
        for (block, worth) in (first..).zip(blocks) {
            records.extend_from_slice(&hash(view, block, worth).to_le_bytes());
            records.extend_from_slice(worth);
        }
        let written = self
            .file
            .seek(SeekFrom::Start((first * bytes) as u64))
            .and_then(|_| self.file.write_all(&records))
            .and_then(|()| self.file.sync_data());
        written.map_err(|error: io::Error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => KvError::DiskFull {
                path: self.path.clone(),
                needed: records.len() as u64,
            },
            _ => KvError::io(&self.path, "write")(error),
        })
    }

    /// What heads keep so that of the tokens that can be lost about `share` stay: those worth most, all heads compared with all. The
    /// first `whole` blocks keep everything, and so does what was not scored.
    ///
    /// # Errors
    /// [`KvError::Io`].
    pub fn keep(&mut self, view: &KvView, share: f64, whole: usize) -> Result<Kept, KvError> {
        let mut counts = [0u64; 256];
        for block in whole..view.blocks() {
            if is_never_thinned(view, block) {
                continue;
            }
            for worth in self.of_block(view, block)?.into_iter().flatten() {
                counts[usize::from(worth)] += 1;
            }
        }
        let least = least_kept(&counts, share);
        let mut kept = Kept::everything(&self.shape, view.blocks());
        for block in whole..view.blocks() {
            let Some(worth) = self.of_block(view, block)? else {
                continue;
            };
            for (nth, _) in worth
                .iter()
                .enumerate()
                .filter(|(_, worth)| **worth < least)
            {
                let (head, place) = (nth / BLOCK_TOKENS, nth % BLOCK_TOKENS);
                let (layer, kv_head) = (head / self.shape.kv_heads, head % self.shape.kv_heads);
                kept.evict(layer, kv_head, block * BLOCK_TOKENS + place);
            }
        }
        Ok(kept)
    }

    fn record_bytes(&self) -> usize {
        8 + self.shape.layers * self.shape.kv_heads * BLOCK_TOKENS
    }
}

fn hash(view: &KvView, block: usize, worth: &[u8]) -> u64 {
    xxh3_64_with_seed(worth, view.chain(block))
}

/// The least worth that stays where a share as near as can be to `share` is to stay of so many tokens of each worth.
fn least_kept(counts: &[u64; 256], share: f64) -> u8 {
    let wanted = share * counts.iter().sum::<u64>() as f64;
    let mut stays = 0;
    let mut best = (f64::INFINITY, u8::MAX);
    for least in (0..=u8::MAX).rev() {
        stays += counts[usize::from(least)];
        let off = (stays as f64 - wanted).abs();
        // Of as good ones the one that keeps more.
        if off <= best.0 {
            best = (off, least);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worth_is_the_logarithm_of_attention() {
        assert_eq!(worth(1.0), 255);
        assert_eq!(worth(0.5), 239);
        assert_eq!([worth(1e-6), worth(0.0), worth(f32::NAN)], [0, 0, 0]);
        assert!(worth(0.01) > worth(0.009));
    }

    #[test]
    fn the_share_that_stays_is_the_nearest() {
        let mut counts = [0; 256];
        (counts[10], counts[20], counts[30]) = (50, 30, 20);
        assert_eq!(least_kept(&counts, 0.2), 21);
        assert_eq!(least_kept(&counts, 0.5), 11);
        assert_eq!(least_kept(&counts, 0.9), 0);
        assert_eq!(least_kept(&[0; 256], 0.5), 0);
    }
}
