//! Lectern's own path, from token ids to a cache on disk and to the next token.

use crate::command::Command;
use anyhow::{Context, Result, anyhow, bail};
use candle_core::quantized::gguf_file;
use lectern_engine::attention::{CancelFlag, DenseAttention};
use lectern_engine::kv::{BlockFormat, CacheIdentity, KvCache};
use lectern_engine::reading::{Followers, ReadingInput, read};
use lectern_models::{Logits, Model, Token};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// Tokens of a measured pass at most.
#[cfg(feature = "cuda")]
const LONGEST_PASS: usize = 512;

/// A loaded model and the cache that commands stand on.
pub struct Engine {
    model: Model,
    file: PathBuf,
    folder: TempDir,
    /// Caches made so far: each gets a folder and an identity of its own.
    caches: u64,
    cache: Option<KvCache>,
    /// Memory, as whoever decodes keeps it.
    logits: RefCell<Vec<f32>>,
}

impl Engine {
    pub fn load(path: &Path) -> Result<Engine> {
        Ok(Engine {
            model: lectern_engine::model::load(path)?,
            file: path.to_owned(),
            folder: tempfile::tempdir()?,
            caches: 0,
            cache: None,
            logits: RefCell::default(),
        })
    }

    pub fn measure(&mut self, command: Command) -> Result<Value> {
        match command {
            Command::Describe => self.describe(),
            Command::Empty => {
                self.fresh_cache()?;
                Ok(json!({}))
            }
            Command::Read { tokens } => self.read(&tokens),
            Command::Prefill { tokens } => {
                let mut attention = self.attention()?;
                let began = Instant::now();
                self.next_token(&tokens, &mut attention)?;
                seconds_since(began)
            }
            Command::Decode { count } => self.decode(count),
            Command::Question { tokens } => {
                let identity = self.identity();
                drop(self.cache.take());
                let began = Instant::now();
                let shape = self.model.shape();
                self.cache = Some(KvCache::open(&self.cache_folder(), &identity, shape)?);
                let mut attention = self.attention()?;
                self.next_token(&tokens, &mut attention)?;
                seconds_since(began)
            }
            Command::Stop { tokens, times } => self.stop(&tokens, times),
            Command::Memory => Ok(json!({ "bytes": peak_memory() })),
            Command::Machine | Command::Reference { .. } => bail!("not a measurement of ours"),
        }
    }

    /// What limits are computed from. `macs_per_token` leaves out the output head, which a prefill needs once.
    fn describe(&self) -> Result<Value> {
        let content = gguf_file::Content::read(&mut File::open(&self.file)?)?;
        let (mut macs, mut bytes, mut head_macs, mut head_bytes) = (0, 0, 0, 0);
        for (name, info) in &content.tensor_infos {
            if info.shape.rank() != 2 {
                continue;
            }
            let elements = info.shape.elem_count();
            let size = elements / info.ggml_dtype.block_size() * info.ggml_dtype.type_size();
            if name.starts_with("blk.") {
                macs += elements;
                bytes += size;
            } else if name == "output.weight" || (name == "token_embd.weight" && head_macs == 0) {
                (head_macs, head_bytes) = (elements, size);
            }
        }
        let shape = self.model.shape();
        Ok(json!({
            "file_bytes": self.file.metadata()?.len(),
            "macs_per_token": macs,
            "head_macs": head_macs,
            "bytes_per_step": bytes + head_bytes,
            "layers": shape.layers,
            "query_heads": shape.query_heads,
            "kv_heads": shape.kv_heads,
            "head_dim": shape.head_dim,
            "vocabulary": self.model.vocabulary_size(),
        }))
    }

    fn read(&mut self, ids: &[u32]) -> Result<Value> {
        self.fresh_cache()?;
        let cache = self.cache.take().context("it was made")?;
        let tokens = ids
            .iter()
            .enumerate()
            .map(|(place, id)| Token {
                id: *id,
                start: place as u32,
            })
            .collect();
        let input = ReadingInput {
            segments: None,
            prefix: Vec::new(),
            tokens,
            identity: self.identity(),
        };
        let began = Instant::now();
        let cancel = CancelFlag::new();
        read(&self.model, &input, &cache, Followers::none(&cancel))?;
        let seconds = began.elapsed().as_secs_f64();
        anyhow::ensure!(cache.tokens() == ids.len());
        let bytes = cache.bytes();
        self.cache = Some(cache);
        Ok(json!({ "seconds": seconds, "cache_bytes": bytes }))
    }

    fn decode(&mut self, count: usize) -> Result<Value> {
        let mut attention = self.attention()?;
        let mut next = self.next_token(&[1], &mut attention)?;
        let began = Instant::now();
        for _ in 0..count {
            next = self.next_token(&[next], &mut attention)?;
        }
        seconds_since(began)
    }

    fn stop(&self, tokens: &[u32], times: usize) -> Result<Value> {
        let mut attention = self.attention()?;
        let began = Instant::now();
        self.next_token(tokens, &mut attention)?;
        let whole = began.elapsed();
        let mut seconds = Vec::new();
        for nth in 0..times {
            let cancel = CancelFlag::new();
            attention.reset();
            attention.listen_to(cancel.clone());
            let after = whole.mul_f64((nth as f64 + 0.5) / times as f64);
            let said = std::thread::spawn(move || {
                std::thread::sleep(after);
                cancel.cancel();
                Instant::now()
            });
            let result = self.next_token(tokens, &mut attention);
            let ended = Instant::now();
            let said = said.join().map_err(|_| anyhow!("nobody said to stop"))?;
            // A pass that was done before has nothing to stop.
            if result.is_err() {
                seconds.push(ended.saturating_duration_since(said).as_secs_f64());
            }
        }
        anyhow::ensure!(2 * seconds.len() > times, "most passes ran to their end");
        Ok(json!({ "seconds": seconds }))
    }

    fn next_token(&self, tokens: &[u32], attention: &mut DenseAttention) -> Result<u32> {
        let logits = &mut *self.logits.borrow_mut();
        self.model
            .forward_to(tokens, attention, Logits::Last, logits)?;
        let numbered = (0..).zip(logits.iter());
        let (token, _) = numbered
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .context("there are no logits")?;
        Ok(token)
    }

    fn attention(&self) -> Result<DenseAttention> {
        let cache = self.cache.as_ref().context("nothing has been read")?;
        #[allow(unused_mut)]
        let mut attention = DenseAttention::over(cache, self.model.shape(), CancelFlag::new())?;
        #[cfg(feature = "cuda")]
        attention.use_gpu_if_sound(&lectern_engine::attention::GpuRead {
            spread: lectern_engine::model::spread_of(&self.model),
            format: cache.format(),
            cached_tokens: cache.tokens(),
            window_tokens: LONGEST_PASS + 128,
            pass_tokens: LONGEST_PASS,
        });
        Ok(attention)
    }

    fn fresh_cache(&mut self) -> Result<()> {
        drop(self.cache.take());
        if self.caches > 0 {
            std::fs::remove_dir_all(self.cache_folder())?;
        }
        self.caches += 1;
        let identity = self.identity();
        let cache = KvCache::open(&self.cache_folder(), &identity, self.model.shape())?;
        self.cache = Some(cache);
        Ok(())
    }

    fn cache_folder(&self) -> PathBuf {
        self.folder.path().join(self.caches.to_string())
    }

    fn identity(&self) -> CacheIdentity {
        let mut text = [0; 32];
        text[..8].copy_from_slice(&self.caches.to_le_bytes());
        CacheIdentity {
            text,
            model: self.model.fingerprint().to_owned(),
            prompt: 0,
            // What the catalogue's models keep by default.
            format: BlockFormat::K4V4.number(),
            scope: 0,
        }
    }
}

fn seconds_since(began: Instant) -> Result<Value> {
    Ok(json!({ "seconds": began.elapsed().as_secs_f64() }))
}

/// High-water mark of this process's resident memory, as Linux keeps it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
