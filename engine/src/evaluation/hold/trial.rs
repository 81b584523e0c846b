//! One claim, judged by a model with its cited words and without them.

use crate::citing::{
    Claim, Compared, Hold, HoldError, HoldTest, Likelihood, Measure, SentenceIndex, Verdict,
    cited_words,
};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// How likely the sentence is after each of the texts that may bear it out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::evaluation) struct Trial {
    /// Which of the sentence's tokens say what it adds to the question.
    pub adds: Vec<bool>,
    /// After nothing but the question.
    pub without: Likelihood,
    /// After the cited sentences.
    pub span: Likelihood,
    /// After the paragraphs that they stand in.
    pub paragraph: Likelihood,
    /// After those paragraphs without the cited sentences.
    pub rest: Likelihood,
    /// Milliseconds that each of the four took, in that order.
    pub ms: [f64; 4],
}

/// Which two of them are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::evaluation) enum Pair {
    /// The cited sentences with nothing.
    Span,
    /// Their paragraphs with nothing.
    Paragraph,
    /// Their paragraphs with what is left of them: SelfCite's necessity.
    Necessity,
}

/// A number that is made of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::evaluation) struct Score {
    pair: Pair,
    measure: Measure,
}

impl Trial {
    /// Judges `claim` by `test`; `verdict` is what it was cited by, in `text`.
    pub fn of(
        test: &HoldTest,
        claim: &Claim,
        verdict: &Verdict,
        text: &str,
        index: &SentenceIndex,
    ) -> Result<Trial, HoldError> {
        let cited = |span| verdict.citations.iter().any(|c| c.span == span);
        let mut around = Vec::new();
        for citation in &verdict.citations {
            for span in index.around(citation.span) {
                if !around.contains(span) {
                    around.push(*span);
                }
            }
        }
        let joined = |with_cited: bool| {
            let kept = around.iter().filter(|span| with_cited || !cited(**span));
            let words: Vec<&str> = kept.filter_map(|span| span.of(text)).collect();
            words.join(" ")
        };
        let mut ms = [0.0; 4];
        let mut timed = |nth: usize, words: &str| {
            let started = Instant::now();
            let found = test.likelihood(claim, words);
            ms[nth] = started.elapsed().as_secs_f64() * 1e3;
            found
        };
        Ok(Trial {
            without: timed(0, "")?,
            span: timed(1, &cited_words(verdict, text))?,
            paragraph: timed(2, &joined(true))?,
            rest: timed(3, &joined(false))?,
            adds: test.added(claim, index)?,
            ms,
        })
    }

    /// Milliseconds of the two passes that the cited sentences need.
    pub fn span_ms(&self) -> f64 {
        self.ms[0] + self.ms[1]
    }
}

impl Score {
    /// All that are compared.
    pub fn all() -> Vec<Score> {
        [Pair::Span, Pair::Paragraph, Pair::Necessity]
            .into_iter()
            .flat_map(|pair| Measure::all().map(move |measure| Score { pair, measure }))
            // what the paragraph alone says does not depend on what is left of it
            .filter(|score| {
                score.pair != Pair::Necessity || score.measure.compared == Compared::Gain
            })
            .collect()
    }

    /// For tables.
    pub fn name(self) -> String {
        let pair = match self.pair {
            Pair::Span => "span",
            Pair::Paragraph => "paragraph",
            Pair::Necessity => "necessity",
        };
        format!("{pair} {}", self.measure.name())
    }

    /// Of `trial`.
    pub fn of(self, trial: &Trial) -> f32 {
        let (with, without) = match self.pair {
            Pair::Span => (&trial.span, &trial.without),
            Pair::Paragraph => (&trial.paragraph, &trial.without),
            Pair::Necessity => (&trial.paragraph, &trial.rest),
        };
        let adds = &trial.adds;
        Hold {
            with,
            without,
            adds,
        }
        .score(self.measure)
    }
}
