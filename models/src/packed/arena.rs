//! Memory of packed matrices: many beside each other in large pages.
//!
//! Decoding reads all weights once a token. With pages of 4 KB the processor looks up a page's place every 4 KB, on a
//! virtual machine in two tables, and what fetches ahead stops at each. Most matrices are smaller than a large page or
//! would fill its last one by half, so they share slabs of memory that begins at one.

use std::sync::Arc;

use memmap2::{MmapMut, MmapRaw};

/// A large page of x86-64 and of most aarch64 kernels.
const LARGE_PAGE: usize = 2 << 20;

/// Bytes of a slab; of the last one only what is used is ever given memory by the system.
const SLAB: usize = 64 << 20;

/// Pieces begin at multiples of this, a cache line.
const ALIGNED: usize = 64;

/// Gives out pieces of memory that are zeros, for as long as they are held.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    slab: Option<Arc<MmapRaw>>,
    /// First byte of the slab that is free.
    free: usize,
}

impl Arena {
    /// # Errors
    ///
    /// If there is no memory for it.
    pub(super) fn take(&mut self, bytes: usize) -> std::io::Result<Piece> {
        let fits = |slab: &&Arc<MmapRaw>| self.free + bytes <= slab.len();
        let slab = match self.slab.as_ref().filter(fits) {
            Some(slab) => slab.clone(),
            None => {
                let slab = Arc::new(slab(bytes.max(SLAB - LARGE_PAGE))?);
                self.free = slab.as_mut_ptr().align_offset(LARGE_PAGE);
                self.slab.insert(slab).clone()
            }
        };
        let start = self.free;
        self.free = (start + bytes).next_multiple_of(ALIGNED);
        Ok(Piece { slab, start, bytes })
    }
}

/// Room for so many bytes from the first beginning of a large page.
fn slab(bytes: usize) -> std::io::Result<MmapRaw> {
    let map = MmapMut::map_anon(bytes + LARGE_PAGE)?;
    #[cfg(target_os = "linux")]
    if let Err(error) = map.advise(memmap2::Advice::HugePage) {
        tracing::debug!(%error, "no large pages for weights");
    }
    Ok(MmapRaw::from(map))
}

/// A piece of a slab that nobody else has.
pub(super) struct Piece {
    slab: Arc<MmapRaw>,
    start: usize,
    bytes: usize,
}

impl Piece {
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `take` gave out this range of the slab once, inside of it; it is written only through `bytes_mut`.
        unsafe { std::slice::from_raw_parts(self.slab.as_ptr().add(self.start), self.bytes) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and whoever has the piece to itself has the range to itself.
        unsafe {
            std::slice::from_raw_parts_mut(self.slab.as_mut_ptr().add(self.start), self.bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pieces_are_zeros_apart_from_each_other_and_outlive_the_arena() {
        let mut arena = Arena::default();
        let sizes = [
            1,
            63,
            64,
            100_000,
            SLAB - LARGE_PAGE,
            3 * SLAB,
            5,
            SLAB / 2,
            SLAB / 2,
        ];
        let mut pieces: Vec<Piece> = sizes
            .iter()
            .map(|size| arena.take(*size).unwrap())
            .collect();
        drop(arena);
        for (nth, piece) in pieces.iter_mut().enumerate() {
            assert!(piece.bytes().iter().all(|byte| *byte == 0));
            assert_eq!(piece.bytes().as_ptr().align_offset(ALIGNED), 0);
            // Ends are enough to see whether one runs into another.
            let last = sizes[nth] - 1;
            (piece.bytes_mut()[0], piece.bytes_mut()[last]) = (nth as u8 + 1, nth as u8 + 1);
        }
        for (nth, piece) in pieces.iter().enumerate() {
            assert_eq!(piece.bytes().len(), sizes[nth]);
            assert_eq!(piece.bytes()[0], nth as u8 + 1);
            assert_eq!(piece.bytes()[sizes[nth] - 1], nth as u8 + 1);
        }
    }
}
