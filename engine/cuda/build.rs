//! Puts the kernels into the program: as machine code for six generations of GPUs and PTX for later ones, compiled by
//! `nvcc`; or, without the feature `device-code`, as a list of their names, which is all that the fake driver of the tests
//! looks at.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Compute capabilities with machine code of their own: Turing, Ampere (data centre, desktop), Ada, Hopper, Blackwell.
const ARCHITECTURES: [u32; 6] = [75, 80, 86, 89, 90, 120];

fn main() {
    let kernels = Path::new("kernels");
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-env-changed=NVCC");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut sources: Vec<PathBuf> = fs::read_dir(kernels)
        .expect("the folder of kernels is part of the crate")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
        .collect();
    sources.sort();
    for source in sources {
        let name = source.file_stem().expect("a file has a name");
        let image = out.join(name).with_extension("image");
        if env::var_os("CARGO_FEATURE_DEVICE_CODE").is_some() {
            compile(&source, &image);
        } else {
            let text = fs::read_to_string(&source).expect("a kernel is text");
            let entries: Vec<String> = entries(&text)
                .map(|name| format!(".visible .entry {name}()\n"))
                .collect();
            fs::write(&image, format!("// no device code\n{}\0", entries.concat()))
                .expect("the build folder can be written to");
        }
    }
}

/// Names of the kernels in a source.
fn entries(source: &str) -> impl Iterator<Item = &str> {
    source
        .split("extern \"C\" __global__ ")
        .skip(1)
        .filter_map(|rest| {
            let before = &rest[..rest.find("(const")?];
            before.rsplit(' ').next()
        })
}

fn compile(source: &Path, image: &Path) {
    let nvcc = env::var_os("NVCC").unwrap_or_else(|| "nvcc".into());
    let mut command = Command::new(&nvcc);
    command.args(["-std=c++17", "-O3", "--fatbin", "-o"]);
    command.arg(image).arg(source);
    for architecture in ARCHITECTURES {
        command.arg(format!(
            "-gencode=arch=compute_{architecture},code=sm_{architecture}"
        ));
    }
    // What a later GPU compiles for itself.
    command.arg("-gencode=arch=compute_75,code=compute_75");
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{} could not be started: {error}", nvcc.display()));
    assert!(status.success(), "{} did not compile", source.display());
}
