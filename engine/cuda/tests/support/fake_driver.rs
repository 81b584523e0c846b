//! The fake driver, compiled by this machine's C++ compiler and put where cudarc finds it.
//!
//! Object files are kept between runs by what they were made from, so that a changed kernel costs one compilation.

use std::collections::hash_map::DefaultHasher;
use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the C++ side is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checked {
    /// Optimised, with the fake driver's own checks.
    Plain,
    /// With AddressSanitizer.
    Address,
    /// Kernels with ThreadSanitizer (`shim/order.h`).
    Races,
}

/// Which streams are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// All work is done at once.
    None = 0,
    /// What computes: what is fetched must not take the place of what is still needed.
    Default = 1,
    /// What is fetched: what computes must wait for it.
    Others = 2,
}

/// A change to a kernel's source: what stands there once, and what is put in its place.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub file: &'static str,
    pub right: &'static str,
    pub wrong: &'static str,
}

/// The crate's folder; the engine's tests use this file, too.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    match own.join("kernels").is_dir() {
        true => own.to_owned(),
        false => own.join("cuda"),
    }
}

fn compiler() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "c++".into())
}

/// Builds the fake driver, or finds it built; the library's path.
pub fn build(checked: Checked, fault: Option<Fault>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fake-driver");
    fs::create_dir_all(&folder).unwrap();
    let kernels = root().join("kernels");
    let mut names: Vec<String> = fs::read_dir(&kernels)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut found = 0;
    let sources: Vec<(String, String)> = names
        .into_iter()
        .map(|name| {
            let mut text = fs::read_to_string(kernels.join(&name)).unwrap();
            if let Some(fault) = fault.filter(|fault| fault.file == name) {
                found += text.matches(fault.right).count();
                text = text.replace(fault.right, fault.wrong);
            }
            (name, text)
        })
        .collect();
    assert_eq!(
        found,
        usize::from(fault.is_some()),
        "a fault replaces what stands there once"
    );

    let shared: Vec<&(String, String)> = sources
        .iter()
        .filter(|(name, _)| name.ends_with(".cuh"))
        .collect();
    let mut objects = Vec::new();
    for (name, text) in sources.iter().filter(|(name, _)| name.ends_with(".cu")) {
        let own = (name.clone(), text.clone());
        let needed: Vec<&(String, String)> = shared.iter().copied().chain([&own]).collect();
        objects.push(kernel_object(&folder, checked, &own, &needed));
    }
    for file in [
        "shim/block.cpp",
        "shim/fiber.cpp",
        "fake/driver.cpp",
        "fake/memory.cpp",
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        objects.push(object(&folder, &around_kernels(checked), &text, &[]));
    }
    let library = folder
        .join(key(&objects))
        .join(format!("libcuda{}", std::env::consts::DLL_SUFFIX));
    let _alone = lock(library.parent().unwrap());
    if !library.exists() {
        let unfinished = library.with_extension("part");
        let mut link = Command::new(compiler());
        link.args(kernel_flags(checked)).args(["-shared", "-o"]);
        link.arg(&unfinished).args(&objects);
        if cfg!(target_os = "linux") {
            // The name that cudarc looks for first: once loaded from anywhere, it is found by it.
            link.arg("-Wl,-soname,libcuda.so");
        }
        run(&mut link);
        fs::rename(unfinished, &library).unwrap();
    }
    library
}

/// For what surrounds kernels.
fn around_kernels(checked: Checked) -> Vec<&'static str> {
    let mut flags = vec!["-std=c++17", "-O2", "-g1", "-fPIC", "-fvisibility=hidden"];
    match checked {
        Checked::Plain => {}
        Checked::Address => flags.push("-fsanitize=address"),
        Checked::Races => flags.push("-DCHECKED_FOR_RACES"),
    }
    flags
}

/// For kernels, and to link them.
fn kernel_flags(checked: Checked) -> Vec<&'static str> {
    let mut flags = around_kernels(checked);
    if checked == Checked::Races {
        flags.push("-fsanitize=thread");
    }
    flags
}

/// A kernel as C++: its source, and the names of its kernels for the fake driver.
fn kernel_object(
    folder: &Path,
    checked: Checked,
    (name, text): &(String, String),
    needed: &[&(String, String)],
) -> PathBuf {
    let entries: String = text
        .split("extern \"C\" __global__ ")
        .skip(1)
        .map(|rest| {
            let before = &rest[..rest.find("(const").unwrap()];
            format!("REGISTER({})\n", before.rsplit(' ').next().unwrap())
        })
        .collect();
    let text = format!(
        "#include \"cuda_on_cpu.h\"\n#include \"register.h\"\n#include \"{name}\"\n{entries}"
    );
    object(folder, &kernel_flags(checked), &text, needed)
}

/// Compiles `text`, which may include `beside`, files that lie next to it.
fn object(folder: &Path, flags: &[&str], text: &str, beside: &[&(String, String)]) -> PathBuf {
    let mut headers = Vec::new();
    for part in ["shim", "fake"] {
        for entry in fs::read_dir(root().join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "h") {
                headers.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    headers.sort();
    let place = folder.join(key(&(flags, text, beside, headers)));
    let object = place.join("object.o");
    let _alone = lock(&place);
    if !object.exists() {
        for (name, text) in beside {
            fs::write(place.join(name), text).unwrap();
        }
        fs::write(place.join("source.cpp"), text).unwrap();
        let unfinished = place.join("object.part");
        let mut compile = Command::new(compiler());
        compile
            .args(flags)
            .args(["-Wall", "-Wextra", "-Wno-unknown-pragmas"])
            .arg("-I")
            .arg(root().join("shim"))
            .arg("-I")
            .arg(root().join("fake"))
            .arg("-c")
            .arg(place.join("source.cpp"))
            .arg("-o")
            .arg(&unfinished);
        run(&mut compile);
        fs::rename(unfinished, &object).unwrap();
    }
    object
}

/// Makes a folder that only one of the tests' programs works in, until the result is dropped.
fn lock(folder: &Path) -> File {
    fs::create_dir_all(folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    lock
}

fn key(what: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Tests run on the machine's own driver and GPU if this is set: those that need nothing of the fake one.
pub const REAL: &str = "LECTERN_TEST_REAL_GPU";

/// The fake driver, loaded; or nothing, where the real one is to be used.
pub struct FakeDriver {
    library: Option<libloading::Library>,
}

impl FakeDriver {
    /// Loads it for the rest of the process, before cudarc looks for a driver.
    pub fn load(library: &Path) -> FakeDriver {
        // SAFETY: our own library, whose constructors fill a table of names.
        let library = unsafe { libloading::Library::new(library) }.unwrap();
        FakeDriver {
            library: Some(library),
        }
    }

    /// The fake driver, built from this source; or none if the real one is to be used.
    pub fn load_wanted(wanted: impl FnOnce() -> PathBuf) -> FakeDriver {
        match std::env::var_os(REAL) {
            Some(_) => FakeDriver { library: None },
            None => FakeDriver::load(&wanted()),
        }
    }

    /// Whether what it is told and says means anything.
    pub fn is_fake(&self) -> bool {
        self.library.is_some()
    }

    fn call<F: Copy, T: Default>(&self, name: &str, call: impl FnOnce(F) -> T) -> T {
        let Some(library) = &self.library else {
            return T::default();
        };
        // SAFETY: each caller names the function's own type, as `fake/driver.cpp` has it.
        let function = unsafe { library.get::<F>(name) }.unwrap();
        call(*function)
    }

    /// A new GPU of so many bytes, of which others have `taken`, as any others would be; forgets its settings and its log.
    pub fn reset(&self, total: usize, taken: usize) {
        self.call("fake_reset", |f: extern "C" fn(usize, usize)| {
            f(total, taken)
        });
    }

    /// 0: threads and blocks run in order; 1: reversed; others: in an order that is drawn.
    pub fn set_seed(&self, seed: u32) {
        self.call("fake_set_seed", |f: extern "C" fn(c_uint)| f(seed));
    }

    /// Work that was given to these streams is done at the last moment that events and waits allow.
    pub fn set_late(&self, late: Late) {
        self.call("fake_set_late", |f: extern "C" fn(c_int)| f(late as c_int));
    }

    /// Pieces of work that these streams were given and have not done.
    pub fn waiting(&self) -> usize {
        self.call("fake_waiting", |f: extern "C" fn() -> usize| f())
    }

    /// Streams that are told to wait for another do not.
    pub fn set_deaf(&self, deaf: bool) {
        self.call("fake_set_deaf", |f: extern "C" fn(c_int)| {
            f(c_int::from(deaf))
        });
    }

    /// The `nth` allocation from now on fails, counted from 1; 0: none does.
    pub fn fail_allocation(&self, nth: i32) {
        self.call("fake_fail_allocation", |f: extern "C" fn(c_int)| f(nth));
    }

    /// The `nth` launch from now on fails likewise.
    pub fn fail_launch(&self, nth: i32) {
        self.call("fake_fail_launch", |f: extern "C" fn(c_int)| f(nth));
    }

    /// Launches since the reset, or since [`FakeDriver::fail_launch`].
    pub fn launches(&self) -> i32 {
        self.call("fake_launches", |f: extern "C" fn() -> c_int| f())
    }

    /// GPUs of so many bytes each, of which others have none.
    pub fn reset_to(&self, totals: &[usize]) {
        self.reset(0, 0);
        self.set_driver(13_000, totals.len() as i32, (8, 6));
        for (nth, total) in totals.iter().enumerate() {
            self.call(
                "fake_set_memory",
                |f: extern "C" fn(c_int, usize, usize)| f(nth as c_int, *total, 0),
            );
        }
    }

    /// This GPU is gone at its `nth` launch from now on, counted from 1; 0: it stays.
    pub fn lose(&self, gpu: usize, nth: i32) {
        self.call("fake_lose", |f: extern "C" fn(c_int, c_int)| {
            f(gpu as c_int, nth);
        });
    }

    /// Launches on this GPU since the reset, or since [`FakeDriver::lose`].
    pub fn launches_on(&self, gpu: usize) -> i32 {
        self.call("fake_launches_on", |f: extern "C" fn(c_int) -> c_int| {
            f(gpu as c_int)
        })
    }

    /// What the driver says of itself and of its GPUs.
    pub fn set_driver(&self, version: i32, devices: i32, capability: (i32, i32)) {
        self.call(
            "fake_set_driver",
            |f: extern "C" fn(c_int, c_int, c_int, c_int)| {
                f(version, devices, capability.0, capability.1);
            },
        );
    }

    /// Bytes on the first GPU that are allocated now, and the most that ever were since the reset.
    pub fn allocated(&self) -> (usize, usize) {
        self.allocated_on(0)
    }

    /// The same of any.
    pub fn allocated_on(&self, gpu: usize) -> (usize, usize) {
        type Bytes = extern "C" fn(c_int) -> usize;
        let gpu = gpu as c_int;
        (
            self.call("fake_allocated", |f: Bytes| f(gpu)),
            self.call("fake_peak", |f: Bytes| f(gpu)),
        )
    }

    /// Allocations since the reset, or since [`FakeDriver::fail_allocation`].
    pub fn allocations(&self) -> i32 {
        self.call("fake_allocations", |f: extern "C" fn() -> c_int| f())
    }

    /// Every call that does something, a line each.
    pub fn log(&self) -> String {
        self.text("fake_log")
    }

    /// What was refused last, and why.
    pub fn last_failure(&self) -> String {
        self.text("fake_last_failure")
    }

    /// Size of a kernel's parameter, by the compiler; `None` if there is no such kernel.
    pub fn parameter_bytes(&self, kernel: &str) -> Option<usize> {
        let name = CString::new(kernel).unwrap();
        let bytes = self.call(
            "fake_parameter_bytes",
            |f: extern "C" fn(*const c_char) -> usize| f(name.as_ptr()),
        );
        (bytes != 0).then_some(bytes)
    }

    fn text(&self, name: &str) -> String {
        self.call(name, |f: extern "C" fn() -> *const c_char| {
            // SAFETY: a string of the library's, unchanged until its next call.
            unsafe { CStr::from_ptr(f()) }
                .to_string_lossy()
                .into_owned()
        })
    }
}
