//! A question in the language of the text, so that it is found by the words that stand there.
//!
//! In: a model, a question, the text. Out: what the model says the question is in the text's language, if that is another one. It
//! is a query and nothing else: the model answers the question as it was asked.

use super::AskError;
use super::sampler::{Sampler, Sampling};
use crate::attention::{CancelFlag, DenseAttention};
use crate::reading::around_text;
use crate::retrieval::language_to_ask_in;
use lectern_models::{Logits, Model};
use std::borrow::Cow;

const INSTRUCTIONS: &str = "You translate. Reply with the translation only.";

/// Tokens of a translation at most, and of the question that are read.
const MOST_TOKENS: usize = 64;

/// `question` in the language of `text`, as the likeliest tokens say it; `None` if it is in that, or the model has nothing
/// else to say.
///
/// Cost: reading some 40 tokens and the question, and saying as many as it has; nothing in the text's own language.
///
/// # Errors
/// What the forward pass fails with; also if `cancel` is raised.
pub fn translated(
    model: &Model,
    cancel: &CancelFlag,
    question: &str,
    text: &str,
) -> Result<Option<String>, AskError> {
    let Some(language) = language_to_ask_in(question, text) else {
        return Ok(None);
    };
    let said = translate(model, cancel, question, language)?;
    // A question of whose words none stands in the text may be taken for one in another language.
    let is_new = |said: &String| !said.is_empty() && said != question.trim();
    Ok(Some(said).filter(is_new))
}

/// What passages are looked for by: the question as it was asked as well, since names may stand as they are.
pub fn in_both_languages<'q>(question: &'q str, translated: Option<&str>) -> Cow<'q, str> {
    match translated {
        Some(translated) => format!("{question} {translated}").into(),
        None => question.into(),
    }
}

fn translate(
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
    let (mut said, mut logits): (Vec<u32>, Vec<f32>) = Default::default();
    while said.len() < MOST_TOKENS {
        let rows = match said.last() {
            Some(last) => std::slice::from_ref(last),
            None => &read,
        };
        model.forward_to(rows, &mut attention, Logits::Last, &mut logits)?;
        let token = sampler.next(&logits).ok_or(AskError::NoLogits)?;
        if model.ends_answer(token) {
            break;
        }
        said.push(token);
    }
    Ok(tokenizer.decode(&said).trim().to_owned())
}
