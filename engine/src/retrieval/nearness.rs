//! How near a document comes to a question: whether it may answer it at all, and the sentences that come nearest.
//!
//! In: a question, and the passages of a document, ranked for it. Out: three numbers, whether they are so low that an answer is
//! not to be expected, and sentences. Why three: a passage may be about the question's subject and not say what is asked, which
//! the words of the question tell that nothing in it is near to; and it may be about something else and have one sentence that
//! says it.

use super::meaning::{cosine, text_number};
use super::{Ranked, Transformer, Vectors};
use crate::document::{Span, sentences};
use lectern_models::{EmbedderError, SpelledToken};
use serde::{Deserialize, Serialize};

/// Passages that are looked into.
const LOOKED_INTO: usize = 3;

/// Share of the passages of which vectors must be there to look for the nearest among all of them; with fewer it is looked for
/// among those that match best.
const ENOUGH: f64 = 0.9;

/// Sentences that are told.
const TOLD: usize = 2;

/// How much the words that are in a sentence count for its being near, beside what it says as a whole.
const OF_WORDS: f64 = 2.0;

/// How much each number counts, and what is added: as `lectern eval near` fits them, so that the sum is below 0 of a tenth of
/// ClapNQ's questions that are answered.
const WEIGHTS: [f64; 3] = [1.72, 6.19, 9.06];
const BIAS: f64 = -10.34;

/// The sum below which an answer is not to be expected: where nothing of what is said is supported by the document, and where
/// something is. Chosen on 200 of ClapNQ's questions and the answers of the 0.5B model (`docs/citations.md`).
const FAR: f64 = -0.25;
const FAR_SUPPORTED: f64 = -0.5;

/// What a sentence ends with; what ends otherwise is a heading, and says what the next sentence is about.
const ENDS: &[char] = &['.', '!', '?', ':', ';', '…'];
/// What may stand behind that.
const CLOSES: &[char] = &['"', '\'', ')', ']', '”', '’', '»', ' '];

/// Cosines of a question and what comes nearest to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Nearness {
    /// Of the passage that comes nearest.
    pub passage: f64,
    /// Of the two sentences that come nearest in the passages that match best, the mean.
    pub sentences: f64,
    /// Of the question's own words, each beside the word that comes nearest to it in one of these passages, the mean (late
    /// interaction, after ColBERT: Khattab and Zaharia 2020, arXiv 2004.12832, with token states that were not trained for it).
    pub words: f64,
}

/// What comes nearest to a question in a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// How near.
    pub nearness: Nearness,
    /// The sentences, nearest first, two at most, of the passages that match best.
    pub sentences: Vec<Span>,
}

impl Nearest {
    /// Of the document with this `text` and all these `passages`, `ranked` for `question`, best first; `None` where nothing
    /// can be said, since the question is in a language that the transformer does not know. The document must be in one that it
    /// does ([`Transformer::speaks`]). Words for which `tells_nothing` are not looked for, if there are others.
    ///
    /// The sentences of three passages are embedded for it, up to a thousand tokens; of fewer where what was seen so far
    /// `is_enough`: more can hardly be less near.
    ///
    /// # Errors
    /// [`EmbedderError`].
    pub fn of(
        transformer: &Transformer,
        (text, passages, vectors): (&str, &[Span], &Vectors),
        ranked: &[Ranked],
        question: &str,
        tells_nothing: impl Fn(&str) -> bool,
        is_enough: impl Fn(&Nearness) -> bool,
    ) -> Result<Option<Nearest>, EmbedderError> {
        if !transformer.understands(question)? {
            return Ok(None);
        }
        let Some(asked) = transformer.spell(&[question])?.pop() else {
            return Ok(None);
        };
        let ranked = &ranked[..ranked.len().min(LOOKED_INTO)];
        let passage = match nearest_passage(text, passages, vectors, &asked.vector) {
            Some(cosine) => cosine,
            None => {
                let best = ranked.iter().filter_map(|ranked| ranked.span.of(text));
                let best: Vec<&str> = best.collect();
                let spelled = transformer.spell(&best)?;
                let cosines = spelled.iter().map(|best| dot(&asked.vector, &best.vector));
                cosines.fold(0.0, f64::max)
            }
        };
        let words = asked.tokens.iter();
        let words = words.filter(|token| word(token).chars().all(char::is_alphanumeric));
        let (empty, telling): (Vec<_>, Vec<_>) = words.partition(|w| tells_nothing(word(w)));
        let telling = if telling.is_empty() { empty } else { telling };
        let mut nearness = Nearness {
            passage,
            sentences: 0.0,
            words: 0.0,
        };
        let mut cosines = Vec::new();
        let mut sentences: Vec<(f64, Span)> = Vec::new();
        for passage in ranked {
            let headed = headed_sentences(text, passage.span);
            let said = headed.iter().map(|said| said.whole.of(text));
            let said: Vec<&str> = said.map(Option::unwrap_or_default).collect();
            let said = transformer.spell(&said)?;
            let tokens: Vec<&SpelledToken> = said.iter().flat_map(|said| &said.tokens).collect();
            nearness.words = nearness.words.max(nearest_words(&telling, &tokens));
            for (headed, said) in headed.iter().zip(&said) {
                let cosine = dot(&asked.vector, &said.vector);
                cosines.push(cosine);
                let own: Vec<&SpelledToken> = said.tokens.iter().collect();
                let near = cosine + OF_WORDS * nearest_words(&telling, &own);
                sentences.extend(headed.sentence.map(|span| (near, span)));
            }
            cosines.sort_by(|one: &f64, other| other.total_cmp(one));
            nearness.sentences = mean(cosines.iter().copied().take(2));
            if is_enough(&nearness) {
                break;
            }
        }
        sentences.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        Ok(Some(Nearest {
            nearness,
            sentences: different(text, sentences.into_iter().map(|(_, span)| span)),
        }))
    }
}

/// The first of `spans` that are told, none of which says what another one says in the same words.
fn different(text: &str, spans: impl Iterator<Item = Span>) -> Vec<Span> {
    let mut told: Vec<Span> = Vec::new();
    for span in spans {
        if told.iter().all(|other| other.of(text) != span.of(text)) {
            told.push(span);
        }
        if told.len() == TOLD {
            break;
        }
    }
    told
}

impl Nearness {
    /// Its numbers.
    pub fn numbers(&self) -> [f64; 3] {
        [self.passage, self.sentences, self.words]
    }

    /// What the numbers come to together.
    pub fn sum(&self) -> f64 {
        let weighed = self.numbers().into_iter().zip(WEIGHTS);
        BIAS + weighed.map(|(number, weight)| weight * number).sum::<f64>()
    }

    /// Whether so little is near that an answer is not to be expected, from an answer of which something `is_supported` or
    /// nothing.
    pub fn is_far(&self, is_supported: bool) -> bool {
        self.sum() < if is_supported { FAR_SUPPORTED } else { FAR }
    }
}

/// The cosine of `asked` and the passage that comes nearest; `None` if [too few](ENOUGH) have vectors.
fn nearest_passage(text: &str, passages: &[Span], vectors: &Vectors, asked: &[f32]) -> Option<f64> {
    let coded = passages
        .iter()
        .filter_map(|span| vectors.get(&text_number(span.of(text)?)));
    let cosines: Vec<f64> = coded.map(|code| cosine(asked, code)).collect();
    let is_known = cosines.len() as f64 >= ENOUGH * passages.len() as f64;
    cosines
        .into_iter()
        .filter(|_| is_known)
        .max_by(f64::total_cmp)
}

/// A token without the mark of one that goes on a word.
fn word(token: &SpelledToken) -> &str {
    token.piece.trim_start_matches("##")
}

/// The cosine of each of `asked` and the token that comes nearest to it, the mean.
fn nearest_words(asked: &[&SpelledToken], tokens: &[&SpelledToken]) -> f64 {
    mean(asked.iter().map(|asked| {
        let cosines = tokens.iter().map(|token| dot(&asked.vector, &token.vector));
        cosines.fold(0.0, f64::max)
    }))
}

/// A sentence with the headings before it.
struct Headed {
    whole: Span,
    /// The sentence; `None` where headings end a passage.
    sentence: Option<Span>,
}

/// The sentences of a passage, each with the headings before it.
fn headed_sentences(text: &str, passage: Span) -> Vec<Headed> {
    let mut headed = Vec::new();
    let mut heading = None;
    for sentence in sentences(text, passage) {
        let start = heading.take().unwrap_or(sentence.start);
        let words = sentence.of(text).unwrap_or_default();
        match words.trim_end_matches(CLOSES).ends_with(ENDS) {
            true => headed.push(Headed {
                whole: Span::new(start, sentence.end),
                sentence: Some(sentence),
            }),
            false => heading = Some(start),
        }
    }
    headed.extend(heading.map(|start| Headed {
        whole: Span::new(start, passage.end),
        sentence: None,
    }));
    headed
}

fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = numbers.fold((0.0, 0usize), |(sum, count), x| (sum + x, count + 1));
    sum / count.max(1) as f64
}

/// Of two vectors of length one, their cosine.
fn dot(one: &[f32], other: &[f32]) -> f64 {
    let products = one.iter().zip(other).map(|(a, b)| a * b);
    products.sum::<f32>().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_heading_goes_with_the_sentence_below_it() {
        let text = "The keeper\n\nHe was called Quill. He said: \"No.\"\n\nHis lamp\nand its oil";
        let headed = headed_sentences(text, Span::new(0, text.len()));
        let whole = |nth: usize| headed[nth].whole.of(text).unwrap();
        let sentence = |nth: usize| headed[nth].sentence.and_then(|span| span.of(text));
        assert_eq!(headed.len(), 3);
        assert_eq!(whole(0), "The keeper\n\nHe was called Quill.");
        assert_eq!(sentence(0), Some("He was called Quill."));
        assert_eq!(whole(1), "He said: \"No.\"");
        assert_eq!(sentence(1), Some(whole(1)));
        assert_eq!(whole(2), "His lamp\nand its oil");
        assert_eq!(sentence(2), None);
        assert!(headed_sentences("", Span::new(0, 0)).is_empty());
    }

    #[test]
    fn what_is_said_twice_is_told_once() {
        let text = "Ho. Ho. Ha. Hi.";
        let spans = [(0, 3), (4, 7), (8, 11), (12, 15)].map(|(start, end)| Span::new(start, end));
        let told = different(text, spans.into_iter());
        assert_eq!(told, [Span::new(0, 3), Span::new(8, 11)]);
        assert_eq!(different(text, spans.into_iter().take(2)).len(), 1);
    }

    #[test]
    fn each_word_asked_for_is_compared_with_the_nearest() {
        let token = |vector: [f32; 2]| SpelledToken {
            piece: "x".into(),
            vector: vector.to_vec(),
        };
        let (east, north, between) = (token([1.0, 0.0]), token([0.0, 1.0]), token([0.6, 0.8]));
        assert_eq!(nearest_words(&[&east, &north], &[&east]), 0.5);
        let near = nearest_words(&[&east, &north], &[&between, &east]);
        assert!((near - 0.9).abs() < 1e-6, "{near}");
        assert_eq!(nearest_words(&[&east], &[]), 0.0);
        assert_eq!(nearest_words(&[], &[&east]), 0.0);
    }
}
