//! The kernels on a device, and their launches.
//!
//! In: a struct of addresses and sizes. Out: work in the device's stream. Nothing here knows what buffers are for; whoever
//! calls has made them large enough, which is why every launch is unsafe.

use crate::device::{Device, Line};
use crate::error::{CudaError, driver};
use crate::parameters::{
    Append, Decode, Gather, Index, Mass, Merge, Pick, Prefill, Quantize, Scan, Unpack,
};
use crate::shape::Shape;
use cudarc::driver::{CudaContext, CudaFunction, DeviceRepr, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use std::sync::Arc;

/// Query heads that `decode`, `scan` and `mass` take together.
pub const SLICE_ROWS: usize = 8;

/// Threads of `merge` where the splits are as many as this, or more: several a channel then.
const MERGE_THREADS: usize = 256;
const MERGED_BY_ALL: usize = 8;

/// Rows of a tile of `prefill`.
pub const TILE_ROWS: usize = 64;

/// A kernel for heads of 64 channels and one for 128.
#[derive(Debug)]
struct ByHead<T>([T; 2]);

impl<T> ByHead<T> {
    fn of(&self, shape: &Shape) -> &T {
        &self.0[usize::from(shape.head_dim() == 128)]
    }
}

/// Our kernels, loaded.
#[derive(Debug)]
pub struct Kernels {
    decode: ByHead<CudaFunction>,
    merge: CudaFunction,
    unpack: ByHead<CudaFunction>,
    prefill: ByHead<CudaFunction>,
    append: CudaFunction,
    quantize: CudaFunction,
    index_steps: ByHead<CudaFunction>,
    index_pages: ByHead<CudaFunction>,
    scan: ByHead<CudaFunction>,
    pick: CudaFunction,
    gather: CudaFunction,
    mass: ByHead<CudaFunction>,
    pub(crate) rows: RowKernels,
    pub(crate) products: ProductKernels,
}

/// What happens to rows between products.
#[derive(Debug)]
pub(crate) struct RowKernels {
    pub(crate) norm: CudaFunction,
    pub(crate) gate: CudaFunction,
    pub(crate) halve: CudaFunction,
}

/// Products of matrices.
#[derive(Debug)]
pub(crate) struct ProductKernels {
    /// For up to 1, 2, 4 and 8 tokens.
    pub(crate) few: [CudaFunction; 4],
    /// In the order of [`Tile::ALL`](crate::Tile::ALL).
    pub(crate) many: [CudaFunction; 3],
}

/// The code of one source, as the build made it.
macro_rules! image {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".image"))
    };
}

impl Kernels {
    pub(crate) fn load(context: &Arc<CudaContext>) -> Result<Kernels, CudaError> {
        let load = |image: &[u8], names: &[&str]| -> Result<Vec<CudaFunction>, CudaError> {
            let module = context
                .load_module(Ptx::from_binary(image.to_vec()))
                .map_err(driver("load the kernels"))?;
            names
                .iter()
                .map(|name| {
                    module
                        .load_function(name)
                        .map_err(driver("find a kernel by its name"))
                })
                .collect()
        };
        let one = |image: &[u8], name: &str| -> Result<CudaFunction, CudaError> {
            Ok(load(image, &[name])?.remove(0))
        };
        let by_head = |image: &[u8], names: [&str; 2]| {
            let mut functions = load(image, &names)?;
            let large = functions.remove(1);
            Ok::<_, CudaError>(ByHead([functions.remove(0), large]))
        };
        let index = image!("index");
        Ok(Kernels {
            decode: by_head(image!("decode"), ["decode_64", "decode_128"])?,
            merge: one(image!("merge"), "merge")?,
            unpack: by_head(image!("unpack"), ["unpack_64", "unpack_128"])?,
            prefill: by_head(image!("prefill"), ["prefill_64", "prefill_128"])?,
            append: one(image!("append"), "append")?,
            quantize: one(image!("quantize"), "quantize")?,
            index_steps: by_head(index, ["index_steps_64", "index_steps_128"])?,
            index_pages: by_head(index, ["index_pages_64", "index_pages_128"])?,
            scan: by_head(image!("scan"), ["scan_64", "scan_128"])?,
            pick: one(image!("pick"), "pick")?,
            gather: one(image!("gather"), "gather")?,
            mass: by_head(image!("mass"), ["mass_64", "mass_128"])?,
            rows: {
                let image = image!("rows");
                RowKernels {
                    norm: one(image, "norm_rows")?,
                    gate: one(image, "gate_rows")?,
                    halve: one(image, "halve_rows")?,
                }
            },
            products: {
                let (few, many) = (image!("few"), image!("many"));
                ProductKernels {
                    few: [
                        one(few, "few_1")?,
                        one(few, "few_2")?,
                        one(few, "few_4")?,
                        one(few, "few_8")?,
                    ],
                    many: [
                        one(many, "many_128_128")?,
                        one(many, "many_64_64")?,
                        one(many, "many_64_32")?,
                    ],
                }
            },
        })
    }
}

/// Launches.
///
/// # Safety
/// Of all of them: every address must lead to as many numbers as the kernel's source says, on this device or in pinned
/// memory, until the work is done; pages that rows attend to must be there.
impl Device {
    /// Attention of `tokens` tokens over `splits` shares of their pages, [`SLICE_ROWS`] query heads of a group after the other,
    /// whichever `decode.first_row` names.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn decode(
        &self,
        shape: &Shape,
        tokens: usize,
        splits: usize,
        decode: &Decode,
    ) -> Result<(), CudaError> {
        let grid = (splits, shape.kv_heads(), tokens);
        let kernel = self.kernels().decode.of(shape);
        for first_row in (0..shape.group_size()).step_by(SLICE_ROWS) {
            let slice = Decode {
                first_row: first_row as i32,
                ..*decode
            };
            // SAFETY: the caller's.
            unsafe { self.launch(kernel, grid, 2 * shape.head_dim(), &slice) }?;
        }
        Ok(())
    }

    /// Makes one softmax of all splits.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn merge(
        &self,
        shape: &Shape,
        tokens: usize,
        merge: &Merge,
    ) -> Result<(), CudaError> {
        let grid = (shape.query_heads(), tokens, 1);
        let threads = match merge.splits as usize {
            0..MERGED_BY_ALL => shape.head_dim(),
            _ => MERGE_THREADS,
        };
        // SAFETY: the caller's.
        unsafe { self.launch(&self.kernels().merge, grid, threads, merge) }
    }

    /// Decodes `pages` pages for `prefill`.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn unpack(
        &self,
        shape: &Shape,
        pages: usize,
        unpack: &Unpack,
    ) -> Result<(), CudaError> {
        let grid = (pages, shape.kv_heads(), 1);
        // SAFETY: the caller's.
        unsafe { self.launch(self.kernels().unpack.of(shape), grid, 128, unpack) }
    }

    /// Attention of a chunk of tokens over `splits` shares of the pages that were decoded.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn prefill(
        &self,
        shape: &Shape,
        splits: usize,
        prefill: &Prefill,
    ) -> Result<(), CudaError> {
        let rows = prefill.tokens as usize * shape.group_size();
        let grid = (rows.div_ceil(TILE_ROWS), shape.kv_heads(), splits);
        // SAFETY: the caller's.
        unsafe { self.launch(self.kernels().prefill.of(shape), grid, 128, prefill) }
    }

    /// Puts new keys and values into open pages.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn append(&self, shape: &Shape, append: &Append) -> Result<(), CudaError> {
        let numbers = append.tokens as usize * shape.kv_heads() * shape.head_dim();
        let grid = (numbers.div_ceil(256), 2, 1);
        // SAFETY: the caller's.
        unsafe { self.launch(&self.kernels().append, grid, 256, append) }
    }

    /// Makes codes of a full open page.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn quantize(&self, shape: &Shape, quantize: &Quantize) -> Result<(), CudaError> {
        let grids = shape.kv_heads() * 3 * shape.head_dim();
        let grid = (grids.div_ceil(4), 1, 1);
        // SAFETY: the caller's.
        unsafe { self.launch(&self.kernels().quantize, grid, 128, quantize) }
    }

    /// Takes the index's steps from the page `index.first_page`.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn index_steps(&self, shape: &Shape, index: &Index) -> Result<(), CudaError> {
        let kernel = self.kernels().index_steps.of(shape);
        // SAFETY: the caller's.
        unsafe { self.launch(kernel, (shape.kv_heads(), 1, 1), 128, index) }
    }

    /// Adds `pages` pages to the index.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn index_pages(
        &self,
        shape: &Shape,
        pages: usize,
        index: &Index,
    ) -> Result<(), CudaError> {
        let kernel = self.kernels().index_pages.of(shape);
        // SAFETY: the caller's.
        unsafe { self.launch(kernel, (shape.kv_heads(), pages, 1), 128, index) }
    }

    /// Estimates what attention each page would get.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn scan(
        &self,
        shape: &Shape,
        tokens: usize,
        blocks: usize,
        scan: &Scan,
    ) -> Result<(), CudaError> {
        let slices = shape.group_size().div_ceil(SLICE_ROWS);
        let grid = (blocks, shape.kv_heads() * slices, tokens);
        // SAFETY: the caller's.
        unsafe { self.launch(self.kernels().scan.of(shape), grid, 128, scan) }
    }

    /// Chooses pages by their estimates.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn pick(&self, shape: &Shape, tokens: usize, pick: &Pick) -> Result<(), CudaError> {
        let grid = (shape.kv_heads(), tokens, 1);
        // SAFETY: the caller's.
        unsafe { self.launch(&self.kernels().pick, grid, 256, pick) }
    }

    /// Does `copies` copies, beside all other work: [`Device::finish_fetching`] waits for them.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn gather(&self, copies: usize, gather: &Gather) -> Result<(), CudaError> {
        // SAFETY: the caller's.
        unsafe {
            self.launch_in(
                Line::Fetching,
                &self.kernels().gather,
                (copies, 1, 1),
                256,
                gather,
            )
        }
    }

    /// Adds up the attention that recorded heads pay.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn mass(
        &self,
        shape: &Shape,
        tokens: usize,
        blocks: usize,
        mass: &Mass,
    ) -> Result<(), CudaError> {
        let kernel = self.kernels().mass.of(shape);
        // SAFETY: the caller's.
        unsafe { self.launch(kernel, (blocks, 1, tokens), 2 * shape.head_dim(), mass) }
    }

    pub(crate) unsafe fn launch<P: DeviceRepr>(
        &self,
        kernel: &CudaFunction,
        grid: (usize, usize, usize),
        threads: usize,
        parameter: &P,
    ) -> Result<(), CudaError> {
        // SAFETY: the caller's.
        unsafe { self.launch_in(Line::Work, kernel, grid, threads, parameter) }
    }

    unsafe fn launch_in<P: DeviceRepr>(
        &self,
        line: Line,
        kernel: &CudaFunction,
        (x, y, z): (usize, usize, usize),
        threads: usize,
        parameter: &P,
    ) -> Result<(), CudaError> {
        if x * y * z == 0 {
            return Ok(());
        }
        let mut launch = self.stream(line).launch_builder(kernel);
        launch.arg(parameter);
        let config = LaunchConfig {
            grid_dim: (x as u32, y as u32, z as u32),
            block_dim: (threads as u32, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the kernel takes just this struct; what it holds is the caller's.
        unsafe { launch.launch(config) }
            .map_err(driver("start a kernel"))
            .map(|_| ())
    }
}
