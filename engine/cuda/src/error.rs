//! What can be wrong with a GPU, in words that say what a person can do.

use cudarc::driver::DriverError;

/// Why something could not be done on the GPU. Whoever gets one goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// No libcuda on this machine.
    #[error(
        "no NVIDIA driver was found. If this computer has an NVIDIA GPU, install NVIDIA's driver (version {NEEDED_DRIVER} \
         or later) and start again"
    )]
    NoDriver,
    /// A driver without a GPU that it can use.
    #[error(
        "NVIDIA's driver is installed but finds no GPU. It may be switched off, in use by a virtual machine, or hidden by \
         CUDA_VISIBLE_DEVICES"
    )]
    NoDevice,
    /// The driver cannot load what this program was compiled to.
    #[error(
        "NVIDIA's driver is too old: it knows CUDA {}, this program needs CUDA {}. Update the driver to version \
         {NEEDED_DRIVER} or later", version(*.found), version(NEEDED_CUDA)
    )]
    DriverTooOld {
        /// CUDA version that the driver reports, `1000 * major + 10 * minor`.
        found: i32,
    },
    /// A GPU of before Turing.
    #[error(
        "{name} is of compute capability {major}.{minor}; 7.5 (GeForce RTX 20, GTX 16) or later is needed"
    )]
    DeviceTooOld {
        /// As the driver calls it.
        name: String,
        /// Of its compute capability.
        major: i32,
        /// Of its compute capability.
        minor: i32,
    },
    /// An allocation did not succeed.
    #[error("the GPU has no room for {bytes} bytes more")]
    OutOfMemory {
        /// What was asked for.
        bytes: usize,
    },
    /// Not even the smallest plan fits.
    #[error(
        "{} MB of the GPU's memory are free, the smallest plan needs {} MB. Close other programs that use the GPU",
        .free >> 20, .needed.div_ceil(1 << 20)
    )]
    TooLittleMemory {
        /// Bytes free now, less the margin.
        free: usize,
        /// Bytes of the smallest plan.
        needed: usize,
    },
    /// The person's limit is no amount of memory.
    #[error("LECTERN_GPU_MEMORY={words} is no amount of memory; write it as 6GB, or in bytes")]
    MemoryLimit {
        /// What it is set to.
        words: String,
    },
    /// Heads that there are no kernels for.
    #[error("there are no kernels for heads of {head_dim} channels, only for 64 and 128")]
    HeadDim {
        /// Channels of a head.
        head_dim: usize,
    },
    /// Codes that there are no kernels for.
    #[error("there are no kernels for keys of {key_bits} bits and values of {value_bits}")]
    Format {
        /// Bits of a key.
        key_bits: usize,
        /// Bits of a value.
        value_bits: usize,
    },
    /// It multiplies wrongly.
    #[error(
        "the GPU failed its self-check: products of {tokens} tokens with weights of {bits} bits and {kind} are off by \
         {difference}, more than {bound}"
    )]
    Unsound {
        /// Bits of a code.
        bits: usize,
        /// How codes become weights.
        kind: &'static str,
        /// Tokens that were multiplied.
        tokens: usize,
        /// From sums in F64.
        difference: f64,
        /// What rounding explains.
        bound: f64,
    },
    /// A library that belongs to the driver or to CUDA is not there or not whole.
    #[error("CUDA's libraries are not whole ({fact}). Install NVIDIA's driver anew")]
    MissingLibrary {
        /// What was missed.
        fact: String,
    },
    /// Any other answer of the driver.
    #[error("the GPU's driver failed to {action}: {source:?}")]
    Driver {
        /// What was being done.
        action: &'static str,
        /// What it said.
        source: DriverError,
    },
}

/// The CUDA version that the kernels are compiled with; a driver must know it, or a later one.
pub const NEEDED_CUDA: i32 = 13_000;

/// The first driver of that version, by NVIDIA's release notes.
pub const NEEDED_DRIVER: u32 = 580;

fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

/// Puts what was being done to a driver's answer.
pub(crate) fn driver(action: &'static str) -> impl FnOnce(DriverError) -> CudaError {
    move |source| CudaError::Driver { action, source }
}
