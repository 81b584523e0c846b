//! What the tests with real models share: where the models lie, and an attention that is as plain as can be.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

use std::path::PathBuf;

use candle_core::{D, DType, Device, Tensor};
use lectern_models::attention::{Rotary, RotaryPairing};
use lectern_models::{Attention, AttentionError, AttentionShape, Logits, Model, Projected};

pub const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
pub const QWEN_HALF_B: &str = "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf";
pub const MINILM: &str = "all-MiniLM-L6-v2.tokenizer-tensors.bin";
pub const QWEN_1_5B: &str = "Qwen2.5-Coder-1.5B-Instruct.Q4_K_M.gguf";

/// The model's file, where `cargo xtask model get` puts it. A run without it is not a pass.
pub fn model_path(file: &str) -> PathBuf {
    let folder = std::env::var_os("LECTERN_MODELS").map_or_else(
        || {
            let data = std::env::var_os("XDG_DATA_HOME").map_or_else(
                || {
                    PathBuf::from(std::env::var_os("HOME").expect("HOME is set"))
                        .join(".local/share")
                },
                PathBuf::from,
            );
            data.join("lectern/models")
        },
        PathBuf::from,
    );
    let path = folder.join(file);
    let name = match file {
        SMOLLM2 => "smollm2-135m",
        QWEN_HALF_B => "qwen2.5-coder-0.5b",
        MINILM => "minilm",
        _ => "qwen2.5-coder-1.5b",
    };
    assert!(
        path.is_file(),
        "{} is missing: run `cargo xtask model get {name}`",
        path.display()
    );
    path
}

pub fn load(file: &str) -> Model {
    Model::load(&model_path(file)).expect("the model loads")
}

/// Whether the tests that take minutes are wanted.
pub fn slow_tests() -> bool {
    std::env::var_os("LECTERN_SLOW_TESTS").is_some_and(|value| value == "1")
}

/// Dense causal attention with a whole score matrix, in F32, straight from the definition.
pub struct PlainAttention {
    shape: AttentionShape,
    /// Rotated keys with their bias, and values, of each layer: `[tokens, kv_heads, head_dim]`.
    cache: Vec<Option<(Tensor, Tensor)>>,
}

impl PlainAttention {
    pub fn of(model: &Model) -> Self {
        let shape = model.shape().clone();
        Self {
            cache: vec![None; shape.layers],
            shape,
        }
    }

    /// Tokens of whole passes.
    fn tokens(&self) -> usize {
        let last = self.cache.last().and_then(Option::as_ref);
        last.map_or(0, |(keys, _)| keys.dim(0).unwrap())
    }

    /// Leaves so many tokens in each layer.
    fn cut(&mut self, tokens: usize) {
        for layer in &mut self.cache {
            let held = layer.take().filter(|_| tokens > 0);
            *layer = held.map(|(keys, values)| {
                let before = |held: Tensor| held.narrow(0, 0, tokens).unwrap();
                (before(keys), before(values))
            });
        }
    }
}

impl Attention for PlainAttention {
    fn attend(
        &mut self,
        layer: usize,
        projected: &Projected,
        attended: &mut Vec<f32>,
    ) -> Result<(), AttentionError> {
        let by_head = |numbers: &[f32], heads: usize| {
            let shape = (projected.tokens, heads, self.shape.head_dim);
            Tensor::from_slice(numbers, shape, &Device::Cpu)
        };
        let queries = &by_head(&projected.queries, self.shape.query_heads)?;
        let keys = &by_head(&projected.keys, self.shape.kv_heads)?;
        let values = &by_head(&projected.values, self.shape.kv_heads)?;
        if layer == 0 {
            // What an abandoned pass left.
            self.cut(self.tokens());
        }
        let shape = &self.shape;
        let (tokens, _, head_dim) = queries.dims3()?;
        let before = match &self.cache[layer] {
            Some((keys, _)) => keys.dim(0)?,
            None => 0,
        };
        let keys = match &shape.key_bias[layer] {
            Some(bias) => {
                let bias = Tensor::new(bias.as_slice(), &Device::Cpu)?;
                keys.broadcast_add(&bias.reshape((1, shape.kv_heads, head_dim))?)?
            }
            None => keys.clone(),
        };
        let queries = rotate(&shape.rotary, queries, before)?;
        let keys = rotate(&shape.rotary, &keys, before)?;
        let (keys, values) = match &self.cache[layer] {
            Some((k, v)) => (Tensor::cat(&[k, &keys], 0)?, Tensor::cat(&[v, values], 0)?),
            None => (keys, values.clone()),
        };
        self.cache[layer] = Some((keys.clone(), values.clone()));

        let all = before + tokens;
        let by_head = |t: &Tensor, repeat: usize| -> candle_core::Result<Tensor> {
            let (length, heads, dim) = t.dims3()?;
            let t = t.unsqueeze(2)?.broadcast_as((length, heads, repeat, dim))?;
            let t = t.contiguous()?.reshape((length, heads * repeat, dim))?;
            t.transpose(0, 1)?.contiguous()
        };
        let queries = by_head(&queries, 1)?;
        let keys = by_head(&keys, shape.group_size())?;
        let values = by_head(&values, shape.group_size())?;
        let scores = queries.matmul(&keys.t()?.contiguous()?)?;
        let scores = (scores * f64::from(shape.softmax_scale))?;
        let mask: Vec<f32> = (0..tokens)
            .flat_map(|row| {
                (0..all).map(move |column| {
                    if column > before + row {
                        f32::NEG_INFINITY
                    } else {
                        0.0
                    }
                })
            })
            .collect();
        let mask = Tensor::from_vec(mask, (1, tokens, all), &Device::Cpu)?;
        let weights = candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
        let mixed = weights.matmul(&values)?.transpose(0, 1)?.contiguous()?;
        *attended = mixed.flatten_all()?.to_vec1()?;
        Ok(())
    }

    fn take_back(&mut self, tokens: usize) -> bool {
        self.cut(self.tokens() - tokens);
        true
    }
}

/// `[tokens, heads, head_dim]`, token `i` turned to position `from + i`.
fn rotate(rotary: &Rotary, states: &Tensor, from: usize) -> candle_core::Result<Tensor> {
    let (_, heads, head_dim) = states.dims3()?;
    let mut values = states.flatten_all()?.to_vec1::<f32>()?;
    let half = rotary.dimensions() / 2;
    for (token, row) in values.chunks_mut(heads * head_dim).enumerate() {
        for (i, frequency) in rotary.inverse_frequencies.iter().enumerate() {
            let (sin, cos) = ((from + token) as f32 * frequency).sin_cos();
            let (a, b) = match rotary.pairing {
                RotaryPairing::Halves => (i, i + half),
                RotaryPairing::Neighbours => (2 * i, 2 * i + 1),
            };
            for head in row.chunks_mut(head_dim) {
                let (x, y) = (head[a], head[b]);
                head[a] = x * cos - y * sin;
                head[b] = x * sin + y * cos;
            }
        }
    }
    Tensor::from_vec(values, states.shape(), &Device::Cpu)
}

/// The token with the greatest logit in each row of `[rows, vocabulary]`.
pub fn greedy(logits: &Tensor) -> Vec<u32> {
    let logits = logits.to_dtype(DType::F32).unwrap();
    logits.argmax(D::Minus1).unwrap().to_vec1().unwrap()
}

/// The greedy continuation of a prompt, up to `length` tokens or the end of the answer.
pub fn continue_greedily(model: &Model, prompt: &[u32], length: usize) -> Vec<u32> {
    let mut attention = PlainAttention::of(model);
    let mut next = prompt.to_vec();
    let mut answer = Vec::new();
    while answer.len() < length {
        let logits = model
            .forward(&next, &mut attention, Logits::Last)
            .expect("a pass over the model")
            .expect("logits were asked for");
        let token = greedy(&logits)[0];
        if model.ends_answer(token) {
            break;
        }
        answer.push(token);
        next = vec![token];
    }
    answer
}
