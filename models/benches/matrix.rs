//! How fast packed matrices are multiplied: a chunk of tokens, against the processor's arithmetic, and a single token,
//! against the memory's bandwidth.
//!
//! `cargo bench -p lectern-models --bench matrix`; `RAYON_NUM_THREADS` sets the threads, an argument such as `avx2` a
//! single level, `once` a single small product of each, for counting instructions under `valgrind --tool=callgrind`.
//! Shapes and formats are those of the Q4_K_M files of Qwen2.5 0.5B and 1.5B. What was expected and what
//! came out stands in `engine/benches/NOTES.md`.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use lectern_models::Level;
use lectern_models::packed::{Kernels, PackedMatrix, Quantized, multiply};

/// Name, format, rows, columns.
const MATRICES: [(&str, GgmlDType, usize, usize); 6] = [
    ("0.5B gate", GgmlDType::Q5_0, 4864, 896),
    ("0.5B down", GgmlDType::Q6K, 896, 4864),
    ("0.5B head", GgmlDType::Q8_0, 151_936 / 8, 896),
    ("1.5B gate", GgmlDType::Q4K, 8960, 1536),
    ("1.5B down", GgmlDType::Q6K, 1536, 8960),
    ("135M gate", GgmlDType::Q4_1, 1536, 576),
];

/// More than any cache holds, so that weights come from memory.
const MEMORY: usize = 192 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let once = arguments.iter().any(|argument| argument == "once");
    let wanted = arguments
        .into_iter()
        .find(|argument| !argument.starts_with('-') && argument != "once");
    println!("{} threads", rayon::current_num_threads());
    for (name, dtype, mut rows, mut columns) in MATRICES {
        if once {
            (rows, columns) = (16, 2048);
        }
        let weights = Tensor::randn(0f32, 1.0, (rows, columns), &Device::Cpu).unwrap();
        let weights = QTensor::quantize(&weights, dtype).unwrap();
        let pack = || PackedMatrix::pack(dtype, &weights.data().unwrap(), rows, columns);
        let first = pack().unwrap().unwrap();
        let copies = if once {
            1
        } else {
            MEMORY.div_ceil(first.bytes())
        };
        let mut matrices = vec![first];
        matrices.resize_with(copies, || pack().unwrap().unwrap());
        for kernels in Kernels::available() {
            if wanted
                .as_deref()
                .is_some_and(|wanted| wanted != kernels.level.name())
            {
                continue;
            }
            let many = if once { 8 } else { 256 };
            let runs = match kernels.level {
                _ if once => 1,
                Level::Portable => 2,
                _ => 7,
            };
            let [chunk, chunk_processor] = seconds(kernels, &matrices[..1], many, runs);
            let [token, token_processor] = seconds(kernels, &matrices, 1, runs);
            let work = (many * rows * columns) as f64 / 1e9;
            let bytes = (copies * matrices[0].bytes()) as f64 / 1e9;
            println!(
                "{name} {dtype:?} {rows} x {columns} {:8}: {many} tokens {:6.1} GMAC/s ({:6.1} of processor), 1 token {:5.2} GB/s ({:5.2} of processor)",
                kernels.level.name(),
                work / chunk,
                work / chunk_processor,
                bytes / token,
                bytes / token_processor,
            );
        }
    }
}

/// Shortest time that rounding activations and multiplying them with all matrices took: on the clock, and of the
/// processor for all threads together, which says something on a busy machine too.
fn seconds(
    kernels: &'static Kernels,
    matrices: &[PackedMatrix],
    tokens: usize,
    runs: usize,
) -> [f64; 2] {
    let columns = matrices[0].columns();
    let activations = Tensor::randn(0f32, 1.0, tokens * columns, &Device::Cpu).unwrap();
    let activations: Vec<f32> = activations.to_vec1().unwrap();
    let mut product = Vec::new();
    let mut best = [f64::INFINITY; 2];
    for _ in 0..runs {
        let (began, processor) = (Instant::now(), processor_seconds());
        for matrix in matrices {
            let mut activations = Quantized::new(kernels, &activations, columns);
            multiply(&[matrix], &mut activations, &mut [&mut product]);
            black_box(&product);
        }
        best[0] = best[0].min(began.elapsed().as_secs_f64());
        best[1] = best[1].min(processor_seconds() - processor);
    }
    best
}

/// What this process's threads have spent on the processor, by Linux's account of them; 0 elsewhere.
fn processor_seconds() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return 0.0;
    };
    let spent = threads.flatten().filter_map(|thread| {
        let account = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        account.split(' ').next()?.parse::<u64>().ok()
    });
    spent.sum::<u64>() as f64 / 1e9
}
