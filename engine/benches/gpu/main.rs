//! A model on the GPU of this machine beside the same model on its processor: whether it says the same, and how fast it is.
//!
//! ```text
//! cargo bench -p lectern-engine --features cuda,lectern-cuda/device-code --bench gpu -- --model M.gguf --text BOOK.txt
//! ```
//!
//! Everything goes the way it goes in the product: `Model::forward`, `DenseAttention`, a cache on disk, `reading::read`; beyond
//! the model's window as within it, since here only time counts. With `--noise-7b` the model is one of 7B with weights of
//! noise, and the one that is named only lends its tokenizer.

mod noise_model;

use anyhow::{Context, Result, bail, ensure};
use lectern_engine::attention::{CancelFlag, DenseAttention, GpuRead, PagePolicy, SparseRead};
use lectern_engine::kv::{BlockFormat, CacheIdentity, KvCache};
use lectern_engine::reading::{Followers, GPU_CHUNK_TOKENS, ReadingInput, read};
use lectern_models::{Logits, Model, Token};
use std::path::PathBuf;
use std::time::Instant;
use tempfile::TempDir;

/// Tokens whose logits are compared, and tokens of a pass.
const COMPARED: usize = 256;
const PASS: usize = 64;

/// Tokens that are decoded for a time.
const DECODED: usize = 48;

fn main() -> Result<()> {
    // What lies where, and whatever is left to the processor.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let (mut model, mut text, mut depths) = (None, None, vec![4_096, 16_384]);
    let mut is_noise = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--model" => model = arguments.next().map(PathBuf::from),
            "--text" => text = arguments.next().map(PathBuf::from),
            "--depths" => {
                let list = arguments.next().context("--depths takes numbers")?;
                depths = list
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<_, _>>()
                    .context("--depths takes numbers")?;
            }
            "--noise-7b" => is_noise = true,
            "--bench" => {} // cargo adds it
            other => bail!("unknown argument {other:?}"),
        }
    }
    let mut path = model.context("--model is needed")?;
    let text = std::fs::read_to_string(text.context("--text is needed")?)?;
    println!("{}", lectern_cuda::probe(0)?);
    let folder = tempfile::tempdir()?;
    if is_noise {
        let noise = folder.path().join("noise-7b.gguf");
        noise_model::write(&path, &noise)?;
        path = noise;
    }

    let began = Instant::now();
    let on_gpu = lectern_engine::model::load(&path)?;
    println!(
        "loaded to the GPU in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    ensure!(!on_gpu.is_on_cpu(), "the model did not go to the GPU");
    let ids = on_gpu.tokenizer().encode(&text)?;
    ensure!(ids.len() > COMPARED, "the text is too short");

    let on_cpu = Model::load(&path)?;
    let began = Instant::now();
    let expected = logits(&on_cpu, &ids[..COMPARED], PASS, false)?;
    println!(
        "processor: {COMPARED} tokens in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    drop(on_cpu);
    for (what, pass) in [("many tokens a pass", PASS), ("one token a pass", 1)] {
        let began = Instant::now();
        let found = logits(&on_gpu, &ids[..COMPARED], pass, true)?;
        ensure!(!on_gpu.is_on_cpu(), "the GPU gave up");
        let seen = compare(&expected, &found, &ids);
        println!(
            "GPU, {what}: same top token at {} of {COMPARED} positions, root mean square difference {:.4}, greatest {:.3}, \
             perplexity {:.4} (processor {:.4}), {:.2} s",
            seen.same_top,
            seen.root_mean_square,
            seen.greatest,
            seen.perplexity.1,
            seen.perplexity.0,
            began.elapsed().as_secs_f64()
        );
    }

    let facts = Model::facts(&path)?;
    let weights = facts.layer_bytes.iter().sum::<usize>() + facts.head_bytes;
    println!("\nlimits: {}", lectern_cuda::Device::shared(0)?.limits()?);
    println!(
        "\n| depth | read, tokens/s | 512 more | decode | weights and cache a token, MB | GB/s | of memory | decode, pages chosen | \
         question of 60, first token, ms | GPU memory, MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for depth in std::iter::once(0).chain(depths) {
        speed(&on_gpu, weights, &ids, depth)?;
    }
    Ok(())
}

struct Cache {
    cache: KvCache,
    _folder: TempDir,
}

fn cache(model: &Model) -> Result<Cache> {
    let folder = tempfile::tempdir()?;
    let identity = CacheIdentity {
        text: [0; 32],
        model: model.fingerprint().to_owned(),
        prompt: 0,
        format: BlockFormat::K4V4.number(),
        scope: 0,
    };
    Ok(Cache {
        cache: KvCache::open(folder.path(), &identity, model.shape())?,
        _folder: folder,
    })
}

/// Attention over a cache, with `chosen` tokens looked at if any are.
fn attention(
    model: &Model,
    cache: &KvCache,
    on_gpu: bool,
    chosen: Option<usize>,
) -> Result<DenseAttention> {
    let mut attention = DenseAttention::over(cache, model.shape(), CancelFlag::new())?;
    attention.look_at(chosen.map(|budget| SparseRead::new(PagePolicy::Keys, budget)));
    if on_gpu {
        attention.use_gpu_if_sound(&GpuRead {
            spread: lectern_engine::model::spread_of(model),
            format: cache.format(),
            cached_tokens: cache.tokens(),
            window_tokens: 1024,
            pass_tokens: 512,
        });
        ensure!(attention.is_on_gpu(), "attention did not go to the GPU");
    }
    Ok(attention)
}

/// Of every position.
fn logits(model: &Model, ids: &[u32], pass: usize, on_gpu: bool) -> Result<Vec<Vec<f32>>> {
    let cache = cache(model)?;
    let mut attention = attention(model, &cache.cache, on_gpu, None)?;
    let mut all = Vec::new();
    for chunk in ids.chunks(pass) {
        let logits = model.forward(chunk, &mut attention, Logits::All)?;
        all.extend(logits.context("logits were asked for")?.to_vec2::<f32>()?);
    }
    Ok(all)
}

struct Seen {
    same_top: usize,
    root_mean_square: f64,
    greatest: f32,
    /// Expected and found.
    perplexity: (f64, f64),
}

fn compare(expected: &[Vec<f32>], found: &[Vec<f32>], ids: &[u32]) -> Seen {
    let mut seen = Seen {
        same_top: 0,
        root_mean_square: 0.0,
        greatest: 0.0,
        perplexity: (0.0, 0.0),
    };
    let top = |logits: &[f32]| {
        let all = logits.iter().enumerate();
        all.max_by(|a, b| a.1.total_cmp(b.1))
            .map(|(token, _)| token)
    };
    let surprise = |logits: &[f32], next: u32| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|l| f64::from(l - largest).exp()).sum();
        sum.ln() - f64::from(logits[next as usize] - largest)
    };
    for (expected, found) in expected.iter().zip(found) {
        seen.same_top += usize::from(top(expected) == top(found));
        for (expected, found) in expected.iter().zip(found) {
            let difference = (expected - found).abs();
            seen.greatest = seen.greatest.max(difference);
            seen.root_mean_square += f64::from(difference).powi(2);
        }
    }
    let numbers = expected.len() * expected.first().map_or(1, Vec::len);
    seen.root_mean_square = (seen.root_mean_square / numbers as f64).sqrt();
    let predicted = expected.iter().zip(found).zip(&ids[1..]);
    for ((expected, found), next) in predicted {
        seen.perplexity.0 += surprise(expected, *next);
        seen.perplexity.1 += surprise(found, *next);
    }
    let predictions = expected.len().min(ids.len() - 1) as f64;
    seen.perplexity = (
        (seen.perplexity.0 / predictions).exp(),
        (seen.perplexity.1 / predictions).exp(),
    );
    seen
}

fn speed(model: &Model, weights: usize, ids: &[u32], depth: usize) -> Result<()> {
    let cache = cache(model)?;
    let text = || ids.iter().copied().cycle();
    let mut read_speed = String::from("");
    if depth > 0 {
        let began = Instant::now();
        match depth <= model.context_length() {
            true => read_within(model, text().take(depth), &cache.cache)?,
            false => read_beyond(model, text().take(depth), depth, &cache.cache)?,
        }
        read_speed = format!("{:.0}", depth as f64 / began.elapsed().as_secs_f64());
    }
    let more: Vec<u32> = text().skip(depth).take(512).collect();
    let mut attention_here = attention(model, &cache.cache, true, None)?;
    let began = Instant::now();
    model.forward(&more, &mut attention_here, Logits::Last)?;
    let prefill = 512.0 / began.elapsed().as_secs_f64();
    let held = lectern_cuda::Device::shared(0)?.memory()?;
    let held = (held.total - held.free) >> 20;
    drop(attention_here);
    let decode = |chosen: Option<usize>| -> Result<f64> {
        let mut attention = attention(model, &cache.cache, true, chosen)?;
        model.forward(&more[..1], &mut attention, Logits::Last)?;
        let began = Instant::now();
        for id in &more[1..=DECODED] {
            model.forward(&[*id], &mut attention, Logits::Last)?;
        }
        ensure!(attention.is_on_gpu(), "attention left the GPU");
        Ok(DECODED as f64 / began.elapsed().as_secs_f64())
    };
    let dense = decode(None)?;
    let chosen = match depth {
        8_192.. => format!("{:.0}", decode(Some(2_048))?),
        _ => String::new(),
    };
    // A token reads each weight and each page once.
    let moved = weights as f64 + cache.cache.bytes() as f64;
    let limits = lectern_cuda::Device::shared(0)?.limits()?;
    let began = Instant::now();
    let mut asked = attention(model, &cache.cache, true, None)?;
    model.forward(&more[..60], &mut asked, Logits::Last)?;
    let first = began.elapsed().as_secs_f64() * 1e3;
    println!(
        "| {depth} | {read_speed} | {prefill:.0} | {dense:.0} | {:.0} | {:.0} | {} | {chosen} | {first:.0} | {held} |",
        moved / 1e6,
        moved * dense / 1e9,
        limits.of_memory(moved * dense),
    );
    Ok(())
}

/// As the product reads.
fn read_within(model: &Model, ids: impl Iterator<Item = u32>, cache: &KvCache) -> Result<()> {
    let input = ReadingInput {
        segments: None,
        prefix: Vec::new(),
        tokens: ids
            .enumerate()
            .map(|(place, id)| Token {
                id,
                start: place as u32,
            })
            .collect(),
        identity: CacheIdentity {
            text: [0; 32],
            model: model.fingerprint().to_owned(),
            prompt: 0,
            format: BlockFormat::K4V4.number(),
            scope: 0,
        },
    };
    read(model, &input, cache, Followers::none(&CancelFlag::new()))?;
    Ok(())
}

/// The same chunks, which the product would not read at these positions.
fn read_beyond(
    model: &Model,
    ids: impl Iterator<Item = u32>,
    tokens: usize,
    cache: &KvCache,
) -> Result<()> {
    let mut attention = DenseAttention::over(cache, model.shape(), CancelFlag::new())?;
    attention.use_gpu_if_sound(&GpuRead {
        spread: lectern_engine::model::spread_of(model),
        format: cache.format(),
        cached_tokens: tokens,
        window_tokens: GPU_CHUNK_TOKENS,
        pass_tokens: GPU_CHUNK_TOKENS,
    });
    let ids: Vec<u32> = ids.collect();
    for chunk in ids.chunks(GPU_CHUNK_TOKENS) {
        model.forward(chunk, &mut attention, Logits::None)?;
        attention.seal(cache, chunk)?;
    }
    ensure!(attention.is_on_gpu(), "attention left the GPU");
    Ok(())
}
