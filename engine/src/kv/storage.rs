//! The few things the cache does to its block file, so that a test can make each of them fail.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// A file that is written at given places, made durable and cut.
pub(super) trait Storage: Send {
    /// Writes all of `bytes` at `offset`; may have written some of them when it fails.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything written is on the disk itself.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts (or extends) the file.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;
}

impl Storage for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }
}
