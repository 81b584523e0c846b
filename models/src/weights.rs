//! Weights as the forward pass multiplies with them: mapped from the file where candle's kernels are fast on the
//! format as it is, converted once at load where they are not ([`requantize`]).
//!
//! Mapped weights are pages of the file: the system may drop and re-read them, and two programs share them. What
//! candle packs for its wide kernels, on first use, it keeps as a second, private copy.

use std::marker::PhantomData;
use std::sync::Arc;

use candle_core::quantized::k_quants::{self, BlockQ8_0, GgmlType};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor, QuantizedType};
use candle_core::{CpuStorage, DType, Device, Module, Tensor};
use half::{bf16, f16};
use memmap2::Mmap;

use crate::error::ModelError;
use crate::gguf::{Gguf, TensorInfo};
use crate::requantize;

/// A weight matrix, `[rows, columns]`, that activations `[tokens, columns]` are multiplied with.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    multiplier: QMatMul,
    /// Added to all weights of a block of 32 columns ([`requantize`]): `[columns / 32, rows]`.
    offsets: Option<Tensor>,
}

impl Matrix {
    fn new(tensor: QTensor, offsets: Option<Vec<f32>>) -> candle_core::Result<Self> {
        let (rows, columns) = tensor.shape().dims2()?;
        let offsets = match offsets {
            Some(offsets) => {
                let by_row = Tensor::from_vec(offsets, (rows, columns / 32), &Device::Cpu)?;
                Some(by_row.t()?.contiguous()?)
            }
            None => None,
        };
        Ok(Self {
            multiplier: QMatMul::from_qtensor(tensor)?,
            offsets,
        })
    }

    /// Makes candle pack the matrix now rather than in the first pass, if it is of a format of which candle then
    /// uses nothing but what it packed (`select` in its `repack_x86.rs`), and says whether it is.
    fn pack(&self) -> candle_core::Result<bool> {
        let QMatMul::QTensor(tensor) = &self.multiplier else {
            return Ok(true); // F32, F16 and BF16 are dequantized
        };
        let (rows, columns) = tensor.shape().dims2()?;
        let packed = tensor.dtype() == GgmlDType::Q4K && rows.is_multiple_of(16);
        if packed {
            let nothing = Tensor::zeros((1, columns), DType::F32, &Device::Cpu)?;
            self.multiplier.forward(&nothing)?;
        }
        Ok(packed)
    }

    /// The format in memory.
    fn dtype(&self) -> GgmlDType {
        match &self.multiplier {
            QMatMul::QTensor(tensor) => tensor.dtype(),
            QMatMul::Tensor(_) => GgmlDType::F32,
            QMatMul::TensorF16(_) => GgmlDType::F16,
        }
    }

    /// `[tokens, columns]` F32 to `[tokens, rows]` F32.
    pub(crate) fn forward(&self, activations: &Tensor) -> candle_core::Result<Tensor> {
        let product = self.multiplier.forward(activations)?;
        let Some(offsets) = &self.offsets else {
            return Ok(product);
        };
        let (tokens, columns) = activations.dims2()?;
        let sums = activations.reshape((tokens, columns / 32, 32))?.sum(2)?;
        product + sums.matmul(offsets)?
    }
}

/// An embedding table, `[rows, width]`, left in the file: only the rows of a chunk's tokens are ever dequantized.
#[derive(Debug)]
pub(crate) struct Embedding {
    table: QTensor,
}

impl Embedding {
    /// Token ids to `[tokens, width]` F32.
    pub(crate) fn forward(&self, tokens: &[u32]) -> candle_core::Result<Tensor> {
        self.table.embedding(&Tensor::new(tokens, &Device::Cpu)?)
    }
}

/// Takes tensors out of a file by name, checking type and shape.
pub(crate) struct Weights<'a> {
    file: &'a Gguf,
    taken: std::collections::HashSet<String>,
}

impl<'a> Weights<'a> {
    pub(crate) fn of(file: &'a Gguf) -> Self {
        Self {
            file,
            taken: std::collections::HashSet::new(),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    pub(crate) fn embedding(&mut self, name: &str, width: usize) -> Result<Embedding, ModelError> {
        let rows = self.rows(name)?;
        let info = self.take(name, &[rows, width])?;
        let table = self.failing(self.mapped(name, info))?;
        Ok(Embedding { table })
    }

    /// Rows of a matrix whose number of rows the metadata does not say.
    pub(crate) fn rows(&self, name: &str) -> Result<usize, ModelError> {
        let info = self.info(name)?;
        Ok(info.shape.first().copied().unwrap_or(0))
    }

    pub(crate) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Matrix, ModelError> {
        let info = self.take(name, &[rows, columns])?;
        let (tensor, offsets) = match info.quantization.dtype() {
            Some(slow) if requantize::is_slow(slow) => {
                let bytes = &self.file.map()[info.bytes.clone()];
                let requantized = requantize::to_q8_0(slow, bytes);
                let storage = QStorage::Cpu(Box::new(requantized.blocks));
                let tensor = QTensor::new(storage, info.shape.clone()).map_err(Refusal::Tensor);
                (tensor, requantized.offsets)
            }
            _ => (self.mapped(name, info), None),
        };
        let tensor = self.failing(tensor)?;
        let matrix = Matrix::new(tensor, offsets).and_then(|matrix| {
            let packed = matrix.pack()?;
            let kept = info.quantization.dtype() == Some(matrix.dtype());
            if packed || !kept {
                self.file.release(info.bytes.clone());
            }
            Ok(matrix)
        });
        self.failing(matrix.map_err(Refusal::Tensor))
    }

    /// A vector of `length` F32.
    pub(crate) fn vector(&mut self, name: &str, length: usize) -> Result<Tensor, ModelError> {
        let info = self.take(name, &[length])?;
        let tensor = self.failing(self.mapped(name, info))?;
        self.failing(tensor.dequantize(&Device::Cpu).map_err(Refusal::Tensor))
    }

    /// A vector that some models of an architecture have and others do not.
    pub(crate) fn optional_vector(
        &mut self,
        name: &str,
        length: usize,
    ) -> Result<Option<Tensor>, ModelError> {
        if self.has(name) {
            self.vector(name, length).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Refuses a file with a tensor that nobody took: the architecture has a part that the forward pass lacks, and
    /// leaving it out would give wrong answers without a word.
    pub(crate) fn finish(self) -> Result<(), ModelError> {
        match self
            .file
            .tensor_names()
            .find(|name| !self.taken.contains(*name))
        {
            None => Ok(()),
            Some(name) => Err(ModelError::Feature {
                path: self.file.path().to_owned(),
                feature: format!("a tensor {name}"),
            }),
        }
    }

    fn info(&self, name: &str) -> Result<&'a TensorInfo, ModelError> {
        self.file
            .tensor(name)
            .ok_or_else(|| ModelError::TensorMissing {
                path: self.file.path().to_owned(),
                tensor: name.to_owned(),
            })
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<&'a TensorInfo, ModelError> {
        let info = self.info(name)?;
        if info.shape != shape {
            return Err(ModelError::TensorShape {
                path: self.file.path().to_owned(),
                tensor: name.to_owned(),
                found: info.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        if info.quantization.dtype().is_none() {
            return Err(ModelError::Quantization {
                path: self.file.path().to_owned(),
                tensor: name.to_owned(),
                quantization: info.quantization,
            });
        }
        self.taken.insert(name.to_owned());
        Ok(info)
    }

    /// A tensor whose blocks stay where they are in the file.
    fn mapped(&self, name: &str, info: &TensorInfo) -> Result<QTensor, Refusal> {
        use k_quants::{BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K};
        use k_quants::{BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K};
        let refuse = || Refusal::Quantization(name.to_owned());
        let map = self.file.map();
        let storage: Option<Box<dyn QuantizedType>> =
            match info.quantization.dtype().ok_or_else(refuse)? {
                GgmlDType::F32 => MappedBlocks::<f32>::boxed(map, info),
                GgmlDType::F16 => MappedBlocks::<f16>::boxed(map, info),
                GgmlDType::BF16 => MappedBlocks::<bf16>::boxed(map, info),
                GgmlDType::Q4_0 => MappedBlocks::<BlockQ4_0>::boxed(map, info),
                GgmlDType::Q4_1 => MappedBlocks::<BlockQ4_1>::boxed(map, info),
                GgmlDType::Q5_0 => MappedBlocks::<BlockQ5_0>::boxed(map, info),
                GgmlDType::Q5_1 => MappedBlocks::<BlockQ5_1>::boxed(map, info),
                GgmlDType::Q8_0 => MappedBlocks::<BlockQ8_0>::boxed(map, info),
                GgmlDType::Q2K => MappedBlocks::<BlockQ2K>::boxed(map, info),
                GgmlDType::Q3K => MappedBlocks::<BlockQ3K>::boxed(map, info),
                GgmlDType::Q4K => MappedBlocks::<BlockQ4K>::boxed(map, info),
                GgmlDType::Q5K => MappedBlocks::<BlockQ5K>::boxed(map, info),
                GgmlDType::Q6K => MappedBlocks::<BlockQ6K>::boxed(map, info),
                GgmlDType::Q8_1 | GgmlDType::Q8K => None,
            };
        let storage = QStorage::Cpu(storage.ok_or_else(refuse)?);
        QTensor::new(storage, info.shape.clone()).map_err(Refusal::Tensor)
    }

    fn failing<T>(&self, result: Result<T, Refusal>) -> Result<T, ModelError> {
        let path = self.file.path().to_owned();
        result.map_err(|refusal| match refusal {
            Refusal::Tensor(source) => ModelError::Tensor { path, source },
            Refusal::Quantization(tensor) => match self.file.tensor(&tensor) {
                Some(info) => ModelError::Quantization {
                    path,
                    quantization: info.quantization,
                    tensor,
                },
                None => ModelError::TensorMissing { path, tensor },
            },
        })
    }
}

/// Why a tensor of the right name and shape cannot be used.
enum Refusal {
    Tensor(candle_core::Error),
    Quantization(String),
}

/// Blocks of a tensor inside a mapped file, as candle's storage.
struct MappedBlocks<T> {
    map: Arc<Mmap>,
    start: usize,
    count: usize,
    block: PhantomData<fn() -> T>,
}

impl<T: GgmlType + Send + Sync + 'static> MappedBlocks<T> {
    /// `None` if the bytes are not aligned blocks, which the alignment of GGUF rules out for every type used here.
    fn boxed(map: &Arc<Mmap>, info: &TensorInfo) -> Option<Box<dyn QuantizedType>> {
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
        let row_blocks = hidden / T::BLCK_SIZE;
        let mut out = vec![0f32; ids.len() * hidden];
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(hidden)) {
            let row = id as usize;
            if row >= rows {
                candle_core::bail!("embedding id {row} is out of range for {rows} rows")
            }
            T::to_float(&self.blocks()[row * row_blocks..][..row_blocks], out);
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
