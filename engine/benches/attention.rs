//! How long dense attention takes by itself, at the shapes of the models and a given depth: reading a chunk, and
//! decoding a token.
//!
//! `cargo bench -p lectern-engine --bench attention -- [DEPTH]`; prints all layers' time for one pass. What was
//! expected and what came out stands in `NOTES.md` beside this file. Besides the time on the clock it prints the time
//! the processor spent on this process (both threads' added up), which says something on a busy machine too.
#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use lectern_engine::attention::{CancelFlag, DenseAttention, kernels::Kernels};
use lectern_engine::kv::{CacheIdentity, FORMAT_F16, KvCache};
use lectern_models::attention::{Attention, AttentionShape, Rotary, RotaryPairing};
use std::time::{Duration, Instant};

fn shape(layers: usize, query_heads: usize, kv_heads: usize, head_dim: usize) -> AttentionShape {
    AttentionShape {
        layers,
        query_heads,
        kv_heads,
        head_dim,
        softmax_scale: (head_dim as f32).sqrt().recip(),
        rotary: Rotary {
            pairing: RotaryPairing::Halves,
            inverse_frequencies: (0..head_dim / 2)
                .map(|pair| 1e6f32.powf(-2.0 * pair as f32 / head_dim as f32))
                .collect(),
        },
        key_bias: vec![Some(vec![0.5; kv_heads * head_dim]); layers],
    }
}

fn pass(shape: &AttentionShape, attention: &mut DenseAttention, tokens: usize) -> [Duration; 2] {
    let noise = |heads: usize| {
        Tensor::randn(0f32, 1.0, (tokens, heads, shape.head_dim), &Device::Cpu).unwrap()
    };
    let (queries, keys, values) = (
        noise(shape.query_heads),
        noise(shape.kv_heads),
        noise(shape.kv_heads),
    );
    let (began, processor) = (Instant::now(), processor_time());
    for layer in 0..shape.layers {
        attention.attend(layer, &queries, &keys, &values).unwrap();
    }
    [began.elapsed(), processor_time() - processor]
}

/// Time the processor has spent on this process.
fn processor_time() -> Duration {
    // SAFETY: all zeros is a valid `rusage`, and `getrusage` only writes to it.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn main() {
    let depth = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(4096);
    println!(
        "kernels {}, {} threads, depth {depth}",
        Kernels::chosen().name,
        rayon::current_num_threads()
    );
    for (name, shape) in [
        ("0.5B", shape(24, 14, 2, 64)),
        ("1.5B", shape(28, 12, 2, 128)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let identity = CacheIdentity {
            text: [0; 32],
            model: name.into(),
            prompt: 0,
            format: FORMAT_F16,
        };
        let cache = KvCache::open(folder.path(), &identity, &shape).unwrap();
        let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
        while attention.tokens() < depth {
            pass(&shape, &mut attention, 512);
            attention.seal(&cache, &[0; 512]).unwrap();
        }
        let work = 4 * shape.layers * shape.query_heads * shape.head_dim;
        let cached = 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim;
        for tokens in [256, 32, 1] {
            let mut best = [Duration::MAX; 2];
            for _ in 0..5 {
                let took = pass(&shape, &mut attention, tokens);
                attention.reset();
                best = [best[0].min(took[0]), best[1].min(took[1])];
            }
            let [seconds, processor] = best.map(|best| best.as_secs_f64());
            println!(
                "{name} {tokens:4} tokens: {:8.2} ms, {:8.2} ms of processor, {:7.1} tokens/s, {:6.1} GFLOP/s, {:5.2} GB/s of cache",
                seconds * 1e3,
                processor * 1e3,
                tokens as f64 / seconds,
                (work * tokens * (depth + tokens / 2)) as f64 / seconds / 1e9,
                (cached * depth) as f64 / seconds / 1e9,
            );
        }
    }
}
