//! A model of noise, small enough for the fake driver: sizes of no model, but of every kind of weights that one has.

pub mod desk;

use crate::noise::Noise;
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

pub const LAYERS: usize = 4;
const VOCABULARY: usize = 96;
/// Positions.
const CONTEXT: usize = 1024;
const WIDTH: usize = 128;
const FEED_FORWARD: usize = 160;
const QUERY_HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 64;

/// Writes a Qwen2 with biases to `to`, of matrices in three formats.
pub fn write(to: &Path) {
    let text = |text: &str| Value::String(text.to_owned());
    let texts = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
    // A vocabulary must have a merge.
    let names = ["a", "b", "ab"].map(str::to_owned);
    let others = (names.len()..VOCABULARY).map(|nth| format!("token{nth}"));
    let metadata: Vec<(&str, Value)> = vec![
        ("general.architecture", text("qwen2")),
        ("general.name", text("Noise")),
        ("qwen2.block_count", Value::U32(LAYERS as u32)),
        ("qwen2.embedding_length", Value::U32(WIDTH as u32)),
        ("qwen2.feed_forward_length", Value::U32(FEED_FORWARD as u32)),
        ("qwen2.attention.head_count", Value::U32(QUERY_HEADS as u32)),
        ("qwen2.attention.head_count_kv", Value::U32(KV_HEADS as u32)),
        ("qwen2.attention.key_length", Value::U32(HEAD_DIM as u32)),
        ("qwen2.attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
        ("qwen2.rope.freq_base", Value::F32(1e4)),
        ("qwen2.context_length", Value::U32(CONTEXT as u32)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("qwen2")),
        (
            "tokenizer.ggml.tokens",
            texts(names.into_iter().chain(others).collect()),
        ),
        ("tokenizer.ggml.merges", texts(vec!["a b".to_owned()])),
    ];
    let mut noise = Noise::new(7);
    let mut tensors: Vec<(String, QTensor)> = Vec::new();
    let mut add = |name: String, shape: &[usize], size: f32, least: f32, format: GgmlDType| {
        let mut numbers = noise.numbers(shape.iter().product(), size);
        numbers.iter_mut().for_each(|number| *number += least);
        let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
        tensors.push((name, QTensor::quantize(&tensor, format).unwrap()));
    };
    let (queries, keys) = (QUERY_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM);
    let of_columns = |columns: usize| 1.7 / (columns as f32).sqrt();
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let matrices = [
            ("attn_q.weight", queries, WIDTH, GgmlDType::Q4_0),
            ("attn_k.weight", keys, WIDTH, GgmlDType::Q4_0),
            ("attn_v.weight", keys, WIDTH, GgmlDType::Q5_0),
            ("attn_output.weight", WIDTH, queries, GgmlDType::Q4_0),
            ("ffn_gate.weight", FEED_FORWARD, WIDTH, GgmlDType::Q4_0),
            ("ffn_up.weight", FEED_FORWARD, WIDTH, GgmlDType::Q4_0),
            ("ffn_down.weight", WIDTH, FEED_FORWARD, GgmlDType::Q5_0),
        ];
        for (part, rows, columns, format) in matrices {
            add(
                name(part),
                &[rows, columns],
                of_columns(columns),
                0.0,
                format,
            );
        }
        for (part, length, size, least) in [
            ("attn_norm.weight", WIDTH, 0.2, 1.0),
            ("ffn_norm.weight", WIDTH, 0.2, 1.0),
            ("attn_q.bias", queries, 0.5, 0.0),
            // Of each layer another: those of a wrong layer are seen.
            ("attn_k.bias", keys, 3.0, 0.0),
            ("attn_v.bias", keys, 0.5, 0.0),
        ] {
            add(name(part), &[length], size, least, GgmlDType::F32);
        }
    }
    let table = [VOCABULARY, WIDTH];
    add(
        "token_embd.weight".into(),
        &table,
        1.0,
        0.0,
        GgmlDType::Q8_0,
    );
    add("output.weight".into(), &table, 0.3, 0.0, GgmlDType::Q8_0);
    add(
        "output_norm.weight".into(),
        &[WIDTH],
        0.2,
        1.0,
        GgmlDType::F32,
    );
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut file = BufWriter::new(File::create(to).unwrap());
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
    file.flush().unwrap();
}
