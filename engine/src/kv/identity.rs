//! What a cache is the cache *of*.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// Everything that must be equal for a cache to be used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheIdentity {
    /// SHA-256 of the document's canonical text.
    #[serde(serialize_with = "write_hex", deserialize_with = "read_hex")]
    pub text: [u8; 32],
    /// The model's fingerprint.
    pub model: String,
    /// xxh3 of the tokens that stand before the document (template and instructions).
    pub prompt: u64,
    /// Block format, see [`super::format`].
    pub format: u32,
    /// How the document was read beyond the model's window; 0 if it was not.
    #[serde(default)]
    pub scope: u64,
}

impl CacheIdentity {
    /// xxh3 of the prefix tokens, for [`CacheIdentity::prompt`].
    pub fn prompt_hash(prefix: &[u32]) -> u64 {
        super::header::chain(0, prefix)
    }

    /// Name of the cache's folder, the same for the same identity and different for a different one: the first 16
    /// digits of the text's hash, then 16 of all of the identity's.
    pub fn folder_name(&self) -> String {
        format!("{}-{:016x}", &hex(&self.text)[..16], self.hash())
    }

    /// xxh3 of the whole identity; stands in every block's header, so that a block never passes in another's cache.
    pub fn hash(&self) -> u64 {
        let mut bytes = Vec::with_capacity(64 + self.model.len());
        bytes.extend_from_slice(&self.text);
        bytes.extend_from_slice(&self.prompt.to_le_bytes());
        bytes.extend_from_slice(&self.format.to_le_bytes());
        bytes.extend_from_slice(self.model.as_bytes());
        // Caches from before there were scopes keep their names.
        if self.scope != 0 {
            bytes.extend_from_slice(&self.scope.to_le_bytes());
        }
        xxh3_64(&bytes)
    }

    /// The first thing in which `self` differs from `other`, in words for a person.
    pub(super) fn difference(&self, other: &CacheIdentity) -> Option<&'static str> {
        if self.text != other.text {
            Some("another text")
        } else if self.model != other.model {
            Some("another model")
        } else if self.prompt != other.prompt {
            Some("another prompt before the text")
        } else if self.format != other.format {
            Some("another block format")
        } else if self.scope != other.scope {
            Some("another way of reading beyond the model's window")
        } else {
            None
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_hex<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(bytes))
}

fn read_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let digits = String::deserialize(deserializer)?;
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return Err(serde::de::Error::custom("expected 64 hexadecimal digits"));
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16)
            .map_err(serde::de::Error::custom)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn any_difference_gives_another_folder() {
        let identity = CacheIdentity {
            scope: 0,
            text: [7; 32],
            model: "m".into(),
            prompt: 1,
            format: 1,
        };
        let mut others = vec![identity.clone(); 5];
        others[0].text[31] = 8;
        others[1].model = "n".into();
        others[2].prompt = 2;
        others[3].format = 2;
        others[4].scope = 1;
        for other in others {
            assert_ne!(identity.folder_name(), other.folder_name());
            assert!(identity.difference(&other).is_some());
        }
        assert_eq!(identity.difference(&identity.clone()), None);
    }

    #[test]
    fn json_round_trip_and_bad_digits() {
        let identity = CacheIdentity {
            scope: 0,
            text: [0xab; 32],
            model: "m".into(),
            prompt: u64::MAX,
            format: 1,
        };
        let json = serde_json::to_string(&identity).unwrap();
        assert_eq!(
            serde_json::from_str::<CacheIdentity>(&json).unwrap(),
            identity
        );
        for bad in [
            json.replace("abab", "zzzz"),
            json.replacen("abab", "", 1),
            json.replacen("abab", "éé", 1),
        ] {
            assert!(serde_json::from_str::<CacheIdentity>(&bad).is_err());
        }
    }
}
