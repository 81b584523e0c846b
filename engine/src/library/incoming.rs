//! Originals on their way into the library, and the sweep that removes what a crash left of them.
//!
//! A file is copied to `originals/incoming/<process>-<number>/<its own name>` while it is hashed, extracted from that
//! copy (so that nothing changes or vanishes under the extractor), and renamed to `originals/<sha256>.<extension>`
//! before its row is committed. Every incoming file holds `originals/incoming.lock` shared; the sweep takes it
//! exclusively or not at all, so it never touches what another Lectern is just adding.

use super::{ContentHash, Library, LibraryError};
use crate::home::Home;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes copied between two looks at whether the person cancelled.
const COPY_CHUNK: usize = 1 << 20;

fn lock_file(home: &Home) -> Result<File, LibraryError> {
    let path = home.originals().join("incoming.lock");
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| LibraryError::file(&path, source))
}

/// A private copy of a file that is being added. Dropping it removes the copy, unless it was [settled](Incoming::settle).
#[derive(Debug)]
pub struct Incoming {
    folder: PathBuf,
    path: PathBuf,
    hash: ContentHash,
    /// Held shared, so that nothing in `originals` is swept before its row is committed.
    _lock: File,
}

impl Incoming {
    /// Copies and hashes `source`. Cost: one pass over the file.
    pub fn copy(
        home: &Home,
        source: &Path,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Incoming, LibraryError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let lock = lock_file(home)?;
        let lock_path = home.originals().join("incoming.lock");
        lock.lock_shared()
            .map_err(|error| LibraryError::file(&lock_path, error))?;

        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = home
            .originals()
            .join("incoming")
            .join(format!("{}-{number}", std::process::id()));
        let name = source.file_name().ok_or_else(|| {
            LibraryError::file(source, std::io::Error::from(ErrorKind::InvalidFilename))
        })?;
        let mut incoming = Incoming {
            path: folder.join(name),
            folder,
            hash: ContentHash([0; 32]),
            _lock: lock,
        };
        let from_source = |error| LibraryError::file(source, error);
        let to_copy = |error| LibraryError::file(&incoming.path, error);

        let mut reader = File::open(source).map_err(from_source)?;
        std::fs::create_dir_all(&incoming.folder).map_err(to_copy)?;
        let mut writer = File::create(&incoming.path).map_err(to_copy)?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; COPY_CHUNK];
        loop {
            if cancelled() {
                return Err(LibraryError::Cancelled);
            }
            let filled = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(filled) => filled,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(from_source(error)),
            };
            hash.update(&chunk[..filled]);
            writer.write_all(&chunk[..filled]).map_err(to_copy)?;
        }
        writer.sync_all().map_err(to_copy)?;
        incoming.hash = ContentHash(hash.finalize().into());
        Ok(incoming)
    }

    /// The copy; it carries the source's own file name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hash of what was copied.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Renames the copy to its place in `originals`; returns its name there. The row must be committed while `self`
    /// still lives, since it holds the lock that keeps the sweep away.
    pub(super) fn settle(&self, home: &Home) -> Result<String, LibraryError> {
        let mut name = self.hash.hex();
        if let Some(extension) = self.path.extension().and_then(|e| e.to_str())
            && extension.len() <= 12
            && extension.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            name.push('.');
            name.push_str(&extension.to_ascii_lowercase());
        }
        let place = home.originals().join(&name);
        std::fs::rename(&self.path, &place).map_err(|error| LibraryError::file(&place, error))?;
        // The rename itself must be on disk before the row is.
        #[cfg(unix)]
        File::open(home.originals())
            .and_then(|folder| folder.sync_all())
            .map_err(|error| LibraryError::file(&place, error))?;
        Ok(name)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!("{} was left behind: {error}", self.folder.display());
        }
    }
}

impl Library {
    /// Removes originals without a row and unfinished copies. Does nothing while a document is being added, by this
    /// or another Lectern: the next start will do it.
    pub(super) async fn sweep(&self) -> Result<(), LibraryError> {
        let lock = lock_file(&self.home)?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        let known: HashSet<String> = sqlx::query_scalar!(
            "SELECT original AS 'original!' FROM documents WHERE original IS NOT NULL"
        )
        .fetch_all(&self.readers)
        .await?
        .into_iter()
        .collect();
        let originals = self.home.originals();
        let entries =
            std::fs::read_dir(&originals).map_err(|error| LibraryError::file(&originals, error))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let swept = match name.to_str() {
                Some("incoming.lock") => continue,
                Some("incoming") => std::fs::remove_dir_all(&path),
                Some(name) if known.contains(name) || !is_original_name(name) => continue,
                _ => std::fs::remove_file(&path),
            };
            match swept {
                Ok(()) => tracing::info!("swept away {}", path.display()),
                Err(error) => tracing::warn!("{} was left behind: {error}", path.display()),
            }
        }
        Ok(())
    }

    /// Removes one original after its row; left to the next sweep while a document is being added.
    pub(super) fn remove_original(&self, name: &str) -> Result<(), LibraryError> {
        let lock = lock_file(&self.home)?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        let path = self.home.originals().join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(LibraryError::file(&path, error))
            }
            _ => Ok(()),
        }
    }
}

/// Whether `name` is one that [`Incoming::settle`] gives. Whatever else lies in the folder is not ours to remove.
fn is_original_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
}
