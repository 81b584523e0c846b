//! One probe in the place of many rows (ActQKV, Xiao et al. 2025, arXiv 2502.12917): the queries of a window are added up
//! to one, those that stand out from the others weighing more. What it finds serves all of them.
//!
//! Reimplemented from the paper's account: how far a query stands out is the mean over its channels of its squared
//! distance from the window's mean, in units of the channel's variance, and weights are shares of that.

/// For each head of the group the probe of all tokens: `queries` is `[tokens][group][head_dim]`, the result
/// `[group][head_dim]`.
pub(super) fn probe(queries: &[f32], group: usize, head_dim: usize) -> Vec<f32> {
    let row = group * head_dim;
    let tokens = queries.len() / row;
    if tokens == 1 {
        return queries.to_vec();
    }
    let mut mean = vec![0.0f32; row];
    let mut variance = vec![0.0f32; row];
    for token in queries.chunks_exact(row) {
        for (mean, query) in mean.iter_mut().zip(token) {
            *mean += query / tokens as f32;
        }
    }
    for token in queries.chunks_exact(row) {
        for ((variance, mean), query) in variance.iter_mut().zip(&mean).zip(token) {
            *variance += (query - mean) * (query - mean) / tokens as f32;
        }
    }
    let mut probe = vec![0.0; row];
    let mut sums = vec![0.0f32; group];
    for token in queries.chunks_exact(row) {
        for (head, sum) in sums.iter_mut().enumerate() {
            let channels = head * head_dim..(head + 1) * head_dim;
            let out: f32 = channels
                .clone()
                .map(|at| (token[at] - mean[at]).powi(2) / variance[at].max(f32::MIN_POSITIVE))
                .sum();
            *sum += out;
            for at in channels {
                probe[at] += out * token[at];
            }
        }
    }
    for (probe, sum) in probe.chunks_exact_mut(head_dim).zip(sums) {
        let share = sum.max(f32::MIN_POSITIVE).recip();
        probe.iter_mut().for_each(|number| *number *= share);
    }
    probe
}
