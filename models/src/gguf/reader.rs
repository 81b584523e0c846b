//! Bounded reading of a GGUF header from bytes that nobody vouches for.
//!
//! Every length is compared with the bytes that are left before anything is allocated, so a header of a few
//! kilobytes cannot ask for gigabytes. candle's own `gguf_file` reader is not used for the header: it holds every
//! array element as a 32-byte enum (an array of bytes as long as the file becomes 32 times the file), divides by an
//! alignment of zero, and refuses a file with an unknown quantization without saying which tensor has it.

use std::path::Path;

/// What is wrong with the bytes of a GGUF file. Offsets are bytes from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufFault {
    /// The file does not start with the four letters `GGUF`.
    #[error("it does not begin with the letters GGUF")]
    NotGguf,
    /// A GGUF of the other byte order, or of a version that does not exist.
    #[error("it has GGUF version {0}; versions 2 and 3, little-endian, can be read")]
    Version(u32),
    /// The header ends in the middle of a value.
    #[error(
        "its header breaks off at byte {at}: {needed} more bytes were announced and {left} are left"
    )]
    HeaderCut {
        /// Where the value begins.
        at: usize,
        /// Bytes it should have.
        needed: u64,
        /// Bytes the file still has.
        left: usize,
    },
    /// A tensor lies behind the end of the file: what a download that broke off looks like.
    #[error(
        "tensor {tensor} needs {needed} bytes of file and there are {found}: the file is truncated"
    )]
    Truncated {
        /// Name of the tensor that lies farthest out.
        tensor: String,
        /// Bytes the file must have.
        needed: u64,
        /// Bytes it has.
        found: u64,
    },
    /// A count that no model reaches.
    #[error("its header announces {count} {what}, more than the {limit} that any model has")]
    Excessive {
        /// What is counted.
        what: &'static str,
        /// How many the header announces.
        count: u64,
        /// The most this reader accepts.
        limit: u64,
    },
    /// A metadata value of a type that does not exist, or an array inside an array.
    #[error("metadata key {key} has a value of unknown type {kind}")]
    ValueType {
        /// The key.
        key: String,
        /// The type's number.
        kind: u32,
    },
    /// A tensor whose shape or place makes no sense.
    #[error("tensor {tensor} is described wrongly: {fact}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong.
        fact: &'static str,
    },
    /// The same name twice.
    #[error("the name {0} occurs twice")]
    Twice(String),
    /// `general.alignment` is not a power of two up to 64 KiB.
    #[error("its alignment of {0} bytes is not a power of two")]
    Alignment(u64),
}

/// Most bytes in one string; the longest real ones are chat templates of some 20 KB.
const LONGEST_STRING: u64 = 1 << 22;

/// A position in a header.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Fails unless `count` items of at least `size` bytes each can still follow.
    pub(super) fn expect(&self, count: u64, size: u64) -> Result<(), GgufFault> {
        let needed = count.saturating_mul(size);
        let left = self.bytes.len() - self.at;
        if needed > left as u64 {
            return Err(GgufFault::HeaderCut {
                at: self.at,
                needed,
                left,
            });
        }
        Ok(())
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], GgufFault> {
        self.expect(length as u64, 1)?;
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufFault> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(super) fn u8(&mut self) -> Result<u8, GgufFault> {
        self.array::<1>().map(|b| b[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, GgufFault> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufFault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufFault> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string; bytes that are not UTF-8 become U+FFFD, as some real files have them.
    pub(super) fn string(&mut self) -> Result<String, GgufFault> {
        let length = self.u64()?;
        if length > LONGEST_STRING {
            return Err(GgufFault::Excessive {
                what: "bytes in one string",
                count: length,
                limit: LONGEST_STRING,
            });
        }
        let bytes = self.take(length as usize)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Name of a file without folder and extension, for a model that carries no name.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}
