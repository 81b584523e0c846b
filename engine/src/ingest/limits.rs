//! How much an item may cost before it is refused.

use serde::{Deserialize, Serialize};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// How much an item may cost before it is refused. The defaults are what the app uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of canonical text of one document. Checked while the text grows, so that no more than this is held.
    pub text_bytes: u64,
    /// The same for a PDF, where every character also carries a box of 16 bytes.
    pub pdf_text_bytes: u64,
    /// Size of a PDF or EPUB file. Plain files are bounded by `text_bytes` times two (UTF-16 needs two bytes for
    /// what takes one in the canonical text).
    pub container_bytes: u64,
    /// Unpacked bytes of one part of a container: a chapter, a content stream.
    pub part_bytes: u64,
    /// Size of one source file in a folder; longer ones are data or generated.
    pub source_bytes: u64,
    /// Address space of the extracting process.
    pub memory_bytes: u64,
    /// Time for looking for functions, classes and the like in the sources of one item; zero to look for none. What
    /// is not reached in it stays without them.
    pub symbol_time: Duration,
    /// Time for recognising one scanned page.
    pub page_time: Duration,
    /// Time for an item, without the allowance for its size; see [`Limits::time`].
    pub base_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            text_bytes: 64 * MIB,
            pdf_text_bytes: 16 * MIB,
            container_bytes: 512 * MIB,
            part_bytes: 96 * MIB,
            source_bytes: MIB,
            memory_bytes: 2048 * MIB,
            symbol_time: Duration::from_secs(20),
            page_time: Duration::from_secs(300),
            base_time: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// Time for an item of so many bytes: the base and one second for each megabyte beyond the first ten.
    pub fn time(&self, bytes: u64) -> Duration {
        self.base_time + Duration::from_secs((bytes / 1_000_000).saturating_sub(10))
    }

    /// Largest plain file that is tried.
    pub fn plain_file_bytes(&self) -> u64 {
        self.text_bytes * 2
    }
}
