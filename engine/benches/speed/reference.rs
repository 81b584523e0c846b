//! The same model by candle-transformers: the other thing a Rust program could have used.

use anyhow::{Context, Result};
use candle_core::{DType, Device, IndexOp, Tensor, quantized::gguf_file};
use candle_transformers::models::{quantized_llama, quantized_qwen2};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use std::time::Instant;

/// Its two architectures that Lectern has as well.
enum Weights {
    Llama(quantized_llama::ModelWeights),
    Qwen2(quantized_qwen2::ModelWeights),
}

/// A loaded model.
pub struct Reference(Weights);

impl Reference {
    pub fn load(path: &Path) -> Result<Reference> {
        let mut file = File::open(path)?;
        let content = gguf_file::Content::read(&mut file)?;
        let architecture = content
            .metadata
            .get("general.architecture")
            .context("the file names no architecture")?
            .to_string()?
            .clone();
        Ok(Reference(match architecture.as_str() {
            "llama" => Weights::Llama(quantized_llama::ModelWeights::from_gguf(
                content,
                &mut file,
                &Device::Cpu,
            )?),
            _ => Weights::Qwen2(quantized_qwen2::ModelWeights::from_gguf(
                content,
                &mut file,
                &Device::Cpu,
            )?),
        }))
    }

    pub fn measure(&mut self, tokens: &[u32], decode: usize) -> Result<Value> {
        let began = Instant::now();
        // A pass at position 0 drops its cache.
        let mut next = likeliest(&self.forward(tokens, 0)?)?;
        let prefill_seconds = began.elapsed().as_secs_f64();
        let began = Instant::now();
        for step in 0..decode {
            next = likeliest(&self.forward(&[next], tokens.len() + step)?)?;
        }
        let decode_seconds = began.elapsed().as_secs_f64();
        Ok(json!({ "prefill_seconds": prefill_seconds, "decode_seconds": decode_seconds }))
    }

    fn forward(&mut self, tokens: &[u32], position: usize) -> Result<Tensor> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        Ok(match &mut self.0 {
            Weights::Llama(model) => model.forward(&input, position)?,
            Weights::Qwen2(model) => model.forward(&input, position)?,
        })
    }
}

fn likeliest(logits: &Tensor) -> Result<u32> {
    Ok(logits
        .i(0)?
        .argmax(candle_core::D::Minus1)?
        .to_dtype(DType::U32)?
        .to_scalar()?)
}
