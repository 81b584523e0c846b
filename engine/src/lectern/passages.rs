//! Which passages of a document a question sees.

use crate::asking::OpenDocument;
use crate::document::Span;
use crate::retrieval::{self, Ranked};

/// The passages for `question`, best first, `budget` at most as `cost` counts it: of a codebase its map, if that is asked for,
/// then those that match best (`ranked`); or the beginning, if no word of the question stands in the document or the question
/// is about the whole.
pub(super) fn passages(
    open: &OpenDocument,
    question: &str,
    ranked: &[Ranked],
    budget: usize,
    cost: impl Fn(Span) -> usize,
) -> Vec<Span> {
    let ranked = match retrieval::asks_for_the_whole(question) {
        true => &[],
        false => ranked,
    };
    let unranked = |spans: Vec<Span>| -> Vec<Ranked> {
        let rank = |span| Ranked { span, score: 0.0 };
        spans.into_iter().map(rank).collect()
    };
    let all = &open.passages;
    let map = retrieval::map_passages(&open.document, question, all, ranked);
    let opening = match ranked.is_empty() {
        true => unranked(all.clone()),
        false => Vec::new(),
    };
    let others = match ranked.is_empty() {
        true => &opening,
        false => ranked,
    };
    if map.is_empty() {
        return retrieval::pick(others, budget, cost);
    }
    // Half of the room is the map's.
    let map = retrieval::pick(&unranked(map), budget / 2, &cost);
    let taken: usize = map.iter().map(|span| cost(*span)).sum();
    let mut others: Vec<Ranked> = others.to_vec();
    others.retain(|passage| !map.contains(&passage.span));
    let others = retrieval::pick(&others, budget.saturating_sub(taken), &cost);
    map.into_iter().chain(others).collect()
}
