//! Citations of an answer after the document has changed.

use crate::document::{Span, Versions};
use lectern_protocol::{Answer, Citation};

/// What became of citations.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Their words still stand, here or elsewhere.
    pub kept: usize,
    /// Their words do not stand in the document any more, or not so that one could tell where.
    pub gone: usize,
}

/// Brings the citations of an answer given on the earlier version into step with the later one: those whose words
/// still stand point at them, the others are marked as gone and point nowhere. One that was gone comes back if its
/// words do, and stand there once.
pub fn settle(answer: &mut Answer, versions: &Versions<'_>) -> Settled {
    let mut settled = Settled::default();
    for sentence in &mut answer.sentences {
        for citation in &mut sentence.citations {
            settle_one(citation, versions);
            match citation.gone {
                false => settled.kept += 1,
                true => settled.gone += 1,
            }
        }
    }
    // What only came near is no evidence, and not missed.
    answer.nearest.retain_mut(|near| {
        settle_one(near, versions);
        !near.gone
    });
    answer.nearest.dedup_by_key(|near| (near.start, near.end));
    answer.coverage = answer
        .coverage
        .iter()
        .flat_map(|span| {
            let earlier = Span::new(span.start as usize, span.end.max(span.start) as usize);
            versions.unchanged_parts(earlier)
        })
        .map(Into::into)
        .collect();
    settled
}

fn settle_one(citation: &mut Citation, versions: &Versions<'_>) {
    let later = versions.later();
    let earlier = Span::new(
        citation.start as usize,
        citation.end.max(citation.start) as usize,
    );
    let found = match citation.gone {
        true => versions.find_words(&citation.quote),
        false => versions.find(earlier),
    };
    match found.filter(|span| span.of(&later.text) == Some(citation.quote.as_str())) {
        Some(span) => {
            citation.gone = false;
            citation.start = span.start as u32;
            citation.end = span.end as u32;
            citation.anchor = later.anchor(span).into();
        }
        None => {
            citation.gone = true;
            // The place stays as it was, to be read; nothing is linked.
            citation.start = 0;
            citation.end = 0;
        }
    }
}
