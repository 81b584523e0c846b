//! The kernels as machine code, and what the assembler says of them.

use crate::workspace::root;
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// Compute capabilities with machine code of their own, as in the crate's `build.rs`.
pub const ARCHITECTURES: [u32; 6] = [75, 80, 86, 89, 90, 120];

/// One kernel on one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    pub kernel: String,
    pub architecture: u32,
    pub registers: u32,
    pub shared_bytes: u32,
    /// Stored and loaded because there were too few registers.
    pub spilled_bytes: u32,
    /// Of a block.
    pub threads: u32,
    /// Registers that it may have, as stated beside it.
    pub budget: u32,
}

/// What a source says of its kernels.
struct Stated {
    threads: u32,
    budget: u32,
}

/// Compiles every kernel for every architecture.
pub fn compile(nvcc: &Path) -> Result<Vec<Compiled>> {
    let folder = root().join("engine/cuda/kernels");
    let mut sources: Vec<_> = std::fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    sources.sort();
    let mut all_text = String::new();
    for source in &sources {
        all_text += &std::fs::read_to_string(source)?;
    }
    let object = std::env::temp_dir().join(format!("lectern-kernel-{}.cubin", std::process::id()));
    let mut compiled = Vec::new();
    for source in sources
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "cu"))
    {
        let stated = stated(&std::fs::read_to_string(source)?, &all_text)
            .with_context(|| format!("{}", source.display()))?;
        for architecture in ARCHITECTURES {
            let output = Command::new(nvcc)
                .args([
                    "-std=c++17",
                    "-O3",
                    "-cubin",
                    "-Xptxas",
                    "-v",
                    "-Werror=all-warnings",
                ])
                .arg(format!("-arch=sm_{architecture}"))
                .arg("-o")
                .arg(&object)
                .arg(source)
                .output()
                .with_context(|| format!("{} could not be started", nvcc.display()))?;
            let words = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                bail!("{} for sm_{architecture}:\n{words}", source.display());
            }
            compiled.extend(read(&words, architecture, &stated)?);
        }
    }
    let _ = std::fs::remove_file(object);
    compiled.sort_by(|a, b| (&a.kernel, a.architecture).cmp(&(&b.kernel, b.architecture)));
    Ok(compiled)
}

/// Fails where something spilled or is over its budget.
pub fn check(kernels: &[Compiled]) -> Result<()> {
    let bad: Vec<String> = kernels
        .iter()
        .filter(|kernel| kernel.spilled_bytes > 0 || kernel.registers > kernel.budget)
        .map(|kernel| {
            format!(
                "{} on sm_{}: {} registers of {}, {} bytes spilled",
                kernel.kernel,
                kernel.architecture,
                kernel.registers,
                kernel.budget,
                kernel.spilled_bytes
            )
        })
        .collect();
    anyhow::ensure!(bad.is_empty(), "over budget:\n{}", bad.join("\n"));
    Ok(())
}

/// `// registers <= N` before `extern "C" __global__ void __launch_bounds__(THREADS...) NAME(const`; before it
/// `// threads N` where they are others than the bounds say.
fn stated(source: &str, all: &str) -> Result<HashMap<String, Stated>> {
    let mut stated = HashMap::new();
    let parts: Vec<&str> = source.split("// registers <= ").collect();
    for (before, part) in parts.iter().zip(&parts[1..]) {
        let others = before.trim_end().lines().next_back().unwrap_or("");
        let others = others.strip_prefix("// threads ").map(str::parse);
        let budget = part.lines().next().unwrap_or("").trim().parse()?;
        let bounds = between(part, "__launch_bounds__(", ")").context("launch bounds")?;
        let threads = bounds.split(',').next().unwrap_or("").trim();
        let threads = match threads.parse() {
            Ok(number) => number,
            Err(_) => between(all, &format!("constexpr int {threads} = "), ";")
                .context("a number of threads")?
                .parse()?,
        };
        let name = between(part, ") ", "(const").context("a kernel's name")?;
        let threads = others.transpose()?.unwrap_or(threads);
        stated.insert(name.to_owned(), Stated { threads, budget });
    }
    anyhow::ensure!(
        stated.len() == source.matches("__global__").count(),
        "a kernel does not state its budget"
    );
    Ok(stated)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    rest.get(..rest.find(after)?)
}

/// What `ptxas -v` printed of one source.
fn read(words: &str, architecture: u32, stated: &HashMap<String, Stated>) -> Result<Vec<Compiled>> {
    let mut compiled = Vec::new();
    for part in words.split("Compiling entry function '").skip(1) {
        let kernel = part.split('\'').next().unwrap_or("").to_owned();
        let number = |after: &str| -> u32 {
            let before = part.find(after).map(|at| &part[..at]);
            let digits =
                before.and_then(|text| text.rsplit([' ', ',']).find(|word| !word.is_empty()));
            digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        let own = stated
            .get(&kernel)
            .with_context(|| format!("{kernel} states no budget"))?;
        let registers = number(" registers");
        anyhow::ensure!(registers > 0, "ptxas said nothing of {kernel}'s registers");
        compiled.push(Compiled {
            registers,
            shared_bytes: number(" bytes smem"),
            spilled_bytes: number(" bytes spill stores") + number(" bytes spill loads"),
            threads: own.threads,
            budget: own.budget,
            kernel,
            architecture,
        });
    }
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_ptxas_says_is_read() {
        let source = "constexpr int T = 128;\n// registers <= 96\nextern \"C\" __global__ void __launch_bounds__(T, 5) decode_64(const Decode decode) {}";
        let stated = stated(source, source).unwrap();
        let words = "ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'decode_64' for 'sm_86'
ptxas info    : Function properties for decode_64
    0 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 93 registers, used 1 barriers, 18960 bytes smem, 472 bytes cmem[0]";
        let found = read(words, 86, &stated).unwrap();
        let expected = Compiled {
            kernel: "decode_64".into(),
            architecture: 86,
            registers: 93,
            shared_bytes: 18_960,
            spilled_bytes: 20,
            threads: 128,
            budget: 96,
        };
        assert_eq!(found, std::slice::from_ref(&expected));
        assert!(check(&found).is_err());
        let whole = Compiled {
            spilled_bytes: 0,
            ..expected
        };
        assert!(check(std::slice::from_ref(&whole)).is_ok());
        assert!(
            check(&[Compiled {
                registers: 97,
                ..whole
            }])
            .is_err()
        );
    }

    #[test]
    fn every_kernel_states_its_budget() {
        let folder = root().join("engine/cuda/kernels");
        let texts: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        let all = texts.concat();
        for text in texts {
            for (kernel, stated) in stated(&text, &all).unwrap() {
                let limit = match kernel.as_str() {
                    decode if decode.starts_with("decode") => 96,
                    // Tiles of the tensor cores live in registers.
                    "prefill_64" | "prefill_128" | "few_8" => 255,
                    many if many.starts_with("many") => 255,
                    _ => 128,
                };
                assert!(stated.budget <= limit && stated.threads <= 256, "{kernel}");
            }
        }
    }
}
