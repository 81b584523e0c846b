//! A download in progress: a folder beside the place where the file will be.
//!
//! `body` grows from the front and is renamed into place when it is whole. `state.json` says how much of it came from
//! where; it is replaced by renaming, so whatever moment the program dies at, the next one knows what it has. A lock
//! keeps two programs from writing one body.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::CatalogueError;

/// What is known of the body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// What it is downloaded from; the body of another source is of no use.
    pub(super) source: String,
    /// Packages whose part is in the body.
    pub(super) parts: usize,
    /// Bytes of those parts.
    pub(super) bytes: u64,
    /// The version of the file on the server.
    pub(super) etag: Option<String>,
    /// Bytes of the whole file, as the server says.
    pub(super) total: Option<u64>,
}

/// The folder of a download.
pub(super) struct Partial {
    folder: PathBuf,
    target: PathBuf,
    lock: File,
}

impl Drop for Partial {
    /// Unlocks by name: a program that another thread is just starting holds a copy of the file until it runs, and
    /// closing ours would not unlock it before then.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!("{} stays locked: {error}", self.folder.display());
        }
    }
}

/// Where the download for `target` lives.
pub(super) fn folder(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// Bytes that an unfinished download has already.
pub(super) fn bytes(target: &Path) -> u64 {
    fs::metadata(folder(target).join("body")).map_or(0, |body| body.len())
}

impl Partial {
    /// Opens or begins the download for `target`.
    pub(super) fn open(target: &Path) -> Result<Self, CatalogueError> {
        let folder = folder(target);
        fs::create_dir_all(&folder).map_err(CatalogueError::file(&folder))?;
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(CatalogueError::file(&lock_path))?;
        lock.try_lock().map_err(|refused| match refused {
            fs::TryLockError::WouldBlock => CatalogueError::Busy {
                path: target.to_owned(),
            },
            fs::TryLockError::Error(source) => CatalogueError::file(&lock_path)(source),
        })?;
        Ok(Self {
            folder,
            target: target.to_owned(),
            lock,
        })
    }

    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    pub(super) fn body_path(&self) -> PathBuf {
        self.folder.join("body")
    }

    /// A folder for what a downloader leaves lying about, empty.
    pub(super) fn scratch(&self) -> Result<PathBuf, CatalogueError> {
        let scratch = self.folder.join("scratch");
        match fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(CatalogueError::file(&scratch)(error));
            }
            _ => {}
        }
        fs::create_dir_all(&scratch).map_err(CatalogueError::file(&scratch))?;
        Ok(scratch)
    }

    /// What is here already of a download from `source`; nothing if it was begun from elsewhere.
    pub(super) fn state(&self, source: &str) -> State {
        let state: Option<State> = fs::read(self.folder.join("state.json"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        match state {
            Some(state) if state.source == source => state,
            _ => State {
                source: source.to_owned(),
                ..State::default()
            },
        }
    }

    pub(super) fn set_state(&self, state: &State) -> Result<(), CatalogueError> {
        let (new, path) = (
            self.folder.join("state.new"),
            self.folder.join("state.json"),
        );
        let text = serde_json::to_vec(state).map_err(io::Error::other);
        text.and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(CatalogueError::file(&path))
    }

    /// The body, cut to its first `length` bytes and ready to be appended to.
    pub(super) fn body(&self, length: u64) -> Result<File, CatalogueError> {
        let path = self.body_path();
        let open = || {
            let mut body = OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(false)
                .open(&path)?;
            if body.metadata()?.len() < length {
                return Err(io::Error::other("it is shorter than it was"));
            }
            body.set_len(length)?;
            body.seek(SeekFrom::Start(length))?;
            Ok(body)
        };
        open().map_err(CatalogueError::file(&path))
    }

    /// SHA-256 of the body in hex. `each` is called with the bytes read so far, and may stop it with an error.
    pub(super) fn sha256(
        &self,
        each: &mut dyn FnMut(u64) -> Result<(), CatalogueError>,
    ) -> Result<String, CatalogueError> {
        let path = self.body_path();
        let mut body = File::open(&path).map_err(CatalogueError::file(&path))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut done = 0;
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    hash.update(&buffer[..read]);
                    done += read as u64;
                    each(done)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CatalogueError::file(&path)(error)),
            }
        }
        Ok(hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }

    /// Puts the whole body in its place and removes the folder.
    pub(super) fn finish(self) -> Result<PathBuf, CatalogueError> {
        let body = self.body_path();
        File::open(&body)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&body, &self.target))
            .map_err(CatalogueError::file(&self.target))?;
        self.discard()
    }

    /// Removes the folder with all that is in it.
    pub(super) fn discard(self) -> Result<PathBuf, CatalogueError> {
        fs::remove_dir_all(&self.folder).map_err(CatalogueError::file(&self.folder))?;
        Ok(self.target.clone())
    }
}

/// Appends all of `from` to `body`, calling `each` with the bytes appended so far.
pub(super) fn append(
    from: &mut dyn Read,
    body: &mut File,
    body_path: &Path,
    reading: impl Fn(io::Error) -> CatalogueError,
    each: &mut dyn FnMut(u64) -> Result<(), CatalogueError>,
) -> Result<u64, CatalogueError> {
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                body.write_all(&buffer[..read])
                    .map_err(CatalogueError::file(body_path))?;
                done += read as u64;
                each(done)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(reading(error)),
        }
    }
    body.sync_all().map_err(CatalogueError::file(body_path))?;
    Ok(done)
}
