//! A document on GPUs: the pages of each layer on the GPU that has the layer.
//!
//! In: what a [`GpuCache`] is given, by layers of the model. Out: what it gives. One GPU is the case of one part.

use super::page_format;
use crate::kv::KvView;
use lectern_cuda::{
    CudaError, Demand, Device, GpuCache, LayerPass, LayerResult, PageFormat, Pages, Plans, Share,
    Spread,
};
use std::ops::Range;

/// All layers.
#[derive(Debug)]
pub(super) struct Parts(Vec<Part>);

/// The layers that lie on one GPU.
#[derive(Debug)]
struct Part {
    share: Share,
    /// Counts layers from the share's first on.
    cache: GpuCache,
}

/// The sealed blocks of a view, as pages of the layers from `first` on.
struct Sealed<'a> {
    view: &'a KvView,
    first: usize,
}

impl Pages for Sealed<'_> {
    fn part(&self, layer: usize, page: usize) -> (PageFormat, &[u8]) {
        let (format, bytes) = self.view.part_bytes(page, self.first + layer);
        // A cache of other codes was refused when it was put on the GPU.
        (page_format(format).unwrap_or(PageFormat::HALVES), bytes)
    }
}

impl Part {
    fn layers(&self) -> &Range<usize> {
        &self.share.layers
    }

    fn sealed<'a>(&self, view: &'a KvView) -> Sealed<'a> {
        Sealed {
            view,
            first: self.layers().start,
        }
    }
}

impl Parts {
    /// Room for a document of all layers of `spread`.
    ///
    /// # Errors
    /// Those of [`GpuCache::new`], of any of the GPUs; nothing stays allocated then.
    pub fn new(spread: &Spread, demand: &Demand) -> Result<Parts, CudaError> {
        let part = |share: &Share| -> Result<Part, CudaError> {
            let device = Device::shared(share.ordinal)?;
            Ok(Part {
                cache: GpuCache::new(device, demand.of_layers(&share.layers))?,
                share: share.clone(),
            })
        };
        Ok(Parts(
            spread.shares().iter().map(part).collect::<Result<_, _>>()?,
        ))
    }

    /// What lies where.
    pub fn plans(&self) -> Plans {
        let plan = |part: &Part| (part.share.clone(), part.cache.plan().clone());
        Plans(self.0.iter().map(plan).collect())
    }

    /// Tokens that there is room for.
    pub fn capacity(&self) -> usize {
        let capacities = self.0.iter().map(|part| part.cache.capacity());
        capacities.min().unwrap_or(0)
    }

    /// Whether a layer's pages lie on this GPU.
    pub fn are_on(&self, device: &Device, layer: usize) -> bool {
        let part = self.0.iter().find(|part| part.layers().contains(&layer));
        part.is_some_and(|part| std::ptr::eq(part.cache.device(), device))
    }

    /// Takes over what `view` shows of a file.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn open(&mut self, view: &KvView) -> Result<(), CudaError> {
        self.0.iter_mut().try_for_each(|part| {
            let sealed = part.sealed(view);
            part.cache.open(view.tokens(), &sealed)
        })
    }

    /// Attends a layer of the model; `None` if it lies nowhere.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn attend(
        &mut self,
        pass: &LayerPass<'_>,
        view: &KvView,
    ) -> Option<Result<LayerResult, CudaError>> {
        let mut parts = self.0.iter_mut();
        let part = parts.find(|part| part.layers().contains(&pass.layer))?;
        let sealed = part.sealed(view);
        let of_part = LayerPass {
            layer: pass.layer - sealed.first,
            ..*pass
        };
        Some(part.cache.attend(&of_part, &sealed))
    }

    /// Keys and values of all layers of the last pass: `put` gets each part's first layer, and what [`GpuCache::kept`] has of its own.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn each_kept(
        &mut self,
        tokens: usize,
        mut put: impl FnMut(usize, &[f32]),
    ) -> Result<(), CudaError> {
        for part in &mut self.0 {
            let first = part.layers().start;
            put(first, part.cache.kept(tokens)?);
        }
        Ok(())
    }

    /// The open pages below position `tokens` are sealed in the file now.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn seal(&mut self, tokens: usize) -> Result<(), CudaError> {
        self.0
            .iter_mut()
            .try_for_each(|part| part.cache.seal(tokens))
    }
}
