//! How many warps of a kernel fit a multiprocessor at once, by the limits in NVIDIA's programming guide.

use super::ptxas::{ARCHITECTURES, Compiled};
use std::fmt::Write;

/// What a multiprocessor has.
struct Multiprocessor {
    warps: u32,
    blocks: u32,
    shared_bytes: u32,
    /// Kept back of a block's shared memory.
    reserved_bytes: u32,
}

const REGISTERS: u32 = 65_536;
/// Registers are given out to warps in pieces of so many.
const REGISTER_PIECE: u32 = 256;

/// Of an architecture in [`ARCHITECTURES`].
fn multiprocessor(architecture: u32) -> Multiprocessor {
    let (warps, blocks, shared_kilobytes, reserved_bytes) = match architecture {
        75 => (32, 16, 64, 0),
        80 => (64, 32, 164, 1024),
        86 => (48, 16, 100, 1024),
        90 => (64, 32, 228, 1024),
        // 89 and 120
        _ => (48, 24, 100, 1024),
    };
    Multiprocessor {
        warps,
        blocks,
        shared_bytes: shared_kilobytes << 10,
        reserved_bytes,
    }
}

/// Share of the warps that a multiprocessor can hold, in percent.
fn occupancy(kernel: &Compiled) -> u32 {
    let limits = multiprocessor(kernel.architecture);
    let warps = kernel.threads.div_ceil(32);
    let of_warp = (kernel.registers * 32).next_multiple_of(REGISTER_PIECE);
    let by_registers = REGISTERS / of_warp / warps;
    let shared = (kernel.shared_bytes + limits.reserved_bytes).max(1);
    let by_shared = limits.shared_bytes / shared;
    let blocks = by_registers
        .min(by_shared)
        .min(limits.blocks)
        .min(limits.warps / warps);
    100 * blocks * warps / limits.warps
}

/// Registers and occupancy by kernel and architecture, as Markdown.
pub fn table(kernels: &[Compiled]) -> String {
    let mut text = String::from("\n| registers / occupancy | budget | shared |");
    for architecture in ARCHITECTURES {
        let _ = write!(text, " sm_{architecture} |");
    }
    text += "\n|---|---|---|";
    text += &"---|".repeat(ARCHITECTURES.len());
    for of_kernel in kernels.chunk_by(|a, b| a.kernel == b.kernel) {
        let shared = of_kernel
            .iter()
            .map(|on| on.shared_bytes)
            .max()
            .unwrap_or(0);
        let first = &of_kernel[0];
        let _ = write!(
            text,
            "\n| `{}` | {} | {shared} |",
            first.kernel, first.budget
        );
        for on in of_kernel {
            let _ = write!(text, " {} / {}% |", on.registers, occupancy(on));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_shared_memory_and_threads_limit() {
        let kernel = |architecture, registers, shared_bytes, threads| Compiled {
            kernel: String::new(),
            architecture,
            registers,
            shared_bytes,
            spilled_bytes: 0,
            threads,
            budget: 255,
        };
        // 5 blocks of 4 warps with 96 registers, of 48 warps.
        assert_eq!(occupancy(&kernel(86, 96, 0, 128)), 41);
        // 3 blocks with 26 KB of 100.
        assert_eq!(occupancy(&kernel(86, 32, 26_624, 128)), 25);
        assert_eq!(occupancy(&kernel(80, 32, 0, 256)), 100);
        assert_eq!(occupancy(&kernel(75, 16, 0, 32)), 50);
    }
}
