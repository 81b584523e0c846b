//! Where the blocks of a tensor lie that is not packed, as candle sees them: in the mapped file.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use candle_core::CpuStorage;
use candle_core::quantized::k_quants::{self, GgmlType};
use candle_core::quantized::{GgmlDType, QuantizedType};
use half::f16;
use memmap2::Mmap;

use crate::gguf::TensorInfo;

/// Gives the memory of some bytes of a file back to the system: they were copied or packed, and will hardly be read
/// again soon.
pub(crate) fn release(map: &Mmap, bytes: Range<usize>) {
    #[cfg(unix)]
    // SAFETY: the map is shared, backed by the file and never written: a page that is dropped comes back from the
    // file, unchanged, should it be read again.
    let released = unsafe {
        let advice = memmap2::UncheckedAdvice::DontNeed;
        map.unchecked_advise_range(advice, bytes.start, bytes.len())
    };
    #[cfg(not(unix))]
    let released = std::io::Result::Ok((map, bytes)).map(drop);
    if let Err(error) = released {
        tracing::debug!(%error, "memory of the model file was not released");
    }
}

/// Blocks of a tensor inside a mapped file, as candle's storage.
pub(crate) struct MappedBlocks<T> {
    map: Arc<Mmap>,
    start: usize,
    count: usize,
    block: PhantomData<fn() -> T>,
}

/// A tensor's rows, one at a time.
pub(crate) trait MappedRows: QuantizedType {
    /// Dequantizes row `row` of rows as long as `numbers`.
    fn row(&self, row: usize, numbers: &mut [f32]);
}

impl<T: GgmlType + Send + Sync + 'static> MappedRows for MappedBlocks<T> {
    fn row(&self, row: usize, numbers: &mut [f32]) {
        let blocks = numbers.len() / T::BLCK_SIZE;
        T::to_float(&self.blocks()[row * blocks..][..blocks], numbers);
    }
}

impl<T: GgmlType + Send + Sync + 'static> MappedBlocks<T> {
    /// `None` if the bytes are not aligned blocks, which the alignment of GGUF rules out for every type used here.
    pub(crate) fn boxed(map: &Arc<Mmap>, info: &TensorInfo) -> Option<Box<dyn MappedRows>> {
        let bytes = map.get(info.bytes.clone())?;
        let aligned = bytes.as_ptr().align_offset(align_of::<T>()) == 0;
        let whole = bytes.len().is_multiple_of(size_of::<T>());
        if !aligned || !whole {
            return None;
        }
        Some(Box::new(Self {
            map: map.clone(),
            start: info.bytes.start,
            count: bytes.len() / size_of::<T>(),
            block: PhantomData,
        }))
    }

    fn blocks(&self) -> &[T] {
        // SAFETY: `boxed` checked that `count` blocks lie inside the map from `start`, aligned; the map lives as long
        // as `self` and is never written; the block types are plain integers and floats, valid for any bytes.
        unsafe {
            let start = self.map.as_ptr().add(self.start);
            std::slice::from_raw_parts(start.cast::<T>(), self.count)
        }
    }
}

impl<T: GgmlType + Send + Sync + 'static> QuantizedType for MappedBlocks<T> {
    fn dtype(&self) -> GgmlDType {
        T::DTYPE
    }

    fn matmul_t(
        &self,
        mkn: (usize, usize, usize),
        lhs: &[f32],
        dst: &mut [f32],
    ) -> candle_core::Result<()> {
        k_quants::matmul(mkn, lhs, self.blocks(), dst)
    }

    fn matmul_t_f16(
        &self,
        mkn: (usize, usize, usize),
        lhs: &[f16],
        dst: &mut [f16],
    ) -> candle_core::Result<()> {
        k_quants::matmul_f16(mkn, lhs, self.blocks(), dst)
    }

    fn embedding(
        &self,
        ids: &[u32],
        rows: usize,
        hidden: usize,
    ) -> candle_core::Result<CpuStorage> {
        let mut out = vec![0f32; ids.len() * hidden];
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(hidden)) {
            let row = id as usize;
            if row >= rows {
                candle_core::bail!("embedding id {row} is out of range for {rows} rows")
            }
            self.row(row, out);
        }
        Ok(CpuStorage::F32(out))
    }

    fn dequantize(&self, elem_count: usize) -> candle_core::Result<CpuStorage> {
        let mut out = vec![0f32; elem_count];
        T::to_float(self.blocks(), &mut out);
        Ok(CpuStorage::F32(out))
    }

    fn storage_size_in_bytes(&self) -> usize {
        self.count * size_of::<T>()
    }

    fn as_ptr(&self) -> *const u8 {
        self.blocks().as_ptr().cast()
    }

    fn block_size(&self) -> usize {
        T::BLCK_SIZE
    }

    fn from_float(&mut self, _: &[f32]) {
        unreachable!("a file's weights are never quantized into")
    }

    fn from_float_imatrix(&mut self, _: &[f32], _: &[f32], _: usize) {
        unreachable!("a file's weights are never quantized into")
    }

    fn size(&self) -> usize {
        self.storage_size_in_bytes()
    }
}
