//! What might tell, before an answer is given, that the document holds none: numbers for each question, to be fitted elsewhere.

use super::EvaluationError;
use super::ground::Prepared;
use crate::attention::{CancelFlag, DenseAttention};
use crate::kv::KvView;
use crate::reading::suffix;
use crate::retrieval::Nearness;
use lectern_models::{ForwardError, Logits, Model};
use serde::Serialize;

/// What the model is told to say where the document does not answer.
const REFUSAL: &str = "The document does not say.";

/// Numbers that an answer could be doubted by.
#[derive(Debug, Serialize)]
pub(super) struct Doubts {
    /// How near the document comes; unknown without vectors.
    nearness: Option<Nearness>,
    /// BM25 of the best passage, as a share of what the question's own words would have.
    words: f64,
    /// Behind what the question looks at, and behind the opening alone; of documents that were read.
    behind: Option<Said>,
    alone: Option<Said>,
}

/// Of the model.
#[derive(Debug, Serialize)]
struct Said {
    /// Log-probability of the question's tokens, mean.
    question: f64,
    /// Log-probability of the refusal, less that of the likeliest tokens in its places, summed.
    refusal: f64,
    /// Of the first token of an answer, in nats.
    entropy: f64,
    /// Log-odds of "Yes" against "No" where it is asked outright whether the text answers.
    yes: f64,
}

impl Doubts {
    /// Of a question on a document; what the model says only if it was read in segments.
    pub fn of(
        model: &Model,
        prepared: &Prepared,
        question: &str,
    ) -> Result<Doubts, EvaluationError> {
        let view = prepared.view(question)?;
        let ranks = prepared.ranks.as_ref();
        let words = ranks.map_or(Ok(0.0), |ranks| {
            let ranked = ranks.by_words(question)?;
            Ok::<_, EvaluationError>(ranked.first().map_or(0.0, |best| best.score))
        })?;
        let said = |picked: &[usize]| -> Result<Option<Said>, EvaluationError> {
            match (&prepared.held, &prepared.segments) {
                (Some(held), Some(segments)) => {
                    Said::behind(model, segments.behind(held, picked), question).map(Some)
                }
                _ => Ok(None),
            }
        };
        Ok(Doubts {
            nearness: prepared.nearest(question)?.map(|near| near.nearness),
            words,
            behind: said(&view.segments)?,
            alone: said(&[])?,
        })
    }
}

impl Said {
    fn behind(model: &Model, view: KvView, question: &str) -> Result<Said, EvaluationError> {
        let tokenizer = model.tokenizer();
        let mut attention = DenseAttention::over_view(view, model.shape(), CancelFlag::new())?;
        let asked = suffix(model.chat_template(), tokenizer, &[], question)?;
        let refusal = tokenizer.encode(REFUSAL)?;
        let ids = [&asked.tokens[..], &refusal].concat();
        let rows = rows(model, &mut attention, &ids)?;
        // The row before a token says how likely it is.
        let log = |at: usize| log_softmax(&rows[at - 1]);
        let mean = |logs: Vec<f64>| logs.iter().sum::<f64>() / logs.len().max(1) as f64;
        let of_question = asked.question.clone().filter(|at| *at > 0);
        let question_logs = of_question.map(|at| log(at)[ids[at] as usize]).collect();
        let begin = asked.tokens.len();
        let refused = (begin..ids.len()).map(|at| {
            let log = log(at);
            log[ids[at] as usize] - log.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        });
        let first = log(begin);
        attention.reset();
        let outright = format!(
            "Can the following question be answered from the text above? Reply Yes or No.\n\n{question}"
        );
        let asked = suffix(model.chat_template(), tokenizer, &[], &outright)?;
        let replies = self::rows(model, &mut attention, &asked.tokens)?;
        let reply = |word: &str| -> Result<f64, EvaluationError> {
            let first = tokenizer.encode(word)?.first().copied().unwrap_or(0);
            let last = replies.last().and_then(|row| row.get(first as usize));
            Ok(last.map_or(0.0, |logit| f64::from(*logit)))
        };
        Ok(Said {
            question: mean(question_logs),
            refusal: refused.sum(),
            entropy: -first.iter().map(|log| log.exp() * log).sum::<f64>(),
            yes: reply("Yes")? - reply("No")?,
        })
    }
}

fn rows(
    model: &Model,
    attention: &mut DenseAttention,
    ids: &[u32],
) -> Result<Vec<Vec<f32>>, EvaluationError> {
    let logits = model.forward(ids, attention, Logits::All)?;
    let rows = logits.map_or(Ok(Vec::new()), |logits| logits.to_vec2::<f32>());
    Ok(rows.map_err(ForwardError::from)?)
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|logit| f64::from(logit - most).exp()).sum();
    let all = f64::from(most) + sum.ln();
    row.iter().map(|logit| f64::from(*logit) - all).collect()
}
