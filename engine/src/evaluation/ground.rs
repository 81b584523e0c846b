//! What the model sees of an exam's document when it is asked: all that it read, or passages.

use super::EvaluationError;
use super::record::Scratch;
use crate::asking::{Ground, Question, Sampling};
use crate::attention::{KeptIndex, PagePolicy, SparseRead};
use crate::document::{Document, Span};
use crate::home::Home;
use crate::kv::{BlockFormat, CacheIdentity, KvCache};
use crate::library::{ContentHash, Library, NewDocument};
use crate::reading::{CancelFlag, ReadingInput, Scope, prefix, read};
use crate::retrieval::{self, Ranked};
use lectern_models::{Model, Token};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Tokens before a question that it looks at, behind a document that was read in a bounded scope; as the product does.
const NEAR_THE_END: usize = 1024;

/// Tokens of an answer at most.
pub(super) const ANSWER_TOKENS: usize = 64;

/// How a document is brought before the model.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen {
    /// Read whole, asked densely.
    Whole,
    /// Read whole; each token of a question looks at a part.
    Partly {
        /// How it is read, if not densely.
        scope: Option<Scope>,
        /// Tokens that are looked at: all of them, or with a scope those besides the nearest.
        tokens: usize,
        /// All of them are chosen by the question's words, not by the model.
        by_words: bool,
    },
    /// Not read; each question reads passages of so many tokens.
    Passages(usize),
}

/// An exam's document, ready for its questions.
pub(super) struct Prepared {
    seen: Seen,
    cache: Option<KvCache>,
    tokens: Vec<Token>,
    index: KeptIndex,
    ranks: Option<Ranks>,
}

/// What one question sees.
pub(super) struct View {
    /// Passages, or what is looked at besides what is chosen.
    pub spans: Vec<Span>,
    /// How the cache is looked at.
    pub look_at: Option<SparseRead>,
}

impl View {
    /// `text` as a question that sees this, answered as the likeliest tokens say.
    pub fn asked<'q>(&'q self, text: &'q str) -> Question<'q> {
        Question {
            text,
            history: &[],
            max_tokens: ANSWER_TOKENS,
            sampling: Sampling::Greedy,
            look_at: self.look_at,
            look_also_at: &self.spans,
            lookup: true,
        }
    }
}

impl Prepared {
    /// Reads `document` into `folder` in `format`, or indexes its passages.
    pub fn new(
        model: &Model,
        document: &Document,
        seen: Seen,
        folder: &Path,
        format: BlockFormat,
    ) -> Result<Prepared, EvaluationError> {
        let prefix = prefix(model.chat_template(), model.tokenizer())?;
        let tokens = model.tokenizer().encode_with_offsets(&document.text)?;
        let scope = match seen {
            Seen::Partly { scope, .. } => scope,
            _ => None,
        };
        let mut prepared = Prepared {
            seen,
            cache: None,
            tokens: tokens.clone(),
            index: KeptIndex::default(),
            ranks: match seen {
                Seen::Whole => None,
                _ => Some(Ranks::new(document)?),
            },
        };
        if !matches!(seen, Seen::Passages(_)) {
            let input = ReadingInput {
                tokens,
                identity: CacheIdentity {
                    text: Sha256::digest(&document.text).into(),
                    model: model.fingerprint().to_owned(),
                    prompt: CacheIdentity::prompt_hash(&prefix),
                    format: format.number(),
                    scope: scope.map_or(0, |scope| scope.number()),
                },
                prefix,
                scope,
            };
            let folder = folder.join(input.identity.folder_name());
            let cache = KvCache::open(&folder, &input.identity, model.shape())?;
            read(model, &input, &cache, &|_| (), &CancelFlag::new(), &|| ())?;
            prepared.cache = Some(cache);
        }
        Ok(prepared)
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
            Seen::Whole => View {
                spans: Vec::new(),
                look_at: None,
            },
            Seen::Partly {
                scope,
                tokens,
                by_words,
            } => {
                // As the product does it, but for words that choose.
                let (near, policy, by_rank) = match (by_words, scope) {
                    (true, _) => (SparseRead::WINDOW, PagePolicy::Window, tokens),
                    (false, Some(_)) => (NEAR_THE_END, PagePolicy::Keys, tokens / 4),
                    (false, None) => (SparseRead::WINDOW, PagePolicy::Keys, 0),
                };
                let look_at = match scope {
                    Some(scope) => scope.asked(near, tokens),
                    None => SparseRead::new(policy, tokens),
                };
                View {
                    spans: match by_rank {
                        0 => Vec::new(),
                        budget => spans(budget)?,
                    },
                    look_at: Some(SparseRead { policy, ..look_at }),
                }
            }
            Seen::Passages(tokens) => View {
                spans: spans(tokens)?,
                look_at: None,
            },
        })
    }

    /// The ground that a question with this view stands on.
    pub fn ground<'g>(&'g self, view: &'g View) -> Ground<'g> {
        match &self.cache {
            Some(cache) => Ground::WholeDocument {
                cache,
                tokens: &self.tokens,
                index: &self.index,
            },
            None => Ground::Passages(&view.spans),
        }
    }

    fn tokens_in(&self, span: Span) -> usize {
        let before = |byte: usize| {
            let tokens = &self.tokens;
            tokens.partition_point(|token| (token.start as usize) < byte)
        };
        before(span.end) - before(span.start)
    }
}

/// A library of one document, which ranks its passages.
struct Ranks {
    runtime: tokio::runtime::Runtime,
    library: Library,
    document: String,
    /// Where it lies.
    _folder: Scratch,
}

impl Ranks {
    fn new(document: &Document) -> Result<Ranks, EvaluationError> {
        let folder = Scratch::new()?;
        let runtime = tokio::runtime::Runtime::new()?;
        let (library, id) = runtime.block_on(async {
            let library = Library::open(&Home::at(&folder.0)).await?;
            let new = NewDocument {
                hash: ContentHash([0; 32]),
                source: "exam",
                original: None,
                document,
                passages: &retrieval::passages(document),
            };
            let (id, _) = library.insert(&new).await?;
            Ok::<_, EvaluationError>((library, id))
        })?;
        Ok(Ranks {
            runtime,
            library,
            document: id,
            _folder: folder,
        })
    }

    fn rank(&self, question: &str) -> Result<Vec<Ranked>, EvaluationError> {
        let ranked = retrieval::rank(&self.library, &self.document, question);
        Ok(self.runtime.block_on(ranked)?)
    }
}
