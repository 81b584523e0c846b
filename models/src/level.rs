//! What vector instructions the kernels of this process use.
//!
//! Decided once, by what the processor has, or by `LECTERN_KERNELS=portable|avx2|avxvnni|avx512`: the products of the
//! forward pass and the engine's attention go by the same level. One that the processor lacks is passed over with a
//! warning.

use std::sync::OnceLock;

/// A set of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// None in particular: plain loops, for every processor.
    Portable,
    /// AVX2, FMA and F16C: every x86-64 processor since 2013 (Haswell, Excavator).
    Avx2,
    /// These and AVX-VNNI: 8-bit dot products in 256 bits (Alder Lake, Zen 5).
    AvxVnni,
    /// AVX-512 F, BW, VL and VNNI on top of AVX2, FMA and F16C (Cascade Lake, Zen 4).
    Avx512,
}

impl Level {
    const ALL: [Level; 4] = [Level::Portable, Level::Avx2, Level::AvxVnni, Level::Avx512];

    /// The level this process uses.
    pub fn chosen() -> Level {
        static CHOSEN: OnceLock<Level> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let available = Level::available();
            let best = available[available.len() - 1];
            let Ok(wanted) = std::env::var("LECTERN_KERNELS") else {
                return best;
            };
            let found = available.into_iter().find(|level| level.name() == wanted);
            found.unwrap_or_else(|| {
                tracing::warn!(
                    "LECTERN_KERNELS={wanted} is not among what this processor can run; using {best}"
                );
                best
            })
        })
    }

    /// The levels this processor can run, slowest first.
    pub fn available() -> Vec<Level> {
        let all = Level::ALL.into_iter();
        all.filter(|level| level.detected()).collect()
    }

    /// Its name in `LECTERN_KERNELS`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::AvxVnni => "avxvnni",
            Level::Avx512 => "avx512",
        }
    }

    /// Whether this processor has the instructions.
    #[cfg(target_arch = "x86_64")]
    pub fn detected(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        match self {
            Level::Portable => true,
            Level::Avx2 => avx2,
            Level::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
            Level::Avx512 => {
                avx2 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
        }
    }

    /// Whether this processor has the instructions.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn detected(self) -> bool {
        self == Level::Portable
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
