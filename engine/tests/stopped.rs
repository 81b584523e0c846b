//! A reading that is stopped, killed, or gives way, and goes on: with a real model, to the same bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../models/tests/reference/mod.rs"]
mod reference;

#[allow(dead_code)]
mod lesson;

use lectern_engine::attention::DenseAttention;
use lectern_engine::kv::BlockFormat;
use lectern_engine::reading::{
    CHUNK_TOKENS, CancelFlag, Followers, ReadingError, Wanted, mend, read, thin,
};
use lectern_models::Logits;
use lesson::{ids, input, open, read_all};
use reference::{SMOLLM2, load};
use std::cell::{Cell, OnceCell};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const KILLED_TOKENS: usize = 8 * CHUNK_TOKENS + 100;
const CHILD: &str = "LECTERN_TEST_READ_INTO";

#[test]
fn a_stopped_reading_goes_on_and_ends_with_the_same_bytes() {
    for format in [BlockFormat::F16, BlockFormat::K4V4] {
        stop_and_go_on(format);
    }
}

fn stop_and_go_on(format: BlockFormat) {
    let model = load(SMOLLM2);
    let mut input = input(&model, 3 * CHUNK_TOKENS + 30);
    input.identity.format = format.number();
    let whole = TempDir::new().unwrap();
    let cache = open(whole.path(), &input, &model);
    let reports = Cell::new(Vec::new());
    read(
        &model,
        &input,
        &cache,
        Followers {
            progress: &|progress| {
                let mut all = reports.take();
                all.push(*progress);
                reports.set(all);
            },
            ..Followers::none(&CancelFlag::new())
        },
    )
    .unwrap();
    let reports = reports.take();
    assert_eq!(reports.len(), 5);
    assert!(reports.windows(2).all(|two| two[0].tokens < two[1].tokens));
    let last = reports[4];
    assert_eq!(
        (last.tokens, last.total),
        (input.tokens.len() as u32, input.tokens.len() as u32)
    );
    assert_eq!(
        (last.cache_bytes, last.seconds_left),
        (cache.bytes(), Some(0.0))
    );
    assert!(last.tokens_per_s > 0.0);
    assert!(reports[2].seconds_left.unwrap() > 0.0);

    let stopped = TempDir::new().unwrap();
    let cache = open(stopped.path(), &input, &model);
    // Stopped in the middle of the second chunk, from another thread.
    let cancel = CancelFlag::new();
    let stopping = std::thread::scope(|scope| {
        let asked = OnceCell::new();
        let result = read(
            &model,
            &input,
            &cache,
            Followers {
                progress: &|progress| {
                    if progress.tokens > 0 && asked.get().is_none() {
                        let cancel = cancel.clone();
                        asked.get_or_init(|| {
                            scope.spawn(move || {
                                std::thread::sleep(Duration::from_millis(50));
                                cancel.cancel();
                                Instant::now()
                            })
                        });
                    }
                },
                ..Followers::none(&cancel)
            },
        );
        assert!(matches!(result, Err(ReadingError::Cancelled)), "{result:?}");
        let ended = Instant::now();
        ended - asked.into_inner().unwrap().join().unwrap()
    });
    println!("stopped {stopping:?} after it was asked to");
    assert!(cache.tokens() < input.prefix.len() + input.tokens.len());
    assert!(cache.tokens().is_multiple_of(CHUNK_TOKENS) && cache.tokens() > 0);
    let kept = cache.tokens();
    drop(cache);
    let cache = open(stopped.path(), &input, &model);
    assert_eq!(cache.tokens(), kept);
    read_all(&model, &input, &cache);
    let bytes = |folder: &TempDir| std::fs::read(folder.path().join("blocks.kv")).unwrap();
    assert!(bytes(&stopped) == bytes(&whole));

    // A read cache needs no work, a damaged one only what is damaged.
    let began = Instant::now();
    read_all(&model, &input, &cache);
    assert!(began.elapsed() < Duration::from_millis(200));
    drop(cache);
    let mut damaged = bytes(&stopped);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(stopped.path().join("blocks.kv"), &damaged).unwrap();
    let cache = open(stopped.path(), &input, &model);
    let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new()).unwrap();
    assert!(model.forward(&[1], &mut attention, Logits::Last).is_err());
    assert!(cache.is_damaged());
    drop(attention);
    read_all(&model, &input, &cache);
    assert!(!cache.is_damaged());
    assert!(bytes(&stopped) == bytes(&whole));

    // Two flipped bits far from each other: two chunks are computed, the rest stays.
    drop(cache);
    let mut damaged = bytes(&whole);
    let end = damaged.len();
    damaged[end / 3] ^= 16;
    damaged[2 * end / 3] ^= 4;
    std::fs::write(stopped.path().join("blocks.kv"), &damaged).unwrap();
    let cache = open(stopped.path(), &input, &model);
    let again = || mend(&model, &input, &cache, &CancelFlag::new()).unwrap();
    assert_eq!(again(), 2 * CHUNK_TOKENS);
    assert_eq!(cache.tokens(), input.prefix.len() + input.tokens.len());
    assert!(bytes(&stopped) == bytes(&whole));
    assert_eq!(again(), 0);
}

/// Not a test of its own: what the next test runs in another process and kills.
#[test]
fn child_that_reads() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let model = load(SMOLLM2);
    let input = input(&model, KILLED_TOKENS);
    let cache = open(Path::new(&folder), &input, &model);
    let report = |progress: &lectern_engine::reading::ReadProgress| {
        // Before the first chunk not even the prefix is sealed.
        let sealed = match progress.tokens as usize {
            0 => 0,
            tokens => tokens + input.prefix.len(),
        };
        println!("sealed {sealed}");
    };
    let cancel = CancelFlag::new();
    let followers = Followers {
        progress: &report,
        ..Followers::none(&cancel)
    };
    read(&model, &input, &cache, followers).unwrap();
}

#[test]
fn a_chunk_is_given_up_for_who_waits_and_read_again() {
    let model = load(SMOLLM2);
    let input = input(&model, 3 * CHUNK_TOKENS + 30);
    let never = CancelFlag::new();
    let chunks = ids(&input).len().div_ceil(CHUNK_TOKENS);
    let bytes = |folder: &TempDir| std::fs::read(folder.path().join("blocks.kv")).unwrap();
    let whole = TempDir::new().unwrap();
    read_all(&model, &input, &open(whole.path(), &input, &model));

    // Somebody comes while the second chunk is read, and is served before the next begins.
    let given_way = TempDir::new().unwrap();
    let cache = open(given_way.path(), &input, &model);
    let (wanted, begun) = (Wanted::new(), Cell::new(0));
    let waited = std::thread::scope(|scope| {
        let comes = OnceCell::new();
        let served = OnceCell::new();
        let followers = Followers {
            behind: Some(&wanted),
            yield_point: &|| {
                begun.set(begun.get() + 1);
                if wanted.is_wanted() {
                    served.get_or_init(Instant::now);
                    wanted.set(false);
                }
                if cache.tokens() == CHUNK_TOKENS {
                    let wanted = wanted.clone();
                    comes.get_or_init(|| {
                        scope.spawn(move || {
                            std::thread::sleep(Duration::from_millis(50));
                            wanted.set(true);
                            Instant::now()
                        })
                    });
                }
            },
            ..Followers::none(&never)
        };
        read(&model, &input, &cache, followers).unwrap();
        let came = comes.into_inner().unwrap().join().unwrap();
        served.into_inner().map(|served| served - came)
    });
    println!("let through after {waited:?}");
    assert_eq!(begun.get(), chunks + 1, "one chunk is begun twice");
    assert!(bytes(&given_way) == bytes(&whole));

    // Who never goes away does not keep it from reading on.
    let pestered = TempDir::new().unwrap();
    let cache = open(pestered.path(), &input, &model);
    let (wanted, begun) = (Wanted::new(), Cell::new(0));
    wanted.set(true);
    let followers = Followers {
        behind: Some(&wanted),
        yield_point: &|| begun.set(begun.get() + 1),
        ..Followers::none(&never)
    };
    read(&model, &input, &cache, followers).unwrap();
    assert_eq!(begun.get(), 3 * chunks, "each chunk gives way twice");
    assert!(bytes(&pestered) == bytes(&whole));
}

#[test]
fn making_smaller_gives_way_too_and_keeps_the_same() {
    let model = load(SMOLLM2);
    let mut input = input(&model, 2 * CHUNK_TOKENS);
    input.identity.format = BlockFormat::K4V4.number();
    let never = CancelFlag::new();
    let wanted = Wanted::new();
    let [alone, given_way] = [None, Some(&wanted)].map(|behind| {
        let folder = TempDir::new().unwrap();
        let cache = open(folder.path(), &input, &model);
        read_all(&model, &input, &cache);
        wanted.set(true);
        let begun = Cell::new(0);
        let followers = Followers {
            behind,
            yield_point: &|| begun.set(begun.get() + 1),
            ..Followers::none(&never)
        };
        let cache = thin(&model, &input, cache, 0.5, followers).unwrap();
        assert!(cache.view().is_thinned());
        (
            begun.get(),
            std::fs::read(folder.path().join("blocks.kv")).unwrap(),
        )
    });
    assert_eq!(given_way.0, 3 * alone.0, "each pass gives way twice");
    assert!(given_way.1 == alone.1);
}

#[test]
fn killed_at_twenty_random_moments_it_loses_at_most_a_chunk() {
    let model = load(SMOLLM2);
    let input = input(&model, KILLED_TOKENS);
    let total = ids(&input).len();
    let whole = TempDir::new().unwrap();
    let began = Instant::now();
    read_all(&model, &input, &open(whole.path(), &input, &model));
    let chunk_time = began.elapsed() / (total / CHUNK_TOKENS) as u32;
    let expected = std::fs::read(whole.path().join("blocks.kv")).unwrap();

    let folder = TempDir::new().unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut kept, mut lost_work, mut finished) = (0, 0, 0);
    for _ in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_reads", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let sealed = |line: Option<std::io::Result<String>>| -> Option<usize> {
            line?.ok()?.split_once("sealed ")?.1.parse().ok()
        };
        // Its first report: the model is loaded, and reading begins.
        let mut reported = loop {
            let line = lines.next();
            assert!(line.is_some(), "the child ended before it began to read");
            if let Some(tokens) = sealed(line) {
                break tokens;
            }
        };
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let moment = (random >> 11) as f64 / (1u64 << 53) as f64;
        std::thread::sleep(chunk_time.mul_f64(moment * 2.0));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            reported = sealed(Some(line)).unwrap_or(reported);
        }

        let cache = open(folder.path(), &input, &model);
        let tokens = cache.tokens();
        assert_eq!(cache.view().common_prefix(&ids(&input)), tokens);
        // Of a chunk that was being written some blocks may be there; whoever goes on begins with that chunk.
        let whole_chunks = kept / CHUNK_TOKENS * CHUNK_TOKENS;
        assert!(
            tokens >= reported && tokens >= whole_chunks,
            "{tokens} of {reported} that were reported and {kept} that were there"
        );
        lost_work += usize::from(cache.recovery().is_some());
        kept = tokens;
        if tokens == total {
            finished += 1;
            drop(cache);
            assert!(std::fs::read(folder.path().join("blocks.kv")).unwrap() == expected);
            lectern_engine::kv::remove(folder.path()).unwrap();
            kept = 0;
        }
    }
    println!("{finished} readings ended before they were killed; {lost_work} torn writes were cut");
    let cache = open(folder.path(), &input, &model);
    read_all(&model, &input, &cache);
    drop(cache);
    assert!(std::fs::read(folder.path().join("blocks.kv")).unwrap() == expected);
}
