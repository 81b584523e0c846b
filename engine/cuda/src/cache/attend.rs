//! The launches of attention to pages that are there.

use super::{GpuCache, LayerPass, LayerResult, Pages, Projected};
use crate::error::CudaError;
use crate::parameters::{Chosen, Decode, Mass, Merge, Prefill, Unpack};
use crate::plan::{DECODE_TOKENS, SPLITS, Step, UNPACKED_PAGES};
use crate::{SLICE_ROWS, TILE_ROWS};

impl GpuCache {
    /// Shares of so many pages for `decode`: enough for several blocks on each multiprocessor, as many as there is room for.
    pub(super) fn splits(&self, pages: usize, tokens: usize) -> usize {
        /// Blocks that wait for memory while another computes.
        const BLOCKS: usize = 4;
        let blocks = self.shape().kv_heads() * tokens;
        let room = self.demand.pass_tokens.min(DECODE_TOKENS) * SPLITS / tokens;
        (BLOCKS * self.device.multiprocessors())
            .div_ceil(blocks)
            .min(room)
            .min(pages)
            .max(1)
    }

    /// What was attended, if it is wanted on the host.
    pub(super) fn result(
        &self,
        pass: &LayerPass<'_>,
        masses: Vec<f32>,
    ) -> Result<LayerResult, CudaError> {
        let row = self.shape().query_heads() * self.shape().head_dim();
        let attended = match pass.projected {
            Projected::There(_) => Vec::new(),
            Projected::Here { .. } => self
                .device
                .download(&self.holdings.scratch.attended, pass.tokens * row)?,
        };
        Ok(LayerResult { attended, masses })
    }

    /// Decodes `tokens` tokens from the pass's token `first` on, filling `splits` of `all` splits from `first_split` on.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn decode(
        &mut self,
        pass: &LayerPass<'_>,
        first: usize,
        tokens: usize,
        chosen: Chosen,
        first_split: usize,
        splits: usize,
        all: usize,
    ) -> Result<(), CudaError> {
        self.await_pages()?;
        let scratch = &self.holdings.scratch;
        let decode = Decode {
            queries: self.queries(pass, first),
            rotation: self.holdings.rotation(&self.device),
            chosen,
            pages: self.table_address(pass.layer),
            bias: self.bias_address(pass.layer),
            values: self.device.address(&scratch.split_values),
            largest: self.device.address(&scratch.split_largest),
            sums: self.device.address(&scratch.split_sums),
            splits: all as i32,
            first_split: first_split as i32,
            first_row: 0,
        };
        assert!(first_split + splits <= all);
        assert!(tokens * all <= self.demand.pass_tokens.min(DECODE_TOKENS) * SPLITS);
        // SAFETY: the scratch holds so many splits of tokens; all pages that are chosen, or all that can be seen, have been
        // brought, or are open.
        unsafe { self.device.decode(self.shape(), tokens, splits, &decode) }?;
        self.pages_were_read()
    }

    /// Merges the splits of `tokens` tokens into the attended values from token `first` on.
    pub(super) fn merge(
        &self,
        pass: &LayerPass<'_>,
        first: usize,
        tokens: usize,
        splits: usize,
    ) -> Result<(), CudaError> {
        let scratch = &self.holdings.scratch;
        let heads = first * self.shape().query_heads();
        let at = |buffer: u64, row: usize| buffer + (4 * heads * row) as u64;
        let merge = Merge {
            values: self.device.address(&scratch.split_values),
            largest: self.device.address(&scratch.split_largest),
            sums: self.device.address(&scratch.split_sums),
            attended: at(self.attended(pass), self.shape().head_dim()),
            row_largest: at(self.device.address(&scratch.row_largest), 1),
            row_sums: at(self.device.address(&scratch.row_sums), 1),
            splits: splits as i32,
            head_dim: self.shape().head_dim() as i32,
        };
        // SAFETY: the scratch holds all tokens of the pass and the splits that `decode` or `prefill` filled.
        unsafe { self.device.merge(self.shape(), tokens, &merge) }
    }

    /// Where what is attended goes.
    pub(super) fn attended(&self, pass: &LayerPass<'_>) -> u64 {
        match pass.projected {
            Projected::Here { .. } => self.device.address(&self.holdings.scratch.attended),
            Projected::There(place) => place.attended,
        }
    }

    /// Attends all tokens of a pass to `visible` pages, decoded in runs; those of the next run are fetched while one is
    /// attended to. Where their tiles leave multiprocessors idle, as those of a small model do, a run is split among blocks,
    /// in as many shares as there is room for.
    pub(super) fn prefill(
        &mut self,
        pass: &LayerPass<'_>,
        visible: usize,
        source: &dyn Pages,
    ) -> Result<(), CudaError> {
        /// Pages below which a share is not worth a block.
        const LEAST_SHARE: usize = 4;
        let sealed = self.sealed.min(visible);
        let run = match self.holdings.plan.step {
            Step::Everything => {
                self.bring_all(pass.layer, sealed, source)?;
                UNPACKED_PAGES
            }
            Step::HotPages | Step::Turns => UNPACKED_PAGES.min(self.turn_pages(sealed)),
        };
        let runs: Vec<std::ops::Range<usize>> = (0..visible)
            .step_by(run)
            .map(|first| first..visible.min(first + run))
            .collect();
        let shape = self.shape().clone();
        let blocks = (pass.tokens * shape.group_size()).div_ceil(TILE_ROWS) * shape.kv_heads();
        let room = self.demand.pass_tokens.min(DECODE_TOKENS) * SPLITS / pass.tokens;
        let splits = (2 * self.device.multiprocessors() / blocks)
            .min(visible.min(run) / LEAST_SHARE)
            .min(room)
            .max(1);
        for (nth, run) in runs.iter().enumerate() {
            if nth == 0 {
                self.bring_run(pass.layer, run, source)?;
            }
            self.await_pages()?;
            let scratch = &self.holdings.scratch;
            let device = &self.device;
            let unpack = Unpack {
                rotation: self.holdings.rotation(device),
                pages: self.table_address(pass.layer),
                bias: self.bias_address(pass.layer),
                to: device.address(&scratch.unpacked),
                kv_heads: shape.kv_heads() as i32,
                first_page: run.start as i32,
                end: (pass.start + pass.tokens) as i32,
            };
            let prefill = Prefill {
                queries: self.queries(pass, 0),
                rotation: unpack.rotation,
                unpacked: unpack.to,
                values: device.address(&scratch.split_values),
                largest: device.address(&scratch.split_largest),
                sums: device.address(&scratch.split_sums),
                tokens: pass.tokens as i32,
                first_page: run.start as i32,
                pages: run.len() as i32,
                goes_on: i32::from(nth > 0),
            };
            // SAFETY: the scratch holds a run's pages, and all tokens of the pass with so many splits; all pages have
            // been brought, or are open.
            unsafe { device.unpack(&shape, run.len(), &unpack) }?;
            self.pages_were_read()?;
            // SAFETY: as above.
            unsafe { self.device.prefill(&shape, splits, &prefill) }?;
            if let Some(next) = runs.get(nth + 1) {
                self.bring_run(pass.layer, next, source)?;
            }
        }
        self.merge(pass, 0, pass.tokens, splits)
    }

    /// Asks for the sealed pages of a run, of which two have room beside each other.
    pub(super) fn bring_run(
        &mut self,
        layer: usize,
        run: &std::ops::Range<usize>,
        source: &dyn Pages,
    ) -> Result<(), CudaError> {
        if self.holdings.plan.step == Step::Everything {
            return Ok(());
        }
        let sealed: Vec<usize> = run.clone().take_while(|page| *page < self.sealed).collect();
        let fits = self.bring(layer, &sealed, source)?;
        debug_assert!(fits, "a run is at most as long as there are slots");
        Ok(())
    }

    /// Attention of `tokens` tokens from token `first` of the pass on, by cached token.
    pub(super) fn masses(
        &mut self,
        pass: &LayerPass<'_>,
        first: usize,
        tokens: usize,
        chosen: Chosen,
    ) -> Result<Vec<f32>, CudaError> {
        let shape = self.shape().clone();
        let room = pass.recorded_tokens;
        assert!(room <= self.capacity());
        let device = &self.device;
        let zeros = vec![0.0f32; tokens * room];
        device.write(&zeros, &mut self.holdings.scratch.masses, 0)?;
        self.await_pages()?;
        let device = &self.device;
        let scratch = &self.holdings.scratch;
        let heads = (4 * first * shape.query_heads()) as u64;
        for kv_head in 0..shape.kv_heads() {
            for first_row in (0..shape.group_size()).step_by(SLICE_ROWS) {
                let head = kv_head * shape.group_size() + first_row;
                let rows = SLICE_ROWS.min(shape.group_size() - first_row);
                let recorded = pass
                    .recorded
                    .iter()
                    .filter(|recorded| (head..head + rows).contains(recorded))
                    .fold(0, |bits, recorded| bits | 1 << (recorded - head));
                if recorded == 0 {
                    continue;
                }
                let mass = Mass {
                    queries: self.queries(pass, first),
                    rotation: self.holdings.rotation(device),
                    chosen,
                    pages: self.table_address(pass.layer),
                    bias: self.bias_address(pass.layer),
                    row_largest: device.address(&scratch.row_largest) + heads,
                    row_sums: device.address(&scratch.row_sums) + heads,
                    masses: device.address(&scratch.masses),
                    room: room as i32,
                    kv_head: kv_head as i32,
                    first_row: first_row as i32,
                    recorded,
                };
                // SAFETY: the scratch holds `DECODE_TOKENS` rows of masses; the pages are those that were decoded.
                unsafe { device.mass(&shape, tokens, SPLITS.min(self.demand.pages()), &mass) }?;
            }
        }
        self.pages_were_read()?;
        self.device
            .download(&self.holdings.scratch.masses, tokens * room)
    }
}
