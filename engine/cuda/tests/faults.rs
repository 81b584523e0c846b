//! The checks checked: kernels with a fault each, every one of which the other tests must find; and the kernels as they are
//! under AddressSanitizer and ThreadSanitizer.
//!
//! Each runs this crate's other tests as programs of their own, on a fake driver that was compiled with the fault.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::DRIVER;
use support::fake_driver::{Checked, Fault, build};

/// One thing that is wrong, and the test that must say so.
struct Seeded {
    what: &'static str,
    fault: Fault,
    found_by: (&'static str, &'static str),
}

const fn seeded(
    what: &'static str,
    (file, right, wrong): (&'static str, &'static str, &'static str),
    found_by: (&'static str, &'static str),
) -> Seeded {
    Seeded {
        what,
        fault: Fault { file, right, wrong },
        found_by,
    }
}

const DECODE: (&str, &str) = ("attention", "decode_equals_plain_attention");
const CHOSEN: (&str, &str) = ("attention", "decode_looks_at_chosen_pages");
const PREFILL: (&str, &str) = ("attention", "prefill_equals_plain_attention");
const MASS: (&str, &str) = ("attention", "mass_is_the_sum");
const SEALED: (&str, &str) = ("sealing", "sealed_pages_are_the_packers_bytes");
const APPENDED: (&str, &str) = ("sealing", "appended_tokens");
const INDEX: (&str, &str) = ("choosing", "the_index_holds");
const SCAN: (&str, &str) = ("choosing", "the_scan");
const PICK: (&str, &str) = ("choosing", "are_picked");
const GATHER: (&str, &str) = ("choosing", "gathered_pages");
const FEW: (&str, &str) = ("products", "few_tokens_times_every_format");
const MANY: (&str, &str) = ("products", "many_tokens_times_every_format");
const ROWS: (&str, &str) = ("products", "rows_are_normed");

/// Missing barriers, bounds that are off by one, wrong masks, stale pages, wrong places and roundings.
const FAULTS: &[Seeded] = &[
    seeded(
        "no barrier between what is made of a page and its use",
        (
            "decode.cu",
            "__syncthreads();  // this page is staged, and the one before is done with",
            "",
        ),
        DECODE,
    ),
    seeded(
        "no barrier between scores of some channels and of all",
        (
            "scores.cuh",
            "__syncthreads();  // scores of all channels are there",
            "",
        ),
        DECODE,
    ),
    seeded(
        "no barrier between quarters and the whole",
        (
            "decode.cu",
            "__syncthreads();  // what was found of all keys is there",
            "",
        ),
        DECODE,
    ),
    seeded(
        "the next page takes the place of this one",
        (
            "decode.cu",
            "staged[1 - buffer], head_of(next)",
            "staged[buffer], head_of(next)",
        ),
        DECODE,
    ),
    seeded(
        "what halves leave out of a score is left out",
        (
            "scores.cuh",
            "        multiply_add(scores, left_rest, right.first);\n",
            "",
        ),
        DECODE,
    ),
    seeded(
        "what halves leave out of a weight is left out",
        ("weigh.cuh", "multiply_add(further, least, right_rest);", ""),
        DECODE,
    ),
    seeded(
        "a value in a slot that is not filled",
        (
            "weigh.cuh",
            "token + more < visible ?",
            "token + more < PAGE_TOKENS ?",
        ),
        DECODE,
    ),
    seeded(
        "the splits' largest are one warp's",
        (
            "merge.cu",
            "__syncthreads();  // the warps' largest are there",
            "",
        ),
        DECODE,
    ),
    seeded(
        "a channel's splits are some threads'",
        (
            "merge.cu",
            "__syncthreads();  // what all threads have is there",
            "",
        ),
        DECODE,
    ),
    seeded(
        "no barrier before values are overwritten by the next page's keys",
        (
            "prefill.cu",
            "__syncthreads();  // the values before are done with",
            "",
        ),
        PREFILL,
    ),
    seeded(
        "no barrier before keys are overwritten by values",
        (
            "prefill.cu",
            "__syncthreads();  // the keys are done with",
            "",
        ),
        PREFILL,
    ),
    seeded(
        "no barrier between keys and scores",
        ("prefill.cu", "__syncthreads();  // keys are there", ""),
        PREFILL,
    ),
    seeded(
        "no barrier between values and their weighing",
        ("prefill.cu", "__syncthreads();  // values are there", ""),
        PREFILL,
    ),
    seeded(
        "decoded keys are overwritten before they are copied",
        ("unpack.cu", "__syncthreads();  // keys are copied", ""),
        PREFILL,
    ),
    seeded(
        "a later run of pages forgets the earlier one",
        (
            "prefill.cu",
            "sums[nth] = prefill.goes_on ?",
            "sums[nth] = false ?",
        ),
        PREFILL,
    ),
    seeded(
        "what halves leave out is left out",
        (
            "prefill.cu",
            "    multiply_add(sums, left_rest, right);\n",
            "",
        ),
        PREFILL,
    ),
    seeded(
        "no barrier between sums of warps and their sum",
        (
            "few.cu",
            "__syncthreads();  // sums of all warps are there",
            "",
        ),
        FEW,
    ),
    seeded(
        "a warp takes groups that another took",
        ("few.cu", "group += stride;", "group += TOGETHER;"),
        FEW,
    ),
    seeded(
        "a warp adds the sums of another's rows",
        (
            "few.cu",
            "const int first_warp = nth_row / FOUR * products.shares;",
            "const int first_warp = nth_row / FOUR;",
        ),
        FEW,
    ),
    seeded(
        "no barrier between steps",
        (
            "many.cu",
            "__syncthreads();  // the step's activations are there, and those of the one before are done with",
            "",
        ),
        MANY,
    ),
    seeded(
        "sums of shares are put where activations are still multiplied",
        (
            "many.cu",
            "__syncthreads();  // the last activations are done with",
            "",
        ),
        MANY,
    ),
    seeded(
        "no barrier between sums of shares and their sum",
        (
            "many.cu",
            "__syncthreads();  // sums of all shares are there",
            "",
        ),
        MANY,
    ),
    seeded(
        "activations of a stage too few are brought ahead",
        (
            "many.cu",
            "bring_tokens(step + Tile::STAGES - 1);",
            "bring_tokens(step + Tile::STAGES);",
        ),
        MANY,
    ),
    seeded(
        "columns of a lane's other half",
        (
            "many.cu",
            "tokens[nth].words[2 * half + 1]}}",
            "tokens[nth].words[2 * (1 - half) + 1]}}",
        ),
        MANY,
    ),
    seeded(
        "a row's scale is the first row's",
        ("many.cu", "products.scales[token];", "products.scales[0];"),
        MANY,
    ),
    seeded(
        "halves of a byte exchanged",
        (
            "matrix.cuh",
            "(half == 0 ? low << UP",
            "(half == 1 ? low << UP",
        ),
        FEW,
    ),
    seeded(
        "scales of the next run of groups",
        (
            "matrix.cuh",
            "four * runs + group / NESTED_GROUPS",
            "four * runs + (group + 1) / NESTED_GROUPS",
        ),
        FEW,
    ),
    seeded(
        "no barrier between the sums of a row's warps and its mean",
        (
            "halves.cuh",
            "__syncthreads();  // all warps' sums are there",
            "",
        ),
        ROWS,
    ),
    seeded(
        "no barrier after a digit was found",
        ("pick.cu", "__syncthreads();  // the digit is known", ""),
        PICK,
    ),
    seeded(
        "no barrier before a rounded query is used",
        ("scan.cu", "__syncthreads();  // rows are there", ""),
        SCAN,
    ),
    seeded(
        "a token sees the one after it",
        (
            "decode.cu",
            "min(PAGE_TOKENS, position + 1 - page",
            "min(PAGE_TOKENS, position + 2 - page",
        ),
        DECODE,
    ),
    seeded(
        "a token does not see itself",
        (
            "prefill.cu",
            "if (8 * tile + 2 * t + column >= visible)",
            "if (8 * tile + 2 * t + column >= visible - 1)",
        ),
        PREFILL,
    ),
    seeded(
        "the last page is left out",
        (
            "chosen.cuh",
            "position / PAGE_TOKENS + 1;",
            "(position + PAGE_TOKENS - 1) / PAGE_TOKENS;",
        ),
        DECODE,
    ),
    seeded(
        "one pair too many is made of a page",
        (
            "scores.cuh",
            "pair < PAIRS; pair += SCORE_THREADS<HEAD_DIM>) {\n        const int2",
            "pair <= PAIRS; pair += SCORE_THREADS<HEAD_DIM>) {\n        const int2",
        ),
        DECODE,
    ),
    seeded(
        "mass is added behind the last token that is counted",
        (
            "mass.cu",
            "position + 1, mass.room)",
            "position + 1, mass.room + 1)",
        ),
        MASS,
    ),
    seeded(
        "half a warp takes part",
        (
            "warp.cuh",
            "number += __shfl_xor_sync(ALL_LANES,",
            "number += __shfl_xor_sync(0xffffu,",
        ),
        ROWS,
    ),
    seeded(
        "the reduction leaves lanes out",
        (
            "warp.cuh",
            "number = fminf(number, __shfl_xor_sync(ALL_LANES, number, step));",
            "",
        ),
        SEALED,
    ),
    seeded(
        "a page of the list's neighbour",
        (
            "chosen.cuh",
            "return nth < chosen ? pages[nth]",
            "return nth < chosen ? pages[max(nth - 1, 0)]",
        ),
        CHOSEN,
    ),
    seeded(
        "a stale page: its slot is not filled to the end",
        ("gather.cu", "at < copy.pieces;", "at < copy.pieces - 1;"),
        GATHER,
    ),
    seeded(
        "a stale page: the copy before is done again",
        (
            "gather.cu",
            "gather.copies[blockIdx.x]",
            "gather.copies[blockIdx.x & ~1u]",
        ),
        GATHER,
    ),
    seeded(
        "a stale turn: all pages stand where the first does",
        (
            "index.cu",
            "index.rotation.pages[(size_t)page * (HEAD_DIM / 2) + pair]",
            "index.rotation.pages[(size_t)(page * 0) * (HEAD_DIM / 2) + pair]",
        ),
        INDEX,
    ),
    seeded(
        "codes are rounded up",
        (
            "quantize.cu",
            "rintf(__fdiv_rn(number",
            "ceilf(__fdiv_rn(number",
        ),
        SEALED,
    ),
    seeded(
        "ties go away from 0",
        (
            "quantize.cu",
            "rintf(__fdiv_rn(number",
            "roundf(__fdiv_rn(number",
        ),
        SEALED,
    ),
    seeded(
        "a grid's offset is rounded up",
        (
            "quantize.cu",
            "rintf((__fdiv_rn(middle",
            "ceilf((__fdiv_rn(middle",
        ),
        SEALED,
    ),
    seeded(
        "a grid's step is cut off",
        ("quantize.cu", "close) + 0x40u) >> 7", "close)) >> 7"),
        SEALED,
    ),
    seeded(
        "an offset of nothing is the least",
        ("quantize.cu", "isnan(offset) ? 0 : ", ""),
        SEALED,
    ),
    seeded(
        "a slot too far",
        (
            "append.cu",
            "+ position % PAGE_TOKENS)",
            "+ (position + 1) % PAGE_TOKENS)",
        ),
        APPENDED,
    ),
    seeded(
        "of equal pages the earlier ones",
        (
            "pick.cu",
            "tie_number >= left_out",
            "tie_number < shared.wanted",
        ),
        PICK,
    ),
];

/// Missing barriers that only ThreadSanitizer finds: all warps come as far as each other before one of them does harm.
const RACES: &[Seeded] = &[seeded(
    "results lie where a page still is",
    (
        "decode.cu",
        "__syncthreads();  // the pages are done with",
        "",
    ),
    DECODE,
)];

/// A test program of this crate, built with this one.
fn program(test: &str) -> PathBuf {
    let folder = std::env::current_exe()
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    let newest = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            // NAME-0123456789abcdef, and nothing behind it.
            name.strip_prefix(test)
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        })
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    newest.unwrap_or_else(|| panic!("the test {test} was not built"))
}

fn run(test: &str, filter: &str, driver: &Path, more: &[(&str, String)]) -> Output {
    let mut command = Command::new(program(test));
    command
        .args([filter, "--test-threads=1"])
        .env(DRIVER, driver)
        .env("RUST_BACKTRACE", "0");
    command.envs(more.iter().map(|(name, value)| (*name, value)));
    command.output().unwrap()
}

/// Whether the test that is to find a fault does.
fn is_found(seeded: &Seeded) -> bool {
    let driver = build(Checked::Plain, Some(seeded.fault));
    let (test, filter) = seeded.found_by;
    let output = run(test, filter, &driver, &[]);
    let words = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let fact = words
        .lines()
        .skip_while(|line| !line.contains("panicked at"))
        .nth(1)
        .unwrap_or("");
    println!("{}: {fact}", seeded.what);
    // A test that fails says which; anything else is not an answer.
    !output.status.success() && words.contains("test result: FAILED")
}

#[test]
fn every_seeded_fault_is_found() {
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        for _ in 0..workers.min(4) {
            scope.spawn(|| {
                while let Some(seeded) = FAULTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !is_found(seeded) {
                        missed.lock().unwrap().push(seeded.what);
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found: {missed:?}");
    println!("{} faults, each found", FAULTS.len());
}

/// Where the compiler keeps a sanitizer's library; `None` if it has none.
fn sanitizer(library: &str) -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let output = Command::new(compiler)
        .arg(format!("-print-file-name={library}"))
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    // Without one it answers with the bare name.
    (path.is_absolute() && cfg!(target_os = "linux")).then_some(path)
}

#[test]
fn no_kernel_touches_what_is_not_its_own() {
    let Some(library) = sanitizer("libasan.so") else {
        println!("skipped: the C++ compiler has no AddressSanitizer that can be loaded first");
        return;
    };
    let clean = build(Checked::Address, None);
    let environment = [
        ("LD_PRELOAD", library.to_string_lossy().into_owned()),
        ("ASAN_OPTIONS", "detect_leaks=0".to_owned()),
    ];
    for (test, filter) in [
        CHOSEN, MASS, SEALED, APPENDED, INDEX, SCAN, PICK, GATHER, PREFILL, DECODE, FEW, MANY, ROWS,
    ] {
        let output = run(test, filter, &clean, &environment);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{test} {filter}: {words}");
    }
    // And it does look: a read behind the last bias, which no result shows.
    let beyond = build(
        Checked::Address,
        Some(Fault {
            file: "scores.cuh",
            right: "        float2 grids[2] =",
            wrong: "        volatile float seen = bias[channels.y + 1]; (void)seen;\n        float2 grids[2] =",
        }),
    );
    let output = run(DECODE.0, DECODE.1, &beyond, &environment);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && words.contains("heap-buffer-overflow"),
        "{words}"
    );
    assert!(words.contains("scores.cuh"), "{words}");
}

/// Every pair of accesses to the same memory by two threads of a block has a barrier between them, in whatever order they
/// ran.
#[test]
fn no_two_threads_race() {
    let Some(library) = sanitizer("libtsan.so") else {
        println!("skipped: the C++ compiler has no ThreadSanitizer that can be loaded first");
        return;
    };
    let environment = [
        ("LD_PRELOAD", library.to_string_lossy().into_owned()),
        // The test programs are not instrumented, so what their threads do is not to be judged.
        (
            "TSAN_OPTIONS",
            "ignore_noninstrumented_modules=1 halt_on_error=1 exitcode=66".to_owned(),
        ),
    ];
    let clean = build(Checked::Races, None);
    for (test, filter) in [
        CHOSEN, MASS, SEALED, APPENDED, INDEX, SCAN, PICK, GATHER, PREFILL, DECODE, FEW, MANY, ROWS,
    ] {
        let output = run(test, filter, &clean, &environment);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{test} {filter}: {words}");
    }
    // And it does look: each barrier that is missing is a race.
    let barriers = FAULTS
        .iter()
        .filter(|seeded| seeded.fault.right.contains("__syncthreads"))
        .chain(RACES);
    let mut looked = 0;
    for seeded in barriers {
        let racy = build(Checked::Races, Some(seeded.fault));
        let (test, filter) = seeded.found_by;
        let output = run(test, filter, &racy, &environment);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            words.contains("WARNING: ThreadSanitizer: data race"),
            "{}: {words}",
            seeded.what
        );
        looked += 1;
    }
    println!("{looked} missing barriers, each a race");
}
