//! Documents that were opened lately, with what is costly to make again.

use super::reading::Lesson;
use super::{Lectern, lock};
use crate::asking::OpenDocument;
use crate::library::StoredDocument;
use crate::reading::{SEGMENT_TOKENS, Segments};
use lectern_models::{Model, Token, TokenizerError};
use lectern_protocol::Failure;
use std::sync::{Arc, Mutex};

/// Documents kept open for viewing. A window shows one or two.
const VIEWED: usize = 4;
/// Documents kept ready for questions.
const ASKED: usize = 2;

/// Recently opened documents, most recent last.
pub(super) struct OpenDocuments {
    viewed: Mutex<Vec<Arc<StoredDocument>>>,
    asked: Mutex<Vec<Arc<OpenDocument>>>,
    tokens: Mutex<Vec<Tokens>>,
    cut: Mutex<Vec<Cut>>,
}

/// A document's tokens, as one model's tokenizer makes them.
#[derive(Clone)]
struct Tokens {
    document: String,
    model: String,
    tokens: Arc<Vec<Token>>,
}

/// A document's tokens, cut into segments.
#[derive(Clone)]
struct Cut {
    document: String,
    /// What it was cut from.
    tokens: Arc<Vec<Token>>,
    segments: Arc<Segments>,
}

impl OpenDocuments {
    pub fn new() -> OpenDocuments {
        OpenDocuments {
            viewed: Mutex::default(),
            asked: Mutex::default(),
            tokens: Mutex::default(),
            cut: Mutex::default(),
        }
    }

    /// A document that was removed.
    pub fn forget(&self, id: &str) {
        lock(&self.viewed).retain(|stored| stored.row.id != id);
        lock(&self.asked).retain(|open| open.id != id);
        lock(&self.tokens).retain(|tokens| tokens.document != id);
        lock(&self.cut).retain(|cut| cut.document != id);
    }

    /// The document ready for questions. Cost, the first time: an index of its sentences.
    pub fn ask(&self, stored: &StoredDocument) -> Arc<OpenDocument> {
        let id = &stored.row.id;
        recent(&self.asked, ASKED, |open| open.id == *id).unwrap_or_else(|| {
            let open = OpenDocument::new(id.clone(), stored.document.clone());
            keep(&self.asked, ASKED, Arc::new(open))
        })
    }

    /// Its tokens for a model. Cost, the first time: one pass of the tokenizer.
    pub fn tokens(
        &self,
        stored: &StoredDocument,
        model: &Model,
    ) -> Result<Arc<Vec<Token>>, TokenizerError> {
        let (document, fingerprint) = (&stored.row.id, model.fingerprint());
        let known = recent(&self.tokens, ASKED, |tokens| {
            tokens.document == *document && tokens.model == fingerprint
        });
        if let Some(known) = known {
            return Ok(known.tokens);
        }
        let tokens = Tokens {
            document: document.clone(),
            model: fingerprint.to_owned(),
            tokens: Arc::new(
                model
                    .tokenizer()
                    .encode_with_offsets(&stored.document.text)?,
            ),
        };
        Ok(keep(&self.tokens, ASKED, tokens).tokens)
    }

    /// How a document is cut that is longer than the model reads well. Cost, the first time: its passages are found.
    pub fn segments(&self, lesson: &Lesson) -> Result<Arc<Segments>, TokenizerError> {
        let known = recent(&self.cut, ASKED, |cut| {
            Arc::ptr_eq(&cut.tokens, &lesson.tokens)
        });
        if let Some(known) = known {
            return Ok(known.segments);
        }
        let tokenizer = lesson.model.tokenizer();
        let document = &lesson.stored.document;
        let cut = Cut {
            document: lesson.stored.row.id.clone(),
            tokens: Arc::clone(&lesson.tokens),
            segments: Arc::new(Segments::of_passages(
                document,
                tokenizer,
                &lesson.prefix,
                &lesson.tokens,
                SEGMENT_TOKENS,
            )?),
        };
        Ok(keep(&self.cut, ASKED, cut).segments)
    }
}

impl Lectern {
    /// The document with its text and structure.
    pub(super) async fn stored(&self, id: &str) -> Result<Arc<StoredDocument>, Failure> {
        if let Some(stored) = recent(&self.opened.viewed, VIEWED, |stored| stored.row.id == id) {
            return Ok(stored);
        }
        let stored = Arc::new(self.library.document(id).await?);
        Ok(keep(&self.opened.viewed, VIEWED, stored))
    }
}

/// The entry that is `wanted`, moved to the end.
fn recent<T: Clone>(list: &Mutex<Vec<T>>, most: usize, wanted: impl Fn(&T) -> bool) -> Option<T> {
    let mut list = lock(list);
    debug_assert!(list.len() <= most);
    let place = list.iter().position(wanted)?;
    let entry = list.remove(place);
    list.push(entry.clone());
    Some(entry)
}

/// Puts an entry at the end and lets the oldest go.
fn keep<T: Clone>(list: &Mutex<Vec<T>>, most: usize, entry: T) -> T {
    let mut list = lock(list);
    if list.len() == most {
        list.remove(0);
    }
    list.push(entry.clone());
    entry
}
