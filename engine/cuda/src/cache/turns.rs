//! Attention to more pages than fit the GPU's memory together: as many as fit at a time, one softmax in the end.

use super::{GpuCache, LayerPass, Pages};
use crate::error::CudaError;
use crate::parameters::Chosen;
use crate::plan::{DECODE_TOKENS, SPLITS};
use crate::shape::PAGE_TOKENS;

/// A `sealed` beyond every page: open pages are left to the last turn.
const NO_OPEN_PAGES: i32 = i32::MAX / 2;

impl GpuCache {
    /// Attends a pass over all pages, in pieces of tokens, each in turns over pages; the pages of the next turn are fetched
    /// while one is attended to. Attention by token and cached token, if it is recorded.
    pub(super) fn attend_in_turns(
        &mut self,
        pass: &LayerPass<'_>,
        tokens: usize,
        source: &dyn Pages,
    ) -> Result<Vec<f32>, CudaError> {
        let visible = (pass.start + tokens).div_ceil(PAGE_TOKENS);
        let sealed: Vec<usize> = (0..self.sealed.min(visible)).collect();
        let turns: Vec<&[usize]> = sealed.chunks(self.turn_pages(sealed.len())).collect();
        // The open pages come last, as a turn of their own.
        let splits = (SPLITS / (turns.len() + 1)).max(1);
        let all = splits * (turns.len() + 1);
        let room = pass.recorded_tokens;
        let recorded = !pass.recorded.is_empty();
        let mut masses = vec![0.0f32; if recorded { tokens * room } else { 0 }];
        for first in (0..tokens).step_by(DECODE_TOKENS) {
            let piece = DECODE_TOKENS.min(tokens - first);
            for nth in 0..=turns.len() {
                let chosen = self.turn(pass.layer, &turns, nth, piece, source)?;
                self.decode(pass, first, piece, chosen, nth * splits, splits, all)?;
                if let Some(next) = turns.get(nth + 1) {
                    self.bring(pass.layer, next, source)?;
                }
            }
            self.merge(pass, first, piece, all)?;
            if !recorded {
                continue;
            }
            for nth in 0..=turns.len() {
                let chosen = self.turn(pass.layer, &turns, nth, piece, source)?;
                let of_turn = self.masses(pass, first, piece, chosen)?;
                for (mass, more) in masses[first * room..].iter_mut().zip(of_turn) {
                    *mass += more;
                }
            }
        }
        Ok(masses)
    }

    /// Brings the pages of a turn, and lists them; behind the last turn come the open ones.
    fn turn(
        &mut self,
        layer: usize,
        turns: &[&[usize]],
        nth: usize,
        tokens: usize,
        source: &dyn Pages,
    ) -> Result<Chosen, CudaError> {
        let Some(pages) = turns.get(nth) else {
            return self.list(&[], tokens, self.sealed as i32);
        };
        self.bring(layer, pages, source)?;
        self.list(pages, tokens, NO_OPEN_PAGES)
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
