//! Reading in segments with a real model: each is what reading it alone behind the opening gives, to the last bit.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../models/tests/reference/mod.rs"]
mod reference;

#[allow(dead_code)]
mod lesson;

use lectern_engine::attention::DenseAttention;
use lectern_engine::kv::header::{BlockHeader, header_bytes};
use lectern_engine::kv::{BLOCK_TOKENS, BlockFormat, CacheIdentity, Donor, KvCache, KvView};
use lectern_engine::reading::{
    CHUNK_TOKENS, CancelFlag, Followers, ReadProgress, ReadingError, ReadingInput, Segments, mend,
    read, thin,
};
use lectern_models::{Logits, Model, Token, TokenizerError};
use lesson::{open, read_all};
use reference::{SMOLLM2, load};
use std::sync::Arc;
use tempfile::TempDir;

/// Something of two thousand tokens that is always here, and never changes: what is damaged is a place in the file.
const TEXT: &str = include_str!("../../LICENSE-APACHE");

const SIZE: usize = 2 * CHUNK_TOKENS;

fn input(model: &Model) -> ReadingInput {
    input_of(model, TEXT, 1)
}

fn input_of(model: &Model, text: &str, number: u8) -> ReadingInput {
    let prefix = model.tokenizer().encode("Read this:\n").unwrap();
    let mut tokens = model.tokenizer().encode_with_offsets(text).unwrap();
    tokens.truncate(7 * CHUNK_TOKENS + 50);
    let lines = text.match_indices('\n').map(|(at, _)| at + 1);
    let passages: Vec<usize> = lines.step_by(20).collect();
    let gap = |_| model.tokenizer().encode("\n\n[...]\n\n");
    let segments = Segments::new::<TokenizerError>(&prefix, &tokens, &passages, SIZE, gap).unwrap();
    ReadingInput {
        identity: CacheIdentity {
            scope: segments.number(),
            text: [number; 32],
            model: model.fingerprint().to_owned(),
            prompt: CacheIdentity::prompt_hash(&prefix),
            format: BlockFormat::K4V4.number(),
        },
        segments: Some(Arc::new(segments)),
        prefix,
        tokens,
    }
}

fn bytes(folder: &TempDir) -> Vec<u8> {
    std::fs::read(folder.path().join("blocks.kv")).unwrap()
}

/// The ids of a segment behind the opening, read as any document is.
fn read_alone(model: &Model, input: &ReadingInput, ids: &[u32], folder: &TempDir) -> KvCache {
    let token = |&id: &u32| Token { id, start: 0 };
    let alone = ReadingInput {
        identity: CacheIdentity {
            scope: 0,
            ..input.identity.clone()
        },
        segments: None,
        prefix: Vec::new(),
        tokens: ids.iter().map(token).collect(),
    };
    let cache = open(folder.path(), &alone, model);
    read_all(model, &alone, &cache);
    cache
}

fn same_bits(model: &Model, a: &KvView, b: &KvView) -> bool {
    let part = |view: &KvView, block, layer| format!("{:?}", view.part(block, layer));
    a.blocks() == b.blocks()
        && (0..a.blocks()).all(|block| {
            (0..model.shape().layers).all(|layer| part(a, block, layer) == part(b, block, layer))
        })
}

fn logits_behind(model: &Model, view: KvView) -> Vec<f32> {
    let question = model.tokenizer().encode("\nWhat is a tile?").unwrap();
    let mut attention = DenseAttention::over_view(view, model.shape(), CancelFlag::new()).unwrap();
    let logits = model
        .forward(&question, &mut attention, Logits::Last)
        .unwrap();
    logits.unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_segment_is_what_reading_it_alone_behind_the_opening_gives() {
    let model = load(SMOLLM2);
    let input = input(&model);
    let segments = input.segments.clone().unwrap();
    assert!(segments.count() >= 4);
    let folder = TempDir::new().unwrap();
    let cache = open(folder.path(), &input, &model);
    read_all(&model, &input, &cache);
    let view = cache.view();
    assert_eq!(view.tokens(), segments.ids().len());
    let opening = &segments.ids()[..CHUNK_TOKENS];
    for nth in 0..segments.count() {
        let of_its_own = TempDir::new().unwrap();
        let segment = &segments.ids()[segments.positions(nth)];
        let alone = read_alone(&model, &input, &[opening, segment].concat(), &of_its_own);
        let behind = segments.behind(&view, &[nth]);
        assert!(same_bits(&model, &behind, &alone.view()), "segment {nth}");
        // The last one ends within a block: a question is put behind it all the same.
        assert_eq!(
            logits_behind(&model, behind),
            logits_behind(&model, alone.view())
        );
    }
    // Two of them, with what lies between left out.
    let last = segments.count() - 1;
    let two = segments.behind(&view, &[0, last]);
    let [first, last] = [0, last].map(|nth| segments.positions(nth).len());
    assert!(
        first.is_multiple_of(BLOCK_TOKENS) && !last.is_multiple_of(BLOCK_TOKENS),
        "{first}, {last}"
    );
    assert_eq!(two.tokens(), CHUNK_TOKENS + first + last);
    assert!(logits_behind(&model, two).iter().all(|l| l.is_finite()));
}

#[test]
fn a_reading_in_segments_is_stopped_goes_on_and_is_mended_to_the_same_bytes() {
    let model = load(SMOLLM2);
    let input = input(&model);
    let whole = TempDir::new().unwrap();
    let mut told = Vec::new();
    let tell = std::cell::RefCell::new(&mut told);
    read(
        &model,
        &input,
        &open(whole.path(), &input, &model),
        Followers {
            progress: &|progress| tell.borrow_mut().push(progress.tokens),
            ..Followers::none(&CancelFlag::new())
        },
    )
    .unwrap();
    assert!(told.is_sorted() && told.last() == Some(&(input.tokens.len() as u32)));

    let stopped = TempDir::new().unwrap();
    let mut stops = 0;
    loop {
        let cache = open(stopped.path(), &input, &model);
        let (cancel, before) = (CancelFlag::new(), cache.tokens());
        let stop = |_: &ReadProgress| {
            if cache.tokens() >= before + CHUNK_TOKENS {
                cancel.cancel();
            }
        };
        let followers = Followers {
            progress: &stop,
            ..Followers::none(&cancel)
        };
        match read(&model, &input, &cache, followers) {
            Err(ReadingError::Cancelled) => stops += 1,
            result => break result.map(|_| ()).unwrap(),
        }
    }
    assert!(stops >= 5, "{stops}");
    assert!(bytes(&stopped) == bytes(&whole));

    // A flipped bit in the third segment: what a question behind another one looks at is sound; that chunk alone is read
    // again.
    let mut damaged = bytes(&whole);
    let place = damaged.len() * 7 / 10;
    damaged[place] ^= 1;
    std::fs::write(stopped.path().join("blocks.kv"), &damaged).unwrap();
    let cache = open(stopped.path(), &input, &model);
    let segments = input.segments.as_ref().unwrap();
    logits_behind(&model, segments.behind(&cache.view(), &[0]));
    assert!(!cache.is_damaged());
    let blocks = cache.view().damaged();
    let position = blocks[0] * BLOCK_TOKENS;
    let all = 0..segments.count();
    let holds = |nth: &usize| segments.positions(*nth).contains(&position);
    let nth = all.into_iter().find(holds).unwrap();
    let behind = segments.behind(&cache.view(), &[nth]);
    let mut attention =
        DenseAttention::over_view(behind, model.shape(), CancelFlag::new()).unwrap();
    assert!(model.forward(&[1], &mut attention, Logits::Last).is_err());
    assert!(cache.is_damaged());
    drop(attention);
    let again = || mend(&model, &input, &cache, &CancelFlag::new()).unwrap();
    assert_eq!(again(), cache.view().pass(blocks[0]).len() * BLOCK_TOKENS);
    assert!(bytes(&stopped) == bytes(&whole));
    assert_eq!(again(), 0);
}

#[test]
fn of_a_changed_text_only_segments_that_changed_are_read_again() {
    let model = load(SMOLLM2);
    let earlier = input(&model);
    let middle = earlier.tokens[earlier.tokens.len() * 2 / 5].start as usize;
    let word = middle + TEXT[middle..].find(' ').unwrap();
    let (before, behind) = TEXT.split_at(word);
    let changed = format!("{before} which nobody had said before{behind}");
    let later = input_of(&model, &changed, 2);
    let folders: [TempDir; 3] = std::array::from_fn(|_| TempDir::new().unwrap());
    let [donor, adopting, fresh] = folders.each_ref().map(TempDir::path);
    read_all(&model, &earlier, &open(donor, &earlier, &model));
    let anew = open(fresh, &later, &model);
    read_all(&model, &later, &anew);

    let cache = open(adopting, &later, &model);
    let segments = later.segments.as_ref().unwrap();
    let opening = &segments.ids()[..segments.opening()];
    let other = open(donor, &earlier, &model);
    assert!(
        Donor::new(&cache, other, &[opening, &[1]].concat())
            .unwrap()
            .is_none()
    );
    let other = open(donor, &earlier, &model);
    let begin = |donor: &KvCache, at| later.goes_on_at(&donor.view(), at);
    let first = cache
        .adopt(&other, segments.ids(), |at| begin(&other, at))
        .unwrap();
    assert!(first >= segments.opening(), "{first}");
    let other = Donor::new(&cache, other, opening).unwrap().unwrap();
    let cancel = CancelFlag::new();
    let followers = Followers {
        earlier: Some(&other),
        ..Followers::none(&cancel)
    };
    let pace = read(&model, &later, &cache, followers).unwrap();
    // The one that changed, at most the one before it, which goes on into it, and the last, which ends elsewhere.
    println!(
        "{} of {} tokens were computed",
        pace.tokens(),
        segments.ids().len()
    );
    assert!((1..=3 * SIZE).contains(&pace.tokens()), "{}", pace.tokens());
    assert!(pace.tokens() + first < segments.ids().len());
    assert!(same_bits(&model, &cache.view(), &anew.view()));
    drop(cache);
    // What was taken over is as well checked when it is opened as what was computed, and can be taken over again.
    let cache = open(adopting, &later, &model);
    assert_eq!(
        (cache.tokens(), cache.recovery()),
        (segments.ids().len(), None)
    );
    drop(other);
    let back = TempDir::new().unwrap();
    let cache_back = open(back.path(), &earlier, &model);
    let opening = &earlier.segments.as_ref().unwrap().ids()[..segments.opening()];
    let other = Donor::new(&cache_back, cache, opening).unwrap().unwrap();
    let followers = Followers {
        earlier: Some(&other),
        ..Followers::none(&cancel)
    };
    read(&model, &earlier, &cache_back, followers).unwrap();
    let first = open(donor, &earlier, &model);
    assert!(same_bits(&model, &cache_back.view(), &first.view()));
    drop((first, other));

    // A segment that is damaged, behind the change, is not taken over but read.
    let file = donor.join("blocks.kv");
    let mut damaged = std::fs::read(&file).unwrap();
    let place = damaged.len() * 7 / 10;
    damaged[place] ^= 1;
    std::fs::write(&file, &damaged).unwrap();
    let third = TempDir::new().unwrap();
    let cache = open(third.path(), &later, &model);
    let other = open(donor, &earlier, &model);
    let first = cache
        .adopt(&other, segments.ids(), |at| begin(&other, at))
        .unwrap();
    let opening = &segments.ids()[..segments.opening()];
    let other = Donor::new(&cache, other, opening).unwrap().unwrap();
    let followers = Followers {
        earlier: Some(&other),
        ..Followers::none(&cancel)
    };
    let pace = read(&model, &later, &cache, followers).unwrap();
    assert_eq!(pace.tokens() + first, segments.ids().len());
    assert_eq!(cache.view().damaged(), [0; 0]);
    assert!(same_bits(&model, &cache.view(), &anew.view()));
}

/// Everything of a document that heads can do without is left out, is computed again where it is damaged, and read again from where
/// what was left out was looked at.
#[test]
fn a_thinned_reading_is_mended_to_the_same_bytes_and_goes_on() {
    let model = load(SMOLLM2);
    let in_segments = input(&model);
    let as_a_whole = ReadingInput {
        identity: CacheIdentity {
            scope: 0,
            ..in_segments.identity.clone()
        },
        segments: None,
        tokens: in_segments.tokens[..4 * CHUNK_TOKENS + 30].to_vec(),
        ..in_segments.clone()
    };
    for input in [in_segments, as_a_whole] {
        thin_mend_and_go_on(&model, &input);
    }
}

fn thin_mend_and_go_on(model: &Model, input: &ReadingInput) {
    let folder = TempDir::new().unwrap();
    let cache = open(folder.path(), input, model);
    read_all(model, input, &cache);
    let (whole, all) = (bytes(&folder).len(), cache.tokens());

    // Stopped when half is said again, it goes on from there.
    let cancel = CancelFlag::new();
    let said = std::cell::RefCell::new(Vec::new());
    let stop = |progress: &ReadProgress| {
        said.borrow_mut().push(progress.tokens);
        if progress.tokens as usize > input.tokens.len() / 2 {
            cancel.cancel();
        }
    };
    let followers = Followers {
        progress: &stop,
        ..Followers::none(&cancel)
    };
    assert!(matches!(
        thin(model, input, cache, 0.5, followers),
        Err(ReadingError::Cancelled)
    ));
    assert!(said.borrow().is_sorted());
    let cache = open(folder.path(), input, model);
    assert_eq!((cache.tokens(), bytes(&folder).len()), (all, whole));
    let computed = std::cell::Cell::new(0);
    let count = || computed.set(computed.get() + 64);
    let no_cancel = CancelFlag::new();
    let followers = Followers {
        yield_point: &count,
        ..Followers::none(&no_cancel)
    };
    let cache = thin(model, input, cache, 0.5, followers).unwrap();
    assert!(computed.get() < all, "{} of {all}", computed.get());

    let view = cache.view();
    let opening = input.opening() / BLOCK_TOKENS;
    assert!(!view.pick(std::iter::once(0..opening)).is_thinned());
    let behind = view.pick(std::iter::once(opening..all / BLOCK_TOKENS));
    assert!(
        (behind.share_kept() - 0.5).abs() < 0.02,
        "{}",
        behind.share_kept()
    );
    drop((view, behind));
    let thinned = bytes(&folder);
    assert!(
        thinned.len() < whole * 3 / 4,
        "{} of {whole}",
        thinned.len()
    );
    let looked_at = |cache: &KvCache| match &input.segments {
        Some(segments) => segments.behind(&cache.view(), &[0, segments.count() - 1]),
        None => cache.view(),
    };
    let logits = logits_behind(model, looked_at(&cache));
    assert!(logits.iter().all(|logit| logit.is_finite()));
    drop(cache);

    // A flipped bit, in what a head keeps of a block in the middle of what one token looks at.
    let mut damaged = thinned.clone();
    let place = damaged.len() * 7 / 10;
    damaged[place] ^= 1;
    std::fs::write(folder.path().join("blocks.kv"), &damaged).unwrap();
    let cache = open(folder.path(), input, model);
    let found = cache.view().damaged();
    assert_eq!(found.len(), 1);
    assert!(DenseAttention::over(&cache, model.shape(), CancelFlag::new()).is_err());
    let again = || mend(model, input, &cache, &CancelFlag::new()).unwrap();
    let most = match input.segments {
        Some(_) => SIZE,
        None => all,
    };
    assert!((1..=most).contains(&again()));
    assert!(bytes(&folder) == thinned);
    assert_eq!(again(), 0);
    assert_eq!(logits_behind(model, looked_at(&cache)), logits);

    // What is lost of it is read from the beginning of the segment, or of the text, on, and made as small by the same scores.
    let cut = found[0] * BLOCK_TOKENS;
    cache.cut(cut).unwrap();
    let begin = input.goes_on_at(&cache.view(), cut);
    assert!(begin < cut && !input_before(input, &cache, begin).is_thinned());
    read_all(model, input, &cache);
    assert_eq!(cache.tokens(), all);
    computed.set(0);
    let cache = thin(model, input, cache, 0.5, followers).unwrap();
    assert_eq!(computed.get(), 0);
    drop(cache);
    assert!(payloads(&folder, model) == payloads_of(&thinned, model));
}

/// What reading that goes on at `begin`, at the beginning of a segment or of the text, looks at.
fn input_before(input: &ReadingInput, cache: &KvCache, begin: usize) -> KvView {
    let opening = input.opening().min(begin) / BLOCK_TOKENS;
    assert!(input.segments.is_some() || begin == 0);
    cache.view().pick(std::iter::once(0..opening))
}

/// The parts of a cache's blocks, without the headers: these tell which append wrote them.
fn payloads(folder: &TempDir, model: &Model) -> Vec<Vec<u8>> {
    payloads_of(&bytes(folder), model)
}

fn payloads_of(file: &[u8], model: &Model) -> Vec<Vec<u8>> {
    let shape = model.shape().into();
    let fixed = header_bytes(model.shape().layers);
    let (mut at, mut parts) = (0, Vec::new());
    while at < file.len() {
        let length = BlockHeader::length(&file[at..at + fixed], &shape);
        let header = BlockHeader::decode(&file[at..at + length], &shape).unwrap();
        let end = at + header.block_bytes() as usize;
        parts.push(file[at + length..end].to_vec());
        at = end;
    }
    parts
}
