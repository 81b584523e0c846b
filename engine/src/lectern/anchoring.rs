//! Citations as they are told: with their place in the original.

use super::{Job, Lectern};
use crate::document::{DocumentKind, Span};
use crate::library::StoredDocument;
use lectern_protocol::{Answer, Citation, Event};
use tokio::runtime::Handle;

impl Lectern {
    /// Passes an event of an answer on, citations with their place in the original.
    pub(super) fn tell_anchored(
        &self,
        on: &Handle,
        stored: &StoredDocument,
        job: &Job,
        mut event: Event,
    ) {
        if let Event::Sentence { sentence, .. } = &mut event {
            self.anchor(on, stored, &mut sentence.citations);
        }
        job.tell(event);
    }

    /// Gives everything that an answer points at its place.
    pub(super) fn anchor_answer(&self, on: &Handle, stored: &StoredDocument, answer: &mut Answer) {
        for sentence in &mut answer.sentences {
            self.anchor(on, stored, &mut sentence.citations);
        }
        self.anchor(on, stored, &mut answer.nearest);
    }

    /// A citation of a PDF needs the character boxes of its page, which an opened document does not hold.
    fn anchor(&self, on: &Handle, stored: &StoredDocument, citations: &mut [Citation]) {
        if stored.document.kind != DocumentKind::Pdf {
            return;
        }
        for citation in citations {
            let span = Span::new(citation.start as usize, citation.end as usize);
            match on.block_on(self.library.anchor(stored, span)) {
                Ok(anchor) => citation.anchor = anchor.into(),
                // The page is right even so; only the exact place on it is missing.
                Err(error) => tracing::warn!("a citation is shown without its place: {error}"),
            }
        }
    }
}
