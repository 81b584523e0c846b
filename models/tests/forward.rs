//! The forward passes, on the real models.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod reference;

use lectern_models::{
    Attention, AttentionError, ChatMessage, ForwardError, Logits, Projected, Role,
};
use reference::{PlainAttention, QWEN_HALF_B, SMOLLM2, continue_greedily, greedy, load};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[test]
fn the_small_models_answer() {
    for (file, question, expected) in [
        // Asked "What is", SmolLM2 in F32 prefers "The" to "L'Étoile" by 0.08 alone.
        (SMOLLM2, "Name the capital of France.", "Paris"),
        (QWEN_HALF_B, "What is the capital of France?", "Paris"),
    ] {
        let model = load(file);
        let message = ChatMessage {
            role: Role::User,
            content: question.to_owned(),
        };
        let prompt = model.chat_template().render(&[message], true).unwrap();
        let prompt = model.tokenizer().encode_prompt(&prompt).unwrap();
        let answer = continue_greedily(&model, &prompt, 24);
        let answer = model.tokenizer().decode(&answer);
        eprintln!("{file}: {answer:?}");
        assert!(answer.contains(expected), "{file}: {answer}");
    }
}

#[test]
fn chunks_and_logits_asked_for_do_not_change_the_result() {
    let model = load(SMOLLM2);
    let text = "Call me Ishmael. Some years ago - never mind how long precisely - having little or no money";
    let tokens = model.tokenizer().encode(text).unwrap();
    let whole = model
        .forward(&tokens, &mut PlainAttention::of(&model), Logits::All)
        .unwrap()
        .unwrap();
    assert_eq!(whole.dims(), [tokens.len(), model.vocabulary_size()]);

    let mut attention = PlainAttention::of(&model);
    let (first, second) = tokens.split_at(7);
    let none = model.forward(first, &mut attention, Logits::None).unwrap();
    assert!(none.is_none());
    let last = model
        .forward(second, &mut attention, Logits::Last)
        .unwrap()
        .unwrap();
    assert_eq!(last.dims(), [1, model.vocabulary_size()]);

    let expected = whole.narrow(0, tokens.len() - 1, 1).unwrap();
    assert_eq!(greedy(&last), greedy(&expected));
    let difference = (last - expected).unwrap().abs().unwrap();
    let difference = difference.max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(difference < 1e-3, "{difference}");
}

/// Stops the pass when the given number of questions whether to stop have been answered with no.
struct Stopping {
    attention: PlainAttention,
    patience: AtomicUsize,
}

impl Attention for Stopping {
    fn attend(
        &mut self,
        layer: usize,
        projected: &Projected,
        attended: &mut Vec<f32>,
    ) -> Result<(), AttentionError> {
        self.attention.attend(layer, projected, attended)
    }

    fn is_cancelled(&self) -> bool {
        let asked = self
            .patience
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        asked.is_err()
    }
}

#[test]
fn a_pass_stops_between_products() {
    let model = load(SMOLLM2);
    let shape = model.shape();
    // Three times a layer, and not for a last layer that goes no further than its keys and values.
    for (patience, logits, stops) in [
        (0, Logits::Last, true),
        (2, Logits::Last, true),
        (3 * shape.layers - 1, Logits::Last, true),
        (3 * shape.layers, Logits::Last, false),
        (3 * (shape.layers - 1), Logits::None, false),
    ] {
        let mut attention = Stopping {
            attention: PlainAttention::of(&model),
            patience: AtomicUsize::new(patience),
        };
        let outcome = model.forward(&[1, 2, 3], &mut attention, logits);
        let stopped = matches!(
            outcome,
            Err(ForwardError::Attention(AttentionError::Cancelled))
        );
        assert_eq!(stopped, stops, "{patience}, {logits:?}");
    }
}
