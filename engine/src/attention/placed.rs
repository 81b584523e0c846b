//! Pages that stand elsewhere than in the document, pages chosen for several tokens together, and an index that is kept:
//! against plain attention, and against the same without.

#![allow(clippy::unwrap_used)]

use super::coded::{as_cached, read};
use super::reference::{PlainFar, Text, bits, cache_in, plain_far, shape};
use super::{CancelFlag, Choosers, DenseAttention, Far, KeptIndex, PagePolicy, SparseRead};
use crate::kv::{BLOCK_TOKENS, BlockFormat, KvCache};
use lectern_models::attention::{AttentionShape, RotaryPairing};
use tempfile::TempDir;

/// Sealed tokens (three chunks) and all.
const SEALED: usize = 768;
const TOKENS: usize = SEALED + 70;

const WINDOW: usize = 4 * BLOCK_TOKENS;

fn over(cache: &KvCache, shape: &AttentionShape, read: SparseRead) -> DenseAttention {
    let mut attention = DenseAttention::over(cache, shape, CancelFlag::new()).unwrap();
    attention.look_at(Some(read));
    attention
}

#[test]
fn far_pages_are_plain_attention_at_the_places_they_are_given() {
    for (pairing, pages) in [
        (RotaryPairing::Halves, 1),
        (RotaryPairing::Neighbours, 3),
        (RotaryPairing::Halves, 100),
    ] {
        let shape = shape(2, 3, 64, pairing);
        let text = Text::new(&shape, TOKENS, 3.0);
        let folder = TempDir::new().unwrap();
        let cache = cache_in(&folder, &shape, BlockFormat::K8V8);
        drop(read(&shape, &text, &cache, &[256, 256, 256]));
        let far = Far {
            distance: 5000,
            pages,
        };
        let everything = SparseRead {
            window: WINDOW,
            far: Some(far),
            ..SparseRead::new(PagePolicy::Keys, TOKENS)
        };
        let plain = PlainFar {
            far,
            end: SEALED - WINDOW,
            asked: SEALED,
        };
        let seen = as_cached(&text, &cache);
        for choosers in [Choosers::EachToken, Choosers::Tile] {
            let look_at = SparseRead {
                choosers,
                ..everything
            };
            let mut attention = over(&cache, &shape, look_at);
            let found = text.pass(&shape, &mut attention, (SEALED, TOKENS)).unwrap();
            for (layer, found) in found.iter().enumerate() {
                let (expected, _) = plain_far(&shape, &seen, layer, Some(&plain));
                let expected = &expected[SEALED * shape.query_heads * shape.head_dim..];
                let worst = found
                    .iter()
                    .zip(expected)
                    .map(|(f, e)| (f64::from(*f) - e).abs())
                    .fold(0.0, f64::max);
                assert!(
                    worst < 3e-3,
                    "{choosers:?}, {pages} pages, layer {layer}: {worst}"
                );
            }
        }
    }
}

/// One token that is as far from the beginning as it is told to be: choice and result are those without places.
#[test]
fn a_page_that_is_placed_where_it_stands_is_chosen_and_attended_to_as_before() {
    let shape = shape(2, 3, 64, RotaryPairing::Halves);
    let text = Text::new(&shape, TOKENS, 3.0);
    let folder = TempDir::new().unwrap();
    let cache = cache_in(&folder, &shape, BlockFormat::K4V4);
    drop(read(&shape, &text, &cache, &[256, 256, 256]));
    for policy in PagePolicy::ALL {
        let there = SparseRead::new(policy, 7 * BLOCK_TOKENS);
        let placed = SparseRead {
            far: Some(Far {
                distance: SEALED,
                pages: 1000,
            }),
            ..there
        };
        let [there, placed] = [there, placed].map(|read| {
            let mut attention = over(&cache, &shape, read);
            let range = (SEALED, SEALED + 1);
            bits(&text.pass(&shape, &mut attention, range).unwrap())
        });
        assert!(there == placed, "{policy:?}");
    }
}

/// Which tokens of a tile choose does not matter to how the pages are attended to, nor do the rows of other tiles.
#[test]
fn a_tile_does_not_depend_on_those_behind_it() {
    let shape = shape(1, 3, 64, RotaryPairing::Halves);
    let text = Text::new(&shape, TOKENS, 3.0);
    let folder = TempDir::new().unwrap();
    let cache = cache_in(&folder, &shape, BlockFormat::K4V4);
    drop(read(&shape, &text, &cache, &[256, 256, 256]));
    let look_at = SparseRead {
        choosers: Choosers::Tile,
        ..SparseRead::new(PagePolicy::Keys, 7 * BLOCK_TOKENS)
    };
    let pass = |tokens: usize| {
        let mut attention = over(&cache, &shape, look_at);
        bits(
            &text
                .pass(&shape, &mut attention, (SEALED, SEALED + tokens))
                .unwrap(),
        )
    };
    let (short, long) = (pass(32), pass(64));
    for (short, long) in short.iter().zip(&long) {
        assert!(short[..] == long[..short.len()]);
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
