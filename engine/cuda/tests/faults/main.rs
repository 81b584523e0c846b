//! The checks checked: kernels with a fault each, every one of which the other tests must find; and the kernels as they are
//! under AddressSanitizer and ThreadSanitizer.
//!
//! Each runs this crate's other tests as programs of their own, on a fake driver that was compiled with the fault.

#![allow(clippy::unwrap_used)]

mod seeded;
#[path = "../support/mod.rs"]
mod support;

use seeded::{DECODE, FAULTS, RACES, Seeded, TESTS};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::DRIVER;
use support::fake_driver::{Checked, Fault, build};

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
    for (test, filter) in TESTS {
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
    for (test, filter) in TESTS {
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
