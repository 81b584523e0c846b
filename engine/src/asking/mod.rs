//! From a question to an answer whose every sentence is cited, streamed as it comes.
//!
//! In: a [`Model`], an [`OpenDocument`], what the model may look at ([`Ground`]: the cache of the whole document, or
//! passages that are read now), and a [`Question`]. Out: [`Event`]s while it works (stages, text, each sentence with
//! its verified citations as soon as it is whole) and the [`Answer`].
//!
//! Why this way. Question and answer live in the attention's in-memory tail behind the document's cache and are
//! dropped afterwards, so a question costs its own tokens and never a second reading. The attention of the model's
//! retrieval heads is summed while it reads the question and, sentence by sentence, while it answers; that, and the
//! words, are what [`citing`](crate::citing) works from. All of it blocks: it runs on an ordinary thread, one
//! question at a time for a model.
//!
//! With a server in place of the model ([`ask_server`]) passages are picked and sentences cited here as well, from words
//! alone.
//!
//! Stopping: a raised [`CancelFlag`] ends the answer within a token; what was said until then is kept and cited, and
//! [`Answer::stopped`] says so.

mod answer;
mod conversation;
mod document;
mod error;
mod fullness;
mod ground;
mod lookup;
mod sampler;
mod served;
mod translation;

#[cfg(test)]
pub(crate) mod test_model;
#[cfg(test)]
mod tests;

pub use document::OpenDocument;
pub use error::AskError;
pub use fullness::in_full;
pub use ground::Ground;
pub use sampler::Sampling;
pub use served::{ServedQuestion, ask_server};
pub use translation::{in_both_languages, translated};

pub use crate::reading::Turn;

use crate::attention::{CancelFlag, SparseRead};
use crate::citing::AttentionEvidence;
use conversation::Conversation;
use lectern_models::Model;
use lectern_protocol::{Answer, AskStage, Event};
use std::time::Instant;

/// What is asked, and how it is to be answered.
#[derive(Debug, Clone)]
pub struct Question<'q> {
    /// In any language.
    pub text: &'q str,
    /// What the model is told behind it, such as how long to answer; no part of what its answer is cited for.
    pub told: Option<&'q str>,
    /// Earlier turns of the conversation, oldest first; the last two are used, 512 tokens at most.
    pub history: &'q [Turn],
    /// Tokens of the answer at most.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// What of a read document each token looks at; all of it without.
    pub look_at: Option<SparseRead>,
    /// Guess words that the document suggests and check several in one pass: the same answer, sooner.
    pub lookup: bool,
}

/// The model that answers, and which of its heads look things up.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'m> {
    /// The model.
    pub model: &'m Model,
    /// Its retrieval heads, `(layer, query head)`, from the catalogue; with none, citations rest on words alone.
    pub retrieval_heads: &'m [(usize, usize)],
}

/// Answers `question` about `document` from `ground`.
///
/// `on_event` is called from this thread. The answer's `conversation` is left empty, and reading that happened
/// before this call is not in its timings: both are the caller's to fill in.
///
/// # Errors
/// [`AskError::Empty`], [`AskError::NoRoom`], [`AskError::NotRead`] before anything is computed; otherwise what the
/// cache, the template or the forward pass failed with. Being stopped is no error.
pub fn ask(
    reader: &Reader,
    document: &OpenDocument,
    ground: &Ground,
    question: &Question,
    cancel: &CancelFlag,
    on_event: &mut dyn FnMut(Event),
) -> Result<Answer, AskError> {
    ask_observed(
        reader,
        document,
        ground,
        question,
        cancel,
        on_event,
        &mut |_, _| (),
    )
}

/// As [`ask`]; `observe` is also given each sentence of the answer with the attention it is cited from.
pub(crate) fn ask_observed(
    reader: &Reader,
    document: &OpenDocument,
    ground: &Ground,
    question: &Question,
    cancel: &CancelFlag,
    on_event: &mut dyn FnMut(Event),
    observe: &mut dyn FnMut(&str, Option<&AttentionEvidence>),
) -> Result<Answer, AskError> {
    let started = Instant::now();
    if question.text.trim().is_empty() {
        return Err(AskError::Empty);
    }
    let mut listener = Listener { on_event, observe };
    let mut conversation =
        Conversation::open(reader, document, ground, question, cancel, &mut listener)?;
    listener.stage(AskStage::ReadingQuestion);
    if conversation.read_question()? {
        conversation.answer(started, &mut listener)?;
    }
    conversation.leave_index(ground);
    listener.stage(AskStage::Citing);
    Ok(conversation.finish(&mut listener))
}

/// Who is told what happens.
struct Listener<'l> {
    on_event: &'l mut dyn FnMut(Event),
    observe: &'l mut dyn FnMut(&str, Option<&AttentionEvidence>),
}

impl Listener<'_> {
    fn event(&mut self, event: Event) {
        (self.on_event)(event);
    }

    fn stage(&mut self, stage: AskStage) {
        self.event(Event::Stage { stage });
    }
}
