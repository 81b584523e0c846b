//! A server of the OpenAI protocol that answers in place of the local model.

use serde::{Deserialize, Serialize};
use specta::Type;

/// Which server answers, if one does. Its key is not here: it is kept apart, so that these settings can be shown and
/// copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Endpoint {
    /// Whether questions go there. While this is off nothing is ever sent.
    pub on: bool,
    /// Up to the version (`http://127.0.0.1:8000/v1`); the server's `/chat/completions` lies below.
    pub url: String,
    /// The model's name as the server has it.
    pub model: String,
    /// Tokens of the document that a question takes along at most, three bytes counted as one. A document that fits goes
    /// whole; of a longer one the passages that match best.
    pub document_tokens: u32,
}

impl Default for Endpoint {
    fn default() -> Endpoint {
        Endpoint {
            on: false,
            url: String::new(),
            model: String::new(),
            // With instructions, earlier turns and an answer it fits a window of 8,192 tokens.
            document_tokens: 6144,
        }
    }
}

/// What a person should know of a server before anything is sent to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct EndpointDescription {
    /// Host, with its port if that is not the usual one.
    pub host: String,
    /// Where questions are posted.
    pub url: String,
    /// Whether it is this machine.
    pub loopback: bool,
    /// Whether nobody can read on the way what is sent.
    pub encrypted: bool,
    /// Whether a key is kept for it.
    pub has_key: bool,
    /// What leaves the machine, and over what, in words for a person; one sentence each.
    pub sends: Vec<String>,
}

/// Text that is told nobody: what prints it prints that it is one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into keeping.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself, for whoever must have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[secret]")
    }
}
