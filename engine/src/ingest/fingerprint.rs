//! Whether two items hold the same: the SHA-256 of what would be ingested, and a stamp that is cheaper to take.

use super::code::walk;
use super::{IngestError, IngestFault, Limits};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;
use xxhash_rust::xxh3::Xxh3;

/// SHA-256 of a file's bytes; of a folder, that of the relative paths and contents of the files that would be read,
/// in the order of their paths.
///
/// Reads without parsing, so it needs no sandbox. A file of a folder that vanishes meanwhile counts as absent.
pub fn fingerprint(path: &Path) -> Result<[u8; 32], IngestError> {
    let metadata = std::fs::metadata(path).map_err(|e| IngestFault::from_io(&e, false).at(path))?;
    let mut hash = Sha256::new();
    if metadata.is_dir() {
        let walked = walk(path, &Limits::default()).map_err(|fault| fault.at(path))?;
        for file in walked.files {
            let mut content = Sha256::new();
            if feed(&mut content, &file.path).is_ok() {
                // Lengths keep ("ab", "c") apart from ("a", "bc").
                hash.update((file.relative.len() as u64).to_le_bytes());
                hash.update(file.relative.as_bytes());
                hash.update(content.finalize());
            }
        }
    } else if metadata.is_file() {
        feed(&mut hash, path).map_err(|e| IngestFault::from_io(&e, true).at(path))?;
    } else {
        return Err(IngestFault::NotAFile.at(path));
    }
    Ok(hash.finalize().into())
}

/// Names, sizes and times of the files that would be read, as a few digits: while it stays the same, so did they, as
/// far as their times tell. `None` if the item cannot be looked at, or has a file without a time.
pub fn stamp(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    let mut hash = Xxh3::new();
    let mut add = |name: &str, metadata: &std::fs::Metadata| {
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        hash.update(&(name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update(&metadata.len().to_le_bytes());
        hash.update(&modified.as_nanos().to_le_bytes());
        Some(())
    };
    if metadata.is_dir() {
        for file in walk(path, &Limits::default()).ok()?.files {
            add(&file.relative, &std::fs::metadata(&file.path).ok()?)?;
        }
    } else {
        add("", &metadata)?;
    }
    Some(format!("{:016x}", hash.digest()))
}

fn feed(hash: &mut Sha256, path: &Path) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => hash.update(&buffer[..read]),
        }
    }
}
