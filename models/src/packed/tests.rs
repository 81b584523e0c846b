//! Packed products against an f64 reference, every level against the portable one.
#![allow(clippy::unwrap_used)]

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::kernels::Kernels;
use super::{FileMatrix, PackedMatrix, Quantized, multiply};

const FORMATS: [GgmlDType; 8] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

/// Numbers in -1 to 1 that look like noise, the same every run (splitmix64).
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0)
            .collect()
    }
}

/// Blocks of a tensor and the weights that they stand for.
fn weights(
    dtype: GgmlDType,
    rows: usize,
    columns: usize,
    values: Vec<f32>,
) -> (PackedMatrix, Vec<f32>) {
    let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
    let tensor = QTensor::quantize(&tensor, dtype).unwrap();
    let exact = tensor.dequantize(&Device::Cpu).unwrap();
    let packed = PackedMatrix::pack(dtype, &tensor.data().unwrap(), rows, columns);
    let exact = exact.flatten_all().unwrap().to_vec1().unwrap();
    (packed.unwrap().unwrap(), exact)
}

/// Shapes: rows that leave a tile unfilled, columns in one chunk and in several.
fn shapes(dtype: GgmlDType) -> Vec<(usize, usize)> {
    match dtype.block_size() {
        32 => vec![(1, 32), (16, 96), (17, 576), (48, 896), (23, 1120)],
        _ => vec![(1, 256), (16, 512), (33, 768), (23, 1280)],
    }
}

fn product(kernels: &'static Kernels, matrix: &PackedMatrix, activations: &[f32]) -> Vec<f32> {
    let mut activations = Quantized::new(kernels, activations, matrix.columns);
    let mut product = Vec::new();
    multiply(&[matrix], &mut activations, &mut [&mut product]);
    product
}

/// In f64: the product with the true activations, and the most that rounding them and summing in F32 may change.
fn reference(exact: &[f32], activations: &[f32], columns: usize) -> Vec<(f64, f64)> {
    let mut expected = Vec::new();
    for activations in activations.chunks_exact(columns) {
        for weights in exact.chunks_exact(columns) {
            let (mut sum, mut rounding, mut magnitude) = (0.0, 0.0, 0.0);
            for (weights, values) in weights.chunks(32).zip(activations.chunks(32)) {
                let largest = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                // Half a step of a 127th each.
                let step = f64::from(largest) / 127.0 * 0.5 + 1e-36;
                for (&weight, &value) in weights.iter().zip(values) {
                    let (weight, value) = (f64::from(weight), f64::from(value));
                    sum += weight * value;
                    rounding += weight.abs() * step;
                    magnitude += weight.abs() * f64::from(largest);
                }
            }
            expected.push((sum, rounding * 1.001 + magnitude * 1e-5 + 1e-40));
        }
    }
    expected
}

fn check(matrix: &PackedMatrix, exact: &[f32], activations: &[f32], what: &str) {
    let expected = reference(exact, activations, matrix.columns);
    let mut portable: Option<Vec<f32>> = None;
    for kernels in Kernels::available() {
        let found = product(kernels, matrix, activations);
        assert_eq!(found.len(), expected.len());
        for (place, (found, (expected, bound))) in found.iter().zip(&expected).enumerate() {
            assert!(
                (f64::from(*found) - expected).abs() <= *bound,
                "{} {what} at {place}: {found}, {expected} +- {bound}",
                kernels.level
            );
        }
        let first = portable.get_or_insert_with(|| found.clone());
        assert!(*first == found, "{} {what}: other bits", kernels.level);
    }
}

#[test]
fn codes_and_grids_of_a_file_are_its_weights() {
    let mut noise = Noise(5);
    for dtype in FORMATS {
        for (rows, columns) in shapes(dtype) {
            let values =
                Tensor::from_vec(noise.numbers(rows * columns), (rows, columns), &Device::Cpu);
            let tensor = QTensor::quantize(&values.unwrap(), dtype).unwrap();
            let exact = tensor
                .dequantize(&Device::Cpu)
                .unwrap()
                .to_vec2::<f32>()
                .unwrap();
            let bytes = tensor.data().unwrap();
            let matrix = FileMatrix::of(dtype, &bytes, rows, columns).unwrap();
            assert_eq!(matrix.first_rows(1).rows(), 1);
            for (row, exact) in exact.iter().enumerate() {
                for (group, exact) in exact.chunks_exact(32).enumerate() {
                    let grid = matrix.grid(row, group);
                    for (column, (code, exact)) in
                        matrix.codes(row, group).iter().zip(exact).enumerate()
                    {
                        let weight = grid.weight(*code, column);
                        // The reference rounds to F32 once or twice on the way.
                        assert!(
                            (weight - f64::from(*exact)).abs() <= 2e-7 * weight.abs() + 1e-9,
                            "{dtype:?}, row {row}, group {group}, column {column}: {weight}, {exact}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn products_are_those_of_the_weights_in_the_file() {
    let mut noise = Noise(1);
    for dtype in FORMATS {
        for (rows, columns) in shapes(dtype) {
            let (matrix, exact) = weights(dtype, rows, columns, noise.numbers(rows * columns));
            for tokens in [1, 2, 3, 4, 5, 6, 7, 8, 9, 21] {
                let activations = noise.numbers(tokens * columns);
                let what = format!("{dtype:?} {rows} x {columns}, {tokens} tokens");
                check(&matrix, &exact, &activations, &what);
            }
        }
    }
}

/// One-hot activations show every weight: nothing is lost by packing.
#[test]
fn packing_loses_nothing() {
    let mut noise = Noise(2);
    for dtype in FORMATS {
        let (rows, columns) = (19, 768);
        let (matrix, exact) = weights(dtype, rows, columns, noise.numbers(rows * columns));
        // 127 is a code, with the scale 1.
        let mut activations = vec![0.0; columns * columns];
        for column in 0..columns {
            activations[column * columns + column] = 127.0;
        }
        for kernels in Kernels::available() {
            let found = product(kernels, &matrix, &activations);
            for (column, found) in found.chunks_exact(rows).enumerate() {
                for (row, found) in found.iter().enumerate() {
                    let expected = exact[row * columns + column] * 127.0;
                    let error = (found - expected).abs();
                    // With minimums two terms of some size may nearly cancel.
                    assert!(
                        error <= 127.0 * 1e-6,
                        "{} {dtype:?} {row}, {column}: {found} for {expected}",
                        kernels.level
                    );
                }
            }
        }
    }
}

#[test]
fn extreme_numbers_are_multiplied_or_told() {
    let mut noise = Noise(3);
    for dtype in FORMATS {
        let (rows, columns) = (20, 512);
        // Every code at its most extreme, both ways.
        let extremes = (0..rows * columns).map(|i| if i % 3 == 0 { -1.0 } else { 1.0 });
        let (matrix, exact) = weights(dtype, rows, columns, extremes.collect());
        let signs = noise.numbers(3 * columns);
        for size in [0.0, 1e-44, 1e-38, 1e-30, 1.0, 1e30] {
            let activations: Vec<f32> = signs.iter().map(|x| x.signum() * size).collect();
            check(
                &matrix,
                &exact,
                &activations,
                &format!("{dtype:?} of {size}"),
            );
        }
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut activations = noise.numbers(3 * columns);
            activations[columns + 77] = wrong;
            let sound = product(Kernels::chosen(), &matrix, &activations[2 * columns..]);
            for kernels in Kernels::available() {
                let found = product(kernels, &matrix, &activations);
                let (first, rest) = found.split_at(rows);
                assert!(first.iter().all(|x| x.is_finite()), "{}", kernels.level);
                assert!(rest[..rows].iter().all(|x| x.is_nan()), "{}", kernels.level);
                assert_eq!(rest[rows..], sound, "{}", kernels.level);
            }
        }
    }
}

#[test]
fn infinite_and_wrong_scales_are_not_silent() {
    for dtype in FORMATS {
        for wrong in [0x7c00u16, 0x7e00] {
            let tensor = Tensor::ones((16, 256), candle_core::DType::F32, &Device::Cpu).unwrap();
            let tensor = QTensor::quantize(&tensor, dtype).unwrap();
            let mut bytes = tensor.data().unwrap().to_vec();
            let at = if dtype == GgmlDType::Q6K { 208 } else { 0 };
            bytes[at..at + 2].copy_from_slice(&wrong.to_le_bytes());
            let matrix = PackedMatrix::pack(dtype, &bytes, 16, 256).unwrap().unwrap();
            for kernels in Kernels::available() {
                let found = product(kernels, &matrix, &[0.5; 256]);
                assert!(
                    !found[0].is_finite(),
                    "{} {dtype:?}: {found:?}",
                    kernels.level
                );
                assert!(found[1..].iter().all(|x| x.is_finite()));
            }
        }
    }
}

#[test]
fn rows_and_threads_do_not_change_a_product() {
    let mut noise = Noise(4);
    for dtype in FORMATS {
        let (rows, columns) = (80, 1280);
        let (matrix, _) = weights(dtype, rows, columns, noise.numbers(rows * columns));
        let activations = noise.numbers(37 * columns);
        for kernels in Kernels::available() {
            let whole = product(kernels, &matrix, &activations);
            for chunk in [1, 5, 8, 30] {
                let chunks = activations.chunks(chunk * columns);
                let apart: Vec<f32> = chunks
                    .flat_map(|rows| product(kernels, &matrix, rows))
                    .collect();
                assert!(apart == whole, "{} {dtype:?} by {chunk}", kernels.level);
            }
            for threads in [1, 2, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                let again = pool
                    .build()
                    .unwrap()
                    .install(|| product(kernels, &matrix, &activations));
                assert!(
                    again == whole,
                    "{} {dtype:?}, {threads} threads",
                    kernels.level
                );
            }
        }
    }
}

#[test]
fn several_matrices_at_once_are_each_multiplied() {
    let mut noise = Noise(5);
    let columns = 512;
    let matrices: Vec<PackedMatrix> = [
        (GgmlDType::Q5_0, 40),
        (GgmlDType::Q4K, 7),
        (GgmlDType::Q8_0, 16),
    ]
    .map(|(dtype, rows)| weights(dtype, rows, columns, noise.numbers(rows * columns)).0)
    .into();
    let values = noise.numbers(11 * columns);
    for kernels in Kernels::available() {
        let mut activations = Quantized::new(kernels, &values, columns);
        let all: Vec<&PackedMatrix> = matrices.iter().collect();
        // Of any length and content: nothing of it may be left.
        let mut together = [vec![7.0; 3], Vec::new(), vec![f32::NAN; 10_000]];
        let [first, second, third] = &mut together;
        multiply(&all, &mut activations, &mut [first, second, third]);
        for (matrix, found) in matrices.iter().zip(&together) {
            assert_eq!(*found, product(kernels, matrix, &values));
        }
    }
}

#[test]
fn norms_and_gates_have_the_same_bits_at_every_level() {
    let mut noise = Noise(6);
    for length in [1, 16, 31, 896, 1001] {
        let (values, weights) = (noise.numbers(length), noise.numbers(length));
        let results = Kernels::available().into_iter().map(|kernels| {
            let mut normed = values.clone();
            (kernels.rms_norm)(&mut normed, &weights, 1e-6);
            let mut gated: Vec<f32> = values.iter().map(|x| x * 20.0).collect();
            (kernels.swiglu)(&mut gated, &weights);
            (normed, gated)
        });
        let results: Vec<_> = results.collect();
        for other in &results[1..] {
            assert!(*other == results[0], "length {length}");
        }
    }
}
