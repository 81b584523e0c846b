//! Logits against candle-transformers' own models, which share nothing with ours but the block formats.
//!
//! Three questions. Is the forward pass right? On the models written as F32, where nothing rounds but sums, the top token
//! must be the same at every position: on whole models over a real text, where logits are 1e-4 apart at most at 512
//! positions, and on models cut to a few layers over random tokens. And do quantized weights give the same? There both sides round activations to 8 bits before every product, and not
//! alike: ours with one scale for 32 activations, candle's with one for 32 or, for the K formats, for 256. The layers
//! carry the difference on, so two tokens that are nearly tied may change places. What is seen is printed and bounded;
//! at 512 positions SmolLM2 has 489 top tokens the same and logits 0.21 apart (root mean square), Qwen2.5 0.5B 493 and
//! 0.07. And who is right where they differ? Both are compared with candle's model over the same weights written out
//! as F32, where no activation is rounded.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod reference;

use std::path::Path;

use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2};
use lectern_models::{Logits, Model};
use reference::{PlainAttention, QWEN_1_5B, QWEN_HALF_B, SMOLLM2, model_path, slow_tests};
use tempfile::NamedTempFile;

enum Theirs {
    Llama(quantized_llama::ModelWeights),
    Qwen2(quantized_qwen2::ModelWeights),
}

impl Theirs {
    fn load(path: &Path) -> Self {
        let mut reader = std::fs::File::open(path).unwrap();
        let content = Content::read(&mut reader).unwrap();
        let cpu = &Device::Cpu;
        if content.metadata.contains_key("qwen2.block_count") {
            let model = quantized_qwen2::ModelWeights::from_gguf(content, &mut reader, cpu);
            Self::Qwen2(model.unwrap())
        } else {
            let model = quantized_llama::ModelWeights::from_gguf(content, &mut reader, cpu);
            Self::Llama(model.unwrap())
        }
    }

    /// Logits after one more token.
    fn next(&mut self, token: u32, position: usize) -> Vec<f32> {
        let token = Tensor::new(&[[token]], &Device::Cpu).unwrap();
        let logits = match self {
            Self::Llama(model) => model.forward(&token, position),
            Self::Qwen2(model) => model.forward(&token, position),
        };
        logits.unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }
}

/// Prose, code and four scripts.
fn text() -> String {
    let fixtures: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("fixtures/token_ids.json")).unwrap();
    let texts = fixtures.iter().filter_map(|entry| entry["text"].as_str());
    texts
        .filter(|text| text.len() > 350)
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn top(logits: &[f32]) -> usize {
    let all = logits.iter().enumerate();
    all.max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
}

/// What is seen at some positions.
#[derive(Debug)]
struct Seen {
    same_top: usize,
    greatest: f32,
    root_mean_square: f64,
    /// Where the top tokens differ, and by how much theirs prefers its own to ours.
    disagreements: Vec<(usize, f32)>,
}

fn compare(path: &Path, tokens: &[u32]) -> Seen {
    let ours = Model::load(path).unwrap();
    let logits = ours
        .forward(tokens, &mut PlainAttention::of(&ours), Logits::All)
        .unwrap()
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    let mut reference = Theirs::load(path);
    let mut seen = Seen {
        same_top: 0,
        greatest: 0.0,
        root_mean_square: 0.0,
        disagreements: Vec::new(),
    };
    let mut squares = 0.0;
    for (position, (&token, ours)) in tokens.iter().zip(&logits).enumerate() {
        let theirs = reference.next(token, position);
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let difference = (ours - theirs).abs();
            seen.greatest = seen.greatest.max(difference);
            squares += f64::from(difference).powi(2);
        }
        if top(ours) == top(&theirs) {
            seen.same_top += 1;
        } else {
            let margin = theirs[top(&theirs)] - theirs[top(ours)];
            seen.disagreements.push((position, margin));
        }
    }
    seen.root_mean_square = (squares / (tokens.len() * ours.vocabulary_size()) as f64).sqrt();
    seen
}

/// A model in F32: its first layers and the first rows of its vocabulary, or as much as there is.
fn in_f32(file: &str, layers: usize, vocabulary: usize) -> NamedTempFile {
    let mut reader = std::fs::File::open(model_path(file)).unwrap();
    let content = Content::read(&mut reader).unwrap();
    let dropped = |name: &str| {
        let layer = name
            .strip_prefix("blk.")
            .and_then(|rest| rest.split('.').next());
        layer.is_some_and(|layer| layer.parse::<usize>().unwrap() >= layers)
    };
    let mut tensors = Vec::new();
    for name in content.tensor_infos.keys().filter(|name| !dropped(name)) {
        let tensor = content.tensor(&mut reader, name, &Device::Cpu).unwrap();
        let mut tensor = tensor.dequantize(&Device::Cpu).unwrap();
        if ["token_embd.weight", "output.weight"].contains(&name.as_str()) {
            tensor = tensor
                .narrow(0, 0, vocabulary.min(tensor.dim(0).unwrap()))
                .unwrap()
                .force_contiguous()
                .unwrap();
        }
        tensors.push((name, QTensor::quantize(&tensor, GgmlDType::F32).unwrap()));
    }
    let has = |value: &Value| value.to_u32().unwrap();
    let kept = content
        .metadata
        .iter()
        .find(|(key, _)| key.ends_with(".block_count"));
    let layers = Value::U32(has(kept.unwrap().1).min(layers as u32));
    let metadata: Vec<(&str, &Value)> = content
        .metadata
        .iter()
        .map(|(key, value)| {
            let value = if key.ends_with(".block_count") {
                &layers
            } else {
                value
            };
            (key.as_str(), value)
        })
        .collect();
    let tensors: Vec<(&str, &QTensor)> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut out = NamedTempFile::new().unwrap();
    gguf_file::write(&mut out, &metadata, &tensors).unwrap();
    out
}

#[test]
fn in_f32_the_forward_passes_are_candle_transformers() {
    for (file, layers) in [(SMOLLM2, 8), (QWEN_HALF_B, 4)] {
        let vocabulary = 8192;
        let cut = in_f32(file, layers, vocabulary);
        // Any ids will do; these repeat, so that attention has something to find.
        let tokens: Vec<u32> = (0..512u32)
            .map(|i| (i % 200 * 7919 + i / 200) % 8192)
            .collect();
        let seen = compare(cut.path(), &tokens);
        eprintln!("{file}, {layers} layers in F32, 512 positions: {seen:?}");
        assert_eq!(seen.same_top, 512, "{file}: {seen:?}");
        assert!(seen.greatest < 1e-2, "{file}: {seen:?}");
    }
}

/// All layers, the whole vocabulary, a real text: what is left are sums in another order.
#[test]
fn whole_models_in_f32_have_the_top_tokens_of_candle_transformers() {
    for file in [SMOLLM2, QWEN_HALF_B] {
        if file == QWEN_HALF_B && !slow_tests() {
            eprintln!("not {file}, which takes 2 GB of disk; LECTERN_SLOW_TESTS=1 runs that");
            continue;
        }
        let tokens = Model::load(&model_path(file))
            .unwrap()
            .tokenizer()
            .encode(&text())
            .unwrap();
        let whole = in_f32(file, 1000, usize::MAX);
        let seen = compare(whole.path(), &tokens[..512]);
        eprintln!("{file}, whole in F32, 512 positions: {seen:?}");
        assert_eq!(seen.same_top, 512, "{file}: {seen:?}");
        assert!(seen.greatest < 1e-3, "{file}: {seen:?}");
    }
}

/// Compares whole models as they are.
fn compare_quantized(file: &str, positions: usize) {
    let path = model_path(file);
    let tokens = Model::load(&path)
        .unwrap()
        .tokenizer()
        .encode(&text())
        .unwrap();
    let seen = compare(&path, &tokens[..positions]);
    eprintln!("{file}, {positions} positions: {seen:?}");
    assert!(seen.root_mean_square < 0.4, "{seen:?}");
    assert!(seen.disagreements.len() * 8 <= positions, "{seen:?}");
    // The first token, which sees nothing but itself, has the largest activations; candle rounds 256 of them together
    // and is 1.9 from F32 there with the 1.5B model, where ours is 0.3 from it. The next test is the judge of that.
    let seeing = seen.disagreements.into_iter().filter(|seen| seen.0 > 0);
    for (position, margin) in seeing {
        assert!(margin < 0.8, "position {position}: no tie, {margin}");
    }
}

#[test]
fn quantized_models_agree_with_candle_transformers() {
    let positions = if slow_tests() { 512 } else { 64 };
    compare_quantized(SMOLLM2, positions);
    compare_quantized(QWEN_HALF_B, positions);
    if slow_tests() {
        compare_quantized(QWEN_1_5B, positions);
    } else {
        eprintln!("not the whole of it, which takes minutes; LECTERN_SLOW_TESTS=1 runs that");
    }
}

/// Root mean square of the difference between logits, row by row.
fn apart(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> Vec<f64> {
    let row = |(ours, theirs): (&Vec<f32>, &Vec<f32>)| {
        let squares = ours.iter().zip(theirs);
        let squares = squares.map(|(ours, theirs)| f64::from(ours - theirs).powi(2));
        (squares.sum::<f64>() / ours.len() as f64).sqrt()
    };
    ours.iter().zip(theirs).map(row).collect()
}

/// How far ours and candle's are from the same weights in F32 with nothing rounded.
fn compare_with_f32(file: &str, positions: usize) {
    let path = model_path(file);
    let ours = Model::load(&path).unwrap();
    let tokens = ours.tokenizer().encode(&text()).unwrap();
    let tokens = &tokens[..positions];
    let logits = ours
        .forward(tokens, &mut PlainAttention::of(&ours), Logits::All)
        .unwrap()
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    drop(ours);
    let all = |path: &Path| -> Vec<Vec<f32>> {
        let mut theirs = Theirs::load(path);
        let tokens = tokens.iter().enumerate();
        tokens
            .map(|(position, token)| theirs.next(*token, position))
            .collect()
    };
    let theirs = all(&path);
    let exact = all(in_f32(file, usize::MAX, usize::MAX).path());
    let (ours_apart, theirs_apart) = (apart(&logits, &exact), apart(&theirs, &exact));
    let same = |rows: &[Vec<f32>]| {
        let rows = rows.iter().zip(&exact);
        rows.filter(|(row, exact)| top(row) == top(exact)).count()
    };
    let mean = |apart: &[f64]| apart.iter().sum::<f64>() / apart.len() as f64;
    let (ours_mean, theirs_mean) = (mean(&ours_apart), mean(&theirs_apart));
    eprintln!(
        "{file}, {positions} positions against F32: ours {ours_mean:.4} apart ({:.4} at the first), {} top tokens the same; \
         candle's {theirs_mean:.4} ({:.4}), {}",
        ours_apart[0],
        same(&logits),
        theirs_apart[0],
        same(&theirs),
    );
    assert!(
        ours_mean < theirs_mean * 1.25,
        "{ours_mean} where candle has {theirs_mean}"
    );
}

/// Mean distance of logits from F32, ours and candle's: SmolLM2 0.194 and 0.173, 0.5B 0.047 and 0.059, 1.5B 0.049 and
/// 0.128. Where both have one scale for 32 activations, as with SmolLM2's Q4_1, chance decides.
#[test]
fn we_are_no_further_from_f32_than_candle_is() {
    if !slow_tests() {
        eprintln!("skipped: it writes models out as F32, up to 6 GB; LECTERN_SLOW_TESTS=1 runs it");
        return;
    }
    compare_with_f32(SMOLLM2, 64);
    compare_with_f32(QWEN_HALF_B, 64);
    compare_with_f32(QWEN_1_5B, 64);
}
