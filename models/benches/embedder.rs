//! How fast passages become vectors: ours, and candle-transformers' in F32 beside it, in turns.
//!
//! `cargo bench -p lectern-models --bench embedder`; `RAYON_NUM_THREADS` sets our threads and candle's. Passages are runs of
//! 180 words of the licence, about as long as the engine's.
#![allow(clippy::unwrap_used)]

#[path = "../tests/reference/mod.rs"]
mod reference;
#[path = "../tests/sentence/mod.rs"]
mod sentence;

use lectern_models::{Catalogue, Embedder};
use std::path::Path;
use std::time::{Duration, Instant};

/// Passages made together, as while a document is read.
const TOGETHER: usize = 8;

fn main() {
    let catalogue = Catalogue::load(Path::new("nowhere")).unwrap();
    let tokenizer_bytes = catalogue.embedder().unwrap().parts[0];
    let path = reference::model_path(reference::MINILM);
    let ours = Embedder::open(&path, tokenizer_bytes).unwrap();
    let plain = sentence::Plain::open(&path, tokenizer_bytes as usize);
    let words: Vec<&str> = include_str!("../../LICENSE-APACHE")
        .split_whitespace()
        .collect();
    let passages: Vec<String> = words
        .chunks(180)
        .take(TOGETHER)
        .map(|run| run.join(" "))
        .collect();
    let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
    let (mut by_us, mut by_candle, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..9 {
        by_us.push(timed(|| drop(ours.embed(&passages).unwrap())) / TOGETHER as u32);
        alone.push(timed(|| {
            drop(ours.embed(&["Who is the landlord of the inn?"]).unwrap())
        }));
        let each = || passages.iter().for_each(|text| drop(plain.embed(text)));
        by_candle.push(timed(each) / TOGETHER as u32);
    }
    println!("{} threads, medians of 9", rayon::current_num_threads());
    println!("a passage, ours     {:>8.2} ms", median(by_us));
    println!("a passage, candle   {:>8.2} ms", median(by_candle));
    println!("a question, ours    {:>8.2} ms", median(alone));
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    1e3 * times[times.len() / 2].as_secs_f64()
}
