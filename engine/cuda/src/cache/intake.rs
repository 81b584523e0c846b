//! A pass's numbers on the GPU: where its queries lie, and its keys and values among the open pages.

use super::{GpuCache, LayerPass, Projected};
use crate::error::CudaError;
use crate::parameters::{Append, Page, Queries};
use crate::shape::PAGE_TOKENS;

impl GpuCache {
    /// Keys and values of all layers of the last pass, of which `tokens` tokens lay on the device: for each layer keys, then
    /// values, `[tokens][kv_heads][head_dim]`.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn kept(&mut self, tokens: usize) -> Result<&[f32], CudaError> {
        let shape = self.shape();
        let numbers = shape.layers() * tokens * 2 * shape.kv_heads() * shape.head_dim();
        let there = &self.holdings.scratch.kept;
        self.device.download_to(there, numbers, &mut self.brought)?;
        Ok(&self.brought)
    }

    /// Puts a pass's numbers on the GPU, and its keys and values into open pages.
    pub(super) fn take_in(&mut self, pass: &LayerPass<'_>) -> Result<(), CudaError> {
        let shape = self.shape().clone();
        let tokens = pass.tokens;
        let scratch = &mut self.holdings.scratch;
        if let Projected::Here {
            queries,
            keys,
            values,
        } = pass.projected
        {
            self.device.write(queries, &mut scratch.queries, 0)?;
            self.device.write(keys, &mut scratch.keys, 0)?;
            self.device.write(values, &mut scratch.values, 0)?;
        }
        if self.turned != (pass.start, tokens) {
            let turns: Vec<f32> = (pass.start..pass.start + tokens)
                .flat_map(|position| shape.turn(position).into_iter().flatten())
                .collect();
            self.device.write(&turns, &mut scratch.turns, 0)?;
            self.turned = (pass.start, tokens);
        }
        let first_page = pass.start / PAGE_TOKENS;
        let last_page = (pass.start + tokens - 1) / PAGE_TOKENS;
        let open: Vec<Page> = (first_page..=last_page)
            .map(|page| self.half_page(pass.layer, page))
            .collect();
        let at = pass.layer * self.demand.pages() + first_page;
        if self.pages[at..at + open.len()] != open {
            self.pages[at..at + open.len()].copy_from_slice(&open);
            self.device.write(&open, &mut self.holdings.pages, at)?;
        }
        let scratch = &self.holdings.scratch;
        let device = &self.device;
        let row = shape.kv_heads() * shape.head_dim();
        let (keys, values, kept) = match pass.projected {
            Projected::Here { .. } => (
                device.address(&scratch.keys),
                device.address(&scratch.values),
                0,
            ),
            Projected::There(place) => (
                place.keys,
                place.values,
                device.address(&scratch.kept) + (4 * pass.layer * tokens * 2 * row) as u64,
            ),
        };
        let append = Append {
            keys,
            values,
            pages: self.table_address(pass.layer) + (size_of::<Page>() * first_page) as u64,
            kept,
            first_page: first_page as i32,
            start: pass.start as i32,
            tokens: tokens as i32,
            kv_heads: shape.kv_heads() as i32,
            head_dim: shape.head_dim() as i32,
        };
        // SAFETY: the pass's numbers lie there; the pages that its tokens fall into are open and in the table; there is
        // room for a planned pass's keys and values of all layers.
        unsafe { self.device.append(&shape, &append) }
    }

    /// The pass's rows from token `first` on.
    pub(super) fn queries(&self, pass: &LayerPass<'_>, first: usize) -> Queries {
        let shape = self.shape();
        let row = shape.query_heads() * shape.head_dim();
        let queries = match pass.projected {
            Projected::Here { .. } => self.device.address(&self.holdings.scratch.queries),
            Projected::There(place) => place.queries,
        };
        Queries {
            numbers: queries + (4 * first * row) as u64,
            turns: self.device.address(&self.holdings.scratch.turns)
                + (8 * first * shape.pairs()) as u64,
            query_heads: shape.query_heads() as i32,
            kv_heads: shape.kv_heads() as i32,
            start: (pass.start + first) as i32,
            scale: shape.scale(),
        }
    }
}
