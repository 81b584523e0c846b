//! A model and the engine's attention on an NVIDIA GPU: kernels of our own, and what puts them to work.
//!
//! In: a model's weights as their file has them; pages of the key/value cache, byte for byte as they stand in its file;
//! a pass's activations. Out: projections and logits ([`GpuDecoder`]); attended values, chosen pages, codes, attention
//! mass ([`GpuCache`]). What is attended to, and when, is the engine's matter; this crate knows neither documents nor
//! files.
//!
//! **Why kernels of our own.** The cache's format is: keys before rotation and without bias, in codes with a grid a
//! channel; no library attends to that in place. For the products there is candle's, but it needs cuBLAS and cuRAND, 0.7 GB
//! that do not come with the driver, and launches its kernels unchecked.
//!
//! **Why this can be trusted without a GPU, and how far.** The kernels use nothing that a C++ compiler cannot be taught in
//! two hundred lines (`shim/`): tests run the very same sources on the CPU, thread by thread in orders that are drawn,
//! against references in F64, through this crate's own host code and a fake driver (`fake/`). What that cannot show is in
//! `docs/gpu.md`.
//!
//! | folder | |
//! |---|---|
//! | `kernels/` | CUDA C++, one concept a file |
//! | `shim/` | CUDA's language on a CPU: fibers, barriers, warps |
//! | `fake/` | a libcuda on top of it |
//! | `src/` | the host's side |

mod cache;
mod decoder;
pub mod device;
mod error;
mod holdings;
mod kernels;
mod lead;
mod limits;
mod matrix;
pub mod parameters;
mod part;
mod plan;
mod probe;
mod products;
mod resident;
mod shape;
mod soundness;
mod spread;
mod work;

pub use cache::{GpuCache, LayerPass, LayerResult, Pages, Place, Projected};
pub use decoder::GpuDecoder;
pub use device::{Buffer, Device, DeviceFacts, MEMORY_LIMIT, Memory, Pinned};
pub use error::{CudaError, NEEDED_CUDA, NEEDED_DRIVER};
pub use holdings::Holdings;
pub use kernels::{Kernels, SLICE_ROWS, TILE_ROWS};
pub use limits::Limits;
pub use matrix::GpuMatrix;
pub use plan::{DECODE_TOKENS, Demand, Plan, SPLITS, Step};
pub use probe::{Probe, Room, probe, probe_all, room, rooms};
pub use products::{FEW_TOKENS, Tile};
pub use shape::{PAGE_TOKENS, PageFormat, Shape};
pub use spread::{Burden, Plans, Share, Spread};
pub use work::Work;
