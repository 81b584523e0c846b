//! From estimates to pages.

use super::SINK_PAGES;

/// The pages out of the first `pages` that are attended to whatever is chosen, in order: sinks and the last `window`.
pub(super) fn always(pages: usize, window: usize) -> Vec<u32> {
    let sinks = SINK_PAGES.min(pages);
    let window = pages.saturating_sub(window).max(sinks);
    (0..sinks as u32)
        .chain(window as u32..pages as u32)
        .collect()
}

/// The pages to attend to out of the first `pages`, in order: sinks, the last `window`, and as many of the best
/// others as are left of `budget` pages. `estimates` is `[rows][pages]`.
///
/// Each row's estimates are made shares of its attention first, so that no row's scale outweighs another's; a page is
/// worth the sum of its shares (the query heads of a group load the same keys).
pub(super) fn pick(estimates: &[f32], pages: usize, budget: usize, window: usize) -> Vec<u32> {
    let mut worth = vec![0.0f32; pages];
    for row in estimates.chunks_exact(pages) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = row
            .iter()
            .map(|estimate| (estimate - largest).exp2())
            .collect();
        let share = weights.iter().sum::<f32>().recip();
        for (worth, weight) in worth.iter_mut().zip(weights) {
            *worth += weight * share;
        }
    }
    let mut chosen = always(pages, window);
    let mut others: Vec<u32> = (0..pages as u32)
        .filter(|page| chosen.binary_search(page).is_err())
        .collect();
    let left = budget.saturating_sub(chosen.len()).min(others.len());
    if left > 0 {
        let better = |a: &u32, b: &u32| {
            let worth = |page: &u32| worth[*page as usize];
            worth(b).total_cmp(&worth(a)).then(b.cmp(a))
        };
        if left < others.len() {
            others.select_nth_unstable_by(left - 1, better);
            others.truncate(left);
        }
        chosen.extend(others);
        chosen.sort_unstable();
    }
    chosen
}
