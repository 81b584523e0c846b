//! A question in the language of the text, so that it is found by the words that stand there.
//!
//! In: a model, a question, the name of a language. Out: what the model says the question is in it. It is a query and nothing
//! else: the model answers the question as it was asked.

use super::AskError;
use super::sampler::{Sampler, Sampling};
use crate::attention::{CancelFlag, DenseAttention};
use crate::reading::around_text;
use lectern_models::{Logits, Model};

const INSTRUCTIONS: &str = "You translate. Reply with the translation only.";

/// Tokens of a translation at most, and of the question that are read.
const MOST_TOKENS: usize = 64;

/// `question` in `language` ("Chinese"), as the likeliest tokens say it; empty if the model has nothing to say or `cancel` was
/// raised.
///
/// Cost: reading some 40 tokens and the question, and saying as many as it has.
///
/// # Errors
/// What the forward pass fails with.
pub fn translate(
    model: &Model,
    cancel: &CancelFlag,
    question: &str,
    language: &str,
) -> Result<String, AskError> {
    let tokenizer = model.tokenizer();
    let [mut read, after] = around_text(model.chat_template(), tokenizer, INSTRUCTIONS)?;
    let asked = tokenizer.encode(question)?;
    let asked = tokenizer.decode(&asked[..asked.len().min(MOST_TOKENS)]);
    let wish = format!("Translate into {language}:\n{asked}");
    read.extend(tokenizer.encode(&wish)?);
    read.extend(after);
    let mut attention = DenseAttention::without_cache(model.shape(), cancel.clone())?;
    let mut sampler = Sampler::new(Sampling::Greedy);
    let mut said: Vec<u32> = Vec::new();
    while said.len() < MOST_TOKENS && !cancel.is_cancelled() {
        let rows = match said.last() {
            Some(last) => std::slice::from_ref(last),
            None => &read,
        };
        let mut logits = Vec::new();
        model.forward_to(rows, &mut attention, Logits::Last, &mut logits)?;
        let token = sampler.next(&logits).ok_or(AskError::NoLogits)?;
        if model.ends_answer(token) {
            break;
        }
        said.push(token);
    }
    Ok(tokenizer.decode(&said).trim().to_owned())
}
