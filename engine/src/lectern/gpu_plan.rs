//! What of a model and a document will lie on the GPU, told before the document is read.
//!
//! In: how many tokens are foretold, and the bytes that are free on the GPU, asked at most once a minute. Out: the plan that
//! reading would make now, in words. When it comes to it, another program may have taken some: then a smaller one is made.

use super::{Lectern, lock};
use crate::attention::GpuRead;
use crate::reading::{CHUNK_TOKENS, Segments};
use lectern_cuda::{Device, Plan};
use lectern_models::{Model, ModelFacts};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long what is free counts as known. Asking a GPU that nobody uses takes a third of a second.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// What is known for now.
#[derive(Debug, Default)]
pub(super) struct Room {
    free: Mutex<Option<(Instant, Option<usize>)>>,
    facts: Mutex<Option<(PathBuf, ModelFacts)>>,
}

impl Room {
    /// Bytes that are free on the GPU; `None` if there is none that can be used.
    fn free(&self) -> Option<usize> {
        let mut known = lock(&self.free);
        if let Some((asked, free)) = *known
            && asked.elapsed() < KNOWN_FOR
        {
            return free;
        }
        let free = lectern_cuda::probe(0).ok().map(|gpu| gpu.facts.memory.free);
        *known = Some((Instant::now(), free));
        free
    }

    /// Of the model's file.
    fn facts(&self, path: PathBuf) -> Option<ModelFacts> {
        let mut known = lock(&self.facts);
        if let Some((of, facts)) = &*known
            && *of == path
        {
            return Some(facts.clone());
        }
        let facts = Model::facts(&path).ok()?;
        *known = Some((path, facts.clone()));
        Some(facts)
    }
}

impl Lectern {
    /// Where things would lie if `tokens` tokens were read now; `None` where the processor reads.
    pub(super) fn gpu_plan(&self, tokens: usize) -> Option<String> {
        if !crate::model::is_gpu_wanted() {
            return None;
        }
        let chosen = self.chosen_model().ok()?;
        let facts = self.gpu_room.facts(chosen.path.clone())?;
        let in_segments = tokens > self.whole_tokens(&chosen).min(facts.context_length);
        let (free, weights) = match Device::in_use(0) {
            // The model lies there already.
            Some(device) if self.seat.is_loaded(&chosen.path) => (device.memory().ok()?.free, 0),
            _ => (self.gpu_room.free()?, facts.file_bytes),
        };
        let read = GpuRead {
            ordinal: 0,
            format: self.format_of_new_caches(chosen.kv_format),
            cached_tokens: match in_segments {
                true => Segments::LOOKED_AT_MOST,
                false => tokens,
            },
            window_tokens: CHUNK_TOKENS,
            pass_tokens: CHUNK_TOKENS,
            weight_bytes: weights,
        };
        let demand = read.demand(&facts.shape, None).ok()?;
        Plan::within(&demand, Plan::room(free)).map(|plan| plan.to_string())
    }
}
