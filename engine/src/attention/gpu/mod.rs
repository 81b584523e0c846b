//! The GPU behind [`DenseAttention`]: the same attention, computed elsewhere.
//!
//! In: what [`DenseAttention`] is given. Out: what it gives. The tail and the view stay on the CPU whatever happens, so
//! whenever the GPU fails, runs out of memory, or is asked for something that it has no kernels for, the CPU goes on from
//! where it was, in the middle of a pass if need be, and nothing is lost but time.
//!
//! Results differ from the CPU's within rounding: sums are made in another order, and values of 4 bits are weighed in F32
//! where the CPU weighs them in integers of 8 bits.

mod check;
mod parts;
mod verdicts;

pub use verdicts::remember_gpu_checks_in;

use super::DenseAttention;
use super::mass::RECORDED_TOKENS;
use super::sparse::{PagePolicy, SparseRead};
use crate::kv::{BLOCK_TOKENS, BlockFormat};
use lectern_cuda::{
    Burden, CudaError, Demand, LayerPass, LayerResult, PageFormat, Place, Plans, Projected, Shape,
    Spread,
};
use lectern_models::attention::{AttentionError, AttentionShape};
use parts::Parts;

/// How a document is to be put on GPUs.
#[derive(Debug, Clone)]
pub struct GpuRead {
    /// Where the model's layers lie; `None` if the processor has them: then as few GPUs as have room for the document.
    pub spread: Option<Spread>,
    /// Of the cache.
    pub format: BlockFormat,
    /// Tokens of the document, if it is not read yet; those of the cache if it is.
    pub cached_tokens: usize,
    /// Tokens behind it: a chunk, or question and answer.
    pub window_tokens: usize,
    /// Tokens of a pass at most.
    pub pass_tokens: usize,
}

/// Tokens up to which choosing pages saves nothing where all of them are on the GPU: on an H200 it was slower at 30,000 and
/// faster at 131,072, in between not measured, with a slower `decode` than there is now (`docs/gpu.md`).
const BEST_WHOLE: usize = 65_536;

/// A document on GPUs.
#[derive(Debug)]
pub(super) struct Gpu {
    parts: Parts,
    pass_tokens: usize,
    /// How pages are chosen, if they are.
    read: Option<SparseRead>,
}

fn page_format(format: BlockFormat) -> Result<PageFormat, CudaError> {
    let (key_bits, value_bits) = match format {
        BlockFormat::F16 => return Ok(PageFormat::HALVES),
        BlockFormat::K8V8 => (8, 8),
        BlockFormat::K8V4 => (8, 4),
        BlockFormat::K4V4 => (4, 4),
        BlockFormat::K3V4 => (3, 4),
        BlockFormat::K2V4 => (2, 4),
    };
    PageFormat::codes(key_bits, value_bits)
}

/// Whether the GPU chooses pages as this says.
fn is_served(read: &SparseRead) -> bool {
    read.policy == PagePolicy::Keys && read.window == SparseRead::WINDOW
}

impl GpuRead {
    /// Whether a GPU that is to be used looks at all of it as fast as at chosen pages: the document is not too long, and there is
    /// room for it now. The index that pages are chosen by has nine tenths of their bytes, and choosing launches more.
    pub fn is_best_whole(&self, shape: &AttentionShape) -> bool {
        // Why there is none is said when it is to be used.
        self.cached_tokens <= BEST_WHOLE
            && crate::model::is_gpu_wanted()
            && matches!(self.plans(shape), Ok(Some(plans)) if plans.are_everything())
    }

    /// What would lie where now, with nothing chosen; `None` if there is no room.
    pub(crate) fn plans(&self, shape: &AttentionShape) -> Result<Option<Plans>, CudaError> {
        let demand = self.demand(shape, None)?;
        let spread = self.spread_for(&demand)?;
        let room = |ordinal: usize| Ok(lectern_cuda::room(ordinal)?.bytes);
        Burden::of(demand).plans(&spread, room)
    }

    /// Where it is to lie: where the model lies, or wherever there is room.
    fn spread_for(&self, demand: &Demand) -> Result<Spread, CudaError> {
        match &self.spread {
            Some(spread) => Ok(spread.clone()),
            None => Spread::choose(lectern_cuda::rooms(), &Burden::of(demand.clone())),
        }
    }

    /// What is asked of all GPUs together, with so many tokens chosen for each token and head, if they are.
    pub(crate) fn demand(
        &self,
        shape: &AttentionShape,
        budget: Option<usize>,
    ) -> Result<Demand, CudaError> {
        Ok(Demand {
            shape: Shape::new(shape)?,
            format: page_format(self.format)?,
            weight_bytes: 0,
            cached_tokens: self.cached_tokens,
            window_tokens: self.window_tokens,
            pass_tokens: self.pass_tokens,
            budget_pages: budget.map(|tokens| tokens / BLOCK_TOKENS),
        })
    }
}

impl DenseAttention {
    /// From now on GPUs do the work, if they can. What is to be looked at must have been said before. The plan, in words
    /// for the person.
    ///
    /// # Errors
    /// [`CudaError`] says what is missing, in words for the person; everything goes on on the CPU then.
    pub fn use_gpu(&mut self, read: &GpuRead) -> Result<String, CudaError> {
        if self.view.is_thinned() {
            return Ok(
                "heads have lost tokens of the cache: attention stays on the CPU".to_owned(),
            );
        }
        let chosen = self.sparse.as_ref().map(|sparse| *sparse.read());
        let demand = read.demand(&self.shape, self.served_budget())?;
        let mut parts = Parts::new(&read.spread_for(&demand)?, &demand)?;
        let held = self.view.tokens();
        if !self.is_sound() {
            return Ok("the cache is damaged".to_owned());
        }
        // A tail that is there already is not on the GPU.
        if self.tail.end() == held {
            parts.open(&self.view)?;
            let plan = parts.plans().to_string();
            self.gpu = Some(Gpu {
                parts,
                pass_tokens: read.pass_tokens,
                read: chosen,
            });
            return Ok(plan);
        }
        Ok("tokens behind the cache are on the CPU already".to_owned())
    }

    /// As [`DenseAttention::use_gpu`], if each of the GPUs computes what the CPU does; otherwise all goes on on the CPU, and the
    /// log says why.
    pub fn use_gpu_if_sound(&mut self, read: &GpuRead) {
        if !crate::model::is_gpu_wanted() {
            return;
        }
        match self.use_gpus_that_are_sound(read) {
            Ok(plan) => tracing::info!("{plan}"),
            Err(reason) => tracing::info!("attention stays on the CPU: {reason}"),
        }
    }

    fn use_gpus_that_are_sound(&mut self, read: &GpuRead) -> Result<String, String> {
        let in_words = |error: CudaError| error.to_string();
        let budget = self.served_budget();
        let demand = read.demand(&self.shape, budget).map_err(in_words)?;
        let spread = read.spread_for(&demand).map_err(in_words)?;
        for share in spread.shares() {
            check::check(share.ordinal).map_err(|unsound| unsound.to_string())?;
        }
        let read = GpuRead {
            spread: Some(spread),
            ..read.clone()
        };
        self.use_gpu(&read).map_err(in_words)
    }

    /// Tokens that are chosen, if GPUs can choose them.
    fn served_budget(&self) -> Option<usize> {
        let chosen = self.sparse.as_ref().map(|sparse| *sparse.read());
        chosen.filter(is_served).map(|read| read.budget)
    }

    /// Whether the GPU does the work now.
    pub fn is_on_gpu(&self) -> bool {
        self.gpu.is_some()
    }

    /// One layer on the GPU, in place of what `attended` holds; `false`, and never again, if it cannot.
    pub(super) fn attend_on_gpu(
        &mut self,
        layer: usize,
        projected: &lectern_models::Projected,
        attended: &mut Vec<f32>,
    ) -> bool {
        let here = Projected::Here {
            queries: &projected.queries,
            keys: &projected.keys,
            values: &projected.values,
        };
        let result = self.layer_on_gpu(layer, projected.tokens, here);
        result.is_some_and(|result| {
            *attended = result.attended;
            true
        })
    }

    /// One layer on the GPU, of numbers that lie there; `false` if it cannot from the first layer on. The tail gets its
    /// keys and values with the last layer.
    pub(super) fn attend_in_place(
        &mut self,
        layer: usize,
        tokens: usize,
        place: &Place,
    ) -> Result<bool, AttentionError> {
        if !self.is_on_gpu() {
            return Ok(false);
        }
        if layer == 0 {
            self.begin_pass(tokens);
        }
        self.verify_layer(layer)?;
        let finished = self
            .layer_on_gpu(layer, tokens, Projected::There(place))
            .is_some()
            && (layer + 1 < self.shape.layers || self.keep(tokens));
        if finished {
            self.end_layer(layer, tokens);
            return Ok(true);
        }
        match layer {
            0 => Ok(false),
            _ => Err(AttentionError::Left),
        }
    }

    /// Brings a pass's keys and values to the tail. Whether they came.
    fn keep(&mut self, tokens: usize) -> bool {
        let Some(gpu) = &mut self.gpu else {
            return false;
        };
        let numbers = tokens * self.shape.kv_heads * self.shape.head_dim;
        let tail = &mut self.tail;
        let kept = gpu.parts.each_kept(tokens, |first, kept| {
            tail.put_layers(first, kept, numbers);
        });
        if let Err(error) = kept {
            tracing::warn!("attention goes on on the CPU: {error}");
            self.gpu = None;
            return false;
        }
        true
    }

    fn layer_on_gpu(
        &mut self,
        layer: usize,
        tokens: usize,
        projected: Projected<'_>,
    ) -> Option<LayerResult> {
        let gpu = self.gpu.as_mut()?;
        let start = self.tail.end();
        let sealed = self.tail.first_block();
        let fits = tokens <= gpu.pass_tokens && start + tokens <= gpu.parts.capacity();
        let same_gpu = match projected {
            Projected::Here { .. } => true,
            Projected::There(place) => gpu.parts.are_on(&place.device, layer),
        };
        let chooses = self
            .sparse
            .as_ref()
            .is_some_and(|sparse| sparse.chooses(layer, sealed));
        let read = self.sparse.as_ref().map(|sparse| *sparse.read());
        let as_planned = !chooses || (read == gpu.read && read.as_ref().is_some_and(is_served));
        if !fits || !same_gpu || !as_planned || self.audit.is_some() {
            tracing::info!("attention goes on on the CPU: the GPU was planned for something else");
            self.gpu = None;
            return None;
        }
        let recorded = self.mass.as_ref().filter(|_| tokens <= RECORDED_TOKENS);
        let (recorded, recorded_tokens) =
            recorded.map_or((Vec::new(), 0), |mass| mass.in_layer(layer));
        let pass = LayerPass {
            layer,
            start,
            tokens,
            projected,
            chooses,
            recorded: &recorded,
            recorded_tokens,
        };
        match gpu.parts.attend(&pass, &self.view)? {
            Ok(result) => {
                if let Some(mass) = &mut self.mass {
                    mass.add_rows(&result.masses);
                }
                Some(result)
            }
            Err(error) => {
                tracing::warn!("attention goes on on the CPU: {error}");
                self.gpu = None;
                None
            }
        }
    }

    /// Whether the view matches its checksums. What does not is reported by the pass that needs it.
    fn is_sound(&self) -> bool {
        let blocks = self.view.blocks();
        (0..self.shape.layers).all(|layer| self.view.verify(layer, 0..blocks).is_ok())
    }

    /// The view is another.
    pub(super) fn go_to_on_gpu(&mut self) {
        let is_served = self.is_sound() && !self.view.is_thinned();
        let Some(mut gpu) = self.gpu.take().filter(|_| is_served) else {
            return;
        };
        match gpu.parts.open(&self.view) {
            Ok(()) => self.gpu = Some(gpu),
            Err(error) => tracing::warn!("attention goes on on the CPU: {error}"),
        }
    }

    /// The tail was sealed.
    pub(super) fn seal_on_gpu(&mut self) {
        if let Some(gpu) = &mut self.gpu
            && let Err(error) = gpu.parts.seal(self.view.tokens())
        {
            tracing::warn!("attention goes on on the CPU: {error}");
            self.gpu = None;
        }
    }
}
