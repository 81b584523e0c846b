//! A loaded model.
//!
//! In memory are the packed matrices ([`packed`](crate::packed)), as many bytes as their tensors in the file, and of the
//! mapped file the rows of the embedding table that were looked up; the file's other pages are given back.

use std::any::Any;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use xxhash_rust::xxh3::Xxh3;

use crate::architecture::Hyperparameters;
use crate::attention::{Attention, AttentionShape};
use crate::awake;
use crate::backend::Backend;
use crate::block::DecoderWeights;
use crate::chat::ChatTemplate;
use crate::decoder::{Decoder, Logits, Place};
use crate::error::{ForwardError, ModelError};
use crate::gguf::Gguf;
use crate::packed::FileMatrix;
use crate::storage::release;
use crate::tokenizer::Tokenizer;

/// Weights, tokenizer and chat template of one GGUF file, ready to run on the CPU. Shared freely between threads.
pub struct Model {
    name: String,
    fingerprint: String,
    decoder: Decoder,
    tokenizer: Tokenizer,
    chat_template: ChatTemplate,
    ends_answer: Vec<u32>,
}

/// What a file says of its model.
#[derive(Debug, Clone)]
pub struct ModelFacts {
    /// Heads and positions; its key biases stand among the weights and are left out.
    pub shape: AttentionShape,
    /// Positions that the model was trained for.
    pub context_length: usize,
    /// Bytes of the weights of each layer, as they stand in the file.
    pub layer_bytes: Vec<usize>,
    /// Bytes of the head.
    pub head_bytes: usize,
}

/// In a fingerprint, before how many times positions are stretched.
const STRETCHED: &str = "-stretched-";

impl Model {
    /// Opens a GGUF file and makes it ready to run. Reads the whole file once, for the fingerprint.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        Self::load_from(path, 1.0, None)
    }

    /// What a file says of its model, from its first few MB at most.
    ///
    /// # Errors
    /// As [`Model::load`], where its metadata cannot be understood.
    pub fn facts(path: &Path) -> Result<ModelFacts, ModelError> {
        let file = Gguf::open(path)?;
        let Hyperparameters {
            mut shape,
            context_length,
            ..
        } = Hyperparameters::of(&file, 1.0)?;
        shape.key_bias = vec![None; shape.layers];
        let mut layer_bytes = vec![0; shape.layers];
        for name in file.tensor_names() {
            let of_layer = name.strip_prefix("blk.").and_then(|of| of.split_once('.'));
            let layer = of_layer.and_then(|(layer, _)| layer.parse::<usize>().ok());
            if let Some(bytes) = layer.and_then(|layer| layer_bytes.get_mut(layer)) {
                *bytes += file.tensor(name).map_or(0, |tensor| tensor.bytes.len());
            }
        }
        // Tied: the head is the embedding table.
        let head = file.tensor("output.weight");
        let head = head.or_else(|| file.tensor("token_embd.weight"));
        Ok(ModelFacts {
            head_bytes: head.map_or(0, |tensor| tensor.bytes.len()),
            shape,
            context_length,
            layer_bytes,
        })
    }

    /// The same; `place` is shown the blocks' weights as they stand in the file and may put them elsewhere than into
    /// this processor's memory, which then holds none unless that place fails.
    pub fn load_to(
        path: &Path,
        place: impl FnOnce(&DecoderWeights<FileMatrix<'_>>) -> Option<Arc<dyn Backend>>,
    ) -> Result<Self, ModelError> {
        Self::load_from(path, 1.0, Some(Box::new(place)))
    }

    /// As [`Model::load_to`], or as [`Model::load`] without a place, with positions stretched so that the model reads
    /// `stretch` times further than it was trained for, by YaRN. What it then reads is another model's: its fingerprint
    /// says so.
    ///
    /// # Errors
    /// Also [`ModelError::Feature`] if the file says already that its positions are stretched.
    pub fn load_stretched(
        path: &Path,
        stretch: f64,
        place: Option<Box<Place<'_>>>,
    ) -> Result<Self, ModelError> {
        Self::load_from(path, stretch, place)
    }

    fn load_from(
        path: &Path,
        stretch: f64,
        place: Option<Box<Place<'_>>>,
    ) -> Result<Self, ModelError> {
        let file = Arc::new(Gguf::open(path)?);
        let decoder = Decoder::load(&file, stretch, place)?;
        let tokenizer = Tokenizer::of(&file).map_err(|source| ModelError::Tokenizer {
            path: path.to_owned(),
            source,
        })?;
        let chat_template = ChatTemplate::of(file.metadata(), &tokenizer);
        let ends_answer = tokenizer.ends_of_turn();
        release(file.map(), file.header());
        let plain = fingerprint(path).map_err(|source| ModelError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            name: file.name(),
            fingerprint: Model::stretched_fingerprint(&plain, stretch),
            decoder,
            tokenizer,
            chat_template,
            ends_answer,
        })
    }

    /// The fingerprint that this model has, or would have, if its positions were stretched `stretch` times, given any that it
    /// has.
    pub fn stretched_fingerprint(fingerprint: &str, stretch: f64) -> String {
        let plain = fingerprint.split(STRETCHED).next().unwrap_or_default();
        match stretch > 1.0 {
            true => format!("{plain}{STRETCHED}{stretch}"),
            false => plain.to_owned(),
        }
    }

    /// The name that the file carries, or the file's own.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The xxh3-128 of the whole file, in hex: two files with one fingerprint compute the same keys and values.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Heads, layers and positions, for whoever implements [`Attention`].
    pub fn shape(&self) -> &AttentionShape {
        &self.decoder.parameters().shape
    }

    /// Tokens of the window that the model was trained for.
    pub fn context_length(&self) -> usize {
        self.decoder.parameters().context_length
    }

    /// Logits per position. Ids from the tokenizer are below it; some rows may belong to no token.
    pub fn vocabulary_size(&self) -> usize {
        self.decoder.vocabulary()
    }

    /// Whether this processor multiplies; something else has the weights if not.
    pub fn is_on_cpu(&self) -> bool {
        self.decoder.is_here()
    }

    /// Where the layers lie that something else has, as that says ([`Backend::layout`]).
    pub fn layout(&self) -> Option<Box<dyn Any>> {
        self.decoder.layout()
    }

    /// Text to token ids and back.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Turns to a prompt.
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.chat_template
    }

    /// Whether the model says with this token that its answer is over.
    pub fn ends_answer(&self, token: u32) -> bool {
        self.ends_answer.contains(&token)
    }

    /// Runs the model over `tokens`, which follow whatever `attention` holds.
    ///
    /// Result: `None`, or F32 logits of shape `[1, vocabulary_size]` or `[tokens, vocabulary_size]`, as `wanted` says.
    ///
    /// # Errors
    /// As [`Model::forward_to`].
    pub fn forward(
        &self,
        tokens: &[u32],
        attention: &mut dyn Attention,
        wanted: Logits,
    ) -> Result<Option<Tensor>, ForwardError> {
        let mut logits = Vec::new();
        self.forward_to(tokens, attention, wanted, &mut logits)?;
        if wanted == Logits::None {
            return Ok(None);
        }
        let shape = (
            logits.len() / self.vocabulary_size(),
            self.vocabulary_size(),
        );
        Ok(Some(Tensor::from_vec(logits, shape, &Device::Cpu)?))
    }

    /// The same with logits, or none, in place of what `logits` holds: for who decodes many tokens and uses the memory
    /// again. A pass over one token then allocates nothing, if its attention does not.
    ///
    /// # Errors
    /// In particular [`AttentionError::Cancelled`](crate::attention::AttentionError). The pass is abandoned; what that
    /// means for the cache is the attention's business. What is left in `logits` means nothing.
    pub fn forward_to(
        &self,
        tokens: &[u32],
        attention: &mut dyn Attention,
        wanted: Logits,
        logits: &mut Vec<f32>,
    ) -> Result<(), ForwardError> {
        if !self.decoder.is_here() {
            return self.decoder.forward(tokens, attention, wanted, logits);
        }
        // On one of the threads that compute. A product that another thread hands to them first has to wake one, and to
        // be woken when it is done, which for a single token would happen a hundred times.
        awake::pass(tokens.len(), || {
            self.decoder.forward(tokens, attention, wanted, logits)
        })
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.name)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Read through a buffer rather than the map, so that the file's pages do not count as this process's memory.
fn fingerprint(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(format!("{:032x}", hash.digest128())),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretched_model_is_another_one_and_leads_back() {
        let of = Model::stretched_fingerprint;
        assert_eq!(of("abc", 1.0), "abc");
        assert_eq!(of("abc", 2.0), "abc-stretched-2");
        assert_eq!(of(&of("abc", 2.0), 4.0), "abc-stretched-4");
        assert_eq!(of(&of("abc", 2.0), 1.0), "abc");
    }
}
