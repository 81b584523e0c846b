//! Finding the valid part of a block file, whatever a crash or a failing disk left behind.

use super::format::BlockFormat;
use super::header::{BlockHeader, chain, header_bytes};
use super::view::SealedBlock;
use super::{BLOCK_TOKENS, KvShape, thin};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// What was found in a block file.
#[derive(Debug)]
pub(super) struct Scan {
    /// The longest valid prefix.
    pub(super) blocks: Vec<SealedBlock>,
    /// Byte after the last valid block.
    pub(super) end: u64,
    /// The first valid header belongs to a cache with another identity: nothing here may be touched.
    pub(super) foreign: bool,
}

/// Reads all headers of `file` and the payload of the last append, which is taken from its `map`.
///
/// A header must check out, be the next in order, continue the token chain, and fit the file. Payload is checked only
/// in the last append: everything before was made durable before that append began, so a crash cannot have torn it.
///
/// Headers are read, not mapped: each stands on a page of its own, and mapping and unmapping 5,000 pages and their
/// neighbours takes 35 ms, reading 5,000 headers 5.
pub(super) fn scan(
    mut file: &File,
    map: &[u8],
    shape: &KvShape,
    format: BlockFormat,
    identity: u64,
) -> io::Result<Scan> {
    let mut scan = Scan {
        blocks: Vec::new(),
        end: 0,
        foreign: false,
    };
    let mut hash = 0;
    let mut bytes = Vec::new();
    loop {
        bytes.resize(header_bytes(shape.layers), 0);
        let mut left = (map.len() as u64 - scan.end) as usize;
        if left < bytes.len() {
            break;
        }
        file.seek(SeekFrom::Start(scan.end))?;
        file.read_exact(&mut bytes)?;
        left -= bytes.len();
        let (fixed, whole) = (bytes.len(), BlockHeader::length(&bytes, shape));
        if left < whole - fixed {
            break;
        }
        bytes.resize(whole, 0);
        file.read_exact(&mut bytes[fixed..])?;
        let Some(header) = BlockHeader::decode(&bytes, shape) else {
            break;
        };
        if scan.blocks.is_empty() && header.identity != identity {
            scan.foreign = true;
            break;
        }
        let next = chain(hash, &header.tokens);
        let after_partial = scan
            .blocks
            .last()
            .is_some_and(|last| last.header.tokens.len() < BLOCK_TOKENS);
        let format = format.of_block(scan.blocks.len(), header.tokens.len());
        let expected = header.index as usize == scan.blocks.len()
            && header.append_start <= header.index
            && header.looked_at_from <= header.index
            && header.identity == identity
            && header.format == format.number()
            && header.part_bytes == parts_bytes(&header, format, shape)
            && header.chain == next
            && (header.kept.is_none() || format.can_be_thinned())
            && !after_partial;
        let block = SealedBlock::new(scan.end, header, format, shape, false);
        if !expected || block.end() > map.len() as u64 {
            break;
        }
        hash = next;
        scan.end = block.end();
        scan.blocks.push(block);
    }
    if let Some(last) = scan.blocks.last() {
        let first = last.header.append_start as usize;
        let torn = (first..scan.blocks.len())
            .find(|&index| (0..shape.layers).any(|layer| !scan.blocks[index].verify(layer, map)));
        if let Some(torn) = torn {
            scan.end = scan.blocks[torn].offset;
            scan.blocks.truncate(torn);
        }
    }
    Ok(scan)
}

/// What a block of this format says of its parts' bytes.
fn parts_bytes(header: &BlockHeader, format: BlockFormat, shape: &KvShape) -> u64 {
    let bytes = match &header.kept {
        Some(kept) => thin::parts_bytes(format, shape, kept),
        None => format.part_bytes(shape),
    };
    bytes as u64
}
