//! Attention to a part of what is there: to chosen pages, and without what was evicted; against dense and plain attention.

#![allow(clippy::unwrap_used)]

use super::coded::{as_cached, read};
use super::reference::{Text, bits, cache_in, plain, shape};
use super::{CancelFlag, DenseAttention, KeptIndex, PagePolicy, SparseRead};
use crate::kv::{BLOCK_TOKENS, BlockFormat, Kept, KvCache};
use lectern_models::attention::RotaryPairing;
use tempfile::TempDir;

/// Sealed tokens (three chunks) and all.
const SEALED: usize = 768;
const TOKENS: usize = SEALED + 70;

/// With the first page and the last four: two to choose.
const BUDGET: usize = 7 * BLOCK_TOKENS;

#[test]
fn a_budget_for_everything_is_dense_attention_to_the_bit() {
    let shape = shape(2, 3, 64, RotaryPairing::Halves);
    let text = Text::new(&shape, TOKENS, 3.0);
    let folder = TempDir::new().unwrap();
    let cache = cache_in(&folder, &shape, BlockFormat::K4V4);
    let mut attention = read(&shape, &text, &cache, &[256, 256, 256]);
    let dense = bits(&text.pass(&shape, &mut attention, (SEALED, TOKENS)).unwrap());
    for policy in PagePolicy::ALL {
        let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
        attention.look_at(Some(SparseRead::new(policy, SEALED)));
        let found = text.pass(&shape, &mut attention, (SEALED, TOKENS)).unwrap();
        assert!(bits(&found) == dense, "{policy:?}");
    }
}

/// A token chooses for itself: neither the pass it came in nor the number of threads changes a bit.
#[test]
fn the_choice_does_not_depend_on_the_pass() {
    let shape = shape(2, 3, 64, RotaryPairing::Neighbours);
    let text = Text::new(&shape, TOKENS, 3.0);
    let folder = TempDir::new().unwrap();
    let cache = cache_in(&folder, &shape, BlockFormat::K4V4);
    drop(read(&shape, &text, &cache, &[256, 256, 256]));
    let row = shape.query_heads * shape.head_dim;
    let alone = |policy: &PagePolicy| policy.each_for_itself();
    for policy in PagePolicy::ALL.into_iter().filter(alone) {
        let open = || {
            let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
            attention.look_at(Some(SparseRead::new(policy, BUDGET)));
            attention
        };
        let whole = bits(&text.pass(&shape, &mut open(), (SEALED, TOKENS)).unwrap());
        let mut attention = open();
        let mut first = SEALED;
        for pass in [1, 1, 40, 5, 23] {
            let range = (first, first + pass);
            let found = bits(&text.pass(&shape, &mut attention, range).unwrap());
            for (found, whole) in found.iter().zip(&whole) {
                let rows = (first - SEALED) * row..(first - SEALED + pass) * row;
                assert!(found[..] == whole[rows], "{policy:?}, {range:?}");
            }
            first += pass;
        }
        assert_eq!(first, TOKENS);
    }
}

#[test]
fn equals_plain_attention_over_the_pages_with_most_of_it() {
    for (kv_heads, group, head_dim) in [(2, 7, 64), (1, 3, 80)] {
        let shape = shape(kv_heads, group, head_dim, RotaryPairing::Halves);
        let text = Text::new(&shape, TOKENS, 3.0);
        let folder = TempDir::new().unwrap();
        let cache = cache_in(&folder, &shape, BlockFormat::K8V8);
        let mut attention = read(&shape, &text, &cache, &[256, 256, 256]);
        attention.look_at(Some(SparseRead::new(PagePolicy::Exact, BUDGET)));
        let found = text.pass(&shape, &mut attention, (SEALED, TOKENS)).unwrap();
        let seen = as_cached(&text, &cache);
        for (layer, found) in found.iter().enumerate() {
            let (_, probabilities) = plain(&shape, &seen, layer);
            let mut checked = 0;
            for asked in 0..TOKENS - SEALED {
                for kv_head in 0..kv_heads {
                    let heads = kv_head * group..(kv_head + 1) * group;
                    let rows: Vec<&[f64]> = heads
                        .map(|head| &probabilities[head][SEALED + asked][..])
                        .collect();
                    let Some(pages) = plain_choice(&rows) else {
                        continue;
                    };
                    checked += 1;
                    for (nth, row) in rows.iter().enumerate() {
                        let looked_at = |position: usize| {
                            position >= SEALED || pages.contains(&(position / BLOCK_TOKENS))
                        };
                        let values = &seen.values[layer];
                        let expected =
                            plain_over(values, row, looked_at, kv_head, kv_heads, head_dim);
                        let head = kv_head * group + nth;
                        let first = (asked * shape.query_heads + head) * head_dim;
                        for (found, expected) in found[first..].iter().zip(expected) {
                            assert!(
                                (f64::from(*found) - expected).abs() < 3e-3,
                                "layer {layer}, token {asked}"
                            );
                        }
                    }
                }
            }
            assert!(checked > 40 * kv_heads, "only {checked} choices are clear");
        }
    }
}

/// Sinks, window and the two other pages with most attention; `None` if it is too close to call.
fn plain_choice(rows: &[&[f64]]) -> Option<Vec<usize>> {
    let pages = SEALED / BLOCK_TOKENS;
    let mass = |row: &[f64], page: usize| -> f64 {
        row[page * BLOCK_TOKENS..(page + 1) * BLOCK_TOKENS]
            .iter()
            .sum()
    };
    let mut others: Vec<(f64, usize)> = (1..pages - 4)
        .map(|page| {
            let share = |row: &&[f64]| mass(row, page) / row[..SEALED].iter().sum::<f64>();
            (rows.iter().map(share).sum(), page)
        })
        .collect();
    others.sort_by(|a, b| b.0.total_cmp(&a.0));
    if others[1].0 - others[2].0 < 1e-4 {
        return None;
    }
    let always = [0].into_iter().chain(pages - 4..pages);
    Some(
        always
            .chain(others[..2].iter().map(|other| other.1))
            .collect(),
    )
}

fn plain_over(
    values: &[f32],
    row: &[f64],
    looked_at: impl Fn(usize) -> bool,
    kv_head: usize,
    kv_heads: usize,
    head_dim: usize,
) -> Vec<f64> {
    let mut sum = 0.0;
    let mut attended = vec![0.0; head_dim];
    for (position, probability) in row.iter().enumerate() {
        if !looked_at(position) {
            continue;
        }
        sum += probability;
        let value = &values[(position * kv_heads + kv_head) * head_dim..][..head_dim];
        for (attended, value) in attended.iter_mut().zip(value) {
            *attended += probability * f64::from(*value);
        }
    }
    attended.iter().map(|attended| attended / sum).collect()
}

/// Tokens here and there, a whole block, and all but the first and last of a span of blocks.
#[test]
fn equals_plain_attention_over_what_was_not_evicted() {
    let (kv_heads, group, head_dim) = (2, 3, 64);
    let shape = shape(kv_heads, group, head_dim, RotaryPairing::Halves);
    let text = Text::new(&shape, TOKENS, 3.0);
    let folder = TempDir::new().unwrap();
    let cache = cache_in(&folder, &shape, BlockFormat::K8V8);
    read(&shape, &text, &cache, &[256, 256, 256]);
    let seen = as_cached(&text, &cache);
    let is_gone = |layer: usize, kv_head: usize, token: usize| match (layer, kv_head) {
        // Half precision, of which nothing goes.
        _ if token < BLOCK_TOKENS => false,
        (0, 0) => token % 3 == 1,
        (0, _) => (3 * BLOCK_TOKENS..4 * BLOCK_TOKENS).contains(&token),
        (_, 0) => (BLOCK_TOKENS..SEALED - BLOCK_TOKENS).contains(&token),
        _ => false,
    };
    let mut kept = Kept::everything(cache.shape(), SEALED / BLOCK_TOKENS);
    for layer in 0..shape.layers {
        for kv_head in 0..kv_heads {
            (0..SEALED)
                .filter(|token| is_gone(layer, kv_head, *token))
                .for_each(|token| kept.evict(layer, kv_head, token));
        }
    }
    let cache = cache.thin(&kept).unwrap();
    let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
    let found = text.pass(&shape, &mut attention, (SEALED, TOKENS)).unwrap();
    for (layer, found) in found.iter().enumerate() {
        let (_, probabilities) = plain(&shape, &seen, layer);
        for asked in 0..TOKENS - SEALED {
            for (head, probabilities) in probabilities.iter().enumerate() {
                let kv_head = head / group;
                let row = &probabilities[SEALED + asked];
                let looked_at = |token: usize| token >= SEALED || !is_gone(layer, kv_head, token);
                let values = &seen.values[layer];
                let expected = plain_over(values, row, looked_at, kv_head, kv_heads, head_dim);
                let first = (asked * shape.query_heads + head) * head_dim;
                for (found, expected) in found[first..].iter().zip(expected) {
                    let off = (f64::from(*found) - expected).abs();
                    assert!(
                        off < 3e-3,
                        "layer {layer}, token {asked}, head {head}: {off}"
                    );
                }
            }
        }
    }
}

#[test]
fn peaks_are_the_largest_probabilities() {
    let (kv_heads, group) = (2, 3);
    let shape = shape(kv_heads, group, 64, RotaryPairing::Halves);
    let text = Text::new(&shape, TOKENS, 3.0);
    let folder = TempDir::new().unwrap();
    let cache = cache_in(&folder, &shape, BlockFormat::K8V8);
    let mut attention = read(&shape, &text, &cache, &[256, 256, 256]);
    attention.record_peaks();
    let asked = [(SEALED, SEALED + 40), (SEALED + 40, TOKENS)];
    for range in asked {
        text.pass(&shape, &mut attention, range).unwrap();
    }
    let peaks = attention.take_peaks();
    assert_eq!(peaks.len(), shape.layers * kv_heads * SEALED);
    let seen = as_cached(&text, &cache);
    for layer in 0..shape.layers {
        let (_, probabilities) = plain(&shape, &seen, layer);
        for kv_head in 0..kv_heads {
            let of_head = &peaks[(layer * kv_heads + kv_head) * SEALED..][..SEALED];
            for (token, found) in of_head.iter().enumerate() {
                let rows = probabilities[kv_head * group..(kv_head + 1) * group].iter();
                let rows = rows.flat_map(|head| &head[SEALED..TOKENS]);
                let expected = rows.map(|row| row[token]).fold(0.0, f64::max);
                assert!((f64::from(*found) - expected).abs() < 1e-3, "{token}");
            }
        }
    }
    assert!(attention.take_peaks().is_empty());
}

#[test]
fn no_choice_holds_more_than_the_exact_one() {
    let shape = shape(1, 3, 64, RotaryPairing::Halves);
    let text = Text::new(&shape, TOKENS, 3.0);
    let folder = TempDir::new().unwrap();
    let cache = cache_in(&folder, &shape, BlockFormat::K4V4);
    drop(read(&shape, &text, &cache, &[256, 256, 256]));
    let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
    let dense = bits(&text.pass(&shape, &mut attention, (SEALED, TOKENS)).unwrap());
    attention.reset();
    // The others take more than the budget where they think fit.
    let mut policies = PagePolicy::ALL.to_vec();
    policies.retain(|policy| policy.each_for_itself());
    let ways: Vec<SparseRead> = policies
        .iter()
        .map(|policy| SparseRead::new(*policy, BUDGET))
        .collect();
    attention.audit(&ways);
    let audited = text.pass(&shape, &mut attention, (SEALED, TOKENS)).unwrap();
    assert!(bits(&audited) == dense, "an audit changes nothing");
    let recalls = attention.recalls();
    let [.., best] = recalls[..] else {
        panic!("a recall a way")
    };
    assert!(best.whole() < 1.0 && best.chosen() < best.whole());
    for (policy, recall) in policies.iter().zip(&recalls) {
        let held = recall.chosen();
        assert!(
            held > 0.0 && held <= best.chosen() + 1e-9,
            "{policy:?}: {held}"
        );
    }
}

#[test]
fn a_kept_index_is_the_one_that_would_be_made() {
    let shape = shape(2, 3, 64, RotaryPairing::Halves);
    let text = Text::new(&shape, TOKENS, 3.0);
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let caches = [&folders[0], &folders[1]].map(|folder| {
        let cache = cache_in(folder, &shape, BlockFormat::K4V4);
        drop(read(&shape, &text, &cache, &[256, 256, 256]));
        cache
    });
    let look_at = SparseRead::new(PagePolicy::Keys, 7 * BLOCK_TOKENS);
    let kept = KeptIndex::default();
    let ask = |cache: &KvCache, look_at: SparseRead| {
        let mut attention = DenseAttention::over(cache, &shape, CancelFlag::new()).unwrap();
        attention.look_at_with(Some(look_at), &kept);
        let had = attention.index_bytes();
        let found = text.pass(&shape, &mut attention, (SEALED, TOKENS)).unwrap();
        attention.leave_index(&kept);
        (had, bits(&found))
    };
    let (had, first) = ask(&caches[0], look_at);
    assert_eq!(had, 0);
    let made = kept.bytes();
    assert!(made > 0);
    assert_eq!(ask(&caches[0], look_at), (made, first.clone()), "again");
    let other_budget = SparseRead::new(PagePolicy::Keys, 9 * BLOCK_TOKENS);
    assert_eq!(ask(&caches[0], other_budget).0, made, "serves any budget");
    assert_eq!(ask(&caches[0], look_at), (made, first.clone()));
    let other_policy = SparseRead::new(PagePolicy::Bounds, 7 * BLOCK_TOKENS);
    assert_eq!(ask(&caches[0], other_policy).0, 0, "judges otherwise");
    assert_eq!(ask(&caches[0], look_at), (0, first.clone()));
    assert_eq!(ask(&caches[1], look_at), (0, first), "of another cache");
    kept.forget();
    assert_eq!(kept.bytes(), 0);
}
