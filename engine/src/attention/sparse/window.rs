//! No judgement: the sinks and the last pages (StreamingLLM, Xiao et al. 2023, arXiv 2309.17453; LM-Infinite, Han et
//! al. 2023, arXiv 2308.16137). The floor that every other policy has to beat.

use super::super::kernels::Kernels;
use super::PageIndex;

/// Later pages are better.
#[derive(Debug)]
pub(super) struct Window;

impl PageIndex for Window {
    fn push(&mut self, _keys: &[f32]) {}

    fn estimate(&self, _kernels: &Kernels, _queries: &[f32], pages: usize, estimates: &mut [f32]) {
        for row in estimates.chunks_exact_mut(pages) {
            for (page, estimate) in row.iter_mut().enumerate() {
                *estimate = page as f32;
            }
        }
    }

    fn bytes(&self) -> usize {
        0
    }
}
