//! How fast the kernels are on the GPU of this machine, alone: products with weights of a model of half a billion and of
//! seven billion parameters, attention over caches of several lengths.
//!
//! `cargo run --release --package lectern-cuda --features lectern-cuda/device-code --example kernel_speed`
//!
//! Times are medians of several batches of launches, from the first launch to the last one's end, with the host's part. Bytes
//! are those that must be read once; a matrix is one of several copies in turns, so that no cache holds it.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device as Candle, Tensor};
use lectern_cuda::parameters::{Halve, Product, Rows};
use lectern_cuda::{
    CudaError, Demand, Device, GpuCache, GpuMatrix, LayerPass, Limits, PAGE_TOKENS, PageFormat,
    Pages, Place, Projected, Shape, Work, probe,
};
use lectern_models::attention::{AttentionShape, Rotary, RotaryPairing};
use lectern_models::packed::FileMatrix;
use std::sync::Arc;
use std::time::Instant;

/// Batches that a time is the median of.
const BATCHES: usize = 5;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    println!("{}", probe(0)?);
    let device = Arc::new(Device::open(0)?);
    let limits = device.limits()?;
    println!("limits: {limits}");
    println!(
        "\n| weights | tokens | µs | GB/s of weights | of memory | TFLOP/s | of tensor cores |\n|---|---|---|---|---|---|---|"
    );
    for (name, dtype, rows, columns) in [
        ("0.5B gate, Q5_0, 4864 x 896", GgmlDType::Q5_0, 4864, 896),
        (
            "0.5B head, Q8_0, 151936 x 896",
            GgmlDType::Q8_0,
            151_936,
            896,
        ),
        ("7B query, Q4_K, 3584 x 3584", GgmlDType::Q4K, 3584, 3584),
        ("7B gate, Q4_K, 18944 x 3584", GgmlDType::Q4K, 18_944, 3584),
        ("7B down, Q6_K, 3584 x 18944", GgmlDType::Q6K, 3584, 18_944),
    ] {
        products(&device, &limits, name, (dtype, rows, columns))?;
    }
    println!(
        "\n| heads, cache 4/4 | cached | tokens | µs a layer | µs with queries from the host | GB/s | of memory | useful TFLOP/s | of tensor cores, all |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for (name, query_heads, kv_heads, head_dim) in [
        ("0.5B: 14 to 2 of 64", 14, 2, 64),
        ("7B: 28 to 4 of 128", 28, 4, 128),
    ] {
        for cached in [4_096, 32_768, 131_072] {
            attention(
                &device,
                &limits,
                name,
                (query_heads, kv_heads, head_dim),
                cached,
            )?;
        }
    }
    Ok(())
}

/// Seconds a call, the median of batches.
fn seconds(
    device: &Device,
    calls: usize,
    mut call: impl FnMut(usize) -> Result<(), CudaError>,
) -> Result<f64, CudaError> {
    call(0)?;
    device.finish()?;
    let mut times = Vec::new();
    for _ in 0..BATCHES {
        let began = Instant::now();
        for nth in 0..calls {
            call(nth)?;
        }
        device.finish()?;
        times.push(began.elapsed().as_secs_f64() / calls as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[BATCHES / 2])
}

fn noise(count: usize) -> Vec<f32> {
    (0..count)
        .map(|nth| (nth * 7919 % 1009) as f32 / 504.5 - 1.0)
        .collect()
}

fn products(
    device: &Device,
    limits: &Limits,
    name: &str,
    (dtype, rows, columns): (GgmlDType, usize, usize),
) -> Outcome {
    const SOME_ROWS: usize = 32;
    let some = Tensor::from_vec(
        noise(SOME_ROWS * columns),
        (SOME_ROWS, columns),
        &Candle::Cpu,
    )?;
    let some = QTensor::quantize(&some, dtype)?;
    let bytes = some.data()?.repeat(rows.div_ceil(SOME_ROWS));
    let matrix = FileMatrix::of(
        dtype,
        &bytes[..bytes.len() / rows.next_multiple_of(SOME_ROWS) * rows],
        rows,
        columns,
    )
    .ok_or("a format that is packed")?;
    let size = GpuMatrix::bytes_for(&matrix);
    let copies = (200 << 20) / size + 1;
    let matrices: Vec<GpuMatrix> = (0..copies)
        .map(|_| GpuMatrix::upload(device, &matrix))
        .collect::<Result<_, _>>()?;
    for tokens in [1, 2, 4, 8, 64, 256, 512] {
        let numbers = device.upload(&noise(tokens * columns))?;
        let halves = device.allocate::<u16>(tokens * columns)?;
        let scales = device.allocate::<f32>(tokens)?;
        let to = device.allocate::<f32>(tokens * rows)?;
        let halve = Halve {
            numbers: device.address(&numbers),
            to: Rows {
                plain: 0,
                halves: device.address(&halves),
                scales: device.address(&scales),
            },
            columns: columns as i32,
        };
        // SAFETY: the buffers above.
        unsafe { device.halve_rows(tokens, &halve) }?;
        let activations = (halve.numbers, halve.to.halves, halve.to.scales);
        let time = seconds(device, 40, |nth| {
            let product = Product {
                matrix: matrices[nth % copies].parameter(device),
                to: device.address(&to),
                ..Product::default()
            };
            // SAFETY: the buffers above.
            unsafe { device.multiply(tokens, activations, &[product]) }
        })?;
        let read = size as f64 / time;
        let multiplied = 2.0 * (tokens * rows * columns) as f64 / time;
        println!(
            "| {name} | {tokens} | {:.1} | {:.0} | {} | {:.1} | {} |",
            time * 1e6,
            read / 1e9,
            limits.of_memory(read),
            multiplied / 1e12,
            limits.of_tensor(multiplied),
        );
    }
    Ok(())
}

/// The same bytes for every page.
struct Same {
    coded: Vec<u8>,
    halves: Vec<u8>,
}

impl Pages for Same {
    fn part(&self, _layer: usize, page: usize) -> (PageFormat, &[u8]) {
        match PageFormat::codes(4, 4) {
            Ok(format) if page > 0 => (format, &self.coded),
            _ => (PageFormat::HALVES, &self.halves),
        }
    }
}

fn attention(
    device: &Arc<Device>,
    limits: &Limits,
    name: &str,
    (query_heads, kv_heads, head_dim): (usize, usize, usize),
    cached: usize,
) -> Outcome {
    let layers = 4;
    let shape = Shape::new(&AttentionShape {
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
        key_bias: vec![None; layers],
    })?;
    let format = PageFormat::codes(4, 4)?;
    // As grids these bytes are halves of about 0.1 and 0.2.
    let pages = Same {
        coded: [0x40, 0x2e, 0x66, 0x32].repeat(format.part_bytes(&shape) / 4),
        halves: [0x40, 0x2e].repeat(PageFormat::HALVES.part_bytes(&shape) / 2),
    };
    let demand = Demand {
        shape: shape.clone(),
        format,
        weight_bytes: 0,
        cached_tokens: cached,
        window_tokens: 512,
        pass_tokens: 512,
        budget_pages: None,
    };
    let mut cache = GpuCache::new(Arc::clone(device), demand)?;
    cache.open(cached, &pages)?;
    for tokens in [1, 8, 256] {
        let queries = noise(tokens * query_heads * head_dim);
        let new = noise(tokens * kv_heads * head_dim);
        let (there, new_there) = (device.upload(&queries)?, device.upload(&new)?);
        let attended = device.allocate::<f32>(queries.len())?;
        let place = Place {
            device: Arc::clone(device),
            queries: device.address(&there),
            keys: device.address(&new_there),
            values: device.address(&new_there),
            attended: device.address(&attended),
        };
        let mut seconds_with = |projected: Projected<'_>| {
            seconds(device, 2 * layers, |nth| {
                let pass = LayerPass {
                    layer: nth % layers,
                    start: cached,
                    tokens,
                    projected,
                    chooses: false,
                    recorded: &[],
                    recorded_tokens: 0,
                };
                cache.attend(&pass, &pages).map(|_| ())
            })
        };
        let time = seconds_with(Projected::There(&place))?;
        let from_host = seconds_with(Projected::Here {
            queries: &queries,
            keys: &new,
            values: &new,
        })?;
        let work = match tokens {
            256 => Work::prefill(&shape, format, cached, tokens),
            _ => Work::decode(&shape, format, (cached + tokens) / PAGE_TOKENS),
        };
        let read = cached / PAGE_TOKENS * format.part_bytes(&shape);
        let useful = 4.0 * (tokens * query_heads * head_dim * cached) as f64;
        let times = if tokens == 256 { 1.0 } else { tokens as f64 };
        let (bytes, useful) = (read as f64 / time, useful / time);
        let multiplied = work.tensor_operations as f64 * times / time;
        println!(
            "| {name} | {cached} | {tokens} | {:.0} | {:.0} | {:.0} | {} | {:.2} | {} |",
            time * 1e6,
            from_host * 1e6,
            bytes / 1e9,
            limits.of_memory(bytes),
            useful / 1e12,
            limits.of_tensor(multiplied),
        );
    }
    Ok(())
}
