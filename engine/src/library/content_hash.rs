use crate::document::Document;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// SHA-256 of a document's content: what makes it the same document again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// Hash of a folder: of its text and of the paths in it, since there is no single file to hash. Times and the
    /// folder's own name do not count.
    pub fn of_folder(document: &Document) -> ContentHash {
        let mut hash = Sha256::new();
        for section in &document.sections {
            for part in [section.title.as_bytes(), &section.span.start.to_le_bytes()] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hash.update(document.text.as_bytes());
        ContentHash(hash.finalize().into())
    }

    /// All 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                // Writing to a String never fails.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }

    /// The document id: the first 16 hexadecimal digits.
    pub fn id(&self) -> String {
        self.hex()[..16].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_id() {
        let hash = ContentHash(Sha256::digest(b"abc").into());
        assert_eq!(
            hash.hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(hash.id(), "ba7816bf8f01cfea");
    }
}
