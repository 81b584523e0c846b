//! A snapshot of a cache's sealed blocks, read in place through a memory map.

use super::format::{BlockFormat, Part};
use super::header::BlockHeader;
use super::thin;
use super::{KvError, KvShape, OpenBlock};
use memmap2::Mmap;
use rayon::prelude::*;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use xxhash_rust::xxh3::xxh3_64;

/// A block that is on disk.
#[derive(Debug)]
pub(super) struct SealedBlock {
    /// Where its header begins in the file.
    pub(super) offset: u64,
    pub(super) header: BlockHeader,
    /// What the header's number stands for.
    pub(super) format: BlockFormat,
    /// Where its parts end, counted from the end of the header, if they hold only what heads keep.
    thin: Option<Box<[usize]>>,
    /// One bit a layer: its part was found to match its checksum, or was written by this process.
    verified: Box<[AtomicU64]>,
}

impl SealedBlock {
    pub(super) fn new(
        offset: u64,
        header: BlockHeader,
        format: BlockFormat,
        shape: &KvShape,
        verified: bool,
    ) -> SealedBlock {
        let kept = header.kept.as_deref();
        let thin = kept.map(|kept| thin::ends(format, shape, kept));
        let words = header.checksums.len().div_ceil(64);
        let word = if verified { u64::MAX } else { 0 };
        SealedBlock {
            offset,
            header,
            format,
            thin,
            verified: (0..words).map(|_| AtomicU64::new(word)).collect(),
        }
    }

    /// The same block in memory, from byte `offset` on, with all places for tokens that there are.
    pub(super) fn spread_at(&self, offset: u64, shape: &KvShape) -> SealedBlock {
        let header = BlockHeader {
            part_bytes: self.format.part_bytes(shape) as u64,
            ..self.header.clone()
        };
        SealedBlock {
            thin: None,
            ..SealedBlock::new(offset, header, self.format, shape, true)
        }
    }

    /// Whether its parts hold only what heads keep.
    pub(super) fn is_thin(&self) -> bool {
        self.thin.is_some()
    }

    /// Byte after its last.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.header.block_bytes()
    }

    /// Where a layer's part stands in the file.
    pub(super) fn part_range(&self, layer: usize) -> Range<usize> {
        let start = self.offset as usize + self.header.bytes();
        match &self.thin {
            Some(ends) => {
                let begin = layer.checked_sub(1).map_or(0, |before| ends[before]);
                start + begin..start + ends[layer]
            }
            None => {
                let part_bytes = self.header.part_bytes as usize;
                let start = start + layer * part_bytes;
                start..start + part_bytes
            }
        }
    }

    fn is_verified(&self, layer: usize) -> bool {
        self.verified[layer / 64].load(Ordering::Acquire) & (1 << (layer % 64)) != 0
    }

    /// Compares one layer's part with its checksum; remembers a success.
    pub(super) fn verify(&self, layer: usize, file: &[u8]) -> bool {
        if self.is_verified(layer) {
            return true;
        }
        let sound = xxh3_64(&file[self.part_range(layer)]) == self.header.checksums[layer];
        if sound {
            self.verified[layer / 64].fetch_or(1 << (layer % 64), Ordering::Release);
        }
        sound
    }
}

/// Maps a block file for reading; `None` if it is empty.
pub(super) fn map(file: &File, path: &Path) -> Result<Option<Arc<Mmap>>, KvError> {
    let bytes = file.metadata().map_err(KvError::io(path, "inspect"))?.len();
    if bytes == 0 {
        return Ok(None);
    }
    // SAFETY: the map is only sound while nobody changes or cuts the mapped bytes. Only the holder of the cache's
    // lock writes to the file, and it writes beyond `bytes` only; it cuts the file only after it has made sure that
    // no view holds a map (`KvCache::cut`) or at places beyond what any view's blocks cover. A foreign program that
    // overwrites the file behind the lock's back is outside what a memory map can defend against; the checksums
    // see what it did at the next opening.
    let map = unsafe { Mmap::map(file) }.map_err(KvError::io(path, "map"))?;
    Ok(Some(Arc::new(map)))
}

/// All blocks that were sealed when it was taken, or some of them ([`KvView::pick`]). Cheap to clone; stays valid while
/// the cache grows.
#[derive(Debug, Clone)]
pub struct KvView {
    shape: KvShape,
    path: Arc<PathBuf>,
    blocks: Arc<[Arc<SealedBlock>]>,
    map: Option<Arc<Mmap>>,
    tokens: usize,
    /// Tokens of the whole cache when it was taken.
    of_cache: usize,
    /// First block ever found damaged, `usize::MAX` if none; shared by all views of a cache.
    first_damaged: Arc<AtomicUsize>,
}

impl KvView {
    pub(super) fn new(
        shape: KvShape,
        path: Arc<PathBuf>,
        blocks: Vec<Arc<SealedBlock>>,
        map: Option<Arc<Mmap>>,
        first_damaged: Arc<AtomicUsize>,
    ) -> KvView {
        let tokens = tokens_in(&blocks);
        KvView {
            shape,
            path,
            tokens,
            of_cache: tokens,
            blocks: blocks.into(),
            map,
            first_damaged,
        }
    }

    /// A view of no cache: nothing is sealed, everything will be in a tail.
    pub fn empty(shape: KvShape) -> KvView {
        let nowhere = Arc::new(PathBuf::new());
        let undamaged = Arc::new(AtomicUsize::new(usize::MAX));
        KvView::new(shape, nowhere, Vec::new(), None, undamaged)
    }

    /// Shape of the cache.
    pub fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// The file that holds its blocks.
    pub fn file(&self) -> &Path {
        &self.path
    }

    /// Tokens in the sealed blocks.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Sealed blocks; all but the last hold 64 tokens.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn sealed(&self) -> &[Arc<SealedBlock>] {
        &self.blocks
    }

    pub(super) fn map(&self) -> Option<&Arc<Mmap>> {
        self.map.as_ref()
    }

    /// Token ids, in order.
    pub fn token_ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks
            .iter()
            .flat_map(|block| block.header.tokens.iter().copied())
    }

    /// Chained hash of all token ids up to the end of a block.
    pub(super) fn chain(&self, block: usize) -> u64 {
        self.blocks[block].header.chain
    }

    /// The blocks that were computed in one pass with this one, as far as they are there. Of a view of all of a cache.
    pub fn pass(&self, block: usize) -> Range<usize> {
        let first_of = |block: usize| {
            let before = self.blocks[block].header.pass.before;
            block.saturating_sub(usize::from(before))
        };
        let first = first_of(block);
        let most = first + usize::from(self.blocks[block].header.pass.blocks);
        let mut here = block + 1..most.min(self.blocks.len());
        let end = here.find(|&next| first_of(next) != first);
        first..end.unwrap_or(here.end.max(block + 1))
    }

    /// Where the pass begins that position `at` is in, or would go on in, if the last one is not whole; else `at`. Of a view of all
    /// of a cache.
    pub fn pass_begin(&self, at: usize) -> usize {
        let block = at / super::BLOCK_TOKENS;
        let Some(last) = self.blocks.last() else {
            return at;
        };
        let around = self.pass(block.min(self.blocks.len() - 1));
        let is_whole = around.len() >= usize::from(last.header.pass.blocks);
        match block < self.blocks.len() || !is_whole {
            true => around.start * super::BLOCK_TOKENS,
            false => at,
        }
    }

    /// How many tokens from the start are the same as in `tokens`; compared one by one, not by hash.
    pub fn common_prefix(&self, tokens: &[u32]) -> usize {
        self.token_ids()
            .zip(tokens)
            .take_while(|(cached, token)| cached == *token)
            .count()
    }

    /// The keys and values of one layer of a block, in place. Call [`KvView::verify`] first, and [`KvView::spread`] where heads
    /// have lost tokens.
    pub fn part(&self, block: usize, layer: usize) -> Part<'_> {
        let sealed = &self.blocks[block];
        assert!(!sealed.is_thin(), "a thinned block is spread first");
        let bytes = self.bytes_of(sealed, layer);
        sealed.format.part(&self.shape, bytes)
    }

    /// The same as bytes, with their encoding.
    #[cfg(feature = "cuda")]
    pub(crate) fn part_bytes(&self, block: usize, layer: usize) -> (BlockFormat, &[u8]) {
        let sealed = &self.blocks[block];
        (sealed.format, self.bytes_of(sealed, layer))
    }

    /// One layer of one of its blocks as it stands in the file.
    pub(super) fn bytes_of(&self, block: &SealedBlock, layer: usize) -> &[u8] {
        match &self.map {
            Some(map) => &map[block.part_range(layer)],
            None => &[],
        }
    }

    /// With these blocks in place of its own, which stand in `memory`.
    pub(super) fn in_memory(self, blocks: Arc<[Arc<SealedBlock>]>, memory: Arc<Mmap>) -> KvView {
        KvView {
            blocks,
            map: Some(memory),
            ..self
        }
    }

    /// Makes sure that `layer` of these blocks matches its checksums; what was found good once is not hashed again.
    ///
    /// # Errors
    /// [`KvError::Damaged`] names the first block that does not match. Everything before it can still be used: see
    /// [`super::KvCache::cut_damage`].
    pub fn verify(&self, layer: usize, blocks: Range<usize>) -> Result<(), KvError> {
        let Some(map) = &self.map else { return Ok(()) };
        if self.blocks[blocks.clone()]
            .iter()
            .all(|block| block.is_verified(layer))
        {
            return Ok(());
        }
        let damaged = blocks
            .into_par_iter()
            .filter(|&block| !self.blocks[block].verify(layer, map))
            .min();
        match damaged {
            None => Ok(()),
            Some(block) => {
                let block = self.blocks[block].header.index as usize;
                self.first_damaged.fetch_min(block, Ordering::AcqRel);
                Err(KvError::Damaged {
                    path: self.path.to_path_buf(),
                    block,
                    token: block * super::BLOCK_TOKENS,
                    layer,
                })
            }
        }
    }

    /// How many of these blocks, from the first on, match their checksums in all layers.
    pub(super) fn sound(&self, mut blocks: Range<usize>) -> Result<usize, KvError> {
        for layer in 0..self.shape.layers {
            match self.verify(layer, blocks.clone()) {
                Err(KvError::Damaged { block, .. }) => blocks.end = block,
                checked => checked?,
            }
        }
        Ok(blocks.len())
    }

    /// Whether a checksum failed since the cache was opened.
    pub fn is_damaged(&self) -> bool {
        self.first_damaged.load(Ordering::Acquire) != usize::MAX
    }

    /// The blocks of which a part does not match its checksum, in order. Checks what was not checked before.
    pub fn damaged(&self) -> Vec<usize> {
        let Some(map) = &self.map else {
            return Vec::new();
        };
        let damaged = |block: &usize| {
            !(0..self.shape.layers).all(|layer| self.blocks[*block].verify(layer, map))
        };
        (0..self.blocks.len())
            .into_par_iter()
            .filter(damaged)
            .collect()
    }

    /// These of its blocks, one behind the other: as keys are kept before rotation, what looks at them sees a text without
    /// what stands between. All but the last must be full.
    pub fn pick(&self, ranges: impl IntoIterator<Item = Range<usize>>) -> KvView {
        let held = |range: Range<usize>| {
            let end = range.end.min(self.blocks.len());
            &self.blocks[range.start.min(end)..end]
        };
        let blocks = ranges.into_iter().flat_map(held).cloned();
        let blocks: Vec<Arc<SealedBlock>> = blocks.collect();
        KvView {
            tokens: tokens_in(&blocks),
            blocks: blocks.into(),
            ..self.clone()
        }
    }

    /// With what `grown`, a later view of all of the cache, holds beyond it.
    pub(crate) fn grown_as(&self, grown: &KvView) -> KvView {
        let new = &grown.blocks[self.of_cache / super::BLOCK_TOKENS..];
        let blocks: Vec<Arc<SealedBlock>> = self.blocks.iter().chain(new).cloned().collect();
        KvView {
            tokens: tokens_in(&blocks),
            blocks: blocks.into(),
            ..grown.clone()
        }
    }

    /// The first block of the run that ends where the cache ended when this was taken: what is appended to the cache then looked at
    /// everything from there on, and, unless that is 0, at the blocks before as far as they are in this view.
    pub(crate) fn run_to_the_end(&self) -> usize {
        let mut begins = self.of_cache.div_ceil(super::BLOCK_TOKENS);
        for block in self.blocks.iter().rev() {
            if block.header.index as usize + 1 != begins {
                break;
            }
            begins -= 1;
        }
        begins
    }

    /// Tokens of the whole cache when this was taken; more than [`KvView::tokens`] where some were picked.
    pub fn tokens_of_cache(&self) -> usize {
        self.of_cache
    }

    /// Asks the operating system to bring its blocks into memory in the background, as a dense read wants them.
    pub fn will_need(&self) {
        #[cfg(unix)]
        if let Some(map) = &self.map {
            let runs = self.blocks.chunk_by(|a, b| a.end() == b.offset);
            for (first, last) in runs.filter_map(|run| Some((run.first()?, run.last()?))) {
                let (start, end) = (first.offset as usize, last.end() as usize);
                // Only a hint: where it fails, pages come in one by one.
                let _ = map.advise_range(memmap2::Advice::WillNeed, start, end - start);
            }
        }
    }

    /// A copy in memory of the last block if it is not full, so that a question can be put behind it.
    ///
    /// # Errors
    /// [`KvError::Damaged`] if that block is.
    pub fn reopen_last(&self) -> Result<Option<OpenBlock>, KvError> {
        if self.tokens.is_multiple_of(super::BLOCK_TOKENS) {
            return Ok(None);
        }
        let last = self.blocks.len() - 1;
        let mut block = OpenBlock::new(self.shape);
        for layer in 0..self.shape.layers {
            self.verify(layer, last..last + 1)?;
            let Part::Halves(halves) = self.part(last, layer) else {
                unreachable!("a block that is not full is in half precision");
            };
            block.fill(layer, &halves);
        }
        Ok(Some(block))
    }
}

fn tokens_in(blocks: &[Arc<SealedBlock>]) -> usize {
    blocks.iter().map(|block| block.header.tokens.len()).sum()
}
