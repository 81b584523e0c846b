//! What comes nearest to a question in a document, told with the answer: that nothing does, or which sentences.

use super::Lectern;
use super::told::Told;
use crate::asking::{OpenDocument, Turn};
use crate::citing::{is_abstention, tells_nothing};
use crate::retrieval::{self, Nearest, Nearness};
use lectern_protocol::{Answer, AnswerSentence, Failure, SupportState};
use tokio::runtime::Handle;

impl Lectern {
    /// Tells of an answer whether the document probably does not answer ([`Answer::far`]), and where nothing of it is cited what
    /// comes nearest ([`Answer::nearest`]): whoever reads it can see whether the one or the other is so.
    ///
    /// A question behind another one may only say what is different: what is far then is looked for with both together.
    pub(super) fn tell_nearest(
        &self,
        on: &Handle,
        open: &OpenDocument,
        answer: &mut Answer,
        earlier: Option<&Turn>,
    ) {
        let refuses = |said: &AnswerSentence| is_abstention(&said.text);
        let refuses = answer.sentences.first().is_none_or(refuses);
        let is_cited = |said: &AnswerSentence| !said.citations.is_empty();
        let is_cited = answer.sentences.iter().any(is_cited);
        if answer.stopped || refuses && is_cited || retrieval::asks_for_the_whole(&answer.question)
        {
            return;
        }
        let is_supported = |said: &AnswerSentence| said.state == SupportState::Supported;
        let is_supported = answer.sentences.iter().any(is_supported);
        let is_near = |nearness: &Nearness| !nearness.is_far(is_supported);
        // Sentences that are shown are looked for wherever they may stand.
        let is_enough = |nearness: &Nearness| is_cited && is_near(nearness);
        let near = (is_near, is_enough);
        let nearest = match self.nearest(on, open, &answer.question, earlier, near) {
            Ok(Some(nearest)) => nearest,
            Ok(None) => return,
            Err(failure) => {
                let why = failure.message;
                return tracing::warn!("what is nearest to a question is not known: {why}");
            }
        };
        answer.far = !refuses && !is_near(&nearest.nearness);
        if !is_cited {
            let sentences = nearest.sentences.into_iter();
            answer.nearest = sentences
                .filter_map(|span| open.citation(span, 0.0))
                .collect();
        }
    }

    /// What comes nearest to `question`; if that is not near, to it and the one before together. Passages are looked into until what
    /// was seen `is_enough`.
    fn nearest(
        &self,
        on: &Handle,
        open: &OpenDocument,
        question: &str,
        earlier: Option<&Turn>,
        (is_near, is_enough): (impl Fn(&Nearness) -> bool, impl Fn(&Nearness) -> bool),
    ) -> Result<Option<Nearest>, Failure> {
        let Some((transformer, vectors)) = &self.vectors(on, open)? else {
            return Ok(None);
        };
        // Vectors are made of what it speaks; a short document has none.
        let is_spoken = || transformer.speaks(&open.document, &open.passages);
        if vectors.is_empty() && !is_spoken().map_err(Told::told)? {
            return Ok(None);
        }
        let nearest = |question: &str| -> Result<Option<Nearest>, Failure> {
            let ranked = self.ranked_by(on, open, Some((transformer, vectors)), question, None)?;
            let document = (open.document.text.as_str(), &open.passages[..], vectors);
            let looked = Nearest::of(
                transformer,
                document,
                &ranked,
                question,
                tells_nothing,
                &is_enough,
            );
            looked.map_err(Told::told)
        };
        let own = nearest(question)?;
        let is_far = own.as_ref().is_some_and(|own| !is_near(&own.nearness));
        match earlier.filter(|_| is_far) {
            Some(earlier) => nearest(&format!("{} {question}", earlier.question)),
            None => Ok(own),
        }
    }
}
