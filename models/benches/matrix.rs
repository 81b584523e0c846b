//! How fast packed matrices are multiplied: a chunk of tokens, against the processor's arithmetic, and a single token,
//! against the memory's bandwidth.
//!
//! `cargo bench -p lectern-models --bench matrix`; `RAYON_NUM_THREADS` sets the threads, an argument such as `avx2` a
//! single level. Shapes and formats are those of the Q4_K_M files of Qwen2.5 0.5B and 1.5B. What was expected and what
//! came out stands in `engine/benches/NOTES.md`.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
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
    let wanted = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    println!("{} threads", rayon::current_num_threads());
    for (name, dtype, rows, columns) in MATRICES {
        let weights = Tensor::randn(0f32, 1.0, (rows, columns), &Device::Cpu).unwrap();
        let weights = QTensor::quantize(&weights, dtype).unwrap();
        let pack = || PackedMatrix::pack(dtype, &weights.data().unwrap(), rows, columns);
        let first = pack().unwrap().unwrap();
        let copies = MEMORY.div_ceil(first.bytes());
        let mut matrices = vec![first];
        matrices.resize_with(copies, || pack().unwrap().unwrap());
        for kernels in Kernels::available() {
            if wanted
                .as_deref()
                .is_some_and(|wanted| wanted != kernels.name)
            {
                continue;
            }
            let chunk = seconds(kernels, &matrices[..1], 256);
            let token = seconds(kernels, &matrices, 1);
            println!(
                "{name} {dtype:?} {rows} x {columns} {:8}: {:6.1} GMAC/s of 256 tokens, {:5.2} GB/s of 1 token",
                kernels.name,
                (256 * rows * columns) as f64 / chunk / 1e9,
                (copies * matrices[0].bytes()) as f64 / token / 1e9,
            );
        }
    }
}

/// Shortest time that rounding activations and multiplying them with all matrices took.
fn seconds(kernels: &'static Kernels, matrices: &[PackedMatrix], tokens: usize) -> f64 {
    let columns = matrices[0].columns();
    let activations = Tensor::randn(0f32, 1.0, tokens * columns, &Device::Cpu).unwrap();
    let activations: Vec<f32> = activations.to_vec1().unwrap();
    let times = (0..7).map(|_| {
        let began = Instant::now();
        for matrix in matrices {
            let activations = Quantized::new(kernels, &activations, columns);
            black_box(multiply(&[matrix], &activations));
        }
        began.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}
