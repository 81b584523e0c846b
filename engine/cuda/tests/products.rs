//! Products, norms and gates against sums in F64, over formats of weights, odd shapes, and orders of threads and blocks.

#![allow(clippy::unwrap_used)]

mod support;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device as Candle, Tensor};
use half::f16;
use lectern_cuda::parameters::{Gate, Halve, Norm, Product, Rows};
use lectern_cuda::{Buffer, Device, FEW_TOKENS, GpuMatrix, Tile};
use lectern_models::packed::FileMatrix;
use support::noise::Noise;
use support::{Gpu, ORDERS, gpu};

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

/// What F32 sums may be off by, of a row's largest product sum.
const BOUND: f64 = 1e-5;

/// Blocks as a file has them.
struct Blocks {
    dtype: GgmlDType,
    bytes: Vec<u8>,
    rows: usize,
    columns: usize,
}

impl Blocks {
    fn new(dtype: GgmlDType, rows: usize, columns: usize, seed: u64) -> Blocks {
        let numbers = Noise::new(seed).numbers(rows * columns, 0.7);
        let tensor = Tensor::from_vec(numbers, (rows, columns), &Candle::Cpu).unwrap();
        let tensor = QTensor::quantize(&tensor, dtype).unwrap();
        Blocks {
            dtype,
            bytes: tensor.data().unwrap().to_vec(),
            rows,
            columns,
        }
    }

    fn matrix(&self) -> FileMatrix<'_> {
        FileMatrix::of(self.dtype, &self.bytes, self.rows, self.columns).unwrap()
    }

    /// `[rows][columns]`.
    fn weights(&self) -> Vec<Vec<f64>> {
        let matrix = self.matrix();
        (0..self.rows)
            .map(|row| {
                (0..self.columns / 32)
                    .flat_map(|group| {
                        let (grid, codes) = (matrix.grid(row, group), matrix.codes(row, group));
                        (0..32).map(move |column| grid.weight(codes[column], column))
                    })
                    .collect()
            })
            .collect()
    }
}

/// Activations on the device: as they are, and as halves with their scales.
struct Activations {
    numbers: Buffer<f32>,
    halves: Buffer<u16>,
    scales: Buffer<f32>,
}

impl Activations {
    fn new(device: &Device, numbers: &[f32], columns: usize) -> Activations {
        let rows = numbers.len() / columns;
        let activations = Activations {
            numbers: device.upload(numbers).unwrap(),
            halves: device.allocate(numbers.len()).unwrap(),
            scales: device.allocate(rows).unwrap(),
        };
        let halve = Halve {
            numbers: device.address(&activations.numbers),
            to: activations.to(device, false),
            columns: columns as i32,
        };
        // SAFETY: the buffers above.
        unsafe { device.halve_rows(rows, &halve) }.unwrap();
        activations
    }

    fn to(&self, device: &Device, also_plain: bool) -> Rows {
        Rows {
            plain: if also_plain {
                device.address(&self.numbers)
            } else {
                0
            },
            halves: device.address(&self.halves),
            scales: device.address(&self.scales),
        }
    }

    /// What the tensor cores are given, in F64.
    fn halved(&self, device: &Device, rows: usize, columns: usize) -> Vec<f64> {
        let halves = device.download(&self.halves, rows * columns).unwrap();
        let scales = device.download(&self.scales, rows).unwrap();
        halves
            .iter()
            .enumerate()
            .map(|(at, bits)| f16::from_bits(*bits).to_f64() * f64::from(scales[at / columns]))
            .collect()
    }
}

/// Multiplies, by many tokens in this tile, and compares each product with sums in F64; the largest error.
fn check(
    gpu: &Gpu,
    matrices: &[&Blocks],
    (tokens, tile): (usize, Option<Tile>),
    seed: u64,
    with_bias: bool,
) -> f64 {
    let device = &gpu.device;
    let columns = matrices[0].columns;
    let mut numbers = Noise::new(seed).numbers(tokens * columns, 3.0);
    // Rows of other sizes have other scales.
    for (token, row) in numbers.chunks_exact_mut(columns).enumerate() {
        let size = [1.0, 50.0, 0.01][token % 3];
        row.iter_mut().for_each(|number| *number *= size);
    }
    let activations = Activations::new(device, &numbers, columns);
    let on_gpu: Vec<GpuMatrix> = matrices
        .iter()
        .map(|blocks| GpuMatrix::upload(device, &blocks.matrix()).unwrap())
        .collect();
    let before: Vec<Vec<f32>> = matrices
        .iter()
        .map(|blocks| Noise::new(seed + 1).numbers(tokens * blocks.rows, 5.0))
        .collect();
    let to: Vec<Buffer<f32>> = before.iter().map(|b| device.upload(b).unwrap()).collect();
    let biases: Vec<Vec<f32>> = matrices
        .iter()
        .map(|blocks| Noise::new(seed + 2).numbers(blocks.rows, 2.0))
        .collect();
    let on_gpu_biases: Vec<Buffer<f32>> =
        biases.iter().map(|b| device.upload(b).unwrap()).collect();
    let products: Vec<Product> = (0..matrices.len())
        .map(|nth| Product {
            matrix: on_gpu[nth].parameter(device),
            bias: if with_bias {
                device.address(&on_gpu_biases[nth])
            } else {
                0
            },
            to: device.address(&to[nth]),
            // The second adds to what is there.
            adds: i32::from(nth == 1),
            first_block: 0,
        })
        .collect();
    let addresses = (
        device.address(&activations.numbers),
        device.address(&activations.halves),
        device.address(&activations.scales),
    );
    // SAFETY: the buffers above.
    unsafe {
        match tile {
            Some(tile) => device.multiply_many(tile, tokens, (addresses.1, addresses.2), &products),
            None => device.multiply(tokens, addresses, &products),
        }
    }
    .unwrap_or_else(|error| panic!("{error}: {}", gpu.driver.last_failure()));
    let few = tile.is_none() && tokens <= FEW_TOKENS;
    let inputs: Vec<f64> = match few {
        true => numbers.iter().map(|number| f64::from(*number)).collect(),
        false => activations.halved(device, tokens, columns),
    };
    let mut worst = 0.0f64;
    for (nth, blocks) in matrices.iter().enumerate() {
        let found = device.download(&to[nth], tokens * blocks.rows).unwrap();
        for (row, weights) in blocks.weights().into_iter().enumerate() {
            // Weights go to the tensor cores as halves.
            let rounded: Vec<f64> = weights
                .iter()
                .map(|weight| match few {
                    true => *weight,
                    false => f16::from_f32(*weight as f32).to_f64(),
                })
                .collect();
            for token in 0..tokens {
                let inputs = &inputs[token * columns..(token + 1) * columns];
                let products = rounded.iter().zip(inputs).map(|(w, x)| w * x);
                let (sum, size) = products.fold((0.0, 0.0), |(s, a), p| (s + p, a + p.abs()));
                let at = token * blocks.rows + row;
                let bias = if with_bias {
                    f64::from(biases[nth][row])
                } else {
                    0.0
                };
                let added = if nth == 1 {
                    f64::from(before[nth][at])
                } else {
                    0.0
                };
                let difference = (f64::from(found[at]) - (sum + bias + added)).abs();
                let error = difference / (size + bias.abs() + added.abs());
                assert!(
                    error <= BOUND,
                    "{:?} {} x {columns}, {tokens} tokens, {tile:?}, matrix {nth}, row {row}, token {token}: {error}",
                    blocks.dtype,
                    blocks.rows
                );
                worst = worst.max(error);
            }
        }
    }
    worst
}

/// Columns in whole runs of eight groups and not, rows that leave blocks unfilled.
fn shapes(dtype: GgmlDType) -> Vec<(usize, usize)> {
    match dtype.block_size() {
        32 => vec![(1, 32), (3, 96), (70, 288), (5, 1120)],
        _ => vec![(1, 256), (70, 512), (6, 1280)],
    }
}

#[test]
fn few_tokens_times_every_format() {
    let gpu = gpu();
    let mut worst = 0.0f64;
    for (nth, dtype) in FORMATS.into_iter().enumerate() {
        for (rows, columns) in shapes(dtype) {
            for tokens in [1, 2, 3, 5, 8] {
                gpu.driver.set_seed(ORDERS[tokens % ORDERS.len()]);
                let blocks = Blocks::new(dtype, rows, columns, nth as u64);
                worst = worst.max(check(
                    &gpu,
                    &[&blocks],
                    (tokens, None),
                    tokens as u64,
                    false,
                ));
            }
        }
    }
    println!("few: largest relative error {worst:.1e}");
}

#[test]
fn many_tokens_times_every_format() {
    let gpu = gpu();
    let mut worst = 0.0f64;
    for (nth, dtype) in FORMATS.into_iter().enumerate() {
        for (at, (rows, columns)) in shapes(dtype).into_iter().enumerate() {
            // In the tile that is chosen, and each of the others in its turn; with tokens that leave blocks unfilled.
            let tokens = [9, 33, 64, 70][nth % 4];
            gpu.driver.set_seed(ORDERS[(nth + rows) % ORDERS.len()]);
            let blocks = Blocks::new(dtype, rows, columns, nth as u64);
            for tile in [None, Some(Tile::ALL[(nth + at) % 3])] {
                let error = check(&gpu, &[&blocks], (tokens, tile), tokens as u64, false);
                worst = worst.max(error);
            }
        }
    }
    println!("many: largest relative error {worst:.1e}");
}

#[test]
fn three_matrices_of_other_formats_at_once() {
    let gpu = gpu();
    let matrices = [
        Blocks::new(GgmlDType::Q4K, 66, 256, 1),
        Blocks::new(GgmlDType::Q6K, 7, 256, 2),
        Blocks::new(GgmlDType::Q8_0, 68, 256, 3),
    ];
    let all: Vec<&Blocks> = matrices.iter().collect();
    let tiles = Tile::ALL.into_iter().map(|tile| (130, Some(tile)));
    for (order, how) in [(1, None), (2, None), (66, None)]
        .into_iter()
        .chain(tiles)
        .enumerate()
    {
        gpu.driver.set_seed(ORDERS[order % ORDERS.len()]);
        check(&gpu, &all, how, 4, true);
        check(&gpu, &all[..2], how, 5, true);
    }
}

#[test]
fn what_is_not_a_number_stays_visible() {
    let gpu = gpu();
    let blocks = Blocks::new(GgmlDType::Q5_0, 5, 64, 1);
    let matrix = GpuMatrix::upload(&gpu.device, &blocks.matrix()).unwrap();
    for tokens in [2, 9] {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut numbers = Noise::new(7).numbers(tokens * 64, 1.0);
            numbers[64 + 3] = bad;
            let activations = Activations::new(&gpu.device, &numbers, 64);
            let to = gpu.device.allocate::<f32>(tokens * 5).unwrap();
            let product = Product {
                matrix: matrix.parameter(&gpu.device),
                to: gpu.device.address(&to),
                ..Product::default()
            };
            let addresses = (
                gpu.device.address(&activations.numbers),
                gpu.device.address(&activations.halves),
                gpu.device.address(&activations.scales),
            );
            // SAFETY: the buffers above.
            unsafe { gpu.device.multiply(tokens, addresses, &[product]) }.unwrap();
            let found = gpu.device.download(&to, tokens * 5).unwrap();
            assert!(found[..5].iter().all(|number| number.is_finite()));
            assert!(found[5..10].iter().all(|number| !number.is_finite()));
            assert!(found[10..].iter().all(|number| number.is_finite()));
        }
    }
}

#[test]
fn rows_are_normed_gated_and_halved() {
    let gpu = gpu();
    let device = &gpu.device;
    for (order, (rows, columns)) in [(1, 64), (3, 896), (2, 100), (5, 1)]
        .into_iter()
        .enumerate()
    {
        gpu.driver.set_seed(ORDERS[order]);
        // From very small to very large, and a row of zeros.
        let mut numbers = Noise::new(3).numbers(rows * columns, 1.0);
        for (row, numbers) in numbers.chunks_exact_mut(columns).enumerate() {
            let size = [1.0, 1e-20, 3e30, 1e5, 0.0][row];
            numbers.iter_mut().for_each(|number| *number *= size);
        }
        let weights = Noise::new(4).numbers(columns, 2.0);
        let ups = Noise::new(5).numbers(rows * columns, 1.0);
        let (on_gpu, on_gpu_weights, on_gpu_ups) = (
            device.upload(&numbers).unwrap(),
            device.upload(&weights).unwrap(),
            device.upload(&ups).unwrap(),
        );
        let to = Activations::new(device, &vec![0.0; rows * columns], columns);
        let norm = Norm {
            numbers: device.address(&on_gpu),
            weights: device.address(&on_gpu_weights),
            to: to.to(device, true),
            columns: columns as i32,
            epsilon: 1e-6,
        };
        // A square beyond F32 is no matter here: no hidden state is that large.
        let sane = |row: usize| row != 2;
        let compare = |expected: &dyn Fn(usize, usize) -> f64, what: &str| {
            let plain = device.download(&to.numbers, rows * columns).unwrap();
            let halved = to.halved(device, rows, columns);
            for row in (0..rows).filter(|row| sane(*row)) {
                let of = row * columns..(row + 1) * columns;
                let expected: Vec<f64> = (0..columns).map(|column| expected(row, column)).collect();
                let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                for ((expected, plain), halved) in expected
                    .iter()
                    .zip(&plain[of.clone()])
                    .zip(&halved[of.clone()])
                {
                    let off = (f64::from(*plain) - expected).abs();
                    assert!(
                        off <= 2e-6 * expected.abs() + 1e-37,
                        "{what}, row {row}: {plain}, {expected}"
                    );
                    let off = (halved - expected).abs();
                    let bound = 5e-4 * expected.abs() + 1e-9 * largest + 1e-37;
                    assert!(
                        off <= bound,
                        "{what} in halves, row {row}: {halved}, {expected}"
                    );
                }
            }
        };
        // SAFETY: the buffers above.
        unsafe { device.norm_rows(rows, &norm) }.unwrap();
        compare(
            &|row, column| {
                let row = &numbers[row * columns..(row + 1) * columns];
                let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
                let factor = (squares / columns as f64 + 1e-6).sqrt().recip();
                f64::from(row[column]) * factor * f64::from(weights[column])
            },
            "norm",
        );
        let gate = Gate {
            gate: device.address(&on_gpu),
            up: device.address(&on_gpu_ups),
            to: to.to(device, true),
            columns: columns as i32,
        };
        // SAFETY: the buffers above.
        unsafe { device.gate_rows(rows, &gate) }.unwrap();
        compare(
            &|row, column| {
                let at = row * columns + column;
                let number = f64::from(numbers[at]);
                number / (1.0 + (-number).exp()) * f64::from(ups[at])
            },
            "gate",
        );
        // Plain rows alone are shared among blocks, and are the same.
        let both = device.download(&to.numbers, rows * columns).unwrap();
        let alone = device.upload(&vec![f32::NAN; rows * columns]).unwrap();
        let gate = Gate {
            to: Rows {
                plain: device.address(&alone),
                halves: 0,
                scales: 0,
            },
            ..gate
        };
        // SAFETY: the buffers above.
        unsafe { device.gate_rows(rows, &gate) }.unwrap();
        let alone = device.download(&alone, rows * columns).unwrap();
        let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&both), bits(&alone));
    }
}
