//! The decoder: residual blocks of attention and a gated feed-forward part, with RMS norms before each.
//!
//! In: token ids and whoever owns the cache. Out: logits, for no position, the last or all of them. Everything is
//! computed for a chunk of tokens at once, in F32 activations over quantized weights, by a [`Backend`].
//!
//! Work that nobody sees is left out: the head is multiplied only for the rows that are asked for, and when only the
//! last row is asked for, or none, the last block stops after its keys and values (they are what the cache needs)
//! and goes on with that row alone.
//!
//! Where the weights lie elsewhere and that place fails, this processor takes them from the file and repeats the pass:
//! an attention leaves its cache as it was if a pass is abandoned, and takes back one that it had whole.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use crate::architecture::Hyperparameters;
use crate::attention::{Attention, AttentionError};
use crate::backend::{Backend, BackendError, BackendPass};
use crate::block::DecoderWeights;
use crate::cpu::Cpu;
use crate::error::{ForwardError, ModelError};
use crate::gguf::Gguf;
use crate::packed::FileMatrix;
use crate::spare::Spare;
use crate::weights::{Embedding, Weights};

/// For which positions of a chunk the logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// For none: a document is being read.
    None,
    /// For the last: a token is to be chosen.
    Last,
    /// For all: a text is being scored.
    All,
}

/// A decoder, ready to run.
pub(crate) struct Decoder {
    parameters: Hyperparameters,
    embedding: Embedding,
    vocabulary: usize,
    blocks: Mutex<Blocks>,
    spare: Spare<Rows>,
}

/// Memory of a pass.
#[derive(Default)]
struct Rows {
    /// `[tokens, width]`.
    hidden: Vec<f32>,
    /// `[tokens, query_heads * head_dim]`.
    attended: Vec<f32>,
}

/// Who has the weights of the blocks.
#[derive(Clone)]
enum Blocks {
    Here(Arc<Cpu>),
    /// The file is what to fall back on.
    Elsewhere(Arc<dyn Backend>, Arc<Gguf>),
}

/// Puts weights elsewhere than into this processor's memory, if it can.
pub type Place<'p> = dyn FnOnce(&DecoderWeights<FileMatrix<'_>>) -> Option<Arc<dyn Backend>> + 'p;

impl Decoder {
    /// `place`, if there is one, is asked first; positions are stretched `stretch` times.
    pub(crate) fn load(
        file: &Arc<Gguf>,
        stretch: f64,
        place: Option<Box<Place<'_>>>,
    ) -> Result<Self, ModelError> {
        let mut parameters = Hyperparameters::of(file, stretch)?;
        let mut weights = Weights::of(file);
        let embedding = weights.embedding("token_embd.weight", parameters.width)?;
        let vocabulary = weights.rows("token_embd.weight")?;
        scale_frequencies(&mut parameters, &mut weights)?;
        let elsewhere = match place {
            None => None,
            Some(place) => in_file(&mut weights, &mut parameters, vocabulary)?
                .and_then(|weights| place(&weights)),
        };
        let blocks = match elsewhere {
            None => Blocks::Here(Arc::new(pack(weights, &mut parameters, vocabulary)?)),
            Some(backend) => {
                weights.finish()?;
                Blocks::Elsewhere(backend, Arc::clone(file))
            }
        };
        Ok(Self {
            parameters,
            embedding,
            vocabulary,
            blocks: Mutex::new(blocks),
            spare: Spare::default(),
        })
    }

    pub(crate) fn parameters(&self) -> &Hyperparameters {
        &self.parameters
    }

    /// Rows of the head: logits per position.
    pub(crate) fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Whether this processor has the weights.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self.blocks(), Blocks::Here(_))
    }

    /// Where the layers lie, if elsewhere.
    pub(crate) fn layout(&self) -> Option<Box<dyn Any>> {
        match self.blocks() {
            Blocks::Here(_) => None,
            Blocks::Elsewhere(backend, _) => backend.layout(),
        }
    }

    fn blocks(&self) -> Blocks {
        let blocks = self.blocks.lock();
        blocks.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// See [`Model::forward_to`](crate::Model::forward_to).
    pub(crate) fn forward(
        &self,
        tokens: &[u32],
        attention: &mut dyn Attention,
        wanted: Logits,
        logits: &mut Vec<f32>,
    ) -> Result<(), ForwardError> {
        if tokens.is_empty() {
            return Err(ForwardError::NoTokens);
        }
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= self.vocabulary) {
            return Err(ForwardError::TokenOutOfRange {
                token,
                vocabulary: self.vocabulary,
            });
        }
        // Whether attention has the whole pass: then repeating it would give it the same tokens twice.
        let mut whole = false;
        let mut pass = |backend: &dyn Backend, attention: &mut dyn Attention| {
            self.pass(backend, tokens, attention, wanted, logits, &mut whole)
        };
        let (backend, file) = match self.blocks() {
            Blocks::Here(cpu) => return pass(&*cpu, attention),
            Blocks::Elsewhere(backend, file) => (backend, file),
        };
        let mut passed = pass(&*backend, attention);
        if let Err(ForwardError::Attention(AttentionError::Left)) = passed {
            passed = pass(&*backend, attention);
        }
        match passed {
            Err(ForwardError::Backend(BackendError::Failed(error))) => {
                tracing::warn!("the model goes on on the processor: {error}");
                let cpu = Arc::new(self.fall_back(&file)?);
                let blocks = Blocks::Here(Arc::clone(&cpu));
                *self.blocks.lock().unwrap_or_else(PoisonError::into_inner) = blocks;
                if whole && !attention.take_back(tokens.len()) {
                    return Err(BackendError::Failed(error).into());
                }
                self.pass(&*cpu, tokens, attention, wanted, logits, &mut whole)
            }
            passed => passed,
        }
    }

    /// The weights on this processor after all.
    fn fall_back(&self, file: &Gguf) -> Result<Cpu, ModelError> {
        let mut weights = Weights::of(file);
        weights.embedding("token_embd.weight", self.parameters.width)?;
        let mut parameters = self.parameters.clone();
        let frequencies = parameters.shape.rotary.inverse_frequencies.len();
        weights.optional_vector("rope_freqs.weight", frequencies)?;
        pack(weights, &mut parameters, self.vocabulary)
    }

    fn pass(
        &self,
        backend: &dyn Backend,
        tokens: &[u32],
        attention: &mut dyn Attention,
        wanted: Logits,
        logits: &mut Vec<f32>,
        whole: &mut bool,
    ) -> Result<(), ForwardError> {
        self.spare.with(tokens.len(), |Rows { hidden, attended }| {
            self.embedding.embed(tokens, hidden);
            backend.run(hidden, &mut |pass| {
                let attended = &mut *attended;
                self.through_layers(pass, tokens.len(), attention, attended, wanted, whole)?;
                match wanted {
                    Logits::None => logits.clear(),
                    Logits::Last | Logits::All => pass.logits(logits)?,
                }
                Ok(())
            })
        })
    }

    fn through_layers(
        &self,
        pass: &mut dyn BackendPass,
        tokens: usize,
        attention: &mut dyn Attention,
        attended: &mut Vec<f32>,
        wanted: Logits,
        whole: &mut bool,
    ) -> Result<(), ForwardError> {
        let layers = self.parameters.shape.layers;
        for layer in 0..layers {
            pass.project(layer)?;
            let is_there = match pass.place() {
                Some(place) => attention.attend_at(layer, tokens, &*place)?,
                None => false,
            };
            if !is_there {
                attention.attend(layer, pass.projected()?, attended)?;
            }
            let mut rows = (!is_there).then_some(attended.as_slice());
            if layer + 1 == layers {
                *whole = true;
                match wanted {
                    Logits::None => return Ok(()),
                    Logits::Last => {
                        pass.keep_last();
                        rows = rows.map(|rows| &rows[rows.len() / tokens * (tokens - 1)..]);
                    }
                    Logits::All => {}
                }
            }
            let is_cancelled = || attention.is_cancelled();
            if is_cancelled() {
                return Err(AttentionError::Cancelled.into());
            }
            pass.finish(layer, rows, &is_cancelled)?;
        }
        Ok(())
    }
}

/// The blocks' weights, packed.
fn pack(
    mut weights: Weights<'_>,
    parameters: &mut Hyperparameters,
    vocabulary: usize,
) -> Result<Cpu, ModelError> {
    let mut matrix =
        |weights: &mut Weights<'_>, name: &str, rows, columns| weights.matrix(name, rows, columns);
    let taken = DecoderWeights::take(&mut weights, parameters, vocabulary, &mut matrix)?;
    weights.finish()?;
    Ok(Cpu::new(taken))
}

/// The blocks' weights as the file has them; `None` if one of the matrices is in a format that is not packed.
fn in_file<'a>(
    weights: &mut Weights<'a>,
    parameters: &mut Hyperparameters,
    vocabulary: usize,
) -> Result<Option<DecoderWeights<FileMatrix<'a>>>, ModelError> {
    let mut matrix = |weights: &mut Weights<'a>, name: &str, rows, columns| {
        weights.file_matrix(name, rows, columns)
    };
    let taken: DecoderWeights<Option<FileMatrix<'a>>> =
        DecoderWeights::take(weights, parameters, vocabulary, &mut matrix)?;
    let all = taken.try_map(&mut |matrix| matrix.ok_or(()), &mut |vector| {
        Ok(vector.clone())
    });
    Ok(all.ok())
}

impl From<BackendError> for ForwardError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Cancelled => AttentionError::Cancelled.into(),
            BackendError::Tensor(error) => error.into(),
            failed => Self::Backend(failed),
        }
    }
}

/// Llama 3.1's frequency factors, one for each pair of channels, where the file has them.
fn scale_frequencies(
    parameters: &mut Hyperparameters,
    weights: &mut Weights,
) -> Result<(), ModelError> {
    let frequencies = &mut parameters.shape.rotary.inverse_frequencies;
    let Some(factors) = weights.optional_vector("rope_freqs.weight", frequencies.len())? else {
        return Ok(());
    };
    for (frequency, factor) in frequencies.iter_mut().zip(factors) {
        *frequency /= factor;
    }
    Ok(())
}
