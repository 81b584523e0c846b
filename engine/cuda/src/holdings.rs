//! The buffers of a plan, allocated.

use crate::device::{Buffer, Device};
use crate::error::CudaError;
use crate::parameters::{Page, Rotation};
use crate::plan::{Demand, Plan, Sizes};
use crate::shape::PAGE_TOKENS;

/// Everything that lies on the GPU for one document, but for the model's weights.
#[derive(Debug)]
pub struct Holdings {
    /// What was allocated.
    pub plan: Plan,
    pub(crate) channels: Buffer<i32>,
    pub(crate) places: Buffer<f32>,
    pub(crate) page_turns: Buffer<f32>,
    pub(crate) lane_turns: Buffer<f32>,
    /// `[layers][kv_heads][head_dim]`.
    pub(crate) biases: Buffer<f32>,
    /// `[layers][pages]`.
    pub(crate) pages: Buffer<Page>,
    /// `[slots]` parts.
    pub(crate) slots: Buffer<u8>,
    /// `[layers][half pages]` parts.
    pub(crate) halves: Buffer<u8>,
    pub(crate) index: Option<IndexBuffers>,
    pub(crate) scratch: Scratch,
}

/// The index of all layers.
#[derive(Debug)]
pub(crate) struct IndexBuffers {
    /// `[layers][kv_heads][head_dim]`.
    pub(crate) steps: Buffer<f32>,
    /// `[layers][kv_heads][room][head_dim]`.
    pub(crate) centres: Buffer<f32>,
    /// `[layers][kv_heads][room][head_dim / 4][64]`.
    pub(crate) codes: Buffer<u32>,
    pub(crate) room: usize,
}

/// What a pass needs while it runs; one layer after the other uses the same.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) queries: Buffer<f32>,
    pub(crate) turns: Buffer<f32>,
    pub(crate) keys: Buffer<f32>,
    pub(crate) values: Buffer<f32>,
    pub(crate) attended: Buffer<f32>,
    pub(crate) row_largest: Buffer<f32>,
    pub(crate) row_sums: Buffer<f32>,
    pub(crate) split_values: Buffer<f32>,
    pub(crate) split_largest: Buffer<f32>,
    pub(crate) split_sums: Buffer<f32>,
    pub(crate) choice: Option<ChoiceBuffers>,
    pub(crate) chosen: Buffer<i32>,
    pub(crate) counts: Buffer<i32>,
    pub(crate) masses: Buffer<f32>,
    /// `[layers][tokens of a pass][2 kv_heads * head_dim]`.
    pub(crate) kept: Buffer<f32>,
    /// `[pages][kv_heads]` of keys and values in two halves each.
    pub(crate) unpacked: Buffer<u32>,
}

/// Where pages are chosen.
#[derive(Debug)]
pub(crate) struct ChoiceBuffers {
    pub(crate) estimates: Buffer<f32>,
    pub(crate) worth: Buffer<f32>,
}

impl Holdings {
    /// The largest plan that fits what is free now, allocated; smaller ones where an allocation fails.
    ///
    /// # Errors
    /// [`CudaError::TooLittleMemory`] if not even the smallest fits: the CPU's turn. [`CudaError::Driver`] for all else.
    pub fn settle(device: &Device, demand: &Demand) -> Result<Holdings, CudaError> {
        let room = Plan::room(device.memory()?.free);
        let mut plan = Plan::within(demand, room);
        while let Some(tried) = plan {
            match Holdings::allocate(device, demand, &tried) {
                Ok(holdings) => return Ok(holdings),
                // All of it was given back before the next try.
                Err(CudaError::OutOfMemory { .. }) => plan = tried.smaller(demand),
                Err(other) => return Err(other),
            }
        }
        Err(CudaError::TooLittleMemory {
            free: room,
            needed: Plan::smallest(demand).total(),
        })
    }

    /// Allocates a plan and fills its tables.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], [`CudaError::Driver`]; nothing stays allocated then.
    pub fn allocate(device: &Device, demand: &Demand, plan: &Plan) -> Result<Holdings, CudaError> {
        let sizes = Sizes::of(demand, plan.step, plan.slots);
        let shape = &demand.shape;
        let channels: Vec<i32> = shape.pair_channels().into_iter().flatten().collect();
        let by_place: Vec<Vec<[f32; 2]>> = (0..PAGE_TOKENS).map(|at| shape.turn(at)).collect();
        let places: Vec<f32> = (0..sizes.pairs)
            .flat_map(|pair| by_place.iter().flat_map(move |turns| turns[pair]))
            .collect();
        let page_turns: Vec<f32> = (0..sizes.pages)
            .flat_map(|page| shape.turn(page * PAGE_TOKENS).into_iter().flatten())
            .collect();
        let lane_turns: Vec<f32> = shape.turns_by_lane().into_iter().flatten().collect();
        let biases: Vec<f32> = (0..sizes.layers).flat_map(|l| shape.bias(l)).collect();
        let index = if sizes.indexed_pages > 0 {
            let numbers = sizes.layers * sizes.kv_row;
            Some(IndexBuffers {
                steps: device.allocate(numbers)?,
                centres: device.allocate(numbers * sizes.indexed_pages)?,
                codes: device.allocate(numbers * sizes.indexed_pages * PAGE_TOKENS / 4)?,
                room: sizes.indexed_pages,
            })
        } else {
            None
        };
        let choice = if sizes.estimates > 0 {
            Some(ChoiceBuffers {
                estimates: device.allocate(sizes.estimates)?,
                worth: device.allocate(sizes.worth)?,
            })
        } else {
            None
        };
        Ok(Holdings {
            plan: plan.clone(),
            channels: device.upload(&channels)?,
            places: device.upload(&places)?,
            page_turns: device.upload(&page_turns)?,
            lane_turns: device.upload(&lane_turns)?,
            biases: device.upload(&biases)?,
            pages: device.upload(&vec![Page::default(); sizes.layers * sizes.pages])?,
            slots: device.allocate(sizes.slot_bytes)?,
            halves: device.allocate(sizes.half_bytes)?,
            index,
            scratch: Scratch {
                queries: device.allocate(sizes.rows)?,
                turns: device.allocate(2 * sizes.pass_tokens * sizes.pairs)?,
                keys: device.allocate(sizes.new)?,
                values: device.allocate(sizes.new)?,
                attended: device.allocate(sizes.rows)?,
                row_largest: device.allocate(sizes.pass_heads)?,
                row_sums: device.allocate(sizes.pass_heads)?,
                split_values: device.allocate(sizes.splits * sizes.head_dim)?,
                split_largest: device.allocate(sizes.splits)?,
                split_sums: device.allocate(sizes.splits)?,
                choice,
                chosen: device.allocate(sizes.chosen)?,
                counts: device.allocate(sizes.counts)?,
                masses: device.allocate(sizes.masses)?,
                kept: device.allocate(sizes.kept)?,
                unpacked: device.allocate(sizes.unpacked)?,
            },
        })
    }

    /// Addresses of the rotation tables.
    pub(crate) fn rotation(&self, device: &Device) -> Rotation {
        Rotation {
            channels: device.address(&self.channels),
            places: device.address(&self.places),
            pages: device.address(&self.page_turns),
            lanes: device.address(&self.lane_turns),
        }
    }
}
