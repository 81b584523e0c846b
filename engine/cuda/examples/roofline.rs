//! The roofline on paper, as in `docs/gpu.md`: `cargo run --package lectern-cuda --example roofline`.
//!
//! In: figures of GPUs as their makers state them, shapes of models, the code's own counts. Out: Markdown. Nothing is
//! measured.

#![allow(clippy::unwrap_used)]

use lectern_cuda::{Demand, PAGE_TOKENS, PageFormat, Plan, Shape, Step, Work};
use lectern_models::attention::{AttentionShape, Rotary, RotaryPairing};

struct Gpu {
    name: &'static str,
    memory: f64,
    /// Bytes a second: its memory, and the host's over PCIe.
    bandwidth: f64,
    host: f64,
    /// F32 operations a second, without tensor cores.
    operations: f64,
    /// Of tensor cores, on halves with sums in F32, without sparsity.
    tensor: f64,
}

const GPUS: [Gpu; 3] = [
    Gpu {
        name: "RTX 3060",
        memory: 12e9,
        bandwidth: 360e9,
        host: 25e9,
        operations: 12.7e12,
        tensor: 25.4e12,
    },
    Gpu {
        name: "RTX 4090",
        memory: 24e9,
        bandwidth: 1008e9,
        host: 25e9,
        operations: 82.6e12,
        tensor: 165e12,
    },
    Gpu {
        name: "H100 SXM",
        memory: 80e9,
        bandwidth: 3350e9,
        host: 50e9,
        operations: 66.9e12,
        tensor: 989e12,
    },
];

struct Model {
    name: &'static str,
    layers: usize,
    query_heads: usize,
    kv_heads: usize,
    parameters: f64,
    weight_bytes: usize,
}

const MODELS: [Model; 2] = [
    Model {
        name: "Qwen2.5 7B",
        layers: 28,
        query_heads: 28,
        kv_heads: 4,
        parameters: 7.6e9,
        weight_bytes: 4_680_000_000,
    },
    Model {
        name: "Llama 3.1 8B",
        layers: 32,
        query_heads: 32,
        kv_heads: 8,
        parameters: 8.0e9,
        weight_bytes: 4_920_000_000,
    },
];

const BUDGET_PAGES: usize = 32;
const CHUNK: usize = 512;

fn shape(model: &Model) -> Shape {
    Shape::new(&AttentionShape {
        layers: model.layers,
        query_heads: model.query_heads,
        kv_heads: model.kv_heads,
        head_dim: 128,
        softmax_scale: 1.0,
        rotary: Rotary {
            pairing: RotaryPairing::Halves,
            inverse_frequencies: vec![1.0; 64],
        },
        key_bias: vec![None; model.layers],
    })
    .unwrap()
}

fn main() {
    let format = PageFormat::codes(4, 4).unwrap();
    println!(
        "| GPU | model | tokens | cache | index | plan | read, attention | read, products | token, all | token, chosen | products | from the host |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for gpu in &GPUS {
        for model in &MODELS {
            for tokens in [32_768usize, 131_072, 1_048_576] {
                row(gpu, model, tokens, format);
            }
        }
    }
}

fn row(gpu: &Gpu, model: &Model, tokens: usize, format: PageFormat) {
    let shape = shape(model);
    let pages = tokens / PAGE_TOKENS;
    let layers = model.layers as f64;
    // A launch takes what its slower side takes.
    let seconds = |work: Work| {
        let operations = work.operations as f64 / gpu.operations;
        let tensor = work.tensor_operations as f64 / gpu.tensor;
        (work.bytes as f64 / gpu.bandwidth).max(operations + tensor)
    };
    let demand = Demand {
        shape: shape.clone(),
        format,
        weight_bytes: model.weight_bytes,
        cached_tokens: tokens,
        window_tokens: 1024,
        pass_tokens: CHUNK,
        budget_pages: Some(BUDGET_PAGES),
    };
    let plan = Plan::within(&demand, Plan::room(gpu.memory as usize));
    let cache = (pages * model.layers * format.part_bytes(&shape)) as f64;
    let index = (pages * model.layers * shape.kv_heads() * 128 * (PAGE_TOKENS + 4)) as f64;
    let mut reading = 0.0;
    for start in (0..tokens).step_by(CHUNK) {
        let work = Work::prefill(&shape, format, start, CHUNK);
        // Pages are read, written as halves, and read by a chunk's tiles once and then from the second level.
        let halves = shape.kv_heads() * 2 * 4 * shape.head_dim() * PAGE_TOKENS;
        let once = (start + CHUNK).div_ceil(PAGE_TOKENS) * (format.part_bytes(&shape) + 2 * halves);
        reading += layers
            * seconds(Work {
                bytes: once as u64,
                ..work
            });
    }
    let products_read = 2.0 * model.parameters * tokens as f64 / gpu.tensor;
    let all = layers * seconds(Work::decode(&shape, format, pages));
    let chosen = layers
        * (seconds(Work::choose(&shape, pages))
            + seconds(Work::decode(&shape, format, BUDGET_PAGES)));
    let products = model.weight_bytes as f64 / gpu.bandwidth;
    let (words, moved) = match plan.map(|plan| (plan.step, plan.elsewhere)) {
        Some((Step::Everything, _)) => ("everything", "0".to_owned()),
        // At worst every chosen page comes from the host.
        Some((Step::HotPages, _)) => {
            let bytes = model.layers * BUDGET_PAGES * format.part_bytes(&shape);
            ("hot pages", format!("≤ {}", time(bytes as f64 / gpu.host)))
        }
        Some((Step::Turns, elsewhere)) => ("turns", time(elsewhere as f64 / gpu.host)),
        None => ("the CPU", "-".to_owned()),
    };
    println!(
        "| {} | {} | {}k | {:.1} GB | {:.1} GB | {words} | {} | {} | {} | {} | {} | {moved} |",
        gpu.name,
        model.name,
        tokens / 1024,
        cache / 1e9,
        index / 1e9,
        time(reading),
        time(products_read),
        time(all),
        time(chosen),
        time(products),
    );
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 0.1 => format!("{:.1} ms", 1e3 * s),
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
