//! A model of 7B with weights of noise, for its speed and memory: nobody has to carry 4.7 GB to a machine to see them.
//!
//! In: any Qwen2.5 as GGUF, for its tokenizer. Out: a file with the sizes of Qwen2.5 7B and the formats that its Q4_K_M has
//! (Q6_K for half of the values and downward matrices, and the head). Noise has the size of trained weights, so that numbers
//! stay what a model's are; what it says means nothing, and is the same on GPU and processor all the same.

use anyhow::{Context, Result};
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use half::f16;
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

const LAYERS: usize = 28;
const WIDTH: usize = 3584;
const FEED_FORWARD: usize = 18_944;
const QUERY_HEADS: usize = 28;
const KV_HEADS: usize = 4;
const HEAD_DIM: usize = 128;

/// Writes the model to `to`, with the tokenizer of `like`.
pub fn write(like: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(like)?;
    let content = gguf_file::Content::read(&mut source)?;
    let vocabulary = content
        .metadata
        .get("tokenizer.ggml.tokens")
        .and_then(|tokens| tokens.to_vec().ok())
        .context("the model has no tokenizer")?
        .len();
    let sizes: [(&str, Value); 8] = [
        ("qwen2.block_count", Value::U32(LAYERS as u32)),
        ("qwen2.embedding_length", Value::U32(WIDTH as u32)),
        ("qwen2.feed_forward_length", Value::U32(FEED_FORWARD as u32)),
        ("qwen2.attention.head_count", Value::U32(QUERY_HEADS as u32)),
        ("qwen2.attention.head_count_kv", Value::U32(KV_HEADS as u32)),
        ("qwen2.rope.freq_base", Value::F32(1e6)),
        ("qwen2.context_length", Value::U32(32_768)),
        ("general.name", Value::String("Noise of 7B".to_owned())),
    ];
    let mut metadata: Vec<(&str, &Value)> = content
        .metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .filter(|(key, _)| sizes.iter().all(|(of, _)| of != key))
        .collect();
    metadata.extend(sizes.iter().map(|(key, value)| (*key, value)));

    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut tensors: Vec<(String, QTensor)> = Vec::new();
    let queries = QUERY_HEADS * HEAD_DIM;
    let keys = KV_HEADS * HEAD_DIM;
    let (small, large) = (GgmlDType::Q4K, GgmlDType::Q6K);
    let mut add = |name: String, tensor: Result<QTensor>| -> Result<()> {
        tensors.push((name, tensor?));
        Ok(())
    };
    add(
        "token_embd.weight".to_owned(),
        noise.matrix(vocabulary, WIDTH, small),
    )?;
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let fine = if layer % 2 == 0 { large } else { small };
        add(name("attn_norm.weight"), constant(WIDTH, 1.0))?;
        add(name("attn_q.weight"), noise.matrix(queries, WIDTH, small))?;
        add(name("attn_q.bias"), constant(queries, 0.0))?;
        add(name("attn_k.weight"), noise.matrix(keys, WIDTH, small))?;
        add(name("attn_k.bias"), constant(keys, 0.0))?;
        add(name("attn_v.weight"), noise.matrix(keys, WIDTH, fine))?;
        add(name("attn_v.bias"), constant(keys, 0.0))?;
        add(
            name("attn_output.weight"),
            noise.matrix(WIDTH, queries, small),
        )?;
        add(name("ffn_norm.weight"), constant(WIDTH, 1.0))?;
        add(
            name("ffn_gate.weight"),
            noise.matrix(FEED_FORWARD, WIDTH, small),
        )?;
        add(
            name("ffn_up.weight"),
            noise.matrix(FEED_FORWARD, WIDTH, small),
        )?;
        add(
            name("ffn_down.weight"),
            noise.matrix(WIDTH, FEED_FORWARD, fine),
        )?;
    }
    add("output_norm.weight".to_owned(), constant(WIDTH, 1.0))?;
    add(
        "output.weight".to_owned(),
        noise.matrix(vocabulary, WIDTH, large),
    )?;
    let tensors: Vec<(&str, &QTensor)> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut file = BufWriter::new(File::create(to)?);
    gguf_file::write(&mut file, &metadata, &tensors)?;
    file.flush()?;
    Ok(())
}

/// The same number everywhere.
fn constant(length: usize, number: f32) -> Result<QTensor> {
    let tensor = Tensor::full(number, length, &Device::Cpu)?;
    Ok(QTensor::quantize(&tensor, GgmlDType::F32)?)
}

/// Bits without a pattern (xorshift*, Vigna 2016).
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Codes of noise under scales that give weights of about `1 / sqrt(columns)`.
    fn matrix(&mut self, rows: usize, columns: usize, format: GgmlDType) -> Result<QTensor> {
        let mut bytes: Vec<u8> = (0..(rows * columns / 256 * format.type_size()).div_ceil(8))
            .flat_map(|_| self.bits().to_le_bytes())
            .collect();
        bytes.truncate(rows * columns / 256 * format.type_size());
        let size = (columns as f32).sqrt().recip();
        let half = |number: f32| f16::from_f32(number).to_le_bytes();
        for block in bytes.chunks_exact_mut(format.type_size()) {
            match format {
                // Step and least number, times scales of 6 bits; 7.5 is the mean code.
                GgmlDType::Q4K => {
                    block[..2].copy_from_slice(&half(size / 220.0));
                    block[2..4].copy_from_slice(&half(7.5 * size / 220.0));
                }
                // One step, at the end, times scales of 8 bits with a sign.
                _ => {
                    let at = block.len() - 2;
                    block[at..].copy_from_slice(&half(size / 1370.0));
                }
            }
        }
        let storage = QStorage::from_data(Cow::Owned(bytes), &Device::Cpu, format)?;
        Ok(QTensor::new(storage, (rows, columns))?)
    }
}
