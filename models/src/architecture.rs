//! What a GGUF's metadata says of the transformer in it.

use crate::attention::{AttentionShape, RotaryPairing};
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::positions;

/// The architectures with a forward pass, in words.
pub(crate) const SUPPORTED: &str = "llama, qwen2 and qwen3";

/// A family of decoders, by its name in `general.architecture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, Mistral, SmolLM2 and others without biases.
    Llama,
    /// Qwen2 and Qwen2.5: biases on queries, keys and values.
    Qwen2,
    /// Qwen3: no biases, queries and keys normalised per head.
    Qwen3,
}

impl Architecture {
    /// By its name in `general.architecture`; `None` if there is no forward pass for it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "llama" => Some(Self::Llama),
            "qwen2" => Some(Self::Qwen2),
            "qwen3" => Some(Self::Qwen3),
            _ => None,
        }
    }

    fn pairing(self) -> RotaryPairing {
        match self {
            Self::Llama => RotaryPairing::Neighbours,
            Self::Qwen2 | Self::Qwen3 => RotaryPairing::Halves,
        }
    }
}

/// The numbers of a model, checked for sense.
#[derive(Debug, Clone)]
pub(crate) struct Hyperparameters {
    pub(crate) architecture: Architecture,
    /// Channels of the residual stream.
    pub(crate) width: usize,
    /// Channels inside the feed-forward part.
    pub(crate) feed_forward: usize,
    /// Positions that the model was trained for, or is stretched to.
    pub(crate) context_length: usize,
    /// Epsilon of the RMS norms.
    pub(crate) norm_epsilon: f32,
    /// Heads and positions; its key biases are filled in when the weights are loaded.
    pub(crate) shape: AttentionShape,
}

impl Hyperparameters {
    /// `stretch`: how many times further than it was trained for the model is to read; 1 for as far.
    pub(crate) fn of(file: &Gguf, stretch: f64) -> Result<Self, ModelError> {
        let path = || file.path().to_owned();
        let metadata = file.metadata();
        let name = metadata
            .string("general.architecture")
            .ok_or_else(|| ModelError::Metadata {
                path: path(),
                key: "general.architecture".to_owned(),
            })?;
        let architecture = Architecture::named(name).ok_or_else(|| ModelError::Architecture {
            path: path(),
            architecture: name.to_owned(),
        })?;
        let nonsense = |key: &str| ModelError::Metadata {
            path: path(),
            key: format!("{name}.{key}"),
        };
        let count = |key: &str| {
            metadata
                .count(&format!("{name}.{key}"))
                .filter(|count| (1..1 << 24).contains(count))
                .ok_or_else(|| nonsense(key))
        };
        let feature = |feature: &str| {
            Err(ModelError::Feature {
                path: path(),
                feature: feature.to_owned(),
            })
        };

        if metadata.count(&format!("{name}.expert_count")).unwrap_or(0) > 0 {
            return feature("a mixture of experts");
        }
        let width = count("embedding_length")?;
        let query_heads = count("attention.head_count")?;
        let kv_heads = match metadata.count(&format!("{name}.attention.head_count_kv")) {
            Some(_) => count("attention.head_count_kv")?,
            None => query_heads,
        };
        if query_heads % kv_heads != 0 {
            return Err(nonsense("attention.head_count_kv"));
        }
        let head_dim = match metadata.count(&format!("{name}.attention.key_length")) {
            Some(_) => count("attention.key_length")?,
            None if width % query_heads == 0 => width / query_heads,
            None => return Err(nonsense("attention.head_count")),
        };
        if metadata
            .count(&format!("{name}.attention.value_length"))
            .is_some_and(|length| length != head_dim)
        {
            return feature("values of another width than keys");
        }
        let norm_epsilon = metadata
            .float(&format!("{name}.attention.layer_norm_rms_epsilon"))
            .filter(|epsilon| (0.0..0.1).contains(epsilon))
            .ok_or_else(|| nonsense("attention.layer_norm_rms_epsilon"))?;
        let positions = positions::of(file, name, architecture.pairing(), head_dim, stretch)?;
        Ok(Self {
            architecture,
            width,
            feed_forward: count("feed_forward_length")?,
            context_length: (count("context_length")? as f64 * stretch.max(1.0)) as usize,
            norm_epsilon: norm_epsilon as f32,
            shape: AttentionShape {
                layers: count("block_count")?,
                query_heads,
                kv_heads,
                head_dim,
                softmax_scale: positions.attention_factor / (head_dim as f32).sqrt(),
                rotary: positions.rotary,
                key_bias: Vec::new(),
            },
        })
    }
}
