use std::fmt::Write;

/// SHA-256 of a document's content (`ingest::fingerprint`): what makes it the same document again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
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
    use sha2::{Digest, Sha256};

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
