//! A document's cache on the GPU, and attention to it.
//!
//! In: sealed pages from whoever holds the file ([`Pages`]), and layer by layer a pass's queries, keys and values. Out: the
//! attended values. New tokens are appended to open pages in half precision; when the file's owner seals them, the GPU
//! makes the same codes of its own open pages ([`GpuCache::seal`]), so that nothing is copied back and forth.
//!
//! | pass | what runs |
//! |---|---|
//! | everything is there | `prefill` for many tokens, `decode` and `merge` for few |
//! | pages are chosen | `scan`, `pick`, what is missing is brought, `decode`, `merge` |
//! | not all pages fit at once | `decode` in turns over as many as fit, one `merge` |
//!
//! A choice is downloaded only where pages may be missing.

mod choose;
mod turns;

use crate::SLICE_ROWS;
use crate::device::{Device, Pinned};
use crate::error::CudaError;
use crate::holdings::Holdings;
use crate::parameters::{
    Append, Chosen, Copy16, Decode, Gather, Mass, Merge, Page, Prefill, Quantize, Queries,
};
use crate::plan::{DECODE_TOKENS, Demand, Plan, SPLITS, STAGED_PAGES, Step};
use crate::resident::{PageId, Resident};
use crate::shape::{PAGE_TOKENS, PageFormat, Shape};

/// Where sealed pages come from.
pub trait Pages {
    /// How a page is encoded, and the bytes of one layer's part of it.
    fn part(&self, layer: usize, page: usize) -> (PageFormat, &[u8]);
}

/// A document on the GPU.
#[derive(Debug)]
pub struct GpuCache {
    device: Device,
    demand: Demand,
    holdings: Holdings,
    resident: Resident,
    /// The tables of pages, `[layers][pages]`, as they are on the GPU.
    pages: Vec<Page>,
    /// Pages that the index of a layer reaches to.
    indexed: Vec<usize>,
    /// Pages from here on are open.
    sealed: usize,
    staging: Option<Pinned<u8>>,
}

/// One layer of a pass.
#[derive(Debug, Clone, Copy)]
pub struct LayerPass<'a> {
    /// Of the model.
    pub layer: usize,
    /// Position of the first token.
    pub start: usize,
    /// `[tokens][query_heads][head_dim]`, with bias, not turned, not scaled.
    pub queries: &'a [f32],
    /// `[tokens][kv_heads][head_dim]`, without bias, not turned.
    pub keys: &'a [f32],
    /// `[tokens][kv_heads][head_dim]`.
    pub values: &'a [f32],
    /// Whether pages are chosen in this layer, where there is an index.
    pub chooses: bool,
    /// Query heads whose attention is recorded.
    pub recorded: &'a [usize],
    /// How many tokens from the start it is recorded for.
    pub recorded_tokens: usize,
}

/// What a layer gives.
#[derive(Debug, Clone, Default)]
pub struct LayerResult {
    /// `[tokens][query_heads][head_dim]`.
    pub attended: Vec<f32>,
    /// Probabilities by token of the pass and recorded token, summed over recorded heads; empty where none are.
    pub masses: Vec<f32>,
}

impl GpuCache {
    /// Room for a document.
    ///
    /// # Errors
    /// As [`Holdings::settle`].
    pub fn new(device: Device, demand: Demand) -> Result<GpuCache, CudaError> {
        let holdings = Holdings::settle(&device, &demand)?;
        let part = demand.format.part_bytes(&demand.shape);
        let staged = STAGED_PAGES.min(holdings.plan.slots);
        // Where none can be pinned, pages are copied one by one.
        let staging = device.pin(staged * part).ok();
        Ok(GpuCache {
            resident: Resident::new(holdings.plan.slots),
            pages: vec![Page::default(); demand.shape.layers() * demand.pages()],
            indexed: vec![0; demand.shape.layers()],
            sealed: 0,
            staging,
            device,
            demand,
            holdings,
        })
    }

    /// What lies where.
    pub fn plan(&self) -> &Plan {
        &self.holdings.plan
    }

    /// The GPU.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Tokens that there is room for.
    pub fn capacity(&self) -> usize {
        self.demand.pages() * PAGE_TOKENS
    }

    fn shape(&self) -> &Shape {
        &self.demand.shape
    }

    /// Takes over what a file holds: `tokens` tokens are sealed, the last, partial page is put among the open ones.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn open(&mut self, tokens: usize, source: &dyn Pages) -> Result<(), CudaError> {
        self.resident.clear();
        self.pages.fill(Page::default());
        self.indexed.fill(0);
        self.sealed = tokens / PAGE_TOKENS;
        for layer in 0..self.shape().layers() {
            if self.sealed > 0 {
                self.put_halves(layer, 0, source)?;
            }
            if !tokens.is_multiple_of(PAGE_TOKENS) && self.sealed > 0 {
                self.put_halves(layer, self.sealed, source)?;
            } else if self.sealed == 0 && tokens > 0 {
                self.put_halves(layer, 0, source)?;
            }
            self.write_table(layer)?;
        }
        Ok(())
    }

    /// Where an open page, or the first, lies among the halves.
    fn half_slot(&self, layer: usize, page: usize) -> usize {
        let slots = self.demand.half_pages();
        let slot = if page == 0 { 0 } else { 1 + page % (slots - 1) };
        (layer * slots + slot) * PageFormat::HALVES.part_bytes(self.shape())
    }

    fn half_page(&self, layer: usize, page: usize) -> Page {
        let first = self.device.address(&self.holdings.halves);
        PageFormat::HALVES.page(first + self.half_slot(layer, page) as u64)
    }

    fn put_halves(
        &mut self,
        layer: usize,
        page: usize,
        source: &dyn Pages,
    ) -> Result<(), CudaError> {
        let (_, bytes) = source.part(layer, page);
        let slot = self.half_slot(layer, page);
        self.device.write(bytes, &mut self.holdings.halves, slot)?;
        let at = layer * self.demand.pages() + page;
        self.pages[at] = self.half_page(layer, page);
        Ok(())
    }

    fn write_table(&mut self, layer: usize) -> Result<(), CudaError> {
        let pages = self.demand.pages();
        let table = &self.pages[layer * pages..(layer + 1) * pages];
        self.device
            .write(table, &mut self.holdings.pages, layer * pages)
    }

    fn table_address(&self, layer: usize) -> u64 {
        let entry = size_of::<Page>() * layer * self.demand.pages();
        self.device.address(&self.holdings.pages) + entry as u64
    }

    fn bias_address(&self, layer: usize) -> u64 {
        let row = 4 * self.shape().kv_heads() * self.shape().head_dim();
        self.device.address(&self.holdings.biases) + (layer * row) as u64
    }

    /// Brings sealed pages of a layer to the GPU. Whether there is room for all of them together.
    fn bring(
        &mut self,
        layer: usize,
        pages: &[usize],
        source: &dyn Pages,
    ) -> Result<bool, CudaError> {
        let coded = pages.iter().filter(|page| **page != 0);
        let ids: Vec<PageId> = coded.map(|&page| PageId { layer, page }).collect();
        let Some(arrivals) = self.resident.ask(&ids) else {
            return Ok(false);
        };
        if arrivals.is_empty() {
            return Ok(true);
        }
        let part = self.demand.format.part_bytes(self.shape());
        let slots = self.device.address(&self.holdings.slots);
        let mut changed = vec![layer];
        for arrival in &arrivals {
            if let Some(leaves) = arrival.leaves {
                self.pages[leaves.layer * self.demand.pages() + leaves.page] = Page::default();
                changed.push(leaves.layer);
            }
        }
        for some in arrivals.chunks(STAGED_PAGES) {
            let Some(staging) = &mut self.staging else {
                for arrival in some {
                    let (_, bytes) = source.part(layer, arrival.id.page);
                    let first = arrival.slot * part;
                    self.device.write(bytes, &mut self.holdings.slots, first)?;
                }
                continue;
            };
            // The launch before may still read what lies there.
            self.device.finish()?;
            let staged = staging
                .as_mut_slice()
                .map_err(crate::error::driver("use pinned memory"))?;
            for (arrival, staged) in some.iter().zip(staged.chunks_exact_mut(part)) {
                staged.copy_from_slice(source.part(layer, arrival.id.page).1);
            }
            let from = staged.as_ptr() as u64;
            let copies: Vec<Copy16> = some
                .iter()
                .enumerate()
                .map(|(nth, arrival)| Copy16 {
                    from: from + (nth * part) as u64,
                    to: slots + (arrival.slot * part) as u64,
                    pieces: (part / 16) as i64,
                })
                .collect();
            self.device
                .write(&copies, &mut self.holdings.scratch.copies, 0)?;
            let gather = Gather {
                copies: self.device.address(&self.holdings.scratch.copies),
            };
            // SAFETY: each copy goes from a part in pinned memory, which stays until the next launch is waited for, to a
            // slot of that size.
            unsafe { self.device.gather(copies.len(), &gather) }?;
        }
        for arrival in &arrivals {
            let at = layer * self.demand.pages() + arrival.id.page;
            self.pages[at] = self
                .demand
                .format
                .page(slots + (arrival.slot * part) as u64);
        }
        changed.sort_unstable();
        changed.dedup();
        for layer in changed {
            self.write_table(layer)?;
        }
        Ok(true)
    }

    /// Attends one layer of a pass: appends its keys and values, and looks back.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    ///
    /// # Panics
    /// If the pass is longer than planned for, or goes beyond the capacity.
    pub fn attend(
        &mut self,
        pass: &LayerPass<'_>,
        source: &dyn Pages,
    ) -> Result<LayerResult, CudaError> {
        let shape = self.shape().clone();
        let tokens = pass.queries.len() / (shape.query_heads() * shape.head_dim());
        assert!(tokens <= self.demand.pass_tokens && pass.start + tokens <= self.capacity());
        self.take_in(pass, tokens)?;
        let visible = (pass.start + tokens).div_ceil(PAGE_TOKENS);
        let sealed: Vec<usize> = (0..self.sealed.min(visible)).collect();
        let heads = shape.query_heads() * shape.head_dim();
        if pass.chooses && self.holdings.index.is_some() {
            return self.attend_chosen(pass, tokens, source);
        }
        let mut result = LayerResult::default();
        if !self.bring(pass.layer, &sealed, source)? {
            return self.attend_in_turns(pass, tokens, source);
        }
        if tokens > DECODE_TOKENS && pass.recorded.is_empty() {
            self.prefill(pass, tokens)?;
            result.attended = self
                .device
                .download(&self.holdings.scratch.attended, tokens * heads)?;
            return Ok(result);
        }
        let splits = visible.min(SPLITS);
        for first in (0..tokens).step_by(DECODE_TOKENS) {
            let piece = DECODE_TOKENS.min(tokens - first);
            self.decode(pass, first, piece, Chosen::ALL, 0, splits, splits)?;
            self.merge(first, piece, splits)?;
            if !pass.recorded.is_empty() {
                result
                    .masses
                    .extend(self.masses(pass, first, piece, Chosen::ALL)?);
            }
        }
        result.attended = self
            .device
            .download(&self.holdings.scratch.attended, tokens * heads)?;
        Ok(result)
    }

    /// Puts a pass's numbers on the GPU, and its keys and values into open pages.
    fn take_in(&mut self, pass: &LayerPass<'_>, tokens: usize) -> Result<(), CudaError> {
        let shape = self.shape().clone();
        let scratch = &mut self.holdings.scratch;
        self.device.write(pass.queries, &mut scratch.queries, 0)?;
        self.device.write(pass.keys, &mut scratch.keys, 0)?;
        self.device.write(pass.values, &mut scratch.values, 0)?;
        let turns: Vec<f32> = (pass.start..pass.start + tokens)
            .flat_map(|position| shape.turn(position).into_iter().flatten())
            .collect();
        self.device.write(&turns, &mut scratch.turns, 0)?;
        let first_page = pass.start / PAGE_TOKENS;
        let last_page = (pass.start + tokens - 1) / PAGE_TOKENS;
        let open: Vec<Page> = (first_page..=last_page)
            .map(|page| self.half_page(pass.layer, page))
            .collect();
        let at = pass.layer * self.demand.pages();
        self.pages[at + first_page..=at + last_page].copy_from_slice(&open);
        self.write_table(pass.layer)?;
        let addresses: Vec<u64> = open.iter().map(|page| page.bytes).collect();
        let scratch = &mut self.holdings.scratch;
        self.device.write(&addresses, &mut scratch.open_pages, 0)?;
        let append = Append {
            keys: self.device.address(&scratch.keys),
            values: self.device.address(&scratch.values),
            pages: self.device.address(&scratch.open_pages),
            first_page: first_page as i32,
            start: pass.start as i32,
            tokens: tokens as i32,
            kv_heads: shape.kv_heads() as i32,
            head_dim: shape.head_dim() as i32,
        };
        // SAFETY: the pass's numbers and the addresses of the pages that its tokens fall into were just put there.
        unsafe { self.device.append(&shape, &append) }
    }

    /// The pass's rows from token `first` on.
    fn queries(&self, pass: &LayerPass<'_>, first: usize) -> Queries {
        let shape = self.shape();
        let row = shape.query_heads() * shape.head_dim();
        Queries {
            numbers: self.device.address(&self.holdings.scratch.queries) + (4 * first * row) as u64,
            turns: self.device.address(&self.holdings.scratch.turns)
                + (8 * first * shape.pairs()) as u64,
            query_heads: shape.query_heads() as i32,
            kv_heads: shape.kv_heads() as i32,
            start: (pass.start + first) as i32,
            scale: shape.scale(),
        }
    }

    /// Decodes `tokens` tokens from the pass's token `first` on, filling `splits` of `all` splits from `first_split` on.
    #[allow(clippy::too_many_arguments)]
    fn decode(
        &self,
        pass: &LayerPass<'_>,
        first: usize,
        tokens: usize,
        chosen: Chosen,
        first_split: usize,
        splits: usize,
        all: usize,
    ) -> Result<(), CudaError> {
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
        };
        assert!(tokens <= DECODE_TOKENS && all <= SPLITS && first_split + splits <= all);
        // SAFETY: the scratch holds `DECODE_TOKENS` tokens with `SPLITS` splits; all pages that are chosen, or all that
        // can be seen, have been brought, or are open.
        unsafe { self.device.decode(self.shape(), tokens, splits, &decode) }
    }

    /// Merges the splits of `tokens` tokens into the attended values from token `first` on.
    fn merge(&self, first: usize, tokens: usize, splits: usize) -> Result<(), CudaError> {
        let scratch = &self.holdings.scratch;
        let heads = first * self.shape().query_heads();
        let at = |buffer: u64, row: usize| buffer + (4 * heads * row) as u64;
        let merge = Merge {
            values: self.device.address(&scratch.split_values),
            largest: self.device.address(&scratch.split_largest),
            sums: self.device.address(&scratch.split_sums),
            attended: at(
                self.device.address(&scratch.attended),
                self.shape().head_dim(),
            ),
            row_largest: at(self.device.address(&scratch.row_largest), 1),
            row_sums: at(self.device.address(&scratch.row_sums), 1),
            splits: splits as i32,
        };
        // SAFETY: the scratch holds all tokens of the pass and the splits that `decode` filled.
        unsafe { self.device.merge(self.shape(), tokens, &merge) }
    }

    fn prefill(&self, pass: &LayerPass<'_>, tokens: usize) -> Result<(), CudaError> {
        let scratch = &self.holdings.scratch;
        let prefill = Prefill {
            queries: self.queries(pass, 0),
            rotation: self.holdings.rotation(&self.device),
            pages: self.table_address(pass.layer),
            bias: self.bias_address(pass.layer),
            attended: self.device.address(&scratch.attended),
            row_largest: self.device.address(&scratch.row_largest),
            row_sums: self.device.address(&scratch.row_sums),
            tokens: tokens as i32,
        };
        // SAFETY: the scratch holds all tokens of the pass; all pages have been brought, or are open.
        unsafe { self.device.prefill(self.shape(), &prefill) }
    }

    /// Attention of `tokens` tokens from token `first` of the pass on, by cached token.
    fn masses(
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
        device.download(&scratch.masses, tokens * room)
    }

    /// The open pages below position `tokens` are sealed in the file now: makes their codes here, too.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn seal(&mut self, tokens: usize) -> Result<(), CudaError> {
        let shape = self.shape().clone();
        let full = tokens / PAGE_TOKENS;
        let format = self.demand.format;
        for layer in 0..shape.layers() {
            for page in self.sealed.max(1)..full {
                // Where there is no room, the page comes from the file when it is needed.
                let room =
                    self.holdings.plan.step == Step::Everything && format != PageFormat::HALVES;
                let at = layer * self.demand.pages() + page;
                self.pages[at] = Page::default();
                let arrivals = room.then(|| self.resident.ask(&[PageId { layer, page }]));
                let Some(arrival) = arrivals
                    .flatten()
                    .and_then(|arrivals| arrivals.first().copied())
                else {
                    continue;
                };
                let part = format.part_bytes(&shape);
                let slot = self.device.address(&self.holdings.slots) + (arrival.slot * part) as u64;
                let quantize = Quantize {
                    halves: self.half_page(layer, page).bytes,
                    part: slot,
                    kv_heads: shape.kv_heads() as i32,
                    head_dim: shape.head_dim() as i32,
                    key_bits: format.key_bits() as i32,
                    value_bits: format.value_bits() as i32,
                };
                // SAFETY: an open page that is full, and a slot of its codes' size.
                unsafe { self.device.quantize(&shape, &quantize) }?;
                self.pages[at] = format.page(slot);
            }
            self.write_table(layer)?;
        }
        self.sealed = self.sealed.max(full);
        Ok(())
    }
}
