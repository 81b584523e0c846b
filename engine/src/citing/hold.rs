//! The hold test: whether a model would say a sentence because of the words that are cited for it.
//!
//! In: a model, a [`Claim`] and cited words. Out: how likely the model finds the claim's sentence as the answer to its
//! question with the words before it and without them ([`Likelihood`], a number a token), and one number that compares
//! the two ([`Hold::score`]).
//!
//! Adapted from SelfCite (Chuang et al. 2025, arXiv 2502.09604), whose reward for a citation E of a response R out of
//! a context C is log p(R|E) - log p(R|C without E): here E is read alone, and against nothing at all, because that
//! takes a hundred tokens where C takes a document. What is compared with what, over which tokens, and how they are
//! put together, is a [`Measure`]; `docs/citations.md` says how well each tells true from false.
//!
//! Why beside [`verify`](super::verify): words that stand together may still say something else of each other
//! ("designed the systems that Tesla installed"). A model reads the order that words alone do not.

use super::index::SentenceIndex;
use super::query::Query;
use super::{Claim, Verdict};
use crate::attention::{CancelFlag, DenseAttention};
use crate::kv::KvError;
use crate::reading::{PromptError, around_text};
use lectern_models::{ForwardError, Logits, Model, Token, Tokenizer, TokenizerError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What the model is told, with words and without them.
const INSTRUCTIONS: &str = "Answer the question in one short sentence.";

/// Stands between cited words and the question; also opens the question where there are none.
pub(super) const QUESTION: &str = "Question: ";

/// Tokens of cited words that are read; SelfCite cites no more than 384.
const MOST_TOKENS: usize = 512;

/// Tokens read at a time; a stop is heeded between.
const CHUNK_TOKENS: usize = 128;

/// How likely a model finds a sentence after some text, token by token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    /// Natural logarithm of each token's probability.
    pub said: Vec<f32>,
    /// The same of the token that the model finds likeliest there, after the sentence's own tokens before it.
    pub best: Vec<f32>,
}

/// A sentence that was judged twice.
#[derive(Debug, Clone, Copy)]
pub struct Hold<'h> {
    /// With the words that are said to bear it out.
    pub with: &'h Likelihood,
    /// Without them.
    pub without: &'h Likelihood,
    /// Which of its tokens say what it adds to the question ([`HoldTest::added`]).
    pub adds: &'h [bool],
}

/// What of a token is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// How much likelier the words make it, in nats.
    Gain,
    /// How likely it is with the words, in nats (negative).
    Alone,
    /// How far it is behind what the model would rather say with the words, in nats (0 or negative).
    Behind,
}

/// Which tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// All of the sentence.
    All,
    /// Those that say what it adds to the question.
    Added,
}

/// How they are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Their mean.
    Mean,
    /// The lowest of them.
    Least,
}

/// One way to make a number of a [`Hold`]; higher is truer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Of a token.
    pub compared: Compared,
    /// Of all or some of them.
    pub over: Over,
    /// Mean or lowest.
    pub by: By,
}

impl Measure {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Measure> {
        let compared = [Compared::Gain, Compared::Alone, Compared::Behind];
        compared.into_iter().flat_map(|compared| {
            [Over::All, Over::Added].into_iter().flat_map(move |over| {
                [By::Mean, By::Least]
                    .into_iter()
                    .map(move |by| Measure { compared, over, by })
            })
        })
    }

    /// For tables.
    pub fn name(self) -> String {
        let compared = match self.compared {
            Compared::Gain => "gain",
            Compared::Alone => "alone",
            Compared::Behind => "behind",
        };
        let over = match self.over {
            Over::All => "all",
            Over::Added => "added",
        };
        let by = match self.by {
            By::Mean => "mean",
            By::Least => "least",
        };
        format!("{compared} {over} {by}")
    }
}

impl Hold<'_> {
    /// The number, in nats; 0 for a sentence without tokens.
    pub fn score(&self, measure: Measure) -> f32 {
        let some = measure.over == Over::Added && self.adds.contains(&true);
        let counts = |at: usize| !some || self.adds.get(at).copied().unwrap_or(false);
        let value = |at: usize| -> Option<f32> {
            let said = self.with.said.get(at)?;
            let beside = match measure.compared {
                Compared::Gain => *self.without.said.get(at)?,
                Compared::Alone => 0.0,
                Compared::Behind => *self.with.best.get(at)?,
            };
            Some(said - beside)
        };
        let values = (0..self.with.said.len())
            .filter(|&at| counts(at))
            .filter_map(value);
        match measure.by {
            By::Mean => {
                let (sum, count) = values.fold((0.0, 0.0), |(sum, n), v| (sum + v, n + 1.0));
                if count > 0.0 { sum / count } else { 0.0 }
            }
            By::Least => values.reduce(f32::min).unwrap_or(0.0),
        }
    }
}

/// Why a sentence could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The prompt could not be made.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A text could not be encoded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// There is no memory for keys and values.
    #[error(transparent)]
    Cache(#[from] KvError),
    /// The forward pass failed, or was stopped.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// A prompt up to the question: `before`, then the first tokens of `words`, if there are any.
pub(super) fn opening(
    tokenizer: &Tokenizer,
    before: &[u32],
    words: &str,
) -> Result<Vec<u32>, HoldError> {
    let mut read = before.to_vec();
    if !words.is_empty() {
        let mut words = tokenizer.encode(words)?;
        words.truncate(MOST_TOKENS);
        read.extend(words);
        read.extend(tokenizer.encode("\n\n")?);
    }
    Ok(read)
}

/// A model that judges sentences.
pub struct HoldTest<'m> {
    model: &'m Model,
    cancel: CancelFlag,
    /// The chat template's tokens before what the person says, and after it up to the model's turn.
    around: [Vec<u32>; 2],
}

impl<'m> HoldTest<'m> {
    /// Judging by `model`, until `cancel` is raised.
    ///
    /// # Errors
    /// If the model's chat template cannot be used.
    pub fn new(model: &'m Model, cancel: CancelFlag) -> Result<HoldTest<'m>, HoldError> {
        let around = around_text(model.chat_template(), model.tokenizer(), INSTRUCTIONS)?;
        Ok(HoldTest {
            model,
            cancel,
            around,
        })
    }

    /// How likely the model says `claim`'s sentence to its question after it read `words` (its first 512 tokens);
    /// after nothing but the question if they are empty.
    ///
    /// Costs one pass over words, question and sentence.
    ///
    /// # Errors
    /// What the forward pass fails with; being stopped is [`AttentionError::Cancelled`].
    ///
    /// [`AttentionError::Cancelled`]: lectern_models::attention::AttentionError::Cancelled
    pub fn likelihood(&self, claim: &Claim, words: &str) -> Result<Likelihood, HoldError> {
        let tokenizer = self.model.tokenizer();
        let sentence = tokenizer.encode(claim.sentence)?;
        let [before, after] = &self.around;
        let mut read = opening(tokenizer, before, words)?;
        read.extend(tokenizer.encode(&format!("{QUESTION}{}", claim.question))?);
        read.extend(after);
        self.judged(&read, &sentence)
    }

    /// Which of the tokens of `claim`'s sentence say what it adds to its question; all telling ones, if it adds
    /// nothing. `index` is that of the document it is about.
    ///
    /// # Errors
    /// If the sentence cannot be encoded.
    pub fn added(&self, claim: &Claim, index: &SentenceIndex) -> Result<Vec<bool>, HoldError> {
        let tokens = self.model.tokenizer().encode_with_offsets(claim.sentence)?;
        Ok(added(&tokens, &Query::new(claim, index)))
    }

    /// The probability of each of `sentence`'s tokens after `read` and those before it.
    fn judged(&self, read: &[u32], sentence: &[u32]) -> Result<Likelihood, HoldError> {
        let (Some((last, read)), Some((_, given))) = (read.split_last(), sentence.split_last())
        else {
            return Ok(Likelihood::default());
        };
        let mut attention = read_ahead(self.model, &self.cancel, read)?;
        // the token before the sentence predicts its first, and its last one predicts what is not asked
        let rows = [&[*last], given].concat();
        let mut found = Likelihood::default();
        for (rows, said) in rows.chunks(CHUNK_TOKENS).zip(sentence.chunks(CHUNK_TOKENS)) {
            let logits = self.model.forward(rows, &mut attention, Logits::All)?;
            let logits = logits.map_or(Ok(Vec::new()), |logits| logits.to_vec2::<f32>());
            let logits = logits.map_err(ForwardError::from)?;
            let judged: Vec<(f32, f32)> = logits
                .par_iter()
                .zip(said)
                .map(|(row, &token)| said_and_best(row, token))
                .collect();
            found.said.extend(judged.iter().map(|(said, _)| said));
            found.best.extend(judged.iter().map(|(_, best)| best));
        }
        Ok(found)
    }
}

/// Attention that holds `read`.
pub(super) fn read_ahead(
    model: &Model,
    cancel: &CancelFlag,
    read: &[u32],
) -> Result<DenseAttention, HoldError> {
    let mut attention = DenseAttention::without_cache(model.shape(), cancel.clone())?;
    for chunk in read.chunks(CHUNK_TOKENS) {
        model.forward(chunk, &mut attention, Logits::None)?;
    }
    Ok(attention)
}

/// The cited words, in order of strength.
pub fn cited_words(verdict: &Verdict, text: &str) -> String {
    let words = verdict.citations.iter().filter_map(|c| c.span.of(text));
    words.collect::<Vec<_>>().join("\n\n")
}

/// Logarithms of the probability of `token` and of the likeliest token.
fn said_and_best(logits: &[f32], token: u32) -> (f32, f32) {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let terms = logits.iter().map(|logit| f64::from(logit - best).exp());
    let sum = terms.sum::<f64>().ln();
    let said = logits
        .get(token as usize)
        .copied()
        .unwrap_or(f32::NEG_INFINITY);
    ((f64::from(said - best) - sum) as f32, -sum as f32)
}

/// Which of the sentence's `tokens` hold a part of a term that it adds.
fn added(tokens: &[Token], query: &Query) -> Vec<bool> {
    let marks = match query.adds.contains(&true) {
        true => &query.adds,
        false => &query.tells_answer,
    };
    let terms: Vec<_> = query
        .answer
        .iter()
        .zip(marks)
        .filter(|(_, adds)| **adds)
        .map(|(weighed, _)| weighed.term.span)
        .collect();
    let ends = tokens.iter().skip(1).map(|token| token.start as usize);
    tokens
        .iter()
        .zip(ends.chain([query.sentence.len()]))
        .map(|(token, end)| {
            let start = token.start as usize;
            terms
                .iter()
                .any(|term| term.start < end && start < term.end)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::asking::test_model::smollm;
    use crate::document::{Block, BlockKind, Document, DocumentKind, Span};

    const TEXT: &str = "The lighthouse of Fenwick was built in 1871 by Marisol Tanager. The keeper of the lighthouse is \
        called Bartholomew Quill.";

    fn index() -> SentenceIndex {
        SentenceIndex::new(&Document {
            kind: DocumentKind::Text,
            title: String::new(),
            authors: None,
            text: TEXT.into(),
            sections: Vec::new(),
            blocks: vec![Block {
                kind: BlockKind::Paragraph,
                span: Span::new(0, TEXT.len()),
                marks: Vec::new(),
            }],
            pages: Vec::new(),
            notices: Vec::new(),
        })
    }

    fn test() -> HoldTest<'static> {
        HoldTest::new(smollm(), CancelFlag::new()).unwrap()
    }

    #[test]
    fn tokens_of_what_is_added_are_those_of_its_words() {
        let added = |question: &str, sentence: &str| -> String {
            let claim = Claim { sentence, question };
            let marks = test().added(&claim, &index()).unwrap();
            let tokens = smollm().tokenizer().encode(sentence).unwrap();
            assert_eq!(marks.len(), tokens.len());
            let kept = tokens.iter().zip(&marks).filter(|(_, adds)| **adds);
            smollm()
                .tokenizer()
                .decode(&kept.map(|(token, _)| *token).collect::<Vec<_>>())
        };
        let said = added(
            "Who is the keeper of the lighthouse?",
            "The keeper of the lighthouse was Bartholomew Quill.",
        );
        assert_eq!(said.trim(), "Bartholomew Quill");
        assert_eq!(
            added("Who built the lighthouse?", "The lighthouse.").trim(),
            "lighthouse"
        );
        // a pair that is new begins with a character that is not
        assert_eq!(added("谁是守塔人？", "守塔人是马丽。"), "人是马丽");
    }

    #[test]
    fn a_sentence_is_as_likely_read_at_once_as_token_by_token() {
        let (model, test) = (smollm(), test());
        let read = model.tokenizer().encode("The keeper of the").unwrap();
        let said = model.tokenizer().encode(" lighthouse is Quill.").unwrap();
        let found = test.judged(&read, &said).unwrap();
        assert_eq!(
            (found.said.len(), found.best.len()),
            (said.len(), said.len())
        );
        let mut all = read.clone();
        for (at, &token) in said.iter().enumerate() {
            let mut attention =
                DenseAttention::without_cache(model.shape(), CancelFlag::new()).unwrap();
            let logits = model.forward(&all, &mut attention, Logits::Last).unwrap();
            let logits = logits.unwrap().flatten_all().unwrap();
            let row = logits.to_vec1::<f32>().unwrap();
            let (said, best) = said_and_best(&row, token);
            assert!((said - found.said[at]).abs() < 0.05, "{at}: {said}");
            assert!((best - found.best[at]).abs() < 0.05, "{at}: {best}");
            all.push(token);
        }
    }

    #[test]
    fn probabilities_of_known_logits() {
        let (said, best) = said_and_best(&[3f32.ln(), 0.0], 1);
        assert!((said - 0.25f32.ln()).abs() < 1e-6 && (best - 0.75f32.ln()).abs() < 1e-6);
        assert_eq!(said_and_best(&[1.0, 0.0], 7).0, f32::NEG_INFINITY);
    }

    #[test]
    fn words_that_hold_the_answer_make_it_likelier() {
        let test = test();
        let score = |sentence: &str, words: &str| {
            let claim = Claim {
                sentence,
                question: "Who is the keeper of the lighthouse?",
            };
            let hold = Hold {
                with: &test.likelihood(&claim, words).unwrap(),
                without: &test.likelihood(&claim, "").unwrap(),
                adds: &test.added(&claim, &index()).unwrap(),
            };
            hold.score(Measure {
                compared: Compared::Gain,
                over: Over::Added,
                by: By::Mean,
            })
        };
        let keeper = TEXT.split_once(". ").unwrap().1;
        let right = score("The keeper is called Bartholomew Quill.", keeper);
        let wrong = score("The keeper is called Marisol Tanager.", keeper);
        assert!(right > wrong + 1.0, "{right} {wrong}");
    }

    #[test]
    fn measures_are_means_and_least_values_of_what_they_name() {
        let with = Likelihood {
            said: vec![-1.0, -2.0, -4.0],
            best: vec![-1.0, -0.5, -1.0],
        };
        let without = Likelihood {
            said: vec![-3.0, -3.0, -3.0],
            best: vec![-0.1; 3],
        };
        let hold = Hold {
            with: &with,
            without: &without,
            adds: &[false, true, true],
        };
        let scores: Vec<(String, f32)> = Measure::all()
            .map(|measure| (measure.name(), hold.score(measure)))
            .collect();
        let score = |name: &str| scores.iter().find(|(n, _)| n == name).unwrap().1;
        assert_eq!(scores.len(), 12);
        assert!((score("gain all mean") - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!(score("gain all least"), -1.0);
        assert_eq!(score("gain added mean"), 0.0);
        assert_eq!(score("alone added mean"), -3.0);
        assert_eq!(score("alone all least"), -4.0);
        assert_eq!(score("behind added mean"), -2.25);
        let none = Hold {
            adds: &[false; 3],
            ..hold
        };
        assert_eq!(
            none.score(Measure {
                compared: Compared::Gain,
                over: Over::Added,
                by: By::Least
            }),
            -1.0
        );
    }
}
