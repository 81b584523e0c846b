//! A model's blocks on the GPU: its weights stay there, and between two attentions so do its activations.
//!
//! In: the weights as their file has them, once; then passes over chunks of tokens. Out: what attention is given, and
//! logits. It is the [`Backend`] that `lectern-models` asks for.
//!
//! | rows of a pass | products | activations |
//! |---|---|---|
//! | up to [`FEW_TOKENS`] | `few`: weights decoded in registers | F32 |
//! | more | `many`: tensor cores | halves, each row with a scale |
//!
//! So the GPU rounds activations to 11 bits where the processor rounds them to 8, and weights, which the processor leaves
//! as they are, to 11 bits for the tensor cores.
//!
//! Layers may lie on several GPUs ([`Spread`]), each with its own memory for a pass; the hidden state, some MB a chunk at
//! most, goes from one to the next through the host. One GPU is the case of one part.
//!
//! Memory: the weights' bytes, and on each GPU a pass's rows, 64 KB a token of Qwen2.5 0.5B and 251 KB of 7B, which grow to
//! the longest pass so far and are kept; logits of all its rows if they were asked for.

use crate::cache::Place;
use crate::device::{Buffer, Device};
use crate::error::CudaError;
use crate::matrix::GpuMatrix;
use crate::parameters::{Gate, Halve, Norm, Product, Rows};
use crate::part::{Head, Part, Scratch};
use crate::products::FEW_TOKENS;
use crate::spread::{Share, Spread};
use lectern_models::backend::{Backend, BackendError, BackendPass, Work};
use lectern_models::packed::FileMatrix;
use lectern_models::{DecoderWeights, ForwardError, Projected, Sizes};
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that must stay free beside the weights of a GPU: a pass's rows, and a document's smallest plan.
pub(crate) const LEFT_FREE: usize = 192 << 20;

/// The weights of a model, and memory for one pass.
#[derive(Debug)]
pub struct GpuDecoder {
    /// In the order of their layers.
    parts: Vec<Part>,
    /// Where the last part is.
    head: Head,
    sizes: Sizes,
    /// Of each part.
    scratch: Mutex<Vec<Scratch>>,
}

impl GpuDecoder {
    /// Brings a model's weights to GPUs, if they fit with room for a document beside them.
    ///
    /// # Errors
    /// [`CudaError::TooLittleMemory`], [`CudaError::Unsound`], [`CudaError::OutOfMemory`], [`CudaError::Driver`], of any
    /// of the GPUs; nothing stays allocated then.
    pub fn new(
        spread: &Spread,
        weights: &DecoderWeights<FileMatrix<'_>>,
    ) -> Result<GpuDecoder, CudaError> {
        assert_eq!(spread.layers(), weights.blocks.len(), "layers of a spread");
        let parts = spread
            .shares()
            .iter()
            .map(|share| Part::new(share, weights, LEFT_FREE))
            .collect::<Result<Vec<_>, CudaError>>()?;
        let head = Head::new(&parts[parts.len() - 1].device, weights)?;
        let scratch = parts
            .iter()
            .map(|part| Scratch::new(&part.device, weights.sizes, FEW_TOKENS))
            .collect::<Result<_, CudaError>>()?;
        Ok(GpuDecoder {
            parts,
            head,
            sizes: weights.sizes,
            scratch: Mutex::new(scratch),
        })
    }
}

impl Backend for GpuDecoder {
    fn run(&self, hidden: &mut [f32], work: &mut Work<'_>) -> Result<(), ForwardError> {
        let rows = hidden.len() / self.sizes.width;
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        for (part, scratch) in self.parts.iter().zip(scratch.iter_mut()) {
            if rows > scratch.rows {
                let larger = Scratch::new(&part.device, self.sizes, rows.next_power_of_two());
                *scratch = larger.map_err(failed)?;
            }
        }
        self.parts[0]
            .device
            .write(hidden, &mut scratch[0].hidden, 0)
            .map_err(failed)?;
        work(&mut Pass {
            decoder: self,
            scratch,
            part: 0,
            rows,
            first_row: 0,
            projected: Projected::default(),
        })
    }

    fn layout(&self) -> Option<Box<dyn Any>> {
        let share = |part: &Part| Share {
            ordinal: part.ordinal,
            layers: part.layers.clone(),
        };
        let spread: Spread = self.parts.iter().map(share).collect();
        Some(Box::new(spread))
    }
}

fn failed(error: CudaError) -> BackendError {
    BackendError::Failed(Box::new(error))
}

/// A pass over `rows` rows of the hidden state from `first_row` on.
struct Pass<'a> {
    decoder: &'a GpuDecoder,
    scratch: MutexGuard<'a, Vec<Scratch>>,
    /// Which part has the hidden state.
    part: usize,
    rows: usize,
    first_row: usize,
    /// What was brought here.
    projected: Projected,
}

/// A product's matrix, bias, where it goes, and whether it is added to what is there.
type Wanted<'a> = (&'a GpuMatrix, Option<&'a Buffer<f32>>, u64, bool);

impl Pass<'_> {
    fn part(&self) -> &Part {
        &self.decoder.parts[self.part]
    }

    fn device(&self) -> &Device {
        &self.part().device
    }

    fn scratch(&self) -> &Scratch {
        &self.scratch[self.part]
    }

    /// Takes the hidden state to the part that has this layer.
    fn go_to(&mut self, layer: usize) -> Result<(), CudaError> {
        while !self.part().layers.contains(&layer) && self.part + 1 < self.decoder.parts.len() {
            let numbers = (self.first_row + self.rows) * self.decoder.sizes.width;
            let hidden = self.device().download(&self.scratch().hidden, numbers)?;
            self.part += 1;
            let next = &mut self.scratch[self.part].hidden;
            self.decoder.parts[self.part]
                .device
                .write(&hidden, next, 0)?;
        }
        Ok(())
    }

    fn is_few(&self) -> bool {
        self.rows <= FEW_TOKENS
    }

    fn hidden(&self) -> u64 {
        let width = self.decoder.sizes.width;
        self.device().address(&self.scratch().hidden) + 4 * (self.first_row * width) as u64
    }

    /// Where rows go that are multiplied next: to `plain`, or to halves.
    fn rows_to(&self, plain: &Buffer<f32>) -> Rows {
        let device = self.device();
        if self.is_few() {
            return Rows {
                plain: device.address(plain),
                halves: 0,
                scales: 0,
            };
        }
        Rows {
            plain: 0,
            halves: device.address(&self.scratch().halves),
            scales: device.address(&self.scratch().scales),
        }
    }

    /// Multiplies the rows that went to `plain` or to halves.
    fn multiply(&self, plain: &Buffer<f32>, wanted: &[Wanted<'_>]) -> Result<(), CudaError> {
        self.multiply_at(self.device().address(plain), wanted)
    }

    fn multiply_at(&self, plain: u64, wanted: &[Wanted<'_>]) -> Result<(), CudaError> {
        let device = self.device();
        let products: Vec<Product> = wanted
            .iter()
            .map(|(matrix, bias, to, adds)| Product {
                matrix: matrix.parameter(device),
                bias: bias.map_or(0, |bias| device.address(bias)),
                to: *to,
                adds: i32::from(*adds),
                first_block: 0,
            })
            .collect();
        let activations = (
            plain,
            device.address(&self.scratch().halves),
            device.address(&self.scratch().scales),
        );
        // SAFETY: the rows were just written by the launch before, as many columns as the matrices have; there is room for
        // as many rows of each product.
        unsafe { device.multiply(self.rows, activations, &products) }
    }

    /// Norm of the hidden state.
    fn norm(&self, weights: &Buffer<f32>) -> Result<(), CudaError> {
        let sizes = self.decoder.sizes;
        let norm = Norm {
            numbers: self.hidden(),
            weights: self.device().address(weights),
            to: self.rows_to(&self.scratch().normed),
            columns: sizes.width as i32,
            epsilon: sizes.norm_epsilon,
        };
        // SAFETY: rows of the hidden state, to as many.
        unsafe { self.device().norm_rows(self.rows, &norm) }
    }

    /// Norm of each head, where it lies.
    fn norm_heads(&self, at: u64, heads: usize, weights: &Buffer<f32>) -> Result<(), CudaError> {
        let sizes = self.decoder.sizes;
        let norm = Norm {
            numbers: at,
            weights: self.device().address(weights),
            to: Rows {
                plain: at,
                halves: 0,
                scales: 0,
            },
            columns: sizes.head_dim as i32,
            epsilon: sizes.norm_epsilon,
        };
        // SAFETY: heads of all rows; a thread reads a channel before it writes it, and the sum of squares before both.
        unsafe { self.device().norm_rows(self.rows * heads, &norm) }
    }

    /// Numbers of queries, and of keys, of all rows.
    fn lengths(&self) -> (usize, usize) {
        let sizes = self.decoder.sizes;
        (
            self.rows * sizes.query_heads * sizes.head_dim,
            self.rows * sizes.kv_heads * sizes.head_dim,
        )
    }

    /// Addresses of queries, keys and values.
    fn projections(&self) -> [u64; 3] {
        let (queries, keys) = self.lengths();
        let first = self.device().address(&self.scratch().projected);
        [0, 4 * queries, 4 * (queries + keys)].map(|bytes| first + bytes as u64)
    }

    fn project_on_gpu(&mut self, layer: usize) -> Result<(), CudaError> {
        let sizes = self.decoder.sizes;
        self.go_to(layer)?;
        let decoder = self.decoder;
        let block = decoder.parts[self.part].block(layer);
        self.norm(&block.attention_norm)?;
        let [queries, keys, values] = self.projections();
        self.multiply(
            &self.scratch().normed,
            &[
                (&block.query, block.query_bias.as_ref(), queries, false),
                (&block.key, None, keys, false),
                (&block.value, block.value_bias.as_ref(), values, false),
            ],
        )?;
        if let Some(norm) = &block.query_norm {
            self.norm_heads(queries, sizes.query_heads, norm)?;
        }
        if let Some(norm) = &block.key_norm {
            self.norm_heads(keys, sizes.kv_heads, norm)?;
        }
        Ok(())
    }

    fn projected_on_gpu(&mut self) -> Result<&Projected, CudaError> {
        let (queries, keys) = self.lengths();
        let mut numbers = self
            .device()
            .download(&self.scratch().projected, queries + 2 * keys)?;
        let mut keys_and_values = numbers.split_off(queries);
        let values = keys_and_values.split_off(keys);
        self.projected = Projected {
            tokens: self.rows,
            queries: numbers,
            keys: keys_and_values,
            values,
        };
        Ok(&self.projected)
    }

    fn finish_on_gpu(&mut self, layer: usize, attended: Option<&[f32]>) -> Result<(), CudaError> {
        let decoder = self.decoder;
        let sizes = decoder.sizes;
        let part = &decoder.parts[self.part];
        let (block, device) = (part.block(layer), &*part.device);
        let columns = sizes.query_heads * sizes.head_dim;
        let mut numbers = device.address(&self.scratch().attended);
        match attended {
            Some(attended) => device.write(attended, &mut self.scratch[self.part].attended, 0)?,
            None => numbers += 4 * (self.first_row * columns) as u64,
        }
        if !self.is_few() {
            let halve = Halve {
                numbers,
                to: self.rows_to(&self.scratch().attended),
                columns: columns as i32,
            };
            // SAFETY: the rows that were attended.
            unsafe { device.halve_rows(self.rows, &halve) }?;
        }
        let hidden = self.hidden();
        self.multiply_at(numbers, &[(&block.attention_output, None, hidden, true)])?;
        self.norm(&block.feed_forward_norm)?;
        let gate = device.address(&self.scratch().gate);
        let up = device.address(&self.scratch().up);
        self.multiply(
            &self.scratch().normed,
            &[
                (&block.gate, None, gate, false),
                (&block.up, None, up, false),
            ],
        )?;
        let gated = Gate {
            gate,
            up,
            to: self.rows_to(&self.scratch().gate),
            columns: sizes.feed_forward as i32,
        };
        // SAFETY: the products that were just made; each number is read before it is written.
        unsafe { device.gate_rows(self.rows, &gated) }?;
        self.multiply(&self.scratch().gate, &[(&block.down, None, hidden, true)])
    }

    fn logits_on_gpu(&mut self) -> Result<Vec<f32>, CudaError> {
        let decoder = self.decoder;
        let part = &decoder.parts[self.part];
        let Head { norm, matrix } = &decoder.head;
        let vocabulary = matrix.rows();
        let rows = self.rows;
        let scratch = &mut self.scratch[self.part];
        if rows > scratch.logit_rows {
            scratch.logits = part.device.allocate(rows * vocabulary)?;
            scratch.logit_rows = rows;
        }
        self.norm(norm)?;
        let to = self.device().address(&self.scratch().logits);
        self.multiply(&self.scratch().normed, &[(matrix, None, to, false)])?;
        self.device()
            .download(&self.scratch().logits, rows * vocabulary)
    }
}

impl BackendPass for Pass<'_> {
    fn project(&mut self, layer: usize) -> Result<(), BackendError> {
        self.project_on_gpu(layer).map_err(failed)
    }

    fn projected(&mut self) -> Result<&Projected, BackendError> {
        self.projected_on_gpu().map_err(failed)
    }

    fn place(&self) -> Option<Box<dyn Any>> {
        let [queries, keys, values] = self.projections();
        Some(Box::new(Place {
            device: Arc::clone(&self.part().device),
            queries,
            keys,
            values,
            attended: self.device().address(&self.scratch().attended),
        }))
    }

    fn keep_last(&mut self) {
        self.first_row += self.rows - 1;
        self.rows = 1;
    }

    fn finish(
        &mut self,
        layer: usize,
        attended: Option<&[f32]>,
        // The decoder looks between layers.
        _is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), BackendError> {
        self.finish_on_gpu(layer, attended).map_err(failed)?;
        // Few tokens are done too soon for anybody to stop them.
        if self.is_few() {
            return Ok(());
        }
        let lead = &self.part().lead;
        lead.asked_for(layer, self.device()).map_err(failed)
    }

    fn logits(&mut self, logits: &mut Vec<f32>) -> Result<(), BackendError> {
        *logits = self.logits_on_gpu().map_err(failed)?;
        Ok(())
    }
}
