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

/// What each page is worth: the sum over rows of the share of attention that it would get. `estimates` is
/// `[rows][pages]`.
///
/// Shares, so that no row's scale outweighs another's; a sum, since the query heads of a group load the same keys.
pub(super) fn worth(estimates: &[f32], pages: usize) -> Vec<f32> {
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
    worth
}

/// The pages to attend to, in order: sinks, the last `window`, and as many of the best others as are left of `budget`
/// pages.
pub(super) fn pick(worth: &[f32], budget: usize, window: usize) -> Vec<u32> {
    let mut chosen = always(worth.len(), window);
    let mut others: Vec<u32> = (0..worth.len() as u32)
        .filter(|page| chosen.binary_search(page).is_err())
        .collect();
    let left = budget.saturating_sub(chosen.len()).min(others.len());
    if left > 0 {
        if left < others.len() {
            others.select_nth_unstable_by(left - 1, |a, b| better(worth, *a, *b));
            others.truncate(left);
        }
        chosen.extend(others);
        chosen.sort_unstable();
    }
    chosen
}

/// As [`pick`], but no more of the others than it takes for all to hold `share` of what pages are worth together.
pub(super) fn pick_enough(worth: &[f32], budget: usize, window: usize, share: f32) -> Vec<u32> {
    let mut chosen = pick(worth, budget, window);
    let always = always(worth.len(), window);
    let held = |pages: &[u32]| -> f32 { pages.iter().map(|page| worth[*page as usize]).sum() };
    let mut missing = share * worth.iter().sum::<f32>() - held(&always);
    chosen.retain(|page| always.binary_search(page).is_err());
    chosen.sort_unstable_by(|a, b| better(worth, *a, *b));
    let enough = chosen
        .iter()
        .take_while(|page| {
            let wanted = missing > 0.0;
            missing -= worth[**page as usize];
            wanted
        })
        .count();
    chosen.truncate(enough);
    chosen.extend(always);
    chosen.sort_unstable();
    chosen
}

/// Worthier pages first; of equal ones the later.
fn better(worth: &[f32], a: u32, b: u32) -> std::cmp::Ordering {
    let of = |page: u32| worth[page as usize];
    of(b).total_cmp(&of(a)).then(b.cmp(&a))
}
