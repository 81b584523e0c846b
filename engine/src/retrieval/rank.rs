//! Ranking the passages of one document for a question.

use crate::document::Span;
use crate::library::{Library, LibraryError, query_names, query_words};
use std::collections::HashMap;

/// A question's words that are looked up; the rest of a very long question adds nothing but time.
const MOST_WORDS: usize = 64;

/// What a word counts that only the turn before holds, against one of the question: "What became of him?" is found by whom it
/// was about, and a question on something else by its own words.
pub(super) const EARLIER: f64 = 0.25;

/// What BM25 gives a word of a text that says nothing else, as a multiple of its rarity: k1 + 1.
const MOST_OF_A_WORD: f64 = 2.2;

/// Share of the best passage's score from which on another one matches as well.
const ALIKE: f64 = 0.75;

/// A passage and how well it matches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// The passage.
    pub span: Span,
    /// Higher is better. By words it is BM25, as a share of what a text would have that said nothing but the question's words;
    /// with meaning, the cosine is added.
    pub score: f64,
}

/// The passages of document `id` that hold a word of `question`, or of `earlier`, what was said in the turn before it, best first.
///
/// BM25 (Robertson and Walker 1994; k1 = 1.2, b = 0.75) with one difference to FTS5's `bm25()`: that function weighs
/// a word by its rarity in the whole library, but what tells passages of one book apart is its rarity in that book
/// ("Holmes" is rare in a library and on every page of the book). So each word is scored alone, FTS5's weight is
/// divided out, and the document's own put in. Names in a question on code are words as well: `read_file` is what stands
/// in a row, `readFile` also "read" and "file". Cost: two index lookups a word.
pub async fn rank(
    library: &Library,
    id: &str,
    question: &str,
    earlier: Option<&str>,
) -> Result<Vec<Ranked>, LibraryError> {
    let readers = library.readers();
    let passages = sqlx::query!(
        "SELECT p.key, start, end FROM passages p JOIN documents d ON d.key = p.document WHERE d.id = ? ORDER BY p.key",
        id
    )
    .fetch_all(readers)
    .await?;
    // One transaction stored them, so their keys are one run without strangers.
    let (Some(first), Some(last)) = (passages.first(), passages.last()) else {
        return Ok(Vec::new());
    };
    let (first, last) = (first.key, last.key);
    let kind = sqlx::query_scalar!("SELECT kind FROM documents WHERE id = ?", id)
        .fetch_one(readers)
        .await?;
    let in_library = sqlx::query_scalar!("SELECT count(*) FROM passages")
        .fetch_one(readers)
        .await?;

    let mut scores: HashMap<i64, f64> = HashMap::new();
    let mut most = 0.0;
    for (word, share) in words(question, earlier, kind == "code") {
        let holding = sqlx::query_scalar!(
            "SELECT count(*) FROM passage_words WHERE passage_words MATCH ?",
            word
        )
        .fetch_one(readers)
        .await?;
        let fts5_weight = fts5_rarity(in_library, holding);
        let hits = sqlx::query!(
            "SELECT rowid AS 'key!: i64', bm25(passage_words) AS 'score!: f64' FROM passage_words
             WHERE passage_words MATCH ?1 AND rowid BETWEEN ?2 AND ?3",
            word,
            first,
            last
        )
        .fetch_all(readers)
        .await?;
        let weight = rarity(passages.len() as i64, hits.len() as i64);
        most += MOST_OF_A_WORD * weight * share;
        for hit in hits {
            // bm25() is negative: better is smaller.
            *scores.entry(hit.key).or_default() += -hit.score / fts5_weight * weight * share;
        }
    }
    let mut ranked: Vec<Ranked> = passages
        .iter()
        .filter_map(|passage| {
            Some(Ranked {
                span: Span::new(passage.start as usize, passage.end as usize),
                score: *scores.get(&passage.key)? / most,
            })
        })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.span.cmp(&b.span)));
    Ok(ranked)
}

/// The words that are looked up, and what each counts.
fn words(question: &str, earlier: Option<&str>, of_code: bool) -> Vec<(String, f64)> {
    let words = |text: &str| {
        let mut words = query_words(text);
        for name in of_code.then(|| query_names(text)).into_iter().flatten() {
            if !words.contains(&name) {
                words.push(name);
            }
        }
        words
    };
    let asked = words(question);
    let before = earlier.map(words).unwrap_or_default();
    let only_before = before.iter().filter(|word| !asked.contains(word));
    let both = asked
        .iter()
        .map(|word| (word, 1.0))
        .chain(only_before.map(|word| (word, EARLIER)));
    both.take(MOST_WORDS)
        .map(|(word, share)| (word.clone(), share))
        .collect()
}

/// The weight that FTS5 gives a word (ext/fts5/fts5_aux.c): never below a millionth.
fn fts5_rarity(passages: i64, holding: i64) -> f64 {
    let (n, held) = (passages as f64, holding as f64);
    let weight = ((n - held + 0.5) / (held + 0.5)).ln();
    if weight <= 0.0 { 1e-6 } else { weight }
}

/// Inverse document frequency in the form that stays positive for words in most passages (Lucene's).
fn rarity(passages: i64, holding: i64) -> f64 {
    let (n, held) = (passages as f64, holding as f64);
    (1.0 + (n - held + 0.5) / (held + 0.5)).ln()
}

/// Of ranked passages, which are best first, those that match nearly as well as the best.
///
/// More text before a small model makes it answer worse, so what matches clearly less is left out where the rest has been
/// read in segments; the share is by measurement (`docs/long-context.md`).
pub fn alike(ranked: &[Ranked]) -> &[Ranked] {
    let least = ranked.first().map_or(0.0, |best| ALIKE * best.score);
    &ranked[..ranked.partition_point(|passage| passage.score >= least)]
}

/// Takes the best passages until `budget` is spent, as `cost` counts it, best first. The first is taken whatever it costs;
/// passages that no longer fit are passed over.
pub fn pick(ranked: &[Ranked], budget: usize, cost: impl Fn(Span) -> usize) -> Vec<Span> {
    let mut picked: Vec<Span> = Vec::new();
    let mut left = budget;
    for passage in ranked {
        let cost = cost(passage.span);
        if picked.is_empty() || cost <= left {
            left = left.saturating_sub(cost);
            picked.push(passage.span);
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_best_that_fit() {
        let ranked: Vec<Ranked> = [(50, 60), (0, 20), (20, 25)]
            .into_iter()
            .enumerate()
            .map(|(place, (start, end))| Ranked {
                span: Span::new(start, end),
                score: 10.0 - place as f64,
            })
            .collect();
        assert_eq!(
            pick(&ranked, 16, |span| span.len()),
            [Span::new(50, 60), Span::new(20, 25)]
        );
        assert_eq!(pick(&ranked, 1, |span| span.len()), [Span::new(50, 60)]);
        assert!(pick(&[], 16, |span| span.len()).is_empty());
        assert_eq!(alike(&ranked).len(), 3);
        let clear = Ranked {
            score: 13.0,
            ..ranked[0]
        };
        assert_eq!(alike(&[clear, ranked[0], ranked[1]]).len(), 2);
        assert!(alike(&[]).is_empty());
    }
}
