//! What of the document an answer can see.

use super::document::{OpenDocument, Positions, in_order};
use super::{AskError, Listener};
use crate::attention::{CancelFlag, DenseAttention, KeptIndex};
use crate::document::Span;
use crate::kv::{BlockFormat, KvCache, KvView};
use crate::reading::{Segments, gap, prefix};
use lectern_models::{Logits, Model, Token};
use lectern_protocol::{AskStage, Event, ReadProgress, Strategy};
use std::time::Instant;

/// Tokens of passages read at a time; a stop is heeded between.
const CHUNK_TOKENS: usize = 128;

/// What the model may look at.
#[derive(Clone, Copy)]
pub enum Ground<'g> {
    /// The whole document, read before.
    WholeDocument {
        /// Its cache, complete.
        cache: &'g KvCache,
        /// The document's tokens as they were read, without the prefix.
        tokens: &'g [Token],
        /// Where the index of its pages is kept between questions.
        index: &'g KeptIndex,
    },
    /// Spans of it, which are read now, into memory, in the document's order.
    Passages(&'g [Span]),
    /// Parts of a document that was read in segments, and spans of what was not read yet, which are read now behind
    /// them, into memory.
    Segments {
        /// What its cache holds.
        view: &'g KvView,
        /// How it is encoded.
        format: BlockFormat,
        /// How the document was cut.
        segments: &'g Segments,
        /// The tokens of the whole document, without the prefix.
        tokens: &'g [Token],
        /// The segments that are looked at, ascending; the cache holds something of each.
        picked: &'g [usize],
        /// Spans that no segment of the cache holds.
        passages: &'g [Span],
    },
    /// Its beginning, read before, and spans of the rest, which are read now behind it, into memory.
    PartlyRead {
        /// What its cache holds so far: the prefix at least.
        view: &'g KvView,
        /// The tokens of the whole document, without the prefix.
        tokens: &'g [Token],
        /// Spans; what of them was read before is not read again.
        passages: &'g [Span],
    },
}

/// A ground that is ready to be asked: the model's attention stands right behind it.
pub(super) struct Opened {
    pub attention: DenseAttention,
    pub positions: Positions,
    /// Tokens of the document that are held, in order.
    pub tokens: Vec<u32>,
    pub coverage: Vec<Span>,
    pub strategy: Strategy,
    /// Tokens read within this call, and the seconds it took.
    pub read_tokens: usize,
    pub read_s: f64,
}

impl Ground<'_> {
    /// Where the index of the pages is kept between questions, if it is.
    pub(super) fn kept_index(&self) -> Option<&KeptIndex> {
        match self {
            Ground::WholeDocument { index, .. } => Some(index),
            _ => None,
        }
    }

    /// How the cache of a whole document is encoded.
    #[cfg(feature = "cuda")]
    pub(super) fn format(&self) -> Option<BlockFormat> {
        match self {
            Ground::WholeDocument { cache, .. } => Some(cache.format()),
            Ground::Segments {
                format,
                passages: [],
                ..
            } => Some(*format),
            _ => None,
        }
    }

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
            Ground::WholeDocument { cache, tokens, .. } => {
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
                    tokens: tokens.iter().map(|token| token.id).collect(),
                    coverage: vec![Span::new(0, document.document.text.len())],
                    strategy: Strategy::WholeDocument,
                    read_tokens: 0,
                    read_s: 0.0,
                })
            }
            Ground::Segments {
                view,
                segments,
                tokens,
                picked,
                passages,
                ..
            } => {
                let text = &document.document.text;
                let view = segments.behind(view, picked);
                let mut opened = Opened {
                    attention: DenseAttention::over_view(view, model.shape(), cancel.clone())?,
                    positions: Positions::empty(),
                    tokens: Vec::new(),
                    coverage: Vec::new(),
                    strategy: Strategy::ReadSegments,
                    read_tokens: 0,
                    read_s: 0.0,
                };
                for (position, run) in segments.places(picked, opened.attention.tokens()) {
                    let held = &tokens[run.clone()];
                    opened.positions.push_passage(position, 0, held);
                    opened.tokens.extend(held.iter().map(|token| token.id));
                    let byte =
                        |nth: usize| tokens.get(nth).map_or(text.len(), |t| t.start as usize);
                    opened.cover(Span::new(byte(run.start), byte(run.end)));
                }
                opened.positions.sort();
                if !passages.is_empty() {
                    let passages = in_order(passages, text);
                    opened.read(model, document, Vec::new(), &passages, cancel, listener)?;
                }
                Ok(opened)
            }
            Ground::Passages(passages) => {
                let passages = in_order(passages, &document.document.text);
                let attention = DenseAttention::without_cache(model.shape(), cancel.clone())?;
                let mut opened = Opened {
                    attention,
                    positions: Positions::empty(),
                    tokens: Vec::new(),
                    coverage: Vec::new(),
                    strategy: Strategy::RetrievedPassages,
                    read_tokens: 0,
                    read_s: 0.0,
                };
                opened.read(model, document, prefix, &passages, cancel, listener)?;
                Ok(opened)
            }
            Ground::PartlyRead {
                view,
                tokens,
                passages,
            } => {
                let Some(held) = view.tokens().checked_sub(prefix.len()) else {
                    return Err(AskError::NotRead {
                        cached: view.tokens(),
                        total: prefix.len() + tokens.len(),
                    });
                };
                let held = held.min(tokens.len());
                let text = &document.document.text;
                let end = tokens
                    .get(held)
                    .map_or(text.len(), |token| token.start as usize);
                let rest: Vec<Span> = passages
                    .iter()
                    .map(|span| Span::new(span.start.max(end), span.end.max(end)))
                    .collect();
                let mut opened = Opened {
                    attention: DenseAttention::over_view(
                        (*view).clone(),
                        model.shape(),
                        cancel.clone(),
                    )?,
                    positions: Positions::whole(prefix.len(), &tokens[..held]),
                    tokens: tokens[..held].iter().map(|token| token.id).collect(),
                    coverage: in_order(&[Span::new(0, end)], text),
                    strategy: Strategy::PartlyRead,
                    read_tokens: 0,
                    read_s: 0.0,
                };
                let rest = in_order(&rest, text);
                opened.read(model, document, Vec::new(), &rest, cancel, listener)?;
                Ok(opened)
            }
        }
    }
}

impl Opened {
    /// This is held too; what goes on where something ended, or overlaps it, is one with it.
    fn cover(&mut self, span: Span) {
        match self.coverage.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => self.coverage.push(span),
        }
    }

    /// Reads `first` and then the passages, with marks where text is left out, behind what is held already.
    fn read(
        &mut self,
        model: &Model,
        document: &OpenDocument,
        first: Vec<u32>,
        passages: &[Span],
        cancel: &CancelFlag,
        listener: &mut Listener,
    ) -> Result<(), AskError> {
        let started = Instant::now();
        let text = &document.document.text;
        let held = self.attention.tokens();
        let mut tokens = first;
        let mut end = self.coverage.last().map_or(0, |span| span.end);
        for span in passages {
            if end > 0 || !text[..span.start].trim().is_empty() {
                let gap = gap(document.document.belongs_to(*span));
                tokens.extend(model.tokenizer().encode(&gap)?);
            }
            end = span.end;
            let words = span.of(text).unwrap_or_default();
            let passage = model.tokenizer().encode_with_offsets(words)?;
            self.positions
                .push_passage(held + tokens.len(), span.start, &passage);
            tokens.extend(passage.iter().map(|token| token.id));
            self.tokens.extend(passage.iter().map(|token| token.id));
        }
        if !text[end..].trim().is_empty() {
            tokens.extend(model.tokenizer().encode(&gap(None))?);
        }
        self.coverage.extend(passages);
        if !passages.is_empty() {
            listener.stage(AskStage::ReadingPassages);
        }
        for chunk in tokens.chunks(CHUNK_TOKENS) {
            if cancel.is_cancelled() {
                break;
            }
            model.forward(chunk, &mut self.attention, Logits::None)?;
            self.read_tokens += chunk.len();
            listener.event(Event::Reading(progress(
                self.read_tokens,
                tokens.len(),
                started,
            )));
        }
        self.read_s = started.elapsed().as_secs_f64();
        Ok(())
    }
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
        making_smaller: false,
    }
}
