//! Recognised pages on disk, so that whatever ends a recognition costs at most the page it was at.
//!
//! One file a document: eight bytes that say by which networks and in which format, then a record a page: length and
//! XXH3 of its body, the body in postcard. Records are only appended, and on disk before the next page is begun. What
//! is not whole at the end is cut off; a file of other networks or another format is begun again.

use super::RecognisedPage;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Counts up when a record or what makes it changes.
const FORMAT: u64 = 1;
/// Bytes of a record before its body.
const HEAD: usize = 12;

/// Why recognised pages cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeptError {
    /// Another Lectern is at this file.
    #[error("its pages are being recognised by another Lectern")]
    Busy,
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// The recognised pages of one document.
#[derive(Debug)]
pub(crate) struct KeptPages {
    path: PathBuf,
    file: File,
    pages: BTreeMap<u32, RecognisedPage>,
}

impl KeptPages {
    /// Opens or begins the file. `networks`: what they are, in any words.
    pub fn open(path: &Path, networks: &str) -> Result<KeptPages, KeptError> {
        let fault = |source| KeptError::File {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(fault)?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(fault)?;
        file.try_lock().map_err(|refused| match refused {
            TryLockError::WouldBlock => KeptError::Busy,
            TryLockError::Error(source) => fault(source),
        })?;
        let pages = settled(&mut file, networks).map_err(fault)?;
        Ok(KeptPages {
            path: path.to_owned(),
            file,
            pages,
        })
    }

    /// What is there, by index.
    pub fn pages(&self) -> &BTreeMap<u32, RecognisedPage> {
        &self.pages
    }

    /// Adds a page; it is on disk when this returns.
    pub fn add(&mut self, index: u32, page: RecognisedPage) -> Result<(), KeptError> {
        let mut write = || {
            let body = postcard::to_stdvec(&(index, &page)).map_err(io::Error::other)?;
            let mut record = Vec::with_capacity(HEAD + body.len());
            record.extend((body.len() as u32).to_le_bytes());
            record.extend(xxh3_64(&body).to_le_bytes());
            record.extend(body);
            self.file.write_all(&record)?;
            self.file.sync_data()
        };
        write().map_err(|source| KeptError::File {
            path: self.path.clone(),
            source,
        })?;
        self.pages.insert(index, page);
        Ok(())
    }
}

impl Drop for KeptPages {
    /// Unlocks by name: a child that is just being started holds a copy of the file until it runs.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!("{} stays locked: {error}", self.path.display());
        }
    }
}

/// Reads what is whole and leaves the file ready to be appended to.
fn settled(file: &mut File, networks: &str) -> io::Result<BTreeMap<u32, RecognisedPage>> {
    let mark = (xxh3_64(networks.as_bytes()) ^ FORMAT).to_le_bytes();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut pages = BTreeMap::new();
    let mut end = 0;
    if bytes.starts_with(&mark) {
        end = mark.len();
        while let Some((length, (index, page))) = record(&bytes[end..]) {
            pages.insert(index, page);
            end += length;
        }
    }
    file.set_len(end as u64)?;
    file.seek(SeekFrom::Start(end as u64))?;
    if end == 0 {
        file.write_all(&mark)?;
    }
    Ok(pages)
}

/// The record at the beginning of `bytes` and its length, if it is whole.
fn record(bytes: &[u8]) -> Option<(usize, (u32, RecognisedPage))> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let body = rest.get(..length)?;
    let whole = xxh3_64(body).to_le_bytes() == head[4..];
    let page = whole.then(|| postcard::from_bytes(body).ok())??;
    Some((HEAD + length, page))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::RecognisedLine;
    use super::*;

    fn page(text: &str) -> RecognisedPage {
        RecognisedPage {
            lines: vec![RecognisedLine {
                begins: [1.0, 2.0],
                ends: [3.0, 2.0],
                height: 1.0,
                turns: 0,
                characters: text.chars().map(|c| (c, [0.25, 0.5])).collect(),
            }],
        }
    }

    #[test]
    fn pages_come_back_and_a_torn_one_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("book.pages");
        let mut kept = KeptPages::open(&path, "these").unwrap();
        kept.add(4, page("four")).unwrap();
        let after_one = std::fs::metadata(&path).unwrap().len();
        kept.add(2, page("two")).unwrap();
        drop(kept);
        let whole = std::fs::read(&path).unwrap();
        for cut in after_one as usize..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let kept = KeptPages::open(&path, "these").unwrap();
            assert_eq!(
                kept.pages().keys().collect::<Vec<_>>(),
                [&4],
                "cut at {cut}"
            );
        }
        let mut kept = KeptPages::open(&path, "these").unwrap();
        kept.add(2, page("again")).unwrap();
        drop(kept);
        let kept = KeptPages::open(&path, "these").unwrap();
        assert_eq!(kept.pages()[&4], page("four"));
        assert_eq!(kept.pages()[&2], page("again"));
    }

    #[test]
    fn a_flipped_bit_is_never_taken_for_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("book.pages");
        let mut kept = KeptPages::open(&path, "these").unwrap();
        kept.add(0, page("words")).unwrap();
        drop(kept);
        let whole = std::fs::read(&path).unwrap();
        for byte in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[byte] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let kept = KeptPages::open(&path, "these").unwrap();
            assert!(kept.pages().is_empty(), "byte {byte}");
        }
    }

    #[test]
    fn other_networks_begin_again_and_two_do_not_write_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("book.pages");
        let mut kept = KeptPages::open(&path, "these").unwrap();
        kept.add(0, page("words")).unwrap();
        assert!(matches!(
            KeptPages::open(&path, "these"),
            Err(KeptError::Busy)
        ));
        drop(kept);
        assert!(KeptPages::open(&path, "those").unwrap().pages().is_empty());
    }
}
