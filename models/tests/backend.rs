//! A place for the weights that fails, at every point of a pass: the processor takes over, and nothing is said twice.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod reference;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lectern_models::backend::{Backend, BackendError, BackendPass, Work};
use lectern_models::{ForwardError, Logits, Model, Projected, Sizes};
use reference::{PlainAttention, SMOLLM2, load, model_path};

/// Answers with zeros, so many times; then it fails.
struct Failing {
    sizes: Sizes,
    vocabulary: usize,
    calls_left: AtomicUsize,
}

impl Failing {
    fn answer<T>(&self, answer: T) -> Result<T, BackendError> {
        let left = self.calls_left.load(Ordering::Relaxed);
        self.calls_left
            .store(left.saturating_sub(1), Ordering::Relaxed);
        match left {
            0 => Err(BackendError::Failed("it is gone".into())),
            _ => Ok(answer),
        }
    }
}

impl Backend for Failing {
    fn run(&self, hidden: &mut [f32], work: &mut Work<'_>) -> Result<(), ForwardError> {
        let mut pass = self.answer(Pass {
            of: self,
            rows: hidden.len() / self.sizes.width,
            projected: Projected::default(),
        })?;
        work(&mut pass)
    }
}

struct Pass<'a> {
    of: &'a Failing,
    rows: usize,
    projected: Projected,
}

impl BackendPass for Pass<'_> {
    fn project(&mut self, _layer: usize) -> Result<(), BackendError> {
        self.of.answer(())
    }

    fn projected(&mut self) -> Result<&Projected, BackendError> {
        let sizes = self.of.sizes;
        let zeros = |heads: usize| vec![0.0; self.rows * heads * sizes.head_dim];
        self.projected = Projected {
            tokens: self.rows,
            queries: zeros(sizes.query_heads),
            keys: zeros(sizes.kv_heads),
            values: zeros(sizes.kv_heads),
        };
        self.of.answer(&self.projected)
    }

    fn keep_last(&mut self) {
        self.rows = 1;
    }

    fn finish(
        &mut self,
        _layer: usize,
        _attended: Option<&[f32]>,
        _is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), BackendError> {
        self.of.answer(())
    }

    fn logits(&mut self, logits: &mut Vec<f32>) -> Result<(), BackendError> {
        *logits = vec![0.0; self.rows * self.of.vocabulary];
        self.of.answer(())
    }
}

#[test]
fn wherever_a_backend_fails_the_processor_goes_on_from_there() {
    let on_cpu = load(SMOLLM2);
    let (first, then) = ([1, 40, 50], [60, 70]);
    let mut attention = PlainAttention::of(&on_cpu);
    let mut expect = |tokens: &[u32]| {
        let logits = on_cpu.forward(tokens, &mut attention, Logits::Last);
        logits.unwrap().unwrap().to_vec2::<f32>().unwrap()
    };
    let expected = [expect(&first), expect(&then)];
    let layers = on_cpu.shape().layers;
    // At the beginning, in the first layer, in the middle of the last one, behind it, and at the logits.
    for calls in [0, 1, 2, 3, 3 * layers, 3 * layers + 1] {
        let model = Model::load_to(&model_path(SMOLLM2), |weights| {
            Some(Arc::new(Failing {
                sizes: weights.sizes,
                vocabulary: weights.head.rows(),
                calls_left: AtomicUsize::new(calls),
            }))
        })
        .unwrap();
        assert!(!model.is_on_cpu());
        let mut attention = PlainAttention::of(&model);
        for (tokens, expected) in [&first[..], &then[..]].into_iter().zip(&expected) {
            let logits = model.forward(tokens, &mut attention, Logits::Last);
            let found = logits.unwrap().unwrap().to_vec2::<f32>().unwrap();
            assert!(found == *expected, "after {calls} calls");
            assert!(model.is_on_cpu());
        }
    }
}
