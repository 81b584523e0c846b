//! Attention to more pages than fit the GPU's memory together: as many as fit at a time, one softmax in the end.

use super::{GpuCache, LayerPass, LayerResult, Pages};
use crate::error::CudaError;
use crate::parameters::Chosen;
use crate::plan::DECODE_TOKENS;
use crate::shape::PAGE_TOKENS;

/// A `sealed` beyond every page: open pages are left to the last turn.
const NO_OPEN_PAGES: i32 = i32::MAX / 2;

impl GpuCache {
    /// Attends a pass over all pages, in pieces of tokens, each in turns over pages.
    pub(super) fn attend_in_turns(
        &mut self,
        pass: &LayerPass<'_>,
        tokens: usize,
        source: &dyn Pages,
    ) -> Result<LayerResult, CudaError> {
        let visible = (pass.start + tokens).div_ceil(PAGE_TOKENS);
        let sealed: Vec<usize> = (0..self.sealed.min(visible)).collect();
        let turns: Vec<&[usize]> = sealed.chunks(self.resident.slots()).collect();
        let room = pass.recorded_tokens;
        let recorded = !pass.recorded.is_empty();
        let mut masses = vec![0.0f32; if recorded { tokens * room } else { 0 }];
        for first in (0..tokens).step_by(DECODE_TOKENS) {
            let piece = DECODE_TOKENS.min(tokens - first);
            for (nth, turn) in turns.iter().enumerate() {
                self.bring(pass.layer, turn, source)?;
                let chosen = self.list(turn, piece, NO_OPEN_PAGES)?;
                self.decode(pass, first, piece, chosen, nth, 1, turns.len() + 1)?;
            }
            let open = self.list(&[], piece, self.sealed as i32)?;
            self.decode(pass, first, piece, open, turns.len(), 1, turns.len() + 1)?;
            self.merge(pass, first, piece, turns.len() + 1)?;
            if !recorded {
                continue;
            }
            for nth in 0..=turns.len() {
                let (turn, open) = match turns.get(nth) {
                    Some(turn) => (*turn, NO_OPEN_PAGES),
                    None => (&[][..], self.sealed as i32),
                };
                self.bring(pass.layer, turn, source)?;
                let chosen = self.list(turn, piece, open)?;
                let of_turn = self.masses(pass, first, piece, chosen)?;
                for (mass, more) in masses[first * room..].iter_mut().zip(of_turn) {
                    *mass += more;
                }
            }
        }
        self.result(pass, masses)
    }

    /// The same list of pages for every token and head.
    fn list(&mut self, pages: &[usize], tokens: usize, sealed: i32) -> Result<Chosen, CudaError> {
        let lists = tokens * self.shape().kv_heads();
        let room = pages.len().max(1);
        let mut numbers: Vec<i32> = pages.iter().map(|page| *page as i32).collect();
        numbers.resize(room, 0);
        let scratch = &mut self.holdings.scratch;
        self.device
            .write(&numbers.repeat(lists), &mut scratch.chosen, 0)?;
        self.device
            .write(&vec![pages.len() as i32; lists], &mut scratch.counts, 0)?;
        Ok(Chosen {
            pages: self.device.address(&scratch.chosen),
            counts: self.device.address(&scratch.counts),
            room: room as i32,
            sealed,
        })
    }
}
