//! Takes the tensors of a file by name, checks them, and makes of them what the forward pass multiplies with.
//!
//! In: a GGUF file. Out: vectors as F32, matrices packed for the products ([`packed`](crate::packed)) or, in formats
//! that are not packed, mapped from the file ([`storage`](crate::storage)), and the embedding table, mapped too.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K,
    BlockQ8_0,
};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use half::{bf16, f16};
use memmap2::Mmap;

use crate::error::ModelError;
use crate::gguf::{Gguf, TensorInfo};
use crate::matrix::Matrix;
use crate::packed::{Arena, FileMatrix, PackedMatrix};
use crate::storage::{MappedBlocks, MappedRows, release};

/// An embedding table, `[rows, width]`, left in the file: only the rows of a chunk's tokens are ever dequantized.
pub(crate) struct Embedding {
    table: Box<dyn MappedRows>,
    width: usize,
    map: Arc<Mmap>,
    /// Of the table in the map.
    bytes: Range<usize>,
}

impl Embedding {
    /// Ids of tokens that there are rows for to `[tokens, width]`, in place of what `hidden` holds.
    pub(crate) fn embed(&self, tokens: &[u32], hidden: &mut Vec<f32>) {
        /// Each row that is looked up brings 64 KB of the file: soon all of the table, if nothing is given back.
        const TOGETHER: usize = 32;
        hidden.resize(tokens.len() * self.width, 0.0);
        let rows = hidden.chunks_mut(TOGETHER * self.width);
        for (tokens, rows) in tokens.chunks(TOGETHER).zip(rows) {
            for (token, row) in tokens.iter().zip(rows.chunks_exact_mut(self.width)) {
                self.table.row(*token as usize, row);
            }
            if tokens.len() == TOGETHER {
                release(&self.map, self.bytes.clone());
            }
        }
    }
}

/// Takes tensors out of a file by name, checking type and shape.
pub(crate) struct Weights<'a> {
    file: &'a Gguf,
    taken: std::collections::HashSet<String>,
    arena: Arena,
}

impl<'a> Weights<'a> {
    pub(crate) fn of(file: &'a Gguf) -> Self {
        Self {
            file,
            taken: std::collections::HashSet::new(),
            arena: Arena::default(),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    pub(crate) fn embedding(&mut self, name: &str, width: usize) -> Result<Embedding, ModelError> {
        let rows = self.rows(name)?;
        let info = self.take(name, &[rows, width])?;
        let table = self.failing(self.mapped_rows(name, info))?;
        Ok(Embedding {
            table,
            width,
            map: self.file.map().clone(),
            bytes: info.bytes.clone(),
        })
    }

    /// Rows of a matrix whose number of rows the metadata does not say.
    pub(crate) fn rows(&self, name: &str) -> Result<usize, ModelError> {
        let info = self.info(name)?;
        Ok(info.shape.first().copied().unwrap_or(0))
    }

    /// A matrix, packed unless its format is one that hardly any model uses. In memory is then what was packed alone:
    /// the pages of the file that it came from are given back.
    pub(crate) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Matrix, ModelError> {
        let info = self.take(name, &[rows, columns])?;
        let bytes = &self.file.map()[info.bytes.clone()];
        let packed = match info.quantization.dtype() {
            Some(dtype) => PackedMatrix::pack_into(&mut self.arena, dtype, bytes, rows, columns),
            None => Ok(None),
        };
        let packed = packed.map_err(|source| Refusal::Tensor(source.into()));
        if let Some(packed) = self.failing(packed)? {
            release(self.file.map(), info.bytes.clone());
            return Ok(Matrix::Packed(packed));
        }
        let tensor = self.failing(self.mapped(name, info))?;
        let plain = QMatMul::from_qtensor(tensor).map_err(Refusal::Tensor);
        Ok(Matrix::Plain(self.failing(plain)?))
    }

    /// A matrix as the file has it; `None` if its format is one that is not packed.
    pub(crate) fn file_matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Option<FileMatrix<'a>>, ModelError> {
        let info = self.take(name, &[rows, columns])?;
        let bytes = &self.file.map()[info.bytes.clone()];
        let dtype = info.quantization.dtype();
        Ok(dtype.and_then(|dtype| FileMatrix::of(dtype, bytes, rows, columns)))
    }

    /// A vector of `length` F32.
    pub(crate) fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, ModelError> {
        let info = self.take(name, &[length])?;
        let tensor = self.failing(self.mapped(name, info))?;
        let values = tensor.dequantize(&Device::Cpu);
        self.failing(
            values
                .and_then(|values| values.to_vec1())
                .map_err(Refusal::Tensor),
        )
    }

    /// A vector that some models of an architecture have and others do not.
    pub(crate) fn optional_vector(
        &mut self,
        name: &str,
        length: usize,
    ) -> Result<Option<Vec<f32>>, ModelError> {
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
        let storage = QStorage::Cpu(self.mapped_rows(name, info)?);
        QTensor::new(storage, info.shape.clone()).map_err(Refusal::Tensor)
    }

    fn mapped_rows(&self, name: &str, info: &TensorInfo) -> Result<Box<dyn MappedRows>, Refusal> {
        let refuse = || Refusal::Quantization(name.to_owned());
        let map = self.file.map();
        let rows: Option<Box<dyn MappedRows>> =
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
        rows.ok_or_else(refuse)
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
