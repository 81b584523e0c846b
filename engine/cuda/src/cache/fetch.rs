//! Bringing pages from the host, ahead of the work that needs them.
//!
//! In: which pages of a layer are wanted. Out: slots that hold them, once [`GpuCache::await_pages`] was called. Pages are
//! copied into pinned memory, in two halves that take turns, and fetched from there by the second line of work
//! ([`Line::Fetching`]), so that the host copies, the bus carries and the first line computes at the same time:
//!
//! ```text
//! host       fill a ── fill b ── fill a ──          waits until the half was fetched
//! fetching           gather a ── gather b ──        waits until nobody reads the slots any more (`read`)
//! work       attend to turn n ───────── n + 1       waits until its pages have arrived (`arrived`)
//! ```
//!
//! Where the whole document is on the GPU nothing is fetched but once, and nobody waits.

use super::{GpuCache, Pages};
use crate::device::{Device, Line, Moment, Pinned};
use crate::error::{CudaError, driver};
use crate::parameters::{Copy16, Gather, Page};
use crate::plan::{STAGED_PAGES, Step};
use crate::resident::{Arrival, Leaving, PageId};

/// Room for a page's entry in the list, so that both halves begin at a multiple of 16.
const ENTRY_ROOM: usize = size_of::<Copy16>().next_multiple_of(16);

/// What is under way.
#[derive(Debug)]
pub(super) struct Fetch {
    /// Both halves, each the pages' parts and a list of what goes where. Where none can be pinned, pages are copied one
    /// by one.
    staging: Option<Pinned<u8>>,
    /// Pages of a half.
    pages: usize,
    /// The half that is filled next.
    half: usize,
    /// When what lay in each half was fetched.
    fetched: [Moment; 2],
    /// When slots were last read, or allocated.
    read: Moment,
    /// When all that was asked for is in its slots.
    arrived: Moment,
    /// Whether the first line of work was not told yet to wait for that.
    is_awaited: bool,
}

impl Fetch {
    /// For parts of `part` bytes and so many slots.
    pub fn new(device: &Device, part: usize, slots: usize) -> Result<Fetch, CudaError> {
        let pages = STAGED_PAGES.min(slots);
        Ok(Fetch {
            staging: device.pin(2 * pages * (part + ENTRY_ROOM)).ok(),
            pages,
            half: 0,
            fetched: [device.moment()?, device.moment()?],
            read: device.moment()?,
            arrived: device.moment()?,
            is_awaited: false,
        })
    }

    /// What is fetched from now on comes after all work so far.
    pub fn wait_for_slots(&self, device: &Device) -> Result<(), CudaError> {
        device.mark(&self.read, Line::Work)
    }
}

impl GpuCache {
    /// Asks for sealed pages of a layer. Whether there is room for all of them together; if not, nothing was done.
    pub(super) fn bring(
        &mut self,
        layer: usize,
        pages: &[usize],
        source: &dyn Pages,
    ) -> Result<bool, CudaError> {
        let coded = pages.iter().filter(|page| **page != 0);
        let ids: Vec<PageId> = coded.map(|&page| PageId { layer, page }).collect();
        // Of pages that are all visited in turn the oldest is the one that is wanted next.
        let leaving = match self.holdings.plan.step {
            Step::Turns => Leaving::Newest,
            Step::Everything | Step::HotPages => Leaving::Oldest,
        };
        let Some(arrivals) = self.resident.ask(&ids, leaving) else {
            return Ok(false);
        };
        if arrivals.is_empty() {
            return Ok(true);
        }
        self.device.hold(Line::Fetching, &self.fetch.read)?;
        let per_launch = self.fetch.pages;
        for some in arrivals.chunks(per_launch) {
            self.fetch_some(layer, some, source)?;
        }
        self.device.mark(&self.fetch.arrived, Line::Fetching)?;
        self.fetch.is_awaited = true;
        self.enter(layer, &arrivals)?;
        Ok(true)
    }

    /// Brings all sealed pages of a layer, if there is room for them together.
    pub(super) fn bring_all(
        &mut self,
        layer: usize,
        sealed: usize,
        source: &dyn Pages,
    ) -> Result<bool, CudaError> {
        if sealed <= self.there[layer] {
            return Ok(true);
        }
        let pages: Vec<usize> = (0..sealed).collect();
        let fit = self.bring(layer, &pages, source)?;
        if fit && self.holdings.plan.step == Step::Everything {
            self.there[layer] = sealed;
        }
        Ok(fit)
    }

    /// Asks for the pages that the next layer begins with, while this one's products are made.
    pub(super) fn bring_next_layer(
        &mut self,
        layer: usize,
        sealed: usize,
        source: &dyn Pages,
    ) -> Result<(), CudaError> {
        if self.holdings.plan.step == Step::Everything {
            return Ok(());
        }
        let next = (layer + 1) % self.shape().layers();
        let first_turn: Vec<usize> = (0..sealed.min(self.turn_pages(sealed))).collect();
        self.bring(next, &first_turn, source).map(|_| ())
    }

    /// Pages that are attended to at a time where not all fit: as few as there are splits for, and otherwise what is fetched
    /// at once; two such turns have room beside each other, so that one can come while the other is attended to.
    pub(super) fn turn_pages(&self, sealed: usize) -> usize {
        let least = sealed.div_ceil(crate::plan::TURNS);
        least
            .max(STAGED_PAGES.min(self.resident.slots() / 2))
            .clamp(1, self.resident.slots())
    }

    /// Before pages are read: the work that follows waits for those that were asked for.
    pub(super) fn await_pages(&mut self) -> Result<(), CudaError> {
        if std::mem::take(&mut self.fetch.is_awaited) {
            self.device.hold(Line::Work, &self.fetch.arrived)?;
        }
        Ok(())
    }

    /// After pages were read: what is fetched from now on may take their slots.
    pub(super) fn pages_were_read(&self) -> Result<(), CudaError> {
        match self.holdings.plan.step {
            // Slots keep what they hold.
            Step::Everything => Ok(()),
            Step::HotPages | Step::Turns => self.fetch.wait_for_slots(&self.device),
        }
    }

    /// Fetches one launch's pages.
    fn fetch_some(
        &mut self,
        layer: usize,
        some: &[Arrival],
        source: &dyn Pages,
    ) -> Result<(), CudaError> {
        let part = self.demand.format.part_bytes(self.shape());
        let Fetch {
            staging,
            pages,
            half,
            fetched,
            ..
        } = &mut self.fetch;
        let Some(staging) = staging else {
            for arrival in some {
                let (_, bytes) = source.part(layer, arrival.id.page);
                let first = arrival.slot * part;
                let slots = &mut self.holdings.slots;
                self.device.write_in(Line::Fetching, bytes, slots, first)?;
            }
            return Ok(());
        };
        let fetched = &fetched[*half];
        self.device.wait_for(fetched)?;
        let staged = staging
            .as_mut_slice()
            .map_err(driver("use pinned memory"))?;
        let half_bytes = staged.len() / 2;
        let (parts, list) = staged[*half * half_bytes..][..half_bytes].split_at_mut(*pages * part);
        let from = parts.as_ptr() as u64;
        let to = self.device.address(&self.holdings.slots);
        for ((nth, arrival), copy) in some
            .iter()
            .enumerate()
            .zip(list.chunks_exact_mut(size_of::<Copy16>()))
        {
            let bytes = source.part(layer, arrival.id.page).1;
            parts[nth * part..][..part].copy_from_slice(bytes);
            let from = from + (nth * part) as u64;
            let to = to + (arrival.slot * part) as u64;
            let pieces = (part / 16) as u64;
            for (word, to) in [from, to, pieces].iter().zip(copy.chunks_exact_mut(8)) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
        }
        let gather = Gather {
            copies: list.as_ptr() as u64,
        };
        // SAFETY: each copy goes from a part in pinned memory, which stays as it is until `fetched`, to a slot of that size.
        unsafe { self.device.gather(some.len(), &gather) }?;
        self.device.mark(fetched, Line::Fetching)?;
        *half = 1 - *half;
        Ok(())
    }

    /// Puts what has been asked for into the tables of pages, and takes out what it takes the place of.
    fn enter(&mut self, layer: usize, arrivals: &[Arrival]) -> Result<(), CudaError> {
        let part = self.demand.format.part_bytes(self.shape());
        let slots = self.device.address(&self.holdings.slots);
        let of_layer = self.demand.pages();
        let mut changed: Vec<usize> = Vec::new();
        for leaves in arrivals.iter().filter_map(|arrival| arrival.leaves) {
            let at = leaves.layer * of_layer + leaves.page;
            self.pages[at] = Page::default();
            changed.push(at);
        }
        for arrival in arrivals {
            let at = layer * of_layer + arrival.id.page;
            let slot = slots + (arrival.slot * part) as u64;
            self.pages[at] = self.demand.format.page(slot);
            changed.push(at);
        }
        changed.sort_unstable();
        // What lies together is written together.
        for run in changed.chunk_by(|a, b| b - a <= 1) {
            let (first, last) = (run[0], run[run.len() - 1]);
            let table = &self.pages[first..=last];
            self.device.write(table, &mut self.holdings.pages, first)?;
        }
        Ok(())
    }
}

impl Drop for GpuCache {
    fn drop(&mut self) {
        // Nothing may come any more into slots that are given back. Where the GPU failed there is nothing to wait for.
        let _ = self.device.finish_fetching();
    }
}
