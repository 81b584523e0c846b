//! What the model sees of an exam's document when it is asked: all that it read, or passages.

use super::EvaluationError;
use super::record::Scratch;
use crate::asking::{Ground, Question, Sampling};
use crate::attention::{KeptIndex, PagePolicy, SparseRead};
use crate::citing::tells_nothing;
use crate::document::{Document, Span};
use crate::home::Home;
use crate::kv::{BlockFormat, CacheIdentity, KvCache, KvView};
use crate::library::{ContentHash, Library, NewDocument};
use crate::reading::{CancelFlag, Followers, ReadingInput, Segments, prefix, read, thin};
use crate::retrieval::{self, Nearest, Ranked, Transformer, Vectors};
use lectern_models::{Model, Token};
use lectern_protocol::Answer;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

/// Tokens of an answer at most.
pub(super) const ANSWER_TOKENS: usize = 64;

/// How a document is brought before the model.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen {
    /// Read whole, asked densely.
    Whole,
    /// Read whole; each token of a question looks at a part.
    Partly {
        /// Tokens that are looked at.
        tokens: usize,
    },
    /// Read in segments; each question looks at some.
    Segments {
        /// Tokens of a segment.
        size: usize,
        /// Tokens of segments that are looked at.
        asked: usize,
    },
    /// Not read; each question reads passages of so many tokens.
    Passages(usize),
}

/// Whether an answer could see all of `span`.
pub(super) fn saw(answer: &Answer, span: Span) -> bool {
    let seen = answer.coverage.iter();
    seen.map(|seen| Span::new(seen.start as usize, seen.end as usize))
        .any(|seen| seen.contains(span))
}

/// An exam's document, ready for its questions.
pub(super) struct Prepared {
    seen: Seen,
    cache: Option<KvCache>,
    pub tokens: Vec<Token>,
    index: KeptIndex,
    /// Where a question does not look at everything.
    pub ranks: Option<Ranks>,
    pub segments: Option<Arc<Segments>>,
    /// All that was read.
    pub held: Option<KvView>,
}

/// What one question sees.
#[derive(Default)]
pub(super) struct View {
    /// Passages.
    pub spans: Vec<Span>,
    /// How the cache is looked at.
    pub look_at: Option<SparseRead>,
    /// Segments that are looked at.
    pub segments: Vec<usize>,
}

impl View {
    /// `text` as a question that sees this, answered as the likeliest tokens say.
    pub fn asked<'q>(&'q self, text: &'q str) -> Question<'q> {
        Question {
            text,
            told: None,
            history: &[],
            max_tokens: ANSWER_TOKENS,
            sampling: Sampling::Greedy,
            look_at: self.look_at,
            lookup: true,
        }
    }
}

impl Prepared {
    /// Reads `document` into `folder` in `format`, or indexes its passages, by their meaning too if something is here that
    /// knows it.
    pub fn new(
        model: &Model,
        document: &Document,
        seen: Seen,
        folder: &Path,
        format: BlockFormat,
        transformer: Option<&Arc<Transformer>>,
    ) -> Result<Prepared, EvaluationError> {
        let prefix = prefix(model.chat_template(), model.tokenizer())?;
        let tokens = model.tokenizer().encode_with_offsets(&document.text)?;
        let mut prepared = Prepared {
            seen,
            cache: None,
            tokens: tokens.clone(),
            index: KeptIndex::default(),
            ranks: match seen {
                Seen::Whole | Seen::Partly { .. } => None,
                _ => Some(Ranks::new(document, transformer, Vectored::IfSpoken)?),
            },
            segments: None,
            held: None,
        };
        if let Seen::Segments { size, .. } = seen {
            let tokenizer = model.tokenizer();
            let cut = Segments::of_passages(document, tokenizer, &prefix, &tokens, size)?;
            prepared.segments = Some(Arc::new(cut));
        }
        if !matches!(seen, Seen::Passages(_)) {
            let input = ReadingInput {
                tokens,
                identity: CacheIdentity {
                    text: Sha256::digest(&document.text).into(),
                    model: model.fingerprint().to_owned(),
                    prompt: CacheIdentity::prompt_hash(&prefix),
                    format: format.number(),
                    scope: prepared.segments.as_ref().map_or(0, |cut| cut.number()),
                },
                prefix,
                segments: prepared.segments.clone(),
            };
            let folder = folder.join(input.identity.folder_name());
            let cache = KvCache::open(&folder, &input.identity, model.shape())?;
            read(model, &input, &cache, Followers::none(&CancelFlag::new()))?;
            prepared.held = Some(cache.view());
            prepared.cache = Some(cache);
        }
        Ok(prepared)
    }

    /// With about this share of what can be left out of its cache; 1 leaves it as it is.
    pub fn made_smaller(mut self, model: &Model, share: f64) -> Result<Prepared, EvaluationError> {
        if share < 1.0
            && let Some(cache) = self.cache.take()
        {
            let input = ReadingInput {
                prefix: prefix(model.chat_template(), model.tokenizer())?,
                tokens: self.tokens.clone(),
                identity: cache.identity().clone(),
                segments: self.segments.clone(),
            };
            let whole = cache.bytes();
            let cancel = CancelFlag::new();
            let cache = thin(model, &input, cache, share, Followers::none(&cancel))?;
            let of_whole = cache.bytes() as f64 / whole as f64;
            eprintln!("{of_whole:.3} of the cache's bytes are kept");
            self.held = Some(cache.view());
            self.cache = Some(cache);
        }
        Ok(self)
    }

    /// What `question` sees.
    pub fn view(&self, question: &str) -> Result<View, EvaluationError> {
        let spans = |budget: usize| -> Result<Vec<Span>, EvaluationError> {
            let Some(ranks) = &self.ranks else {
                return Ok(Vec::new());
            };
            let ranked = ranks.rank(question)?;
            Ok(retrieval::pick(&ranked, budget, |span| {
                self.tokens_in(span)
            }))
        };
        Ok(match self.seen {
            Seen::Whole => View::default(),
            Seen::Segments { asked, .. } => View {
                segments: self.chosen(question, asked)?,
                ..View::default()
            },
            Seen::Partly { tokens } => View {
                look_at: Some(SparseRead::new(PagePolicy::Keys, tokens)),
                ..View::default()
            },
            Seen::Passages(tokens) => View {
                spans: spans(tokens)?,
                ..View::default()
            },
        })
    }

    /// What comes nearest to `question`; `None` where nothing can be said.
    pub fn nearest(&self, question: &str) -> Result<Option<Nearest>, EvaluationError> {
        self.ranks
            .as_ref()
            .map_or(Ok(None), |ranks| ranks.nearest(question, &[]))
    }

    /// The ground that a question with this view stands on.
    pub fn ground<'g>(&'g self, view: &'g View) -> Ground<'g> {
        if let (Some(segments), Some(held), Some(cache)) = (&self.segments, &self.held, &self.cache)
        {
            return Ground::Segments {
                view: held,
                format: cache.format(),
                segments,
                tokens: &self.tokens,
                picked: &view.segments,
                passages: &[],
            };
        }
        match &self.cache {
            Some(cache) => Ground::WholeDocument {
                cache,
                tokens: &self.tokens,
                index: &self.index,
            },
            None => Ground::Passages(&view.spans),
        }
    }

    /// The segments that the product would look at, ascending; of many that match alike those that `asked` tokens hold.
    fn chosen(&self, question: &str, asked: usize) -> Result<Vec<usize>, EvaluationError> {
        let (Some(segments), Some(ranks)) = (&self.segments, &self.ranks) else {
            return Ok(Vec::new());
        };
        let ranked = ranks.rank(question)?;
        let alike = retrieval::alike(&ranked);
        let spans = retrieval::pick(alike, asked, |span| self.tokens_in(span));
        let cached = segments.ids().len();
        Ok(segments
            .choose(&self.tokens, &spans, asked, cached)
            .segments)
    }

    fn tokens_in(&self, span: Span) -> usize {
        let before = |byte: usize| {
            let tokens = &self.tokens;
            tokens.partition_point(|token| (token.start as usize) < byte)
        };
        before(span.end) - before(span.start)
    }
}

/// Which documents' passages get vectors, where something is here that makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vectored {
    /// Those in a language that it knows, as in the product.
    IfSpoken,
    /// All.
    Always,
    /// None: passages are ranked by their words alone.
    Never,
}

/// A library of one document, which ranks its passages.
pub(super) struct Ranks {
    runtime: tokio::runtime::Runtime,
    library: Library,
    id: String,
    document: Document,
    passages: Vec<Span>,
    /// What finds them by their meaning too, and their vectors.
    meaning: Option<(Arc<Transformer>, Vectors)>,
    /// Where it lies.
    _folder: Scratch,
}

impl Ranks {
    /// Stores `document` in a library of its own.
    pub fn new(
        document: &Document,
        transformer: Option<&Arc<Transformer>>,
        vectored: Vectored,
    ) -> Result<Ranks, EvaluationError> {
        let passages = retrieval::passages(document);
        let mut meaning = None;
        if let Some(transformer) = transformer
            && (vectored == Vectored::Always || transformer.speaks(document, &passages)?)
        {
            let mut vectors = Vectors::new();
            let chosen: &[Span] = match vectored {
                Vectored::Never => &[],
                Vectored::IfSpoken | Vectored::Always => &passages,
            };
            for passages in chosen.chunks(Transformer::TOGETHER) {
                let of = |passage: &Span| passage.of(&document.text).unwrap_or_default();
                let texts: Vec<&str> = passages.iter().map(of).collect();
                let numbers = texts.iter().map(|text| retrieval::text_number(text));
                vectors.extend(numbers.zip(transformer.codes(&texts)?));
            }
            meaning = Some((Arc::clone(transformer), vectors));
        }
        let folder = Scratch::new()?;
        let runtime = tokio::runtime::Runtime::new()?;
        let (library, id) = runtime.block_on(async {
            let library = Library::open(&Home::at(&folder.0)).await?;
            let new = NewDocument {
                hash: ContentHash([0; 32]),
                source: "exam",
                original: None,
                document,
                passages: &passages,
            };
            let (id, _) = library.insert(&new).await?;
            Ok::<_, EvaluationError>((library, id))
        })?;
        Ok(Ranks {
            runtime,
            library,
            id,
            document: document.clone(),
            passages,
            meaning,
            _folder: folder,
        })
    }

    /// Best first, by their words.
    pub fn by_words(&self, question: &str) -> Result<Vec<Ranked>, EvaluationError> {
        let ranked = retrieval::rank(&self.library, &self.id, question, None);
        Ok(self.runtime.block_on(ranked)?)
    }

    /// What comes nearest to `question` in the document without the passages that hold something of `but`.
    pub fn nearest(
        &self,
        question: &str,
        but: &[Span],
    ) -> Result<Option<Nearest>, EvaluationError> {
        let Some((transformer, vectors)) = &self.meaning else {
            return Ok(None);
        };
        let stays = |span: &Span| but.iter().all(|but| but.intersection(*span).is_none());
        let passages: Vec<Span> = self.passages.iter().copied().filter(stays).collect();
        let mut ranked = self.rank(question)?;
        ranked.retain(|ranked| stays(&ranked.span));
        let on = (self.document.text.as_str(), &passages[..], vectors);
        Ok(Nearest::of(
            transformer,
            on,
            &ranked,
            question,
            tells_nothing,
            |_| false,
        )?)
    }

    /// Best first, as the product ranks them.
    pub fn rank(&self, question: &str) -> Result<Vec<Ranked>, EvaluationError> {
        let ranked = self.by_words(question)?;
        let (document, passages) = (&self.document, &self.passages);
        let ranked = retrieval::raise_named(document, passages, question, ranked);
        Ok(match &self.meaning {
            Some((transformer, vectors)) => {
                let text = &document.text;
                transformer.rank(&ranked, text, passages, vectors, question, None)?
            }
            None => ranked,
        })
    }
}
