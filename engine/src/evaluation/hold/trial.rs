//! One claim, judged by a model with its cited words and without them.

use crate::attention::CancelFlag;
use crate::citing::{
    Claim, Compared, Hold, HoldError, HoldTest, Likelihood, Measure, Outright, SentenceIndex,
    Verdict, cited_words,
};
use lectern_models::Model;
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
    /// Logarithm of the odds of "Yes", asked outright: by nothing, by the cited sentences, by their paragraphs.
    pub outright: [f32; 3],
    /// Milliseconds that each of the seven took, in that order.
    pub ms: [f64; 7],
}

/// A model that judges both ways.
pub(in crate::evaluation) struct Judge<'m> {
    hold: HoldTest<'m>,
    outright: Outright<'m>,
}

impl<'m> Judge<'m> {
    pub fn new(model: &'m Model) -> Result<Judge<'m>, HoldError> {
        Ok(Judge {
            hold: HoldTest::new(model, CancelFlag::new())?,
            outright: Outright::new(model, CancelFlag::new())?,
        })
    }
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
pub(in crate::evaluation) enum Score {
    /// Of the hold test.
    Hold(Pair, Measure),
    /// Odds of "Yes" by the cited sentences or their paragraphs (1 or 2 in [`Trial::outright`]); how much higher they
    /// are than by nothing, if so wanted.
    Outright(usize, bool),
}

impl Trial {
    /// Lets `judge` judge `claim`; `verdict` is what it was cited by, in `text`.
    pub fn of(
        judge: &Judge,
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
        let texts = [
            String::new(),
            cited_words(verdict, text),
            joined(true),
            joined(false),
        ];
        let mut ms = [0.0; 7];
        let mut trial = Trial {
            adds: judge.hold.added(claim, index)?,
            ..Trial::default()
        };
        let Trial {
            without,
            span,
            paragraph,
            rest,
            ..
        } = &mut trial;
        for (nth, found) in [without, span, paragraph, rest].into_iter().enumerate() {
            let started = Instant::now();
            *found = judge.hold.likelihood(claim, &texts[nth])?;
            ms[nth] = started.elapsed().as_secs_f64() * 1e3;
        }
        for (nth, odds) in trial.outright.iter_mut().enumerate() {
            let started = Instant::now();
            *odds = judge.outright.log_odds(claim, &texts[nth])?;
            ms[4 + nth] = started.elapsed().as_secs_f64() * 1e3;
        }
        trial.ms = ms;
        Ok(trial)
    }

    /// Milliseconds of the two passes that the cited sentences need.
    pub fn span_ms(&self) -> f64 {
        self.ms[0] + self.ms[1]
    }
}

impl Score {
    /// All that are compared.
    pub fn all() -> Vec<Score> {
        let holds = [Pair::Span, Pair::Paragraph, Pair::Necessity]
            .into_iter()
            .flat_map(|pair| Measure::all().map(move |measure| (pair, measure)))
            // what the paragraph alone says does not depend on what is left of it
            .filter(|(pair, measure)| {
                *pair != Pair::Necessity || measure.compared == Compared::Gain
            })
            .map(|(pair, measure)| Score::Hold(pair, measure));
        let outright = [(1, false), (1, true), (2, false), (2, true)];
        holds
            .chain(outright.map(|(nth, gain)| Score::Outright(nth, gain)))
            .collect()
    }

    /// For tables.
    pub fn name(self) -> String {
        match self {
            Score::Hold(pair, measure) => {
                let pair = match pair {
                    Pair::Span => "span",
                    Pair::Paragraph => "paragraph",
                    Pair::Necessity => "necessity",
                };
                format!("{pair} {}", measure.name())
            }
            Score::Outright(nth, gain) => {
                let by = if nth == 1 { "span" } else { "paragraph" };
                let gain = if gain { " gain" } else { "" };
                format!("{by} outright{gain}")
            }
        }
    }

    /// Of `trial`.
    pub fn of(self, trial: &Trial) -> f32 {
        let (pair, measure) = match self {
            Score::Hold(pair, measure) => (pair, measure),
            Score::Outright(nth, gain) => {
                let without = if gain { trial.outright[0] } else { 0.0 };
                return trial.outright[nth] - without;
            }
        };
        let (with, without) = match pair {
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
        .score(measure)
    }
}
