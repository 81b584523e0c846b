//! What each policy says of keys that are known.

use super::super::kernels::Kernels;
use super::super::kernels::tests::noise;
use super::antidiagonals::{Antidiagonals, STRIDE, joined};
use super::pick::{pick, pick_enough, worth};
use super::probe::probe;
use super::{PageIndex, PagePolicy};
use crate::kv::BLOCK_TOKENS;

/// More pages than one group of columns holds.
const PAGES: usize = 40;
const ROWS: usize = 3;

/// Keys of pages, `[head_dim][64]` each, and query rows.
fn keys_and_queries(head_dim: usize) -> (Vec<Vec<f32>>, Vec<f32>) {
    let pages = (0..PAGES as u64).map(|page| noise(page + 1, head_dim * BLOCK_TOKENS));
    (pages.collect(), noise(99, ROWS * head_dim))
}

/// Scores of a page's keys for each row, in F64.
fn scores(keys: &[f32], query: &[f32]) -> Vec<f64> {
    (0..BLOCK_TOKENS)
        .map(|key| {
            let products = query
                .iter()
                .enumerate()
                .map(|(channel, q)| f64::from(*q) * f64::from(keys[channel * BLOCK_TOKENS + key]));
            products.sum()
        })
        .collect()
}

fn index(policy: PagePolicy, head_dim: usize, pages: &[Vec<f32>]) -> Box<dyn PageIndex> {
    let mut index = policy.index(head_dim);
    pages.iter().for_each(|keys| index.push(keys));
    index
}

fn estimates(index: &dyn PageIndex, queries: &[f32], pages: usize) -> Vec<f32> {
    let mut estimates = vec![0.0; ROWS * pages];
    index.estimate(Kernels::chosen(), queries, pages, &mut estimates);
    estimates
}

#[test]
fn no_key_scores_higher_than_its_pages_bound() {
    for head_dim in [64, 80] {
        let (pages, queries) = keys_and_queries(head_dim);
        let index = index(PagePolicy::Bounds, head_dim, &pages);
        let found = estimates(&*index, &queries, PAGES);
        for (row, query) in queries.chunks_exact(head_dim).enumerate() {
            for (page, keys) in pages.iter().enumerate() {
                let best = scores(keys, query)
                    .into_iter()
                    .fold(f64::NEG_INFINITY, f64::max);
                assert!(f64::from(found[row * PAGES + page]) >= best - 1e-4);
            }
        }
    }
}

#[test]
fn the_exact_estimate_is_the_logarithm_of_the_weight() {
    let (pages, queries) = keys_and_queries(64);
    let index = index(PagePolicy::Exact, 64, &pages);
    let found = estimates(&*index, &queries, PAGES - 3);
    for (row, query) in queries.chunks_exact(64).enumerate() {
        for (page, keys) in pages[..PAGES - 3].iter().enumerate() {
            let weight: f64 = scores(keys, query).into_iter().map(f64::exp2).sum();
            let found = f64::from(found[row * (PAGES - 3) + page]);
            assert!((found - weight.log2()).abs() < 1e-4, "{found}");
        }
    }
}

/// In 7 bits, against the best key of each page after the first.
#[test]
fn coarse_keys_score_as_the_keys_do() {
    for head_dim in [64, 80] {
        let (pages, queries) = keys_and_queries(head_dim);
        let index = index(PagePolicy::Keys, head_dim, &pages);
        let found = estimates(&*index, &queries, PAGES);
        for (row, query) in queries.chunks_exact(head_dim).enumerate() {
            for (page, keys) in pages.iter().enumerate().skip(1) {
                let best = scores(keys, query)
                    .into_iter()
                    .fold(f64::NEG_INFINITY, f64::max);
                let found = f64::from(found[row * PAGES + page]);
                assert!((found - best).abs() < 0.2, "{found} for {best}");
            }
        }
    }
}

/// Where all keys of a page are the same, every policy that looks at keys knows their score.
#[test]
fn equal_keys_are_estimated_exactly() {
    let (_, queries) = keys_and_queries(64);
    let key = noise(5, 64);
    let page: Vec<f32> = key
        .iter()
        .flat_map(|number| [*number; BLOCK_TOKENS])
        .collect();
    for (policy, keys_counted) in [
        (PagePolicy::Bounds, 1.0f64),
        (PagePolicy::Clusters, 4.0),
        (PagePolicy::Moments, 16.0),
        (PagePolicy::Signs, 64.0),
        (PagePolicy::Keys, 1.0),
        (PagePolicy::Hashes, 1.0),
        (PagePolicy::Exact, 64.0),
    ] {
        let index = index(policy, 64, std::slice::from_ref(&page));
        let found = estimates(&*index, &queries, 1);
        for (found, query) in found.iter().zip(queries.chunks_exact(64)) {
            let expected = scores(&page, query)[0] + keys_counted.log2();
            assert!(
                (f64::from(*found) - expected).abs() < 1e-4,
                "{policy:?}: {found} for {expected}"
            );
        }
    }
}

#[test]
fn the_best_of_what_is_neither_sink_nor_window_is_taken() {
    let mut row = vec![-30.0; 20];
    (row[0], row[3], row[7], row[9]) = (-30.0, 2.0, 5.0, 4.0);
    let picked = |estimates: &[f32], pages, budget| pick(&worth(estimates, pages), budget, 4);
    assert_eq!(picked(&row, 20, 7), [0, 7, 9, 16, 17, 18, 19]);
    assert_eq!(picked(&row, 20, 8), [0, 3, 7, 9, 16, 17, 18, 19]);
    // No row's scale counts: the second one cares for page 5 alone.
    let mut other = vec![-1000.0; 20];
    other[5] = 500.0;
    let both: Vec<f32> = row.iter().chain(&other).copied().collect();
    assert_eq!(picked(&both, 20, 6), [0, 5, 16, 17, 18, 19]);
    // Sinks and window are taken whatever the budget, and all if it is large enough.
    assert_eq!(picked(&row, 20, 0), [0, 16, 17, 18, 19]);
    assert_eq!(picked(&row, 20, 20), (0..20).collect::<Vec<u32>>());
    assert_eq!(picked(&row[..3], 3, 1), [0, 1, 2]);
    // No more than it takes for so large a share, however much there is room for.
    let shares = [0.1, 0.0, 0.5, 0.1, 0.2, 0.1];
    assert_eq!(pick_enough(&shares, 6, 1, 0.65), [0, 2, 5]);
    assert_eq!(pick_enough(&shares, 6, 1, 0.85), [0, 2, 4, 5]);
    assert_eq!(pick_enough(&shares, 3, 1, 0.85), [0, 2, 5]);
    assert_eq!(pick_enough(&shares, 6, 1, 0.1), [0, 5]);
    assert_eq!(PagePolicy::by_name("none"), None);
    assert!(
        PagePolicy::ALL
            .iter()
            .all(|policy| PagePolicy::by_name(policy.name()) == Some(*policy))
    );
}

/// The product of keys that were joined by eights with rows that were is the sum along antidiagonals.
#[test]
fn antidiagonals_are_summed() {
    let (head_dim, group, tokens) = (4, 3, 10);
    let keys = noise(3, head_dim * BLOCK_TOKENS);
    let queries = noise(4, tokens * group * head_dim);
    let mut index = Antidiagonals::new(head_dim);
    index.push(&keys);
    let rows = joined(&queries, group, head_dim);
    let depth = STRIDE * head_dim;
    assert_eq!(rows.len(), 2 * group * depth, "ten tokens are two eights");
    let mut found = vec![0.0; 2 * group];
    index.estimate(Kernels::chosen(), &rows, 1, &mut found);
    for (row, found) in found.into_iter().enumerate() {
        let (eight, head) = (row / group, row % group);
        let weight: f64 = (0..BLOCK_TOKENS / STRIDE)
            .map(|of_keys| {
                let sum: f64 = (0..STRIDE)
                    .filter(|nth| eight * STRIDE + STRIDE - 1 - nth < tokens)
                    .map(|nth| {
                        let token = eight * STRIDE + STRIDE - 1 - nth;
                        let query = &queries[(token * group + head) * head_dim..][..head_dim];
                        scores(&keys, query)[of_keys * STRIDE + nth]
                    })
                    .sum();
                (sum / STRIDE as f64).exp2()
            })
            .sum();
        assert!((f64::from(found) - weight.log2()).abs() < 1e-4, "{found}");
    }
}

/// A query that is unlike the others leads, and a token alone is its own probe.
#[test]
fn the_probe_leans_to_what_stands_out() {
    let mut queries = [1.0, 0.0].repeat(8);
    queries.extend([0.0, 1.0]);
    let found = probe(&queries, 1, 2);
    assert!(found[1] > 0.5, "{found:?}");
    assert_eq!(probe(&[3.0, 4.0, 5.0, 6.0], 2, 2), [3.0, 4.0, 5.0, 6.0]);
}
