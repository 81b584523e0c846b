//! Writing: blocks go to the end of the file, become durable, and only then are seen.

use super::format::BlockFormat;
use super::header::{BlockHeader, Pass, chain, header_bytes};
use super::storage::Storage;
use super::view::SealedBlock;
use super::{BLOCK_TOKENS, KvShape, OpenBlock};
use rayon::prelude::*;
use std::io;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The writing end of a block file.
pub(super) struct Writer {
    pub(super) storage: Box<dyn Storage>,
    /// Byte after the last sealed block.
    pub(super) end: u64,
    /// An append failed and its remains could not be cut off yet; the next one tries again first.
    pub(super) remains: bool,
}

/// What a block is made of, whichever block it is.
pub(super) struct BlockRecipe<'a> {
    pub(super) shape: &'a KvShape,
    /// The cache's.
    pub(super) format: BlockFormat,
    pub(super) identity: u64,
    /// See [`BlockHeader::looked_at_from`].
    pub(super) looked_at_from: usize,
}

impl Writer {
    /// Appends `tokens`, whose keys and values one pass computed and stand in `blocks`, after `sealed`, and makes them durable.
    ///
    /// On an error the file is cut back to what it was, or, where even that fails, will be before the next append
    /// and is at the next opening.
    pub(super) fn append(
        &mut self,
        recipe: &BlockRecipe<'_>,
        sealed: &[Arc<SealedBlock>],
        tokens: &[u32],
        blocks: &[OpenBlock],
    ) -> io::Result<Vec<Arc<SealedBlock>>> {
        self.wholly(|writer| writer.write(recipe, sealed, tokens, blocks))
    }

    /// Appends copies of `blocks`, whose bytes stand in `file`, after `sealed`, under another identity, and makes them durable.
    /// On an error the file is cut back as in [`Writer::append`].
    pub(super) fn copy(
        &mut self,
        (identity, shape): (u64, &KvShape),
        sealed: &[Arc<SealedBlock>],
        blocks: &[Arc<SealedBlock>],
        file: &[u8],
    ) -> io::Result<Vec<Arc<SealedBlock>>> {
        self.wholly(|writer| writer.write_copies((identity, shape), sealed, blocks, file))
    }

    /// Writes behind the end, which moves if that works; if it does not, what was written is cut off, now or later.
    fn wholly(
        &mut self,
        write: impl FnOnce(&mut Writer) -> io::Result<Vec<Arc<SealedBlock>>>,
    ) -> io::Result<Vec<Arc<SealedBlock>>> {
        if self.remains {
            self.storage.set_len(self.end)?;
            self.remains = false;
        }
        let written = write(self);
        match &written {
            Ok(new) => self.end = new.last().map_or(self.end, |block| block.end()),
            Err(_) => self.remains = self.storage.set_len(self.end).is_err(),
        }
        written
    }

    fn write_copies(
        &mut self,
        (identity, shape): (u64, &KvShape),
        sealed: &[Arc<SealedBlock>],
        blocks: &[Arc<SealedBlock>],
        file: &[u8],
    ) -> io::Result<Vec<Arc<SealedBlock>>> {
        let mut hash = sealed.last().map_or(0, |block| block.header.chain);
        let mut offset = self.end;
        let mut new = Vec::with_capacity(blocks.len());
        for (nth, block) in blocks.iter().enumerate() {
            hash = chain(hash, &block.header.tokens);
            let index = (sealed.len() + nth) as u32;
            // A run that began with a block of these begins with its copy.
            let within = block.header.index - block.header.looked_at_from;
            let header = BlockHeader {
                index,
                // One append wrote them all, so all are checked again after a crash.
                append_start: sealed.len() as u32,
                looked_at_from: index.saturating_sub(within),
                identity,
                chain: hash,
                ..block.header.clone()
            };
            let mut bytes = header.encode();
            bytes.extend_from_slice(&file[block.part_range(0).start..block.end() as usize]);
            self.storage.write_at(offset, &bytes)?;
            new.push(Arc::new(SealedBlock::new(
                offset,
                header,
                block.format,
                shape,
                true,
            )));
            offset += bytes.len() as u64;
        }
        self.storage.sync()?;
        Ok(new)
    }

    fn write(
        &mut self,
        recipe: &BlockRecipe<'_>,
        sealed: &[Arc<SealedBlock>],
        tokens: &[u32],
        blocks: &[OpenBlock],
    ) -> io::Result<Vec<Arc<SealedBlock>>> {
        let layers = recipe.shape.layers;
        let header_bytes = header_bytes(layers);
        let mut hash = sealed.last().map_or(0, |block| block.header.chain);
        let mut offset = self.end;
        let mut new = Vec::with_capacity(blocks.len());
        let mut bytes = Vec::new();
        for (nth, (block, tokens)) in blocks.iter().zip(tokens.chunks(BLOCK_TOKENS)).enumerate() {
            let format = recipe.format.of_block(sealed.len() + nth, tokens.len());
            let part_bytes = format.part_bytes(recipe.shape);
            bytes.clear();
            bytes.resize(header_bytes + layers * part_bytes, 0);
            hash = chain(hash, tokens);
            // In parallel: where a GPU reads, this is what takes longest.
            let checksums = bytes[header_bytes..]
                .par_chunks_exact_mut(part_bytes)
                .enumerate()
                .map(|(layer, part)| {
                    format.encode(recipe.shape, block, layer, tokens.len(), part);
                    xxh3_64(part)
                })
                .collect();
            let header = BlockHeader {
                index: (sealed.len() + nth) as u32,
                format: format.number(),
                append_start: sealed.len() as u32,
                pass: Pass::of(nth, blocks.len()),
                looked_at_from: recipe.looked_at_from as u32,
                part_bytes: part_bytes as u64,
                identity: recipe.identity,
                chain: hash,
                tokens: tokens.to_vec(),
                checksums,
                kept: None,
            };
            bytes[..header_bytes].copy_from_slice(&header.encode());
            self.storage.write_at(offset, &bytes)?;
            let block = SealedBlock::new(offset, header, format, recipe.shape, true);
            new.push(Arc::new(block));
            offset += bytes.len() as u64;
        }
        self.storage.sync()?;
        Ok(new)
    }
}
