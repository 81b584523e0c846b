//! The kept originals, by byte ranges, for pdf.js.
//!
//! In: a document id and a range. Out: bytes. Which file that is, only the engine says ([`Request::Original`]): the
//! web view never names a path, so a flaw in it cannot read the person's other files.

use crate::engine::Engine;
use lectern_protocol::{Failure, FailureCode, Outcome, Request};
use specta::Type;
use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tauri::ipc::{InvokeResponseBody, IpcResponse};

/// Bytes of one answer at most, so that a mistaken request cannot fill the memory.
const LONGEST_READ: u32 = 8 << 20;

/// Paths the engine named, by document id.
#[derive(Default)]
pub struct Originals {
    paths: Mutex<HashMap<String, PathBuf>>,
}

/// Bytes that reach the web view as an `ArrayBuffer`, not as JSON.
pub struct FileBytes(Vec<u8>);

impl IpcResponse for FileBytes {
    fn body(self) -> tauri::Result<InvokeResponseBody> {
        Ok(InvokeResponseBody::Raw(self.0))
    }
}

impl Type for FileBytes {
    fn definition(_: &mut specta::Types) -> specta::datatype::DataType {
        specta_typescript::define("ArrayBuffer").into()
    }
}

impl Originals {
    /// Bytes in the file.
    pub(crate) async fn size(&self, engine: &Engine, document: &str) -> Result<u64, Failure> {
        let path = self.path(engine, document).await?;
        let metadata = std::fs::metadata(&path).map_err(|error| self.lost(document, &path, &error));
        Ok(metadata?.len())
    }

    /// `length` bytes from `offset`, fewer at the end of the file.
    pub(crate) async fn read(
        &self,
        engine: &Engine,
        document: &str,
        offset: u64,
        length: u32,
    ) -> Result<FileBytes, Failure> {
        let path = self.path(engine, document).await?;
        let length = length.min(LONGEST_READ);
        let bytes = read_range(&path, offset, length);
        bytes
            .map(FileBytes)
            .map_err(|error| self.lost(document, &path, &error))
    }

    async fn path(&self, engine: &Engine, document: &str) -> Result<PathBuf, Failure> {
        if let Some(path) = self.lock().get(document) {
            return Ok(path.clone());
        }
        let request = Request::Original {
            document: document.to_owned(),
        };
        match engine.call(None, request, Box::new(|_| {})).await? {
            Outcome::Original { path, .. } => {
                let path = PathBuf::from(path);
                self.lock().insert(document.to_owned(), path.clone());
                Ok(path)
            }
            other => Err(Failure {
                code: FailureCode::Other,
                message: format!("The engine answered {other:?} where a file was asked for."),
                advice: None,
            }),
        }
    }

    fn lost(&self, document: &str, path: &Path, error: &std::io::Error) -> Failure {
        // Ask the engine again next time: the document may have been removed and added anew.
        self.lock().remove(document);
        let gone = error.kind() == ErrorKind::NotFound;
        Failure {
            code: if gone {
                FailureCode::NotFound
            } else {
                FailureCode::Other
            },
            message: format!(
                "The library's copy {} cannot be read: {error}.",
                path.display()
            ),
            advice: gone.then(|| "Remove the document and add its file again.".into()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, PathBuf>> {
        self.paths
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn read_range(path: &Path, offset: u64, length: u32) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(length.into()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_are_cut_at_the_end_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        assert_eq!(read_range(&path, 0, 4).unwrap(), b"0123");
        assert_eq!(read_range(&path, 8, 4).unwrap(), b"89");
        assert_eq!(read_range(&path, 20, 4).unwrap(), b"");
    }
}
