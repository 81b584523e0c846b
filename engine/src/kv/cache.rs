//! One cache, open for reading and writing.

use super::append::{BlockRecipe, Writer};
use super::format::BlockFormat;
use super::manifest::{Manifest, sync_folder};
use super::recovery::scan;
use super::storage::Storage;
use super::view::{SealedBlock, map};
use super::{BLOCK_TOKENS, CacheIdentity, KvError, KvShape, KvView, OpenBlock};
use lectern_models::attention::AttentionShape;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

pub(super) const BLOCKS_FILE: &str = "blocks.kv";
pub(super) const LOCK_FILE: &str = "lock";
pub(super) const LAST_USED_FILE: &str = "last_used";
/// What is to take the place of the blocks; see [`super::thin`].
pub(super) const THINNER_FILE: &str = "blocks.thinner";

/// What had to be cut off a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Tokens that are still there.
    pub kept_tokens: usize,
    /// Bytes cut off.
    pub dropped_bytes: u64,
}

/// An open cache. Shared between threads by reference: readers take a [`KvView`], one append runs at a time.
pub struct KvCache {
    folder: PathBuf,
    identity: CacheIdentity,
    shape: KvShape,
    format: BlockFormat,
    /// For mapping; writing goes through `writer`.
    pub(super) file: File,
    writer: Mutex<Writer>,
    pub(super) view: RwLock<KvView>,
    pub(super) path: Arc<PathBuf>,
    pub(super) first_damaged: Arc<AtomicUsize>,
    recovery: Option<Recovery>,
    /// Locked as long as this lives.
    lock: File,
}

impl Drop for KvCache {
    /// Unlocks by name: a child that another thread is just starting (to extract a file) holds a copy of the lock
    /// until it runs, and closing ours would not unlock it before then.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!("{} stays locked: {error}", self.folder.display());
        }
    }
}

impl KvCache {
    /// Opens the cache in `folder`, or creates it; cuts off what a crash left half-written.
    ///
    /// `folder` is normally `root.join(identity.folder_name())`. Cost: one header a block, and the last append's
    /// payload is hashed.
    ///
    /// # Errors
    /// [`KvError::Locked`] if it is open already; [`KvError::OtherIdentity`] if it belongs to something else (it is
    /// not touched then); [`KvError::UnknownFormat`]; [`KvError::Io`], [`KvError::DiskFull`].
    pub fn open(
        folder: &Path,
        identity: &CacheIdentity,
        shape: &AttentionShape,
    ) -> Result<KvCache, KvError> {
        let shape = KvShape::from(shape);
        Self::open_with(folder, identity, shape, |file| Ok(Box::new(file)))
    }

    /// As [`KvCache::open`], writing through what `storage` makes of the block file.
    pub(super) fn open_with(
        folder: &Path,
        identity: &CacheIdentity,
        shape: KvShape,
        storage: impl FnOnce(File) -> io::Result<Box<dyn Storage>>,
    ) -> Result<KvCache, KvError> {
        let format = BlockFormat::by_number(identity.format).ok_or(KvError::UnknownFormat {
            path: folder.to_owned(),
            format: identity.format,
        })?;
        fs::create_dir_all(folder).map_err(KvError::io(folder, "create"))?;
        let lock = take_lock(folder)?;

        // Of a thinning that was cut short.
        match fs::remove_file(folder.join(THINNER_FILE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(KvError::io(folder.join(THINNER_FILE), "remove")(error));
            }
            _ => {}
        }

        let manifest = Manifest::new(identity.clone(), shape, format.name());
        let found = Manifest::read(folder)?;
        if let Some(found) = &found {
            manifest.compare(found, folder)?;
        }
        let has_manifest = found.is_some();
        let path = Arc::new(folder.join(BLOCKS_FILE));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&*path)
            .map_err(KvError::io(&*path, "open"))?;
        let found = map(&file, &path)?;
        let bytes = found.as_ref().map_or(&[][..], |map| map);
        let on_disk = bytes.len() as u64;
        let scan = scan(&file, bytes, &shape, format, identity.hash())
            .map_err(KvError::io(&*path, "read"))?;
        if scan.foreign {
            return Err(KvError::OtherIdentity {
                path: folder.to_owned(),
                difference: "another text, model or version",
            });
        }
        drop(found);
        if !has_manifest {
            manifest.write(folder)?;
        }
        let mut recovery = None;
        if scan.end < on_disk {
            file.set_len(scan.end).map_err(KvError::io(&*path, "cut"))?;
            recovery = Some(Recovery {
                kept_tokens: scan.blocks.iter().map(|b| b.header.tokens.len()).sum(),
                dropped_bytes: on_disk - scan.end,
            });
        }
        file.sync_all()
            .and_then(|()| sync_folder(folder))
            .map_err(KvError::io(&*path, "sync"))?;

        let writer = file
            .try_clone()
            .and_then(storage)
            .map_err(KvError::io(&*path, "open"))?;
        let first_damaged = Arc::new(AtomicUsize::new(usize::MAX));
        let blocks = scan.blocks.into_iter().map(Arc::new).collect();
        let view = KvView::new(
            shape,
            path.clone(),
            blocks,
            map(&file, &path)?,
            first_damaged.clone(),
        );
        let cache = KvCache {
            folder: folder.to_owned(),
            identity: identity.clone(),
            shape,
            format,
            file,
            writer: Mutex::new(Writer {
                storage: writer,
                end: scan.end,
                remains: false,
            }),
            view: RwLock::new(view),
            path,
            first_damaged,
            recovery,
            lock,
        };
        cache.touch()?;
        Ok(cache)
    }

    /// What opening had to cut off, if anything.
    pub fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whose cache it is.
    pub fn identity(&self) -> &CacheIdentity {
        &self.identity
    }

    /// Shape of its blocks.
    pub fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// How its full blocks after the first are encoded.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// Tokens sealed so far.
    pub fn tokens(&self) -> usize {
        self.with_view(KvView::tokens)
    }

    /// Bytes of the block file.
    pub fn bytes(&self) -> u64 {
        self.writer().end
    }

    /// A snapshot of everything sealed so far.
    pub fn view(&self) -> KvView {
        self.with_view(KvView::clone)
    }

    /// Notes that so many hundredths of what can be left out of it are kept, for [`super::list`].
    pub(crate) fn note_kept(&self, percent: u32) -> Result<(), KvError> {
        let mut manifest = Manifest::new(self.identity.clone(), self.shape, self.format.name());
        manifest.kept_percent = Some(percent);
        manifest.write(&self.folder)
    }

    /// Stamps the cache as used now, for [`super::victims`].
    pub fn touch(&self) -> Result<(), KvError> {
        let path = self.folder.join(LAST_USED_FILE);
        File::create(&path)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .map_err(KvError::io(path, "stamp"))
    }

    /// Seals `tokens`, whose keys and values stand in `blocks` (64 a block, the last may hold fewer): written,
    /// durable, then visible.
    ///
    /// # Errors
    /// [`KvError::DiskFull`] and [`KvError::Io`] leave the cache as it was; [`KvError::Complete`] if it ends with a
    /// partial block already; [`KvError::Shape`] if `blocks` are not as many as `tokens` fill.
    pub fn append(&self, tokens: &[u32], blocks: &[OpenBlock]) -> Result<(), KvError> {
        self.append_behind(0, tokens, blocks)
    }

    /// As [`KvCache::append`] of what looked at the opening and, from block `looked_at_from` on, at all before it.
    pub(crate) fn append_behind(
        &self,
        looked_at_from: usize,
        tokens: &[u32],
        blocks: &[OpenBlock],
    ) -> Result<(), KvError> {
        if blocks.len() != tokens.len().div_ceil(BLOCK_TOKENS)
            || blocks.iter().any(|block| *block.shape() != self.shape)
        {
            return Err(KvError::Shape {
                path: self.folder.clone(),
                fact: format!(
                    "{} tokens were given in {} blocks or in blocks of another shape",
                    tokens.len(),
                    blocks.len()
                ),
            });
        }
        let recipe = BlockRecipe {
            shape: &self.shape,
            format: self.format,
            identity: self.identity.hash(),
            looked_at_from,
        };
        self.extend(self.append_bytes(tokens.len()), |writer, sealed| {
            writer.append(&recipe, sealed, tokens, blocks)
        })
    }

    /// Appends copies of these blocks of `view`, which is of a cache of the same shape and format, under its own identity:
    /// written, durable, then visible. They must have been checked.
    pub(super) fn append_copies(&self, view: &KvView, blocks: Range<usize>) -> Result<(), KvError> {
        let blocks = &view.sealed()[blocks];
        let bytes = blocks.iter().map(|block| block.end() - block.offset).sum();
        let file = view.map().map_or(&[][..], |map| map);
        self.extend(bytes, |writer, sealed| {
            writer.copy((self.identity.hash(), &self.shape), sealed, blocks, file)
        })
    }

    /// Writes blocks behind those that are sealed, `bytes` in all, and shows them.
    fn extend(
        &self,
        bytes: u64,
        write: impl FnOnce(&mut Writer, &[Arc<SealedBlock>]) -> io::Result<Vec<Arc<SealedBlock>>>,
    ) -> Result<(), KvError> {
        let mut writer = self.writer();
        let old = self.view();
        if !old.tokens().is_multiple_of(BLOCK_TOKENS) {
            return Err(KvError::Complete {
                path: self.folder.clone(),
                tokens: old.tokens(),
            });
        }
        let new = write(&mut writer, old.sealed()).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => KvError::DiskFull {
                path: self.path.to_path_buf(),
                needed: bytes,
            },
            _ => KvError::io(&*self.path, "write")(error),
        })?;
        let sealed = old.sealed().iter().cloned().chain(new).collect();
        self.publish(sealed)
    }

    /// Bytes that appending so many tokens takes on disk.
    pub fn append_bytes(&self, tokens: usize) -> u64 {
        let first = self.with_view(KvView::blocks);
        let block_bytes = |nth: usize| {
            let filled = BLOCK_TOKENS.min(tokens - nth * BLOCK_TOKENS);
            let format = self.format.of_block(first + nth, filled);
            super::header::header_bytes(self.shape.layers)
                + self.shape.layers * format.part_bytes(&self.shape)
        };
        (0..tokens.div_ceil(BLOCK_TOKENS))
            .map(|nth| block_bytes(nth) as u64)
            .sum()
    }

    /// Forgets everything from token `tokens` on, a multiple of 64.
    ///
    /// # Errors
    /// [`KvError::Cut`] if a view other than the cache's own is alive (its map would lose its file), or if `tokens`
    /// is not a block's beginning.
    pub fn cut(&self, tokens: usize) -> Result<(), KvError> {
        let mut writer = self.writer();
        let old = self.view();
        if tokens >= old.tokens() {
            return Ok(());
        }
        let refuse = |why| KvError::Cut {
            path: self.folder.clone(),
            tokens,
            why,
        };
        if !tokens.is_multiple_of(BLOCK_TOKENS) {
            return Err(refuse("a block begins only every 64 tokens"));
        }
        let kept: Vec<Arc<SealedBlock>> = old.sealed()[..tokens / BLOCK_TOKENS].to_vec();
        let end = kept.last().map_or(0, |block| block.end());
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        // `old` and the published view hold one count each; a third is a reader's.
        if old.map().is_some_and(|map| Arc::strong_count(map) > 2) {
            return Err(refuse("it is being read"));
        }
        drop(old);
        *view = self.new_view(Vec::new(), None);
        writer
            .storage
            .set_len(end)
            .and_then(|()| writer.storage.sync())
            .map_err(KvError::io(&*self.path, "cut"))?;
        writer.end = end;
        let first_damaged = self.first_damaged.load(Ordering::Acquire);
        if first_damaged >= kept.len() {
            self.first_damaged.store(usize::MAX, Ordering::Release);
        }
        *view = self.new_view(kept, map(&self.file, &self.path)?);
        Ok(())
    }

    /// Whether a checksum failed since the cache was opened; [`KvCache::mend`] or [`KvCache::cut_damage`] is then due.
    pub fn is_damaged(&self) -> bool {
        self.first_damaged.load(Ordering::Acquire) != usize::MAX
    }

    /// Checks every part not checked yet, and cuts the cache before the first damaged block.
    ///
    /// # Errors
    /// As [`KvCache::cut`].
    pub fn cut_damage(&self) -> Result<Option<Recovery>, KvError> {
        let before = self.bytes();
        let Some(first_damaged) = self.with_view(KvView::damaged).first().copied() else {
            return Ok(None);
        };
        self.cut(first_damaged * BLOCK_TOKENS)?;
        Ok(Some(Recovery {
            kept_tokens: self.tokens(),
            dropped_bytes: before - self.bytes(),
        }))
    }

    fn publish(&self, sealed: Vec<Arc<SealedBlock>>) -> Result<(), KvError> {
        let view = self.new_view(sealed, map(&self.file, &self.path)?);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        Ok(())
    }

    pub(super) fn new_view(
        &self,
        sealed: Vec<Arc<SealedBlock>>,
        map: Option<Arc<memmap2::Mmap>>,
    ) -> KvView {
        KvView::new(
            self.shape,
            self.path.clone(),
            sealed,
            map,
            self.first_damaged.clone(),
        )
    }

    fn with_view<T>(&self, look: impl FnOnce(&KvView) -> T) -> T {
        look(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the lock of a cache's folder, which is given back when the file is closed, by a crash too.
pub(super) fn take_lock(folder: &Path) -> Result<File, KvError> {
    let path = folder.join(LOCK_FILE);
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(KvError::io(&path, "open"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(KvError::Locked {
            path: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(KvError::io(path, "lock")(error)),
    }
}
