//! What of a document's cache lies in the GPU's memory, decided before anything is allocated.
//!
//! In: the bytes that are free now, and what is asked for ([`Demand`]). Out: a [`Plan`], the largest step that fits, with
//! the bytes of each part, which are the bytes of its allocations ([`Holdings`](crate::Holdings)) to the last one.
//!
//! | step | index | pages | |
//! |---|---|---|---|
//! | [`Step::Everything`] | on the GPU | all | nothing moves while a question is answered |
//! | [`Step::HotPages`] | on the GPU | as many as fit | chosen pages are fetched; those of the last tokens are mostly there |
//! | [`Step::Turns`] | none | one layer's, in turns | every page is fetched for every token: slow, but all is attended to |
//!
//! Below that there is the CPU. Where an allocation fails although the bytes were free a moment ago (other programs use
//! the GPU, too), the next smaller plan is tried: see [`Holdings::settle`](crate::Holdings::settle).

use crate::parameters::Page;
use crate::shape::{PAGE_TOKENS, PageFormat, Shape};
use std::ops::Range;

/// Tokens that one launch of `decode` takes at most; longer passes that choose pages come in pieces.
pub const DECODE_TOKENS: usize = 16;

/// Splits of one launch of `decode` of so many tokens at most; of fewer tokens there may be as many more.
pub const SPLITS: usize = 64;

/// Turns over pages that do not fit together, at most: a split each, and one for open pages.
pub(crate) const TURNS: usize = SPLITS - 1;

/// Pages that are decoded for `prefill` at a time: 8 MB with two heads of 64 channels, 34 MB with four of 128.
pub(crate) const UNPACKED_PAGES: usize = 128;

/// Pages that are brought by one launch: what lies in pinned memory at a time.
pub(crate) const STAGED_PAGES: usize = 64;

/// Part of the free memory that is left to others: the driver's own needs and what a desktop takes while it is used.
const MARGIN_SHARE: usize = 20;

/// And at least this.
const MARGIN_BYTES: usize = 256 << 20;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Demand {
    /// Of the model.
    pub shape: Shape,
    /// Of full pages after the first.
    pub format: PageFormat,
    /// Bytes of weights that will be put onto the same GPU.
    pub weight_bytes: usize,
    /// Tokens of the document.
    pub cached_tokens: usize,
    /// Tokens behind it: a chunk that is read, or question and answer.
    pub window_tokens: usize,
    /// Tokens of a pass at most.
    pub pass_tokens: usize,
    /// Pages that a head attends to where pages are chosen; `None`: all are attended to, and there is no index.
    pub budget_pages: Option<usize>,
}

impl Demand {
    /// The same of some of the layers alone; `weight_bytes` stays as it is.
    pub fn of_layers(&self, layers: &Range<usize>) -> Demand {
        Demand {
            shape: self.shape.of_layers(layers),
            ..*self
        }
    }

    /// Pages of document and window.
    pub fn pages(&self) -> usize {
        (self.cached_tokens + self.window_tokens).div_ceil(PAGE_TOKENS)
    }

    /// Pages of one layer in half precision: the first, the last if it is not full, and the window's.
    pub fn half_pages(&self) -> usize {
        (2 + self.window_tokens.div_ceil(PAGE_TOKENS)).min(self.pages())
    }

    /// Slots without which a layer cannot be attended to: for the pages that one token can choose, over all heads, or for
    /// the pages of two turns, one that is attended to and one that comes, of as many as `decode` has splits for.
    fn least_slots(&self) -> usize {
        let turn = self.pages().div_ceil(TURNS);
        let chosen = self.budget_pages.unwrap_or(0).max(5) * self.shape.kv_heads();
        chosen.max(2 * turn).min(self.pages())
    }
}

/// How much of the cache is on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All pages of all layers.
    Everything,
    /// The index and some pages.
    HotPages,
    /// Some pages of one layer at a time.
    Turns,
}

/// What lies on the GPU, in bytes, and what that makes possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How much of the cache.
    pub step: Step,
    /// Slots for coded pages (one layer's part each).
    pub slots: usize,
    /// Weights, which the model itself allocates.
    pub weights: usize,
    /// Rotation tables, biases and tables of pages.
    pub tables: usize,
    /// The index that pages are chosen by.
    pub index: usize,
    /// Coded pages.
    pub hot_pages: usize,
    /// Pages in half precision: the first, and question and answer or the chunk being read.
    pub window: usize,
    /// What a pass needs while it runs.
    pub scratch: usize,
    /// Bytes of the cache that stay in the host's memory or on disk.
    pub elsewhere: usize,
}

impl Plan {
    /// The largest step of at most `room` bytes; `None` if there is none.
    pub fn within(demand: &Demand, room: usize) -> Option<Plan> {
        let everything = demand.shape.layers() * demand.pages();
        let part_bytes = demand.format.part_bytes(&demand.shape);
        let largest = Plan::of(demand, Step::Everything, everything);
        if largest.total() <= room {
            return Some(largest);
        }
        let least = demand.least_slots();
        [Step::HotPages, Step::Turns]
            .into_iter()
            .filter(|step| *step != Step::HotPages || demand.budget_pages.is_some())
            .find_map(|step| {
                let smallest = Plan::of(demand, step, least);
                let left = room.checked_sub(smallest.total())?;
                let slots = (least + left / part_bytes).min(everything);
                // What a slot takes besides its bytes may be one slot too much.
                [slots, slots.saturating_sub(1).max(least), least]
                    .into_iter()
                    .map(|slots| Plan::of(demand, step, slots))
                    .find(|plan| plan.total() <= room)
            })
    }

    /// The smallest plan there is.
    pub fn smallest(demand: &Demand) -> Plan {
        Plan::of(demand, Step::Turns, demand.least_slots())
    }

    /// The next smaller plan, for when an allocation of this one failed.
    pub fn smaller(&self, demand: &Demand) -> Option<Plan> {
        let smaller = Plan::within(demand, self.total() - self.total() / 5);
        smaller.or_else(|| {
            let smallest = Plan::smallest(demand);
            (smallest.total() < self.total()).then_some(smallest)
        })
    }

    /// Bytes that may be taken out of so many that are free.
    pub fn room(free: usize) -> usize {
        free.saturating_sub(MARGIN_BYTES.max(free / MARGIN_SHARE))
    }

    /// Whether nothing of the document is elsewhere.
    pub fn is_everything(&self) -> bool {
        self.step == Step::Everything
    }

    /// All bytes on the GPU.
    pub fn total(&self) -> usize {
        self.weights + self.allocated()
    }

    /// Bytes that [`Holdings`](crate::Holdings) allocates.
    pub fn allocated(&self) -> usize {
        self.tables + self.index + self.hot_pages + self.window + self.scratch
    }

    fn of(demand: &Demand, step: Step, slots: usize) -> Plan {
        let sizes = Sizes::of(demand, step, slots);
        let parts =
            demand.shape.layers() * demand.pages() * demand.format.part_bytes(&demand.shape);
        Plan {
            step,
            slots,
            weights: demand.weight_bytes,
            tables: sizes.tables(),
            index: sizes.index(),
            hot_pages: sizes.slot_bytes,
            window: sizes.half_bytes,
            scratch: sizes.scratch(),
            elsewhere: parts.saturating_sub(sizes.slot_bytes),
        }
    }
}

/// Bytes, for a person.
pub(crate) fn amount(bytes: usize) -> String {
    match bytes {
        0..0x4000_0000 => format!("{} MB", bytes.div_ceil(1 << 20)),
        _ => format!("{:.1} GB", bytes as f64 / (1u64 << 30) as f64),
    }
}

/// What is said of so many bytes that are on no GPU.
pub(crate) fn stays_behind(elsewhere: usize) -> String {
    match elsewhere {
        0 => String::new(),
        bytes => format!(
            "; {} of the document's cache stay in the computer's memory",
            amount(bytes)
        ),
    }
}

impl Plan {
    /// What lies on the GPU, in words.
    pub(crate) fn contents(&self) -> String {
        let some = |what: &str, bytes: usize| match bytes {
            0 => String::new(),
            bytes => format!("{what} {}, ", amount(bytes)),
        };
        format!(
            "{}{}pages {}, window and working memory {}",
            some("model", self.weights),
            some("index", self.index),
            amount(self.hot_pages),
            amount(self.tables + self.window + self.scratch)
        )
    }
}

impl std::fmt::Display for Plan {
    /// For the person who is about to read a document.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} on the GPU: {}{}",
            amount(self.total()),
            self.contents(),
            stays_behind(self.elsewhere)
        )
    }
}

/// Lengths of all buffers; numbers unless they say bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) layers: usize,
    /// Of a layer.
    pub(crate) pages: usize,
    pub(crate) pairs: usize,
    /// Of one key/value row.
    pub(crate) kv_row: usize,
    pub(crate) slot_bytes: usize,
    pub(crate) half_bytes: usize,
    /// Pages with an index; 0: none.
    pub(crate) indexed_pages: usize,
    /// Query and attended numbers of a pass.
    pub(crate) rows: usize,
    /// Key (or value) numbers of a pass.
    pub(crate) new: usize,
    pub(crate) pass_tokens: usize,
    /// Query heads of all tokens of a pass.
    pub(crate) pass_heads: usize,
    /// Query heads of all tokens that are decoded together, times splits.
    pub(crate) splits: usize,
    pub(crate) head_dim: usize,
    pub(crate) estimates: usize,
    pub(crate) worth: usize,
    pub(crate) chosen: usize,
    pub(crate) counts: usize,
    pub(crate) masses: usize,
    /// Keys and values of a pass, of all layers.
    pub(crate) kept: usize,
    /// Words of pages that are decoded: two halves each.
    pub(crate) unpacked: usize,
}

impl Sizes {
    pub(crate) fn of(demand: &Demand, step: Step, slots: usize) -> Sizes {
        let shape = &demand.shape;
        let pages = demand.pages();
        let chooses = demand.budget_pages.is_some() && step != Step::Turns;
        let decoded = demand.pass_tokens.min(DECODE_TOKENS);
        let lists = decoded * shape.kv_heads();
        let budget = demand.budget_pages.unwrap_or(0);
        Sizes {
            layers: shape.layers(),
            pages,
            pairs: shape.pairs(),
            kv_row: shape.kv_heads() * shape.head_dim(),
            slot_bytes: slots * demand.format.part_bytes(shape),
            half_bytes: shape.layers() * demand.half_pages() * PageFormat::HALVES.part_bytes(shape),
            indexed_pages: if chooses {
                demand.cached_tokens.div_ceil(PAGE_TOKENS)
            } else {
                0
            },
            rows: demand.pass_tokens * shape.query_heads() * shape.head_dim(),
            new: demand.pass_tokens * shape.kv_heads() * shape.head_dim(),
            pass_tokens: demand.pass_tokens,
            pass_heads: demand.pass_tokens * shape.query_heads(),
            splits: decoded * shape.query_heads() * SPLITS,
            head_dim: shape.head_dim(),
            estimates: if chooses {
                decoded * shape.query_heads() * pages
            } else {
                0
            },
            worth: if chooses { lists * pages } else { 0 },
            // A list of its own for each head, or one turn's pages for all of them.
            chosen: lists * budget.max(5).max(slots.min(pages)).min(pages),
            counts: lists,
            masses: decoded * pages * PAGE_TOKENS,
            kept: shape.layers() * demand.pass_tokens * 2 * shape.kv_heads() * shape.head_dim(),
            unpacked: if demand.pass_tokens > DECODE_TOKENS {
                let numbers = 2 * shape.kv_heads() * shape.head_dim() * PAGE_TOKENS;
                pages.min(UNPACKED_PAGES) * numbers
            } else {
                0
            },
        }
    }

    fn tables(&self) -> usize {
        let rotation = 8 * self.pairs * (1 + 2 * PAGE_TOKENS + self.pages);
        let biases = 4 * self.layers * self.kv_row;
        let pages = size_of::<Page>() * self.layers * self.pages;
        rotation + biases + pages
    }

    fn index(&self) -> usize {
        if self.indexed_pages == 0 {
            return 0;
        }
        let page = self.kv_row * (4 + PAGE_TOKENS);
        self.layers * (4 * self.kv_row + self.indexed_pages * page)
    }

    fn scratch(&self) -> usize {
        let queries = 4 * self.rows + 8 * self.pass_tokens * self.pairs;
        let new = 2 * 4 * self.new;
        let attended = 4 * self.rows + 2 * 4 * self.pass_heads;
        let splits = 4 * self.splits * (self.head_dim + 2);
        let choice = 4 * (self.estimates + self.worth + self.chosen + self.counts);
        let masses = 4 * self.masses;
        queries + new + attended + splits + choice + masses + 4 * (self.kept + self.unpacked)
    }
}
