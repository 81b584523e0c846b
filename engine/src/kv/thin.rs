//! Making a cache smaller: its blocks are written again with what heads keep of them.
//!
//! In: a cache and [`Kept`]. Out: the same cache, with less in it. The new file is durable before it takes the place of the
//! old one, so a crash leaves one or the other; a disk that is full leaves the old one. What stays is to the last bit what
//! it was. It can be made smaller again, and not larger: what was evicted has to be read again.
//!
//! Blocks in half precision, the first and a last one that is not full, stay whole, and so does a block of which nothing is
//! evicted. Whoever looks at a view with thinned blocks spreads them first ([`KvView::spread`]), since attention wants 64 places a
//! block; masks say which of them are empty.

use super::cache::{BLOCKS_FILE, THINNER_FILE};
use super::format::BlockFormat;
use super::header::{ALIGNMENT, BlockHeader};
use super::manifest::sync_folder;
use super::storage::Storage;
use super::view::SealedBlock;
use super::{Kept, KvCache, KvError, KvShape, KvView};
use memmap2::MmapMut;
use rayon::prelude::*;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

impl KvCache {
    /// The cache with no more of each block than `kept` says, and no more than there was. Everything is checked against its
    /// checksums first.
    ///
    /// # Errors
    /// [`KvError::Damaged`]; [`KvError::Whole`] if blocks of this format cannot lose tokens; [`KvError::DiskFull`] and
    /// [`KvError::Io`]. The cache on disk is as it was then.
    pub fn thin(self, kept: &Kept) -> Result<KvCache, KvError> {
        self.thin_through(kept, |file| Ok(Box::new(file)))
    }

    /// As [`KvCache::thin`], writing through what `storage` makes of the new file.
    pub(super) fn thin_through(
        self,
        kept: &Kept,
        storage: impl FnOnce(File) -> io::Result<Box<dyn Storage>>,
    ) -> Result<KvCache, KvError> {
        if !self.format().can_be_thinned() {
            return Err(KvError::Whole {
                path: self.folder().to_owned(),
                format: self.format().name(),
            });
        }
        let view = self.view();
        if (0..view.blocks()).all(|nth| masks(&view, nth, kept) == view.sealed()[nth].header.kept) {
            return Ok(self);
        }
        for layer in 0..self.shape().layers {
            view.verify(layer, 0..view.blocks())?;
        }
        let thinner = self.folder().join(THINNER_FILE);
        let refuse = |error: io::Error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => KvError::DiskFull {
                path: thinner.clone(),
                needed: self.bytes(),
            },
            _ => KvError::io(&thinner, "write")(error),
        };
        let written = File::create(&thinner)
            .and_then(storage)
            .and_then(|mut file| write(file.as_mut(), &view, kept));
        if let Err(error) = written {
            let refused = refuse(error);
            // Opening removes it otherwise.
            let _ = fs::remove_file(&thinner);
            return Err(refused);
        }
        drop(view);
        self.replaced_by(&thinner)
    }

    /// Puts a file in the place of its blocks and opens it again.
    fn replaced_by(self, file: &Path) -> Result<KvCache, KvError> {
        let (folder, identity, shape) = (
            self.folder().to_owned(),
            self.identity().clone(),
            *self.shape(),
        );
        drop(self);
        let blocks = folder.join(BLOCKS_FILE);
        fs::rename(file, &blocks)
            .and_then(|()| sync_folder(&folder))
            .map_err(KvError::io(&blocks, "replace"))?;
        KvCache::open_with(&folder, &identity, shape, |file| Ok(Box::new(file)))
    }
}

/// Writes all blocks of `view` with what `kept` leaves of them, and makes them durable.
fn write(file: &mut dyn Storage, view: &KvView, kept: &Kept) -> io::Result<()> {
    let mut offset = 0;
    let mut part = Vec::new();
    for (nth, block) in view.sealed().iter().enumerate() {
        let bytes = match masks(view, nth, kept) {
            None => {
                let mut bytes = block.header.encode();
                (0..view.shape().layers)
                    .for_each(|layer| bytes.extend_from_slice(view.bytes_of(block, layer)));
                bytes
            }
            Some(masks) => thinned(view, block, &masks, &mut part),
        };
        file.write_at(offset, &bytes)?;
        offset += bytes.len() as u64;
    }
    file.sync()
}

/// What heads keep of a block then; `None` if it is everything.
fn masks(view: &KvView, nth: usize, kept: &Kept) -> Option<Box<[u64]>> {
    let before = view.sealed()[nth].header.kept.as_deref();
    let kept = kept.of_block(nth).filter(|_| !is_never_thinned(view, nth));
    let masks: Box<[u64]> = match (kept, before) {
        (Some(kept), Some(before)) => kept.iter().zip(before).map(|(a, b)| a & b).collect(),
        (Some(masks), None) | (None, Some(masks)) => masks.into(),
        (None, None) => return None,
    };
    masks.iter().any(|mask| *mask != u64::MAX).then_some(masks)
}

/// Whether a block stays whole whatever heads could do without.
pub(super) fn is_never_thinned(view: &KvView, block: usize) -> bool {
    !view.sealed()[block].format.can_be_thinned()
}

/// A block with these masks, as it stands in the file.
fn thinned(view: &KvView, block: &SealedBlock, masks: &[u64], part: &mut Vec<u8>) -> Vec<u8> {
    let shape = view.shape();
    let mut parts = Vec::new();
    let mut checksums = Vec::new();
    for (layer, kept) in masks.chunks_exact(shape.kv_heads).enumerate() {
        let begin = parts.len();
        part.clear();
        part.resize(block.format.part_bytes(shape), 0);
        view.full_part(block, layer, part);
        block.format.thin(shape, part, kept, &mut parts);
        checksums.push(xxh3_64(&parts[begin..]));
    }
    parts.resize(parts.len().next_multiple_of(ALIGNMENT), 0);
    let header = BlockHeader {
        part_bytes: parts.len() as u64,
        checksums,
        kept: Some(masks.into()),
        ..block.header.clone()
    };
    [header.encode(), parts].concat()
}

/// Where the parts of a thinned block end, counted from the end of its header; one a layer.
pub(super) fn ends(format: BlockFormat, shape: &KvShape, kept: &[u64]) -> Box<[usize]> {
    let mut end = 0;
    let parts = kept.chunks_exact(shape.kv_heads);
    parts
        .map(|kept| {
            end += format.thin_bytes(shape, kept);
            end
        })
        .collect()
}

/// Bytes of all parts of a thinned block, with what fills them up.
pub(super) fn parts_bytes(format: BlockFormat, shape: &KvShape, kept: &[u64]) -> usize {
    let ends = ends(format, shape, kept);
    ends.last().map_or(0, |end| end.next_multiple_of(ALIGNMENT))
}

impl KvView {
    /// Whether heads have lost tokens of some of its blocks.
    pub fn is_thinned(&self) -> bool {
        self.sealed()
            .iter()
            .any(|block| block.header.kept.is_some())
    }

    /// The tokens of a block that a head keeps, a bit each, the first token lowest.
    pub fn kept(&self, block: usize, layer: usize, kv_head: usize) -> u64 {
        let header = &self.sealed()[block].header;
        let kept = header.kept_of(layer, self.shape().kv_heads);
        kept.map_or(u64::MAX, |kept| kept[kv_head])
    }

    /// Share of the tokens that heads keep, over all blocks and heads; the bytes of the file tell more of what it takes.
    pub fn share_kept(&self) -> f64 {
        let heads = self.shape().layers * self.shape().kv_heads;
        let of_block = |block: &Arc<SealedBlock>| match &block.header.kept {
            Some(kept) => kept.iter().map(|mask| u64::from(mask.count_ones())).sum(),
            None => (heads * block.header.tokens.len()) as u64,
        };
        let kept: u64 = self.sealed().iter().map(of_block).sum();
        kept as f64 / (heads * self.tokens()).max(1) as f64
    }

    /// One layer of a block as full parts are, put into `part`, which is zeroed. It must have been checked.
    pub(super) fn full_part(&self, block: &SealedBlock, layer: usize, part: &mut [u8]) {
        let bytes = self.bytes_of(block, layer);
        match block.header.kept_of(layer, self.shape().kv_heads) {
            Some(kept) if block.is_thin() => block.format.spread(self.shape(), bytes, kept, part),
            _ => part.copy_from_slice(bytes),
        }
    }

    /// The same blocks as attention wants them: of those that were thinned, what heads keep stands at its places again, in
    /// memory. Where none was, this is the view itself.
    ///
    /// Cost: a pass over its bytes, which are checked, and as much memory as the blocks had before they were thinned.
    ///
    /// # Errors
    /// [`KvError::Damaged`]; [`KvError::Io`] if there is no memory.
    pub fn spread(self) -> Result<KvView, KvError> {
        if !self.sealed().iter().any(|block| block.is_thin()) {
            return Ok(self);
        }
        let shape = *self.shape();
        for layer in 0..shape.layers {
            self.verify(layer, 0..self.blocks())?;
        }
        let mut end = 0;
        let places: Vec<usize> = self
            .sealed()
            .iter()
            .map(|block| {
                // The room of its header is left empty.
                end += block.header.bytes() + shape.layers * block.format.part_bytes(&shape);
                end
            })
            .collect();
        let mut memory = MmapMut::map_anon(end).map_err(KvError::io(self.file(), "spread"))?;
        let mut rest = &mut memory[..];
        let mut begin = 0;
        let mut jobs = Vec::with_capacity(places.len());
        for (block, end) in self.sealed().iter().zip(&places) {
            let (bytes, behind) = rest.split_at_mut(end - begin);
            jobs.push((block, bytes));
            (rest, begin) = (behind, *end);
        }
        jobs.into_par_iter().for_each(|(block, bytes)| {
            let parts = &mut bytes[block.header.bytes()..];
            let parts = parts.chunks_exact_mut(block.format.part_bytes(&shape));
            for (layer, part) in parts.enumerate() {
                self.full_part(block, layer, part);
            }
        });
        let begins = std::iter::once(0).chain(places.iter().copied());
        let spread = self.sealed().iter().zip(begins);
        let spread = spread
            .map(|(block, begin)| Arc::new(block.spread_at(begin as u64, &shape)))
            .collect();
        let memory = memory
            .make_read_only()
            .map_err(KvError::io(self.file(), "spread"))?;
        Ok(self.in_memory(spread, Arc::new(memory)))
    }
}
