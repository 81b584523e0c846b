//! What the machine can do at most: the limits that measured speeds are held against.
//!
//! Bandwidth is a sum over a buffer far larger than any cache; f32 arithmetic is `gemm` on matrices that fit the
//! cache; int8 arithmetic is a loop of nothing but the machine's 8-bit dot-product instruction on registers. Each is
//! the best of several runs, because a limit is what was reached once. The int8 instruction is that of the kernels' level,
//! which `LECTERN_KERNELS` may have lowered; `gemm` uses what the processor has.

use anyhow::Result;
use lectern_models::Level;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Instant;

/// Bytes summed for the bandwidth; larger than the last-level cache of any desktop machine.
const BUFFER: usize = 512 << 20;

/// Runs of each measurement; the best counts.
const RUNS: usize = 5;

/// Bandwidth in bytes/s, `f32_macs` and `int8_macs` in multiply-accumulates/s, all threads together. `int8_macs` is
/// null where this program knows no instruction for it.
pub fn measure(threads: usize) -> Result<Value> {
    let int8 = int8_kernel();
    Ok(json!({
        "threads": threads,
        "bandwidth": bandwidth(threads),
        "f32_macs": f32_macs(),
        "int8_macs": int8.map(|(_, kernel)| int8_macs(threads, kernel)),
        "int8_instruction": int8.map(|(name, _)| name),
    }))
}

fn best(work: f64, mut run: impl FnMut()) -> f64 {
    (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            run();
            work / began.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max)
}

fn bandwidth(threads: usize) -> f64 {
    let buffer: Vec<u64> = (0..BUFFER as u64 / 8).collect();
    best(BUFFER as f64, || {
        let sum = buffer
            .par_chunks(buffer.len().div_ceil(threads))
            .map(|part| {
                // Eight sums, so that additions do not wait for each other.
                let mut sums = [0_u64; 8];
                for eight in part.chunks_exact(8) {
                    for (sum, value) in sums.iter_mut().zip(eight) {
                        *sum = sum.wrapping_add(*value);
                    }
                }
                sums.iter().fold(0, |all, sum| u64::wrapping_add(all, *sum))
            })
            .reduce(|| 0, u64::wrapping_add);
        black_box(sum);
    })
}

fn f32_macs() -> f64 {
    const SIDE: usize = 768;
    let left = candle_core::Tensor::ones(
        (SIDE, SIDE),
        candle_core::DType::F32,
        &candle_core::Device::Cpu,
    );
    let Ok(left) = left else { return 0.0 };
    best((SIDE * SIDE * SIDE) as f64, || {
        black_box(left.matmul(&left)).ok();
    })
}

/// Runs the given number of rounds and says how many multiply-accumulates that were.
type Int8Kernel = fn(rounds: u64) -> u64;

fn int8_macs(threads: usize, kernel: Int8Kernel) -> f64 {
    const ROUNDS: u64 = 20_000_000;
    let per_thread = kernel(1);
    best((per_thread * ROUNDS * threads as u64) as f64, || {
        (0..threads).into_par_iter().for_each(|_| {
            black_box(kernel(ROUNDS));
        });
    })
}

#[cfg(target_arch = "x86_64")]
fn int8_kernel() -> Option<(&'static str, Int8Kernel)> {
    if Level::chosen() == Level::Avx512 {
        // SAFETY: a level is chosen only where its features were detected; these two are among them.
        return Some(("avx512vnni", |rounds| unsafe { x86::avx512_vnni(rounds) }));
    }
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature that the kernel is compiled for was detected.
        return Some(("avx2", |rounds| unsafe { x86::avx2(rounds) }));
    }
    None
}

#[cfg(not(target_arch = "x86_64"))]
fn int8_kernel() -> Option<(&'static str, Int8Kernel)> {
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Accumulators in flight: more than latency times throughput of the instruction.
    const CHAINS: usize = 12;

    /// 64 multiply-accumulates an instruction.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub fn avx512_vnni(rounds: u64) -> u64 {
        let (left, right) = (
            _mm512_set1_epi8(black_box(3)),
            _mm512_set1_epi8(black_box(5)),
        );
        let mut sums = [_mm512_setzero_si512(); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, left, right);
            }
        }
        black_box(sums);
        rounds * CHAINS as u64 * 64
    }

    /// 32 multiply-accumulates in three instructions, as every AVX2 kernel for 8-bit weights does it.
    #[target_feature(enable = "avx2")]
    pub fn avx2(rounds: u64) -> u64 {
        let (left, right) = (
            _mm256_set1_epi8(black_box(3)),
            _mm256_set1_epi8(black_box(5)),
        );
        let ones = _mm256_set1_epi16(1);
        let mut sums = [_mm256_setzero_si256(); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                // `black_box` keeps the products from being hoisted out of the loop.
                let pairs = _mm256_maddubs_epi16(black_box(left), right);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        black_box(sums);
        rounds * CHAINS as u64 * 32
    }
}
