//! Attention to chosen pages: index, scan, pick, and bringing what is not there.

use super::{GpuCache, LayerPass, LayerResult, Pages};
use crate::error::CudaError;
use crate::parameters::{Chosen, Index, Pick, Scan};
use crate::plan::{DECODE_TOKENS, SPLITS, Step};

/// Blocks of a scan for each key/value head and token: four pages at a time each.
const SCAN_BLOCKS: usize = 64;

impl GpuCache {
    /// Attends a pass over the pages that each token and head chooses.
    pub(super) fn attend_chosen(
        &mut self,
        pass: &LayerPass<'_>,
        tokens: usize,
        source: &dyn Pages,
    ) -> Result<LayerResult, CudaError> {
        self.extend_index(pass.layer, source)?;
        let room = pass.recorded_tokens;
        let mut masses = Vec::new();
        let mut first = 0;
        while first < tokens {
            let mut piece = DECODE_TOKENS.min(tokens - first);
            let mut chosen = self.choose(pass, first, piece)?;
            if self.holdings.plan.step != Step::Everything {
                // One token's pages always fit; those of several may not.
                let mut lists = self.chosen_pages(piece)?;
                if !self.bring(pass.layer, &lists, source)? {
                    piece = 1;
                    chosen = self.choose(pass, first, piece)?;
                    lists = self.chosen_pages(piece)?;
                    if !self.bring(pass.layer, &lists, source)? {
                        let masses = self.attend_in_turns(pass, tokens, source)?;
                        return self.result(pass, masses);
                    }
                }
            }
            let open = (pass.start + tokens).div_ceil(crate::PAGE_TOKENS) - self.sealed;
            let splits = (self.list_room() + open).min(SPLITS);
            self.decode(pass, first, piece, chosen, 0, splits, splits)?;
            self.merge(pass, first, piece, splits)?;
            if !pass.recorded.is_empty() {
                masses.extend(self.masses(pass, first, piece, chosen)?);
            }
            first += piece;
        }
        debug_assert!(masses.is_empty() || masses.len() == tokens * room);
        self.result(pass, masses)
    }

    /// Makes the index of a layer reach to all sealed pages, bringing them for that in as many turns as it takes.
    fn extend_index(&mut self, layer: usize, source: &dyn Pages) -> Result<(), CudaError> {
        let shape = self.shape().clone();
        while self.indexed[layer] < self.sealed {
            let first = self.indexed[layer];
            // The second page is needed for the first one's codes: its channels' steps are those of all pages.
            let last = (first + self.resident.slots()).min(self.sealed);
            let pages: Vec<usize> = (first..last).chain((first == 0).then_some(1)).collect();
            let pages: Vec<usize> = pages
                .into_iter()
                .filter(|page| *page < self.sealed)
                .collect();
            self.bring(layer, &pages, source)?;
            self.await_pages()?;
            let Some(buffers) = &self.holdings.index else {
                return Ok(());
            };
            let numbers = layer * shape.kv_heads() * shape.head_dim();
            let index = Index {
                pages: self.table_address(layer),
                rotation: self.holdings.rotation(&self.device),
                bias: self.bias_address(layer),
                steps: self.device.address(&buffers.steps) + (4 * numbers) as u64,
                centres: self.device.address(&buffers.centres)
                    + (4 * numbers * buffers.room) as u64,
                codes: self.device.address(&buffers.codes)
                    + (crate::PAGE_TOKENS * numbers * buffers.room) as u64,
                kv_heads: shape.kv_heads() as i32,
                room: buffers.room as i32,
                first_page: 1.min(self.sealed as i32 - 1),
            };
            // SAFETY: the index has room for all sealed pages, and these have just been brought.
            unsafe {
                if first == 0 {
                    self.device.index_steps(&shape, &index)?;
                }
                let index = Index {
                    first_page: first as i32,
                    ..index
                };
                self.device.index_pages(&shape, last - first, &index)?;
            }
            self.pages_were_read()?;
            self.indexed[layer] = last;
        }
        Ok(())
    }

    /// Scans and picks for `tokens` tokens from the pass's token `first` on.
    fn choose(
        &mut self,
        pass: &LayerPass<'_>,
        first: usize,
        tokens: usize,
    ) -> Result<Chosen, CudaError> {
        let shape = self.shape().clone();
        let (Some(index), Some(choice)) = (&self.holdings.index, &self.holdings.scratch.choice)
        else {
            return Ok(Chosen::ALL);
        };
        let numbers = pass.layer * shape.kv_heads() * shape.head_dim();
        let device = &self.device;
        let budget = self.demand.budget_pages.unwrap_or(self.sealed);
        let scan = Scan {
            queries: self.queries(pass, first),
            rotation: self.holdings.rotation(device),
            steps: device.address(&index.steps) + (4 * numbers) as u64,
            centres: device.address(&index.centres) + (4 * numbers * index.room) as u64,
            codes: device.address(&index.codes)
                + (crate::PAGE_TOKENS * numbers * index.room) as u64,
            estimates: device.address(&choice.estimates),
            pages: self.sealed as i32,
            room: index.room as i32,
        };
        let scratch = &self.holdings.scratch;
        let pick = Pick {
            estimates: scan.estimates,
            worth: device.address(&choice.worth),
            chosen: device.address(&scratch.chosen),
            counts: device.address(&scratch.counts),
            pages: self.sealed as i32,
            query_heads: shape.query_heads() as i32,
            budget: budget as i32,
            room: self.list_room() as i32,
        };
        // SAFETY: index and scratch have room for all sealed pages, `DECODE_TOKENS` tokens and lists of the budget.
        unsafe {
            device.scan(
                &shape,
                tokens,
                SCAN_BLOCKS.min(self.sealed.div_ceil(4)),
                &scan,
            )?;
            device.pick(&shape, tokens, &pick)?;
        }
        Ok(Chosen {
            pages: pick.chosen,
            counts: pick.counts,
            room: pick.room,
            sealed: self.sealed as i32,
        })
    }

    /// Entries of a chosen list.
    fn list_room(&self) -> usize {
        let budget = self.demand.budget_pages.unwrap_or(0);
        budget.max(5).min(self.demand.pages())
    }

    /// All pages that some token and head of the last choice attends to.
    fn chosen_pages(&self, tokens: usize) -> Result<Vec<usize>, CudaError> {
        let lists = tokens * self.shape().kv_heads();
        let room = self.list_room();
        let scratch = &self.holdings.scratch;
        let counts = self.device.download(&scratch.counts, lists)?;
        let chosen = self.device.download(&scratch.chosen, lists * room)?;
        let mut pages: Vec<usize> = chosen
            .chunks_exact(room)
            .zip(counts)
            .flat_map(|(list, count)| list[..count as usize].iter().map(|page| *page as usize))
            .collect();
        pages.sort_unstable();
        pages.dedup();
        Ok(pages)
    }
}
