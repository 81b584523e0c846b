//! Models as a person chooses among them.

use serde::{Deserialize, Serialize};
use specta::Type;

/// A model of the catalogue, or an imported one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct ModelEntry {
    /// Short name, as `--model` takes it.
    pub name: String,
    /// Full name.
    pub title: String,
    /// SPDX name, or the licence's own.
    pub licence: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Tokens of its native window.
    pub context: u32,
    /// Bytes of memory it needs beyond the cache.
    pub memory_bytes: u64,
    /// One line on what it is good for.
    pub summary: String,
    /// Whether the file is here, whole.
    pub installed: bool,
    /// Bytes of an unfinished download.
    pub partial_bytes: u64,
    /// Whether this program can run it.
    pub supported: bool,
    /// Whether it is the one used now.
    pub current: bool,
    /// What it does.
    #[serde(default)]
    pub purpose: ModelPurpose,
}

/// What a model does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum ModelPurpose {
    /// It reads documents and answers: one of these is chosen.
    #[default]
    Answers,
    /// It recognises the text of scanned pages: used where it is here, never chosen.
    Recognition,
    /// It finds passages by their meaning: used where it is here, never chosen.
    Passages,
}

/// Progress of a download.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct DownloadProgress {
    /// Model.
    pub name: String,
    /// Bytes here.
    pub bytes: u64,
    /// Bytes in all.
    pub total: u64,
    /// Speed now.
    pub bytes_per_s: f64,
    /// The file is whole and its checksum is being computed.
    pub verifying: bool,
}
