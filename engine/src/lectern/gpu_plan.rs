//! What of a model and a document will lie on which GPU, told before the document is read.
//!
//! In: how many tokens are foretold, and the bytes that are free on the GPUs, asked at most once a minute. Out: the plan that
//! reading would make now, in words. When it comes to it, another program may have taken some: then a smaller one is made.

use super::{Lectern, lock};
use crate::attention::GpuRead;
use crate::model::{longest_document, spread_of};
use crate::reading::{GPU_CHUNK_TOKENS, Segments};
use lectern_cuda::{Burden, CudaError, Plans, Spread};
use lectern_models::{Model, ModelFacts};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long what is free counts as known. Asking a GPU that nobody uses takes a third of a second.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// What is known for now.
#[derive(Debug, Default)]
pub(super) struct Room {
    free: Mutex<Option<(Instant, Vec<lectern_cuda::Room>)>>,
    facts: Mutex<Option<(PathBuf, ModelFacts)>>,
}

impl Room {
    /// What may be taken of each GPU that can be used.
    fn free(&self) -> Vec<lectern_cuda::Room> {
        let mut known = lock(&self.free);
        if let Some((asked, free)) = &*known
            && asked.elapsed() < KNOWN_FOR
        {
            return free.clone();
        }
        let free: Vec<_> = lectern_cuda::rooms().filter_map(Result::ok).collect();
        *known = Some((Instant::now(), free.clone()));
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
        let loaded = self.seat.loaded(&chosen.path);
        let read = GpuRead {
            spread: loaded.as_deref().and_then(spread_of),
            format: self.format_of_new_caches(chosen.kv_format),
            cached_tokens: match in_segments {
                true => Segments::LOOKED_AT_MOST,
                false => tokens,
            },
            window_tokens: GPU_CHUNK_TOKENS,
            pass_tokens: GPU_CHUNK_TOKENS,
        };
        let plans = match read.spread {
            // The model lies there already.
            Some(_) => read.plans(&facts.shape),
            None => self.plans_of(&read, &facts, loaded.is_some()),
        };
        plans.ok().flatten().map(|plans| plans.to_string())
    }

    /// What would lie where if nothing lies there yet, of a model whose weights may be on the processor, to stay there.
    fn plans_of(
        &self,
        read: &GpuRead,
        facts: &ModelFacts,
        is_on_cpu: bool,
    ) -> Result<Option<Plans>, CudaError> {
        let free = self.gpu_room.free();
        let demand = read.demand(&facts.shape, None)?;
        let mut burden = Burden::of(demand.clone());
        if !is_on_cpu {
            burden = Burden {
                layer_bytes: facts.layer_bytes.clone(),
                head_bytes: facts.head_bytes,
                demand: longest_document(facts, 1.0),
            };
        }
        let spread = Spread::choose(free.iter().copied().map(Ok), &burden)?;
        burden.demand = Some(demand);
        burden.plans(&spread, |ordinal| {
            let room = free.iter().find(|room| room.ordinal == ordinal);
            Ok(room.map_or(0, |room| room.bytes))
        })
    }
}
