//! How long dense attention takes by itself, at the shapes of the models and a given depth: reading a chunk, and
//! decoding a token.
//!
//! `cargo bench -p lectern-engine --bench attention -- [DEPTH] [FORMAT]`; prints all layers' time for one pass, or with
//! `kernels` instead the time of each inner loop by itself (`kernels once` runs each once, under `valgrind
//! --tool=callgrind`). What was expected and what came out stands in `NOTES.md`
//! beside this file. Besides the time on the clock it prints the time the processor spent on this process (both
//! threads' added up), which says something on a busy machine too.
#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use lectern_engine::attention::kernels::{
    Kernels, KeyTurn, Running, SpreadValues, WholeKeys, length, twos,
};
use lectern_engine::attention::{CancelFlag, DenseAttention};
use lectern_engine::kv::format::{Grids, grid_bytes};
use lectern_engine::kv::{BlockFormat, CacheIdentity, Codes, KvCache, KvShape, OpenBlock};
use lectern_models::attention::{Attention, AttentionShape, Projected, Rotary, RotaryPairing};
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
    let noise = |heads: usize| -> Vec<f32> {
        let numbers = Tensor::randn(0f32, 1.0, tokens * heads * shape.head_dim, &Device::Cpu);
        numbers.unwrap().to_vec1().unwrap()
    };
    let projected = Projected {
        tokens,
        queries: noise(shape.query_heads),
        keys: noise(shape.kv_heads),
        values: noise(shape.kv_heads),
    };
    let mut attended = Vec::new();
    let (began, processor) = (Instant::now(), processor_time());
    for layer in 0..shape.layers {
        attention.attend(layer, &projected, &mut attended).unwrap();
    }
    [began.elapsed(), processor_time() - processor]
}

/// 512 tokens that nobody read.
fn noise_blocks(shape: &AttentionShape) -> Vec<OpenBlock> {
    let mut block = OpenBlock::new(KvShape::from(shape));
    let row = shape.kv_heads * shape.head_dim;
    for layer in 0..shape.layers {
        for slot in 0..64 {
            let numbers: Vec<f32> = (0..2 * row)
                .map(|nth| ((slot * 2 * row + nth) * 7919 % 1009) as f32 / 504.5 - 1.0)
                .collect();
            block.put(layer, slot, &numbers[..row], &numbers[row..]);
        }
    }
    vec![block; 8]
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

/// Nanoseconds of the fastest of many runs; with the argument `once` of a single one, for who counts instructions.
fn nanoseconds(mut run: impl FnMut()) -> f64 {
    let once = std::env::args().any(|argument| argument == "once");
    let (rounds, runs) = if once { (1, 1) } else { (400, 8) };
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let began = Instant::now();
        for _ in 0..runs {
            run();
        }
        best = best.min(began.elapsed() / runs);
    }
    best.as_secs_f64() * 1e9
}

/// Each inner loop on one block of 64 keys of a head of 64 channels.
fn kernels() {
    const CHANNELS: usize = 64;
    let numbers = |count: usize| -> Vec<f32> {
        (0..count)
            .map(|nth| (nth * 7919 % 1009) as f32 / 504.5 - 1.0)
            .collect()
    };
    let table = numbers(CHANNELS / 2 * 64);
    let bias = numbers(CHANNELS);
    let turn = KeyTurn {
        pairing: RotaryPairing::Halves,
        bias: &bias,
        place_cos: &table,
        place_sin: &table,
    };
    let halves = vec![half::f16::ONE; CHANNELS * 64];
    let grids = [0, 60].repeat(4 * CHANNELS);
    let packed = vec![0x5a; CHANNELS * 64];
    let mut block = numbers(CHANNELS * 64);
    let codes = |bits: usize, count: usize| Codes {
        bits,
        grids: Grids::of(bits, &grids[..count * grid_bytes(bits)]),
        packed: &packed[..CHANNELS * 64 * bits / 8],
    };
    for kernels in Kernels::available() {
        println!("{}", kernels.level);
        let say = |what: &str, nanoseconds: f64| println!("  {what:40} {nanoseconds:8.0} ns");
        let source = block.clone();
        let time = nanoseconds(|| (kernels.widen)(&halves, &mut block));
        say("values of halves", time);
        let time = nanoseconds(|| (kernels.widen_transposed)(&halves, &mut block));
        say("keys of halves, transposed", time);
        let time = nanoseconds(|| (kernels.turn_keys)(&source, &turn, &mut block));
        say("bias and turn", time);
        for bits in [4, 8] {
            let keys = codes(bits, CHANNELS);
            let time = nanoseconds(|| (kernels.keys_of_codes)(&keys, &turn, &mut block));
            say(&format!("keys of {bits} bits, bias and turn"), time);
            let values = codes(bits, 2 * CHANNELS);
            let time = nanoseconds(|| (kernels.values_of_codes)(&values, CHANNELS, &mut block));
            say(&format!("values of {bits} bits"), time);
        }
        let keys = codes(4, CHANNELS);
        let mut whole_keys = WholeKeys::default();
        if let Some(whole) = &kernels.whole {
            let time = nanoseconds(|| (whole.keys)(&keys, &turn, &mut whole_keys));
            say("keys of 4 bits in whole numbers", time);
        }
        for rows in [7, 24] {
            let queries = numbers(rows * CHANNELS);
            let mut scores = numbers(rows * 64);
            let (cos, sin) = table[..CHANNELS].split_at(CHANNELS / 2);
            let time = nanoseconds(|| {
                (kernels.turn_back)(&queries, CHANNELS, cos, sin, &mut scores);
            });
            say(&format!("turn back {rows} rows"), time);
            let time = nanoseconds(|| {
                (kernels.multiply)(&queries, &source, &mut scores, CHANNELS, false);
            });
            say(&format!("scores of {rows} rows"), time);
            let Some(whole) = &kernels.whole else {
                continue;
            };
            let lengths: Vec<f32> = queries.chunks_exact(CHANNELS).map(length).collect();
            let mut rounded = vec![[0; 2]; rows * twos(CHANNELS)];
            let time = nanoseconds(|| {
                (whole.queries)(&queries, &lengths, cos, sin, &mut rounded);
            });
            say(&format!("turn back and round {rows} rows"), time);
            let time = nanoseconds(|| {
                (whole.scores)(&rounded, &lengths, &whole_keys, &mut scores);
            });
            say(&format!("scores of {rows} rows in whole numbers"), time);
        }
        let values = codes(4, 2 * CHANNELS);
        let mut spread = SpreadValues::default();
        let time = nanoseconds(|| (kernels.spread_values)(&values, CHANNELS, &mut spread));
        say("values of 4 bits, spread", time);
        for rows in [7, 24] {
            let weights = vec![0.5; rows * 64];
            let mut sums = numbers(rows * CHANNELS);
            let time = nanoseconds(|| (kernels.weigh_values)(&weights, &spread, &mut sums));
            say(&format!("spread values weighted by {rows} rows"), time);
            let mut scores = vec![[0.5; 64]; rows];
            let (mut largest, mut sums) = (vec![0.5; rows], vec![0.0; rows]);
            let time = nanoseconds(|| {
                scores.fill([-1.0; 64]);
                let running = Running {
                    largest: &mut largest,
                    sums: &mut sums,
                    keeps: &mut vec![1.0; rows],
                };
                (kernels.weigh_scores)(&mut scores, running);
            });
            say(&format!("softmax of {rows} rows"), time);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "kernels") {
        return kernels();
    }
    let depth = arguments
        .iter()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(4096);
    let format = arguments
        .iter()
        .find_map(|argument| BlockFormat::by_name(argument))
        .unwrap_or(BlockFormat::K4V4);
    println!(
        "kernels {}, {} threads, depth {depth}, format {}",
        Kernels::chosen().level,
        rayon::current_num_threads(),
        format.name()
    );
    for (name, shape) in [
        ("0.5B", shape(24, 14, 2, 64)),
        ("1.5B", shape(28, 12, 2, 128)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let identity = CacheIdentity {
            scope: 0,
            text: [0; 32],
            model: name.into(),
            prompt: 0,
            format: format.number(),
        };
        let cache = KvCache::open(folder.path(), &identity, &shape).unwrap();
        while cache.tokens() < depth {
            cache.append(&[0; 512], &noise_blocks(&shape)).unwrap();
        }
        let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
        let work = 4 * shape.layers * shape.query_heads * shape.head_dim;
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
                cache.bytes() as f64 / seconds / 1e9,
            );
        }
    }
}
