//! Whether two items hold the same: the SHA-256 of what would be ingested.

use super::code::walk;
use super::{IngestError, IngestFault, Limits};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

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
