//! What kernels are given: the structs of `kernels/`, field by field.
//!
//! Addresses are the device's. Each kernel takes one struct by value, so a launch has one argument whatever it needs.
//! `tests/parameters.rs` compares their sizes with the compiler's.

use cudarc::driver::DeviceRepr;

/// Bits of a key or value in half precision.
pub const HALF_BITS: i32 = 16;

/// An address on the device; 0 is null.
pub type Address = u64;

/// Entry of the table of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Page {
    /// One layer's part of a block, as in the cache's file; aligned to 64.
    pub bytes: Address,
    /// 4, 8 or [`HALF_BITS`].
    pub key_bits: i32,
    /// 4, 8 or [`HALF_BITS`].
    pub value_bits: i32,
}

/// Query rows of a pass.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Queries {
    /// F32 `[tokens][query_heads][head_dim]`.
    pub numbers: Address,
    /// Cosine and sine, `[tokens][head_dim / 2][2]`.
    pub turns: Address,
    /// Of a layer.
    pub query_heads: i32,
    /// Of a layer.
    pub kv_heads: i32,
    /// Position of the first token.
    pub start: i32,
    /// Softmax scale times log2(e).
    pub scale: f32,
}

/// Tables of the rotary embedding.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Rotation {
    /// i32 `[head_dim / 2][2]`.
    pub channels: Address,
    /// F32 `[head_dim / 2][64][2]`.
    pub places: Address,
    /// F32 `[pages][head_dim / 2][2]`.
    pub pages: Address,
    /// F32 `[head_dim / 8][8][32][2]`: [`Shape::turns_by_lane`](crate::Shape::turns_by_lane).
    pub lanes: Address,
}

/// Pages that rows attend to.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Chosen {
    /// i32 `[tokens][kv_heads][room]`, or null.
    pub pages: Address,
    /// i32 `[tokens][kv_heads]`, or null.
    pub counts: Address,
    /// Entries of a list.
    pub room: i32,
    /// Pages from here on are always attended to.
    pub sealed: i32,
}

impl Chosen {
    /// Every page that a token can see.
    pub const ALL: Chosen = Chosen {
        pages: 0,
        counts: 0,
        room: 0,
        sealed: 0,
    };
}

/// `decode.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Decode {
    pub queries: Queries,
    pub rotation: Rotation,
    pub chosen: Chosen,
    pub pages: Address,
    pub bias: Address,
    pub values: Address,
    pub largest: Address,
    pub sums: Address,
    pub splits: i32,
    pub first_split: i32,
    pub first_row: i32,
}

/// `merge.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Merge {
    pub values: Address,
    pub largest: Address,
    pub sums: Address,
    pub attended: Address,
    pub row_largest: Address,
    pub row_sums: Address,
    pub splits: i32,
    pub head_dim: i32,
}

/// `prefill.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Prefill {
    pub queries: Queries,
    pub rotation: Rotation,
    pub unpacked: Address,
    pub values: Address,
    pub largest: Address,
    pub sums: Address,
    pub tokens: i32,
    pub first_page: i32,
    pub pages: i32,
    pub goes_on: i32,
}

/// `unpack.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Unpack {
    pub rotation: Rotation,
    pub pages: Address,
    pub bias: Address,
    pub to: Address,
    pub kv_heads: i32,
    pub first_page: i32,
    pub end: i32,
}

/// `append.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Append {
    pub keys: Address,
    pub values: Address,
    pub pages: Address,
    pub kept: Address,
    pub first_page: i32,
    pub start: i32,
    pub tokens: i32,
    pub kv_heads: i32,
    pub head_dim: i32,
}

/// `quantize.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Quantize {
    pub halves: Address,
    pub part: Address,
    pub kv_heads: i32,
    pub head_dim: i32,
    pub key_bits: i32,
    pub value_bits: i32,
}

/// `index.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Index {
    pub pages: Address,
    pub rotation: Rotation,
    pub bias: Address,
    pub steps: Address,
    pub centres: Address,
    pub codes: Address,
    pub kv_heads: i32,
    pub room: i32,
    pub first_page: i32,
}

/// `scan.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Scan {
    pub queries: Queries,
    pub rotation: Rotation,
    pub steps: Address,
    pub centres: Address,
    pub codes: Address,
    pub estimates: Address,
    pub pages: i32,
    pub room: i32,
}

/// `pick.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Pick {
    pub estimates: Address,
    pub worth: Address,
    pub chosen: Address,
    pub counts: Address,
    pub pages: i32,
    pub query_heads: i32,
    pub budget: i32,
    pub room: i32,
}

/// One copy of `gather.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Copy16 {
    pub from: Address,
    pub to: Address,
    pub pieces: i64,
}

/// `gather.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Gather {
    pub copies: Address,
}

/// `mass.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Mass {
    pub queries: Queries,
    pub rotation: Rotation,
    pub chosen: Chosen,
    pub pages: Address,
    pub bias: Address,
    pub row_largest: Address,
    pub row_sums: Address,
    pub masses: Address,
    pub room: i32,
    pub kv_head: i32,
    pub first_row: i32,
    pub recorded: u32,
}

/// Where rows of activations go: `halves.cuh`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Rows {
    pub plain: Address,
    pub halves: Address,
    pub scales: Address,
}

/// `rows.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Norm {
    pub numbers: Address,
    pub weights: Address,
    pub to: Rows,
    pub columns: i32,
    pub epsilon: f32,
}

/// `rows.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Gate {
    pub gate: Address,
    pub up: Address,
    pub to: Rows,
    pub columns: i32,
}

/// `rows.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Halve {
    pub numbers: Address,
    pub to: Rows,
    pub columns: i32,
}

/// `matrix.cuh`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Matrix {
    pub low: Address,
    pub high: Address,
    pub grids: Address,
    pub scales: Address,
    pub rows: i32,
    pub groups: i32,
    pub bits: i32,
    pub kind: i32,
}

/// One of [`Products`].
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Product {
    pub matrix: Matrix,
    pub bias: Address,
    pub to: Address,
    pub adds: i32,
    pub first_block: i32,
}

/// `few.cu` and `many.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Products {
    pub items: [Product; 3],
    pub numbers: Address,
    pub halves: Address,
    pub scales: Address,
    pub count: i32,
    pub tokens: i32,
    pub shares: i32,
}

macro_rules! passed_by_value {
    ($($parameter:ty),+) => {
        $(
            // SAFETY: `repr(C)` with the fields of the kernel's struct, all plain numbers.
            unsafe impl DeviceRepr for $parameter {}
        )+
    };
}

passed_by_value!(
    Page, Decode, Merge, Prefill, Unpack, Append, Quantize, Index, Scan, Pick, Copy16, Gather,
    Mass, Norm, Gate, Halve, Products
);
