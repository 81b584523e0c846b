//! Asking a model outright whether an answer is true, beside the [hold test](super::HoldTest).
//!
//! In: a model, a [`Claim`] and words of the document. Out: the logarithm of the odds of "Yes" against "No" as the next
//! word. Adapted from P(True) of Kadavath et al. 2022 (arXiv 2207.05221), who ask a model of its own answers; here it
//! is given the words to judge by. Only measured so far (`lectern eval hold`), to know what the hold test is worth.

use super::Claim;
use super::hold::{HoldError, QUESTION, opening, read_ahead};
use crate::attention::CancelFlag;
use crate::reading::around_text;
use lectern_models::{ForwardError, Logits, Model};

const INSTRUCTIONS: &str = "You check answers. Reply only Yes or No.";

/// Stands behind question and answer.
const IS_IT_TRUE: &str =
    "\n\nIs every part of this answer true, and does it answer the question? Reply Yes or No.";

/// A model that is asked about answers.
pub struct Outright<'m> {
    model: &'m Model,
    cancel: CancelFlag,
    /// The chat template's tokens before what the person says, and after it up to the model's turn.
    around: [Vec<u32>; 2],
    /// The first tokens of "Yes" and of "No".
    replies: [Option<u32>; 2],
}

impl<'m> Outright<'m> {
    /// Asking `model`, until `cancel` is raised.
    ///
    /// # Errors
    /// If the model's chat template cannot be used.
    pub fn new(model: &'m Model, cancel: CancelFlag) -> Result<Outright<'m>, HoldError> {
        let first =
            |word: &str| Ok::<_, HoldError>(model.tokenizer().encode(word)?.first().copied());
        Ok(Outright {
            model,
            cancel,
            around: around_text(model.chat_template(), model.tokenizer(), INSTRUCTIONS)?,
            replies: [first("Yes")?, first("No")?],
        })
    }

    /// Logarithm of p(Yes) / p(No) about `claim` by `words` (their first 512 tokens), or by what the model knows if they
    /// are empty.
    ///
    /// # Errors
    /// What the forward pass fails with.
    pub fn log_odds(&self, claim: &Claim, words: &str) -> Result<f32, HoldError> {
        let tokenizer = self.model.tokenizer();
        let [before, after] = &self.around;
        let mut read = opening(tokenizer, before, words)?;
        let Claim { sentence, question } = claim;
        let asked = format!("{QUESTION}{question}\nAnswer: {sentence}{IS_IT_TRUE}");
        read.extend(tokenizer.encode(&asked)?);
        read.extend(after);
        let Some((last, read)) = read.split_last() else {
            return Ok(0.0);
        };
        let mut attention = read_ahead(self.model, &self.cancel, read)?;
        let logits = self.model.forward(&[*last], &mut attention, Logits::Last)?;
        let logits = logits.map_or(Ok(Vec::new()), |logits| {
            logits.flatten_all().and_then(|logits| logits.to_vec1())
        });
        let logits: Vec<f32> = logits.map_err(ForwardError::from)?;
        let logit = |reply: Option<u32>| logits.get(reply? as usize).copied();
        let [yes, no] = self.replies.map(logit);
        Ok(yes.zip(no).map_or(0.0, |(yes, no)| yes - no))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::asking::test_model::smollm;

    #[test]
    fn odds_depend_on_the_words_and_are_the_same_twice() {
        let outright = Outright::new(smollm(), CancelFlag::new()).unwrap();
        assert_ne!(outright.replies[0], outright.replies[1]);
        let claim = Claim {
            sentence: "Bartholomew Quill.",
            question: "Who is the keeper?",
        };
        let odds = |words: &str| outright.log_odds(&claim, words).unwrap();
        let with = odds("The keeper is Bartholomew Quill.");
        assert!(with.is_finite() && with != odds(""));
        assert_eq!(with, odds("The keeper is Bartholomew Quill."));
    }
}
