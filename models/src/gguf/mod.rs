//! GGUF files: what is in them and where it lies.
//!
//! In: the path of a file that nobody vouches for. Out: its metadata, and for each tensor its type, its shape and the
//! bytes of the (memory-mapped) file that hold it, all checked against the length of the file. The weights are not
//! read here: whoever needs a tensor maps or converts it ([`weights`](crate::weights)).
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod metadata;
mod quantization;
mod reader;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

pub(crate) use metadata::Metadata;
pub use quantization::Quantization;
pub use reader::GgufFault;
use reader::Reader;

use crate::error::ModelError;

/// Most tensors; a model of 100 layers has about 1,200.
const MOST_TENSORS: u64 = 1 << 16;

/// A tensor of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TensorInfo {
    pub(crate) quantization: Quantization,
    /// Outermost dimension first: `[rows, columns]` for a matrix.
    pub(crate) shape: Vec<usize>,
    /// Where its bytes lie in the file.
    pub(crate) bytes: Range<usize>,
}

/// An open GGUF file.
pub(crate) struct Gguf {
    path: PathBuf,
    map: Arc<Mmap>,
    metadata: Metadata,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Gguf {
    /// Maps a file and reads its header. Cost: the header's pages, some megabytes for the vocabulary.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let unreadable = |source| ModelError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(unreadable(std::io::Error::other("not a regular file")));
        }
        // SAFETY: the map is only read. A model file is written under another name and renamed when it is whole
        // (`catalogue`), so it is never changed in place by this program; deleting it leaves the map valid. Somebody
        // truncating it in place while it is mapped would end the process with SIGBUS, as with any mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        let (metadata, tensors) = read_header(&map).map_err(|fault| ModelError::Damaged {
            path: path.to_owned(),
            fault,
        })?;
        Ok(Self {
            path: path.to_owned(),
            map: Arc::new(map),
            metadata,
            tensors,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn map(&self) -> &Arc<Mmap> {
        &self.map
    }

    /// Where the weights begin.
    pub(crate) fn header(&self) -> Range<usize> {
        let starts = self.tensors.values().map(|tensor| tensor.bytes.start);
        0..starts.min().unwrap_or(0)
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    pub(crate) fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The model's own name, or the file's.
    pub(crate) fn name(&self) -> String {
        match self.metadata.string("general.name") {
            Some(name) if !name.trim().is_empty() => name.trim().to_owned(),
            _ => reader::stem(&self.path),
        }
    }
}

type Header = (Metadata, BTreeMap<String, TensorInfo>);

/// Reads the header of a whole GGUF file and checks that every tensor lies inside it.
fn read_header(file: &[u8]) -> Result<Header, GgufFault> {
    if !file.starts_with(b"GGUF") {
        return Err(GgufFault::NotGguf);
    }
    let mut reader = Reader::new(file);
    reader.take(4)?;
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(GgufFault::Version(version));
    }
    let tensor_count = reader.u64()?;
    let key_count = reader.u64()?;
    if tensor_count > MOST_TENSORS {
        return Err(GgufFault::Excessive {
            what: "tensors",
            count: tensor_count,
            limit: MOST_TENSORS,
        });
    }
    let metadata = Metadata::read(&mut reader, key_count)?;
    let alignment = metadata.count("general.alignment").unwrap_or(32);
    if !alignment.is_power_of_two() || alignment > 1 << 16 {
        return Err(GgufFault::Alignment(alignment as u64));
    }

    // The smallest description of a tensor: an empty name, no dimensions, a type, an offset.
    reader.expect(tensor_count, 24)?;
    let mut described = Vec::with_capacity(tensor_count as usize);
    for _ in 0..tensor_count {
        described.push(describe_tensor(&mut reader)?);
    }
    let data_start = reader.position().next_multiple_of(alignment) as u64;

    let mut tensors = BTreeMap::new();
    let mut farthest = (0, String::new());
    for (name, quantization, shape, offset) in described {
        let wrong = |fact| GgufFault::Tensor {
            tensor: name.clone(),
            fact,
        };
        let length = quantization
            .bytes(&shape)
            .ok_or_else(|| wrong("its rows are not whole blocks, or its size is absurd"))?;
        let start = data_start
            .checked_add(offset)
            .ok_or_else(|| wrong("its offset is absurd"))?;
        if start % alignment as u64 != 0 {
            return Err(wrong("its offset is not aligned"));
        }
        let end = start
            .checked_add(length)
            .ok_or_else(|| wrong("its size is absurd"))?;
        if end > farthest.0 {
            farthest = (end, name.clone());
        }
        let info = TensorInfo {
            quantization,
            shape,
            bytes: start as usize..end as usize,
        };
        if tensors.insert(name.clone(), info).is_some() {
            return Err(GgufFault::Twice(name));
        }
    }
    if farthest.0 > file.len() as u64 {
        return Err(GgufFault::Truncated {
            tensor: farthest.1,
            needed: farthest.0,
            found: file.len() as u64,
        });
    }
    Ok((metadata, tensors))
}

type Described = (String, Quantization, Vec<usize>, u64);

fn describe_tensor(reader: &mut Reader) -> Result<Described, GgufFault> {
    let name = reader.string()?;
    let dimensions = reader.u32()?;
    if dimensions > 4 {
        return Err(GgufFault::Tensor {
            tensor: name,
            fact: "it has more than four dimensions",
        });
    }
    let mut shape = Vec::with_capacity(dimensions as usize);
    for _ in 0..dimensions {
        let length = reader.u64()?;
        match usize::try_from(length) {
            Ok(length) if length > 0 => shape.push(length),
            _ => {
                return Err(GgufFault::Tensor {
                    tensor: name,
                    fact: "a dimension is zero or absurd",
                });
            }
        }
    }
    shape.reverse(); // GGUF writes the innermost dimension first
    let quantization = Quantization(reader.u32()?);
    let offset = reader.u64()?;
    Ok((name, quantization, shape, offset))
}
