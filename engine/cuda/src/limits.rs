//! What a GPU could do at most, for measurements to be set beside.
//!
//! In: what the driver says of clocks and widths. Out: bytes and operations a second. Nobody reaches them; a share of them
//! says how much is left.

use crate::device::Device;
use crate::error::{CudaError, driver};
use cudarc::driver::sys::CUdevice_attribute as Attribute;

/// Of one GPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes a second between its memory and its multiprocessors.
    pub memory: f64,
    /// Operations a second of the tensor cores on halves with sums in F32, without sparsity; a multiplication with an
    /// addition is two. `None` for GPUs whose rate is not known here.
    pub tensor: Option<f64>,
}

/// Operations of a multiprocessor's tensor cores in a cycle, by compute capability: from NVIDIA's figures for whole GPUs over
/// their multiprocessors and clocks. Workstation cards of the later ones do twice as many as GeForce cards, which these are of.
fn tensor_operations(capability: (i32, i32)) -> Option<f64> {
    match capability {
        (7, 5) | (8, 6) | (8, 9) | (12, 0) => Some(512.0),
        (8, 0) => Some(2048.0),
        (9, 0) => Some(4096.0),
        _ => None,
    }
}

impl Device {
    /// What it could do at most, at the clocks that its driver states.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn limits(&self) -> Result<Limits, CudaError> {
        let ask = |attribute| -> Result<f64, CudaError> {
            let number = self.attribute(attribute);
            number
                .map(f64::from)
                .map_err(driver("say what it could do"))
        };
        // Both clocks in kHz; memory gives data twice in a cycle.
        let memory_clock = 1e3 * ask(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?;
        let bits = ask(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?;
        let clock = 1e3 * ask(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?;
        let cycle = tensor_operations(self.capability().map_err(driver("say what it could do"))?);
        Ok(Limits {
            memory: 2.0 * memory_clock * bits / 8.0,
            tensor: cycle.map(|operations| operations * clock * self.multiprocessors() as f64),
        })
    }
}

impl Limits {
    /// A speed in bytes a second as a share of what memory could do.
    pub fn of_memory(&self, speed: f64) -> String {
        share(speed, Some(self.memory))
    }

    /// A speed in operations a second as a share of what tensor cores could do.
    pub fn of_tensor(&self, speed: f64) -> String {
        share(speed, self.tensor)
    }
}

/// A percentage, or nothing where the limit is not known.
fn share(speed: f64, limit: Option<f64>) -> String {
    match limit {
        Some(limit) if limit > 0.0 => format!("{:.0}%", 100.0 * speed / limit),
        _ => "?".to_owned(),
    }
}

impl std::fmt::Display for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "memory {:.0} GB/s", self.memory / 1e9)?;
        match self.tensor {
            Some(tensor) => write!(f, ", tensor cores {:.0} TFLOP/s", tensor / 1e12),
            None => write!(f, ", tensor cores not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As their makers state them: an RTX 3060 has 28 multiprocessors at 1,777 MHz and memory of 192 bits at 7,501 MHz, an H100
    /// SXM 132 at 1,830 and 5,120 bits at 2,619.
    #[test]
    fn figures_of_known_gpus_come_out() {
        for (capability, multiprocessors, clock, stated) in [
            ((8, 6), 28.0, 1777e6, 25.4e12),
            ((9, 0), 132.0, 1830e6, 989e12),
        ] {
            let cycle = tensor_operations(capability).unwrap_or(0.0);
            let tensor = cycle * clock * multiprocessors;
            assert!((tensor / stated - 1.0).abs() < 0.01, "{tensor:e}");
        }
        let limits = Limits {
            memory: 2.0 * 7501e6 * 192.0 / 8.0,
            tensor: None,
        };
        assert_eq!(limits.of_memory(180e9), "50%");
        assert_eq!(limits.of_tensor(1e12), "?");
        assert_eq!(
            limits.to_string(),
            "memory 360 GB/s, tensor cores not known"
        );
    }
}
