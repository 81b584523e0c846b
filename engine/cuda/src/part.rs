//! A GPU's part of a model: the weights of its layers, and memory for a pass through them.

use crate::device::{Buffer, Device};
use crate::error::CudaError;
use crate::lead::Lead;
use crate::matrix::GpuMatrix;
use crate::spread::Share;
use lectern_models::packed::FileMatrix;
use lectern_models::{BlockWeights, DecoderWeights, Sizes};
use std::ops::Range;
use std::sync::Arc;

/// Some layers on a GPU.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) ordinal: usize,
    pub(crate) device: Arc<Device>,
    pub(crate) layers: Range<usize>,
    pub(crate) lead: Lead,
    /// Of these layers.
    blocks: Vec<BlockWeights<GpuMatrix, Buffer<f32>>>,
}

/// What comes behind the last layer, on the same GPU.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) norm: Buffer<f32>,
    /// `[vocabulary, width]`.
    pub(crate) matrix: GpuMatrix,
}

impl Part {
    /// Brings the weights of a share's layers to its GPU, after what it makes of their formats was checked.
    ///
    /// # Errors
    /// [`CudaError::TooLittleMemory`] if they, with the head behind the last of them, do not fit with `left_free` beside them, [`CudaError::Unsound`],
    /// [`CudaError::OutOfMemory`], [`CudaError::Driver`]; nothing stays allocated then.
    pub(crate) fn new(
        share: &Share,
        weights: &DecoderWeights<FileMatrix<'_>>,
        left_free: usize,
    ) -> Result<Part, CudaError> {
        let device = Device::shared(share.ordinal)?;
        let of_file = &weights.blocks[share.layers.clone()];
        let is_last = share.layers.end == weights.blocks.len();
        let head = is_last.then_some(&weights.head);
        let matrices = || of_file.iter().flat_map(BlockWeights::matrices).chain(head);
        let needed = matrices().map(GpuMatrix::bytes_for).sum::<usize>() + left_free;
        let room = crate::plan::Plan::room(device.memory()?.free);
        if needed > room {
            return Err(CudaError::TooLittleMemory { free: room, needed });
        }
        crate::soundness::check(&device, matrices())?;
        let mut matrix = |matrix: &FileMatrix<'_>| GpuMatrix::upload(&device, matrix);
        let mut vector = |vector: &Vec<f32>| device.upload(vector);
        let blocks = of_file
            .iter()
            .map(|block| block.try_map(&mut matrix, &mut vector))
            .collect::<Result<_, CudaError>>()?;
        Ok(Part {
            ordinal: share.ordinal,
            lead: Lead::new(&device)?,
            device,
            layers: share.layers.clone(),
            blocks,
        })
    }

    /// The weights of a layer of the model, which is one of this part's.
    pub(crate) fn block(&self, layer: usize) -> &BlockWeights<GpuMatrix, Buffer<f32>> {
        &self.blocks[layer - self.layers.start]
    }
}

impl Head {
    /// Brings it to a GPU.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], [`CudaError::Driver`].
    pub(crate) fn new(
        device: &Device,
        weights: &DecoderWeights<FileMatrix<'_>>,
    ) -> Result<Head, CudaError> {
        Ok(Head {
            norm: device.upload(&weights.norm)?,
            matrix: GpuMatrix::upload(device, &weights.head)?,
        })
    }
}

/// What a pass needs on a GPU while it runs.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Rows that there is room for.
    pub(crate) rows: usize,
    pub(crate) hidden: Buffer<f32>,
    pub(crate) normed: Buffer<f32>,
    /// Half-precision numbers, by their bits.
    pub(crate) halves: Buffer<u16>,
    pub(crate) scales: Buffer<f32>,
    /// Queries, then keys, then values.
    pub(crate) projected: Buffer<f32>,
    /// `[rows, query_heads * head_dim]`.
    pub(crate) attended: Buffer<f32>,
    pub(crate) gate: Buffer<f32>,
    pub(crate) up: Buffer<f32>,
    /// `[logit_rows, vocabulary]`.
    pub(crate) logits: Buffer<f32>,
    pub(crate) logit_rows: usize,
}

impl Scratch {
    pub(crate) fn new(device: &Device, sizes: Sizes, rows: usize) -> Result<Scratch, CudaError> {
        let queries = sizes.query_heads * sizes.head_dim;
        let keys = sizes.kv_heads * sizes.head_dim;
        let widest = sizes.width.max(sizes.feed_forward).max(queries);
        Ok(Scratch {
            rows,
            hidden: device.allocate(rows * sizes.width)?,
            normed: device.allocate(rows * sizes.width)?,
            halves: device.allocate(rows * widest)?,
            scales: device.allocate(rows)?,
            projected: device.allocate(rows * (queries + 2 * keys))?,
            attended: device.allocate(rows * queries)?,
            gate: device.allocate(rows * sizes.feed_forward)?,
            up: device.allocate(rows * sizes.feed_forward)?,
            logits: device.allocate(1)?,
            logit_rows: 0,
        })
    }
}
