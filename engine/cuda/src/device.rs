//! One GPU: opened, asked, given memory, given work.

use crate::error::{CudaError, NEEDED_CUDA, driver};
use crate::kernels::Kernels;
use cudarc::driver::sys::{CUdevice_attribute, CUresult};
use cudarc::driver::{
    CudaContext, CudaEvent, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError,
    PinnedHostSlice,
};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Numbers in the device's memory.
pub type Buffer<T> = CudaSlice<T>;

/// Memory of the host that the device reads directly.
pub type Pinned<T> = PinnedHostSlice<T>;

/// A moment in a line's work.
pub(crate) type Moment = CudaEvent;

/// Work is done in the order in which it was given, in each of two lines; one does not wait for the other unless it is told
/// to ([`Device::hold`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// All that computes, and copies that it needs at once.
    Work,
    /// Pages that are fetched while it computes.
    Fetching,
}

/// A GPU with our kernels on it.
#[derive(Debug)]
pub struct Device {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    fetching: Arc<CudaStream>,
    kernels: Kernels,
    multiprocessors: usize,
    /// Bytes that were free when it was opened.
    free_at_first: usize,
}

/// Bytes of a GPU that this program may take at most, if the person says so: `6000000000`, `6GB`, `6G`.
pub const MEMORY_LIMIT: &str = "LECTERN_GPU_MEMORY";

/// A limit that cannot be read is no limit to be ignored: nothing is computed on a GPU then.
fn memory_limit() -> Result<usize, CudaError> {
    match std::env::var(MEMORY_LIMIT) {
        Err(_) => Ok(usize::MAX),
        Ok(words) => bytes_in(&words).ok_or(CudaError::MemoryLimit { words }),
    }
}

/// A number of bytes in words, with or without a unit of 1024.
fn bytes_in(words: &str) -> Option<usize> {
    let words = words.trim().to_ascii_uppercase();
    let digits = words.trim_end_matches(|letter: char| letter.is_alphabetic());
    let unit = match words[digits.len()..].trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    let number: f64 = digits.trim().parse().ok().filter(|number| *number >= 0.0)?;
    Some((number * f64::from(1u32 << unit)) as usize)
}

/// What the driver says of a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    /// As the driver calls it.
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// CUDA version that the driver knows, `1000 * major + 10 * minor`.
    pub driver: i32,
    /// Bytes.
    pub memory: Memory,
}

/// A GPU's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// That nobody holds now.
    pub free: usize,
    /// In all.
    pub total: usize,
}

/// What is open in this process.
static OPEN: Mutex<Vec<(usize, Weak<Device>)>> = Mutex::new(Vec::new());

fn found(open: &[(usize, Weak<Device>)], ordinal: usize) -> Option<Arc<Device>> {
    let of = |(nth, device): &(usize, Weak<Device>)| (*nth == ordinal).then(|| device.upgrade())?;
    open.iter().find_map(of)
}

impl Device {
    /// Opens a GPU and loads the kernels.
    ///
    /// # Errors
    /// Whatever is missing, each with its own error: see [`CudaError`].
    pub fn open(ordinal: usize) -> Result<Device, CudaError> {
        let context = open_context(ordinal)?;
        // SAFETY: what is fetched is ordered with all else by moments (`cache/fetch.rs`); everything else goes to one stream,
        // whose order is all the order that is needed.
        unsafe { context.disable_event_tracking() };
        // Lines of its own, and not the driver's default one, which is that of whichever GPU this thread used last: memory is
        // given back in the line that it was allocated in.
        let line = || context.new_stream().map_err(driver("open a line of work"));
        let (stream, fetching) = (line()?, line()?);
        let kernels = Kernels::load(&context)?;
        let (free_at_first, _) = context
            .mem_get_info()
            .map_err(driver("say how much memory is free"))?;
        let multiprocessors = context
            .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
            .map_err(driver("count its multiprocessors"))?;
        Ok(Device {
            context,
            stream,
            fetching,
            kernels,
            multiprocessors: multiprocessors.max(1) as usize,
            free_at_first,
        })
    }

    /// The GPU that others in this process use already, or opens it: a model's weights and a document's cache share one, and
    /// with it the order of their work.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn shared(ordinal: usize) -> Result<Arc<Device>, CudaError> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = found(&open, ordinal) {
            return Ok(device);
        }
        let device = Arc::new(Device::open(ordinal)?);
        open.retain(|(_, device)| device.strong_count() > 0);
        open.push((ordinal, Arc::downgrade(&device)));
        Ok(device)
    }

    /// The GPU that others in this process use, if any do.
    pub fn in_use(ordinal: usize) -> Option<Arc<Device>> {
        found(
            &OPEN.lock().unwrap_or_else(PoisonError::into_inner),
            ordinal,
        )
    }

    /// GPUs that the driver finds, those that cannot be used among them.
    ///
    /// # Errors
    /// [`CudaError::NoDriver`], [`CudaError::NoDevice`], [`CudaError::MissingLibrary`], [`CudaError::Driver`].
    pub fn count() -> Result<usize, CudaError> {
        with_driver(|| Ok(CudaContext::device_count()? as usize))
    }

    /// What the driver says of a GPU, without loading anything onto it.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn facts(ordinal: usize) -> Result<DeviceFacts, CudaError> {
        let limit = memory_limit()?;
        let context = open_context(ordinal)?;
        let ask = driver("describe the GPU");
        let facts = || -> Result<DeviceFacts, DriverError> {
            let (free, total) = context.mem_get_info()?;
            Ok(DeviceFacts {
                name: context.name()?,
                capability: context.compute_capability()?,
                driver: driver_version()?,
                memory: Memory {
                    free: free.min(limit),
                    total,
                },
            })
        };
        facts().map_err(ask)
    }

    /// Memory now, as far as it may be taken ([`MEMORY_LIMIT`]).
    ///
    /// # Errors
    /// [`CudaError::MemoryLimit`], [`CudaError::Driver`].
    pub fn memory(&self) -> Result<Memory, CudaError> {
        let (free, total) = self
            .context
            .mem_get_info()
            .map_err(driver("say how much memory is free"))?;
        let taken = self.free_at_first.saturating_sub(free);
        Ok(Memory {
            free: free.min(memory_limit()?.saturating_sub(taken)),
            total,
        })
    }

    /// Which GPU it is, under which driver: what a self-check of it holds for.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn identity(&self) -> Result<String, CudaError> {
        let ask = driver("describe the GPU");
        let identity = || -> Result<String, DriverError> {
            let uuid = self.context.uuid()?.bytes;
            let (major, minor) = self.context.compute_capability()?;
            let uuid: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
            let name = self.context.name()?;
            let driver = driver_version()?;
            Ok(format!("{name} {major}.{minor} {uuid} driver {driver}"))
        };
        identity().map_err(ask)
    }

    /// What the driver says of it.
    pub(crate) fn attribute(&self, attribute: CUdevice_attribute) -> Result<i32, DriverError> {
        self.context.attribute(attribute)
    }

    /// Compute capability.
    pub(crate) fn capability(&self) -> Result<(i32, i32), DriverError> {
        self.context.compute_capability()
    }

    /// Blocks that run at the same time, at least.
    pub fn multiprocessors(&self) -> usize {
        self.multiprocessors
    }

    /// The kernels on it.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    pub(crate) fn stream(&self, line: Line) -> &Arc<CudaStream> {
        match line {
            Line::Work => &self.stream,
            Line::Fetching => &self.fetching,
        }
    }

    /// Room for `length` numbers (at least one), which hold anything.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`].
    pub fn allocate<T: DeviceRepr>(&self, length: usize) -> Result<Buffer<T>, CudaError> {
        let length = length.max(1);
        // SAFETY: every type that is put there is a plain number or a struct of them, of which all bits are valid.
        unsafe { self.stream.alloc(length) }.map_err(|source| match source {
            DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY) => CudaError::OutOfMemory {
                bytes: length * size_of::<T>(),
            },
            source => driver("allocate memory")(source),
        })
    }

    /// Room on the host that the device can read.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] if no more can be pinned.
    pub fn pin(&self, bytes: usize) -> Result<Pinned<u8>, CudaError> {
        // SAFETY: bytes, of which all values are valid.
        unsafe { self.context.alloc_pinned_with_flags(bytes.max(1), 0) }.map_err(|source| {
            match source {
                DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY) => CudaError::OutOfMemory { bytes },
                source => driver("pin memory of the host")(source),
            }
        })
    }

    /// A copy of `numbers` on the device.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], [`CudaError::Driver`].
    pub fn upload<T: DeviceRepr>(&self, numbers: &[T]) -> Result<Buffer<T>, CudaError> {
        let mut buffer = self.allocate(numbers.len())?;
        self.write(numbers, &mut buffer, 0)?;
        Ok(buffer)
    }

    /// Copies `numbers` into `buffer` from its entry `first` on.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    ///
    /// # Panics
    /// If they do not fit.
    pub fn write<T: DeviceRepr>(
        &self,
        numbers: &[T],
        buffer: &mut Buffer<T>,
        first: usize,
    ) -> Result<(), CudaError> {
        self.write_in(Line::Work, numbers, buffer, first)
    }

    /// As [`Device::write`], in this line.
    pub(crate) fn write_in<T: DeviceRepr>(
        &self,
        line: Line,
        numbers: &[T],
        buffer: &mut Buffer<T>,
        first: usize,
    ) -> Result<(), CudaError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let mut view = buffer.slice_mut(first..first + numbers.len());
        self.stream(line)
            .memcpy_htod(numbers, &mut view)
            .map_err(driver("copy to the GPU"))
    }

    /// The first `length` numbers of `buffer`; waits for all work before.
    ///
    /// # Errors
    /// [`CudaError::Driver`]; also what went wrong in a kernel before.
    pub fn download<T: DeviceRepr + Clone + Default>(
        &self,
        buffer: &Buffer<T>,
        length: usize,
    ) -> Result<Vec<T>, CudaError> {
        let mut numbers = Vec::new();
        self.download_to(buffer, length, &mut numbers)?;
        Ok(numbers)
    }

    /// The same in place of whatever `numbers` hold, whose memory is used again: the system takes as long to find many MB of new
    /// memory as the GPU to fill them.
    pub(crate) fn download_to<T: DeviceRepr + Clone + Default>(
        &self,
        buffer: &Buffer<T>,
        length: usize,
        numbers: &mut Vec<T>,
    ) -> Result<(), CudaError> {
        numbers.resize(length, T::default());
        if length > 0 {
            self.stream
                .memcpy_dtoh(&buffer.slice(0..length), numbers)
                .map_err(driver("copy from the GPU"))?;
        }
        self.finish()
    }

    /// Waits until all that was asked for is done.
    ///
    /// # Errors
    /// [`CudaError::Driver`], of whatever failed since the last time.
    pub fn finish(&self) -> Result<(), CudaError> {
        self.stream.synchronize().map_err(driver("finish its work"))
    }

    /// A moment that is past until it is marked.
    pub(crate) fn moment(&self) -> Result<Moment, CudaError> {
        self.context
            .new_event(None)
            .map_err(driver("mark a moment"))
    }

    /// From now on `moment` is when all that this line was given so far is done.
    pub(crate) fn mark(&self, moment: &Moment, line: Line) -> Result<(), CudaError> {
        moment
            .record(self.stream(line))
            .map_err(driver("mark a moment"))
    }

    /// What this line is given from now on begins after `moment`, as it is marked now.
    pub(crate) fn hold(&self, line: Line, moment: &Moment) -> Result<(), CudaError> {
        self.stream(line)
            .wait(moment)
            .map_err(driver("wait for the other line"))
    }

    /// Waits here for `moment`.
    pub(crate) fn wait_for(&self, moment: &Moment) -> Result<(), CudaError> {
        moment
            .synchronize()
            .map_err(driver("come to a moment of its work"))
    }

    /// Waits until nothing is fetched any more.
    ///
    /// # Errors
    /// [`CudaError::Driver`], of whatever failed since the last time.
    pub fn finish_fetching(&self) -> Result<(), CudaError> {
        self.fetching
            .synchronize()
            .map_err(driver("finish its copies"))
    }

    /// Where a buffer lies on the device.
    pub fn address<T>(&self, buffer: &Buffer<T>) -> u64 {
        buffer.device_ptr(&self.stream).0
    }
}

/// CUDA version that the driver knows.
fn driver_version() -> Result<i32, DriverError> {
    let mut version = 0;
    // SAFETY: writes one number where it is told to.
    unsafe { cudarc::driver::sys::cuDriverGetVersion(&mut version) }.result()?;
    Ok(version)
}

/// Asks the driver something, after it was loaded.
fn with_driver<T>(
    ask: impl FnOnce() -> Result<T, DriverError> + std::panic::UnwindSafe,
) -> Result<T, CudaError> {
    // SAFETY: loads the driver's library, which runs its constructors; there is no way to ask without.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return Err(CudaError::NoDriver);
    }
    // A driver that is not whole lacks functions, which shows as a panic when they are first called.
    let answer = std::panic::catch_unwind(|| {
        cudarc::driver::result::init()?;
        ask()
    });
    let answer = answer.map_err(|panic| CudaError::MissingLibrary {
        fact: panic
            .downcast::<String>()
            .map_or_else(|_| "a function of the driver".to_owned(), |fact| *fact),
    })?;
    answer.map_err(|source| match source {
        DriverError(
            CUresult::CUDA_ERROR_NO_DEVICE
            | CUresult::CUDA_ERROR_INVALID_DEVICE
            | CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE,
        ) => CudaError::NoDevice,
        source => driver("open the GPU")(source),
    })
}

/// A context on a GPU that can run our kernels.
fn open_context(ordinal: usize) -> Result<Arc<CudaContext>, CudaError> {
    let (found, name, (major, minor), context) = with_driver(|| {
        let driver = driver_version()?;
        let context = CudaContext::new(ordinal)?;
        let capability = context.compute_capability()?;
        Ok((driver, context.name()?, capability, context))
    })?;
    if found < NEEDED_CUDA {
        return Err(CudaError::DriverTooOld { found });
    }
    if (major, minor) < (7, 5) {
        return Err(CudaError::DeviceTooOld { name, major, minor });
    }
    Ok(context)
}

#[cfg(test)]
mod tests {
    use super::bytes_in;

    #[test]
    fn a_limit_is_read_with_and_without_a_unit() {
        for (words, bytes) in [
            ("6000000000", Some(6_000_000_000)),
            ("6GB", Some(6 << 30)),
            (" 1.5 g", Some(3 << 29)),
            ("512MB", Some(512 << 20)),
            ("0", Some(0)),
            ("much", None),
            ("-1G", None),
            ("", None),
        ] {
            assert_eq!(bytes_in(words), bytes, "{words:?}");
        }
    }
}
