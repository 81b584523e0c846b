//! What attention is told to remember of what it looked at: for citations, for eviction, for measurements.

use super::DenseAttention;
use super::mass::Mass;
use super::peaks::Peaks;
use super::sparse::{Audit, Recall, SparseRead};

impl DenseAttention {
    /// From now on adds up how much attention these `(layer, query head)`s pay to each token that is held now, cached
    /// or in the tail.
    ///
    /// Passes of more than 64 tokens are not counted. An empty list ends it.
    pub fn record(&mut self, heads: &[(usize, usize)]) {
        self.peaks = None;
        self.mass = (!heads.is_empty()).then(|| Mass::new(heads, self.tail.end()));
    }

    /// For each token held when recording began the attention probability it got, summed over recorded heads and over
    /// the rows of all passes since the last call (or since [`DenseAttention::record`]); zeros if nothing is recorded.
    /// Rows that were dropped by [`DenseAttention::rewind`] do not count.
    pub fn take_mass(&mut self) -> Vec<f32> {
        self.take_mass_before(usize::MAX)
    }

    /// As [`DenseAttention::take_mass`], of the rows at positions before `position`; of a last pass that goes beyond,
    /// the other rows are left for the next call.
    pub fn take_mass_before(&mut self, position: usize) -> Vec<f32> {
        match &mut self.mass {
            Some(mass) => mass.take_before(position),
            None => vec![0.0; self.tail.end()],
        }
    }

    /// From now on remembers the most attention that any row pays to each cached token, in passes of at most 64 tokens, in
    /// place of what [`DenseAttention::record`] was told. The CPU does the work then.
    pub fn record_peaks(&mut self) {
        self.leave_gpu();
        self.mass = None;
        self.peaks = Some(Peaks::new(
            self.shape.layers,
            self.shape.kv_heads,
            self.view.tokens(),
        ));
    }

    /// For each layer, key/value head and cached token the most attention that a row paid since
    /// [`DenseAttention::record_peaks`]; nothing is recorded any more.
    pub fn take_peaks(&mut self) -> Vec<f32> {
        self.peaks.take().map_or(Vec::new(), Peaks::into_largest)
    }

    /// From now on measures what these ways of looking would have held of the attention that is paid. Holds all keys
    /// in memory, and takes several times as long.
    pub fn audit(&mut self, ways: &[SparseRead]) {
        self.audit = Some(Audit::new(ways, *self.view.shape()));
    }

    /// What each way would have held since [`DenseAttention::audit`].
    pub fn recalls(&self) -> Vec<Recall> {
        self.audit.as_ref().map_or(Vec::new(), Audit::recalls)
    }
}
