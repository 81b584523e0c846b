//! What of the document an answer can see.

use super::document::{OpenDocument, Positions, in_order};
use super::{AskError, Listener};
use crate::attention::{CancelFlag, DenseAttention};
use crate::document::Span;
use crate::kv::KvCache;
use crate::reading::prefix;
use lectern_models::{Logits, Model, Token};
use lectern_protocol::{AskStage, Event, ReadProgress, Strategy};
use std::time::Instant;

/// Tokens of passages read at a time; a stop is heeded between.
const CHUNK_TOKENS: usize = 128;

/// Stands between passages and where text was left out, so that the model does not read across the gap.
const GAP: &str = "\n\n[...]\n\n";

/// What the model may look at.
#[derive(Clone, Copy)]
pub enum Ground<'g> {
    /// The whole document, read before.
    WholeDocument {
        /// Its cache, complete.
        cache: &'g KvCache,
        /// The document's tokens as they were read, without the prefix.
        tokens: &'g [Token],
    },
    /// Spans of it, which are read now, into memory, in the document's order.
    Passages(&'g [Span]),
}

/// A ground that is ready to be asked: the model's attention stands right behind it.
pub(super) struct Opened {
    pub attention: DenseAttention,
    pub positions: Positions,
    pub coverage: Vec<Span>,
    pub strategy: Strategy,
    /// Tokens read within this call, and the seconds it took.
    pub read_tokens: usize,
    pub read_s: f64,
}

impl Ground<'_> {
    /// Opens the cache, or reads the passages. Being stopped meanwhile leaves a ground that holds less.
    pub(super) fn open(
        &self,
        model: &Model,
        document: &OpenDocument,
        cancel: &CancelFlag,
        listener: &mut Listener,
    ) -> Result<Opened, AskError> {
        let prefix = prefix(model.chat_template(), model.tokenizer())?;
        match self {
            Ground::WholeDocument { cache, tokens } => {
                let total = prefix.len() + tokens.len();
                if cache.tokens() != total {
                    return Err(AskError::NotRead {
                        cached: cache.tokens(),
                        total,
                    });
                }
                Ok(Opened {
                    attention: DenseAttention::over(cache, model.shape(), cancel.clone())?,
                    positions: Positions::whole(prefix.len(), tokens),
                    coverage: vec![Span::new(0, document.document.text.len())],
                    strategy: Strategy::WholeDocument,
                    read_tokens: 0,
                    read_s: 0.0,
                })
            }
            Ground::Passages(passages) => {
                let coverage = in_order(passages, &document.document.text);
                let (tokens, positions) =
                    spliced(model, prefix, &document.document.text, &coverage)?;
                let started = Instant::now();
                listener.stage(AskStage::ReadingDocument);
                let mut attention = DenseAttention::without_cache(model.shape(), cancel.clone())?;
                let mut read = 0;
                for chunk in tokens.chunks(CHUNK_TOKENS) {
                    if cancel.is_cancelled() {
                        break;
                    }
                    model.forward(chunk, &mut attention, Logits::None)?;
                    read += chunk.len();
                    listener.event(Event::Reading(progress(read, tokens.len(), started)));
                }
                Ok(Opened {
                    attention,
                    positions,
                    coverage,
                    strategy: Strategy::RetrievedPassages,
                    read_tokens: read,
                    read_s: started.elapsed().as_secs_f64(),
                })
            }
        }
    }
}

/// The prefix and the passages as one run of tokens, with marks where text was left out, and where each token of a
/// passage stands in the document.
fn spliced(
    model: &Model,
    prefix: Vec<u32>,
    text: &str,
    passages: &[Span],
) -> Result<(Vec<u32>, Positions), AskError> {
    let gap = model.tokenizer().encode(GAP)?;
    let mut tokens = prefix;
    let mut positions = Positions::empty();
    let mut end = 0;
    for span in passages {
        let words = span.of(text).unwrap_or_default();
        if !text[end..span.start].trim().is_empty() || end > 0 {
            tokens.extend(&gap);
        }
        end = span.end;
        let passage = model.tokenizer().encode_with_offsets(words)?;
        positions.push_passage(tokens.len(), span.start, &passage);
        tokens.extend(passage.iter().map(|token| token.id));
    }
    if !text[end..].trim().is_empty() {
        tokens.extend(&gap);
    }
    Ok((tokens, positions))
}

fn progress(read: usize, total: usize, started: Instant) -> ReadProgress {
    let speed = read as f64 / started.elapsed().as_secs_f64().max(1e-6);
    ReadProgress {
        tokens: read as u32,
        total: total as u32,
        tokens_per_s: speed,
        seconds_left: Some((total - read) as f64 / speed),
        cache_bytes: 0,
        waiting: false,
    }
}
