//! The room that caches take: budget, what goes when it is spent, what is forgotten.

use super::reading::Lesson;
use super::told::Told;
use super::way::way_of;
use super::{Job, Lectern, lock};
use crate::kv::{self, BlockFormat, CacheEntry, KvCache, KvError};
use crate::library::ReadingWay;
use lectern_protocol::{Event, Failure, Outcome};
use std::collections::HashSet;
use std::path::Path;
use tokio::runtime::Handle;

impl Lectern {
    /// How much room caches and library take, and what is free.
    pub fn storage(&self) -> Result<Outcome, Failure> {
        let home = self.library.home();
        let caches = self.caches()?;
        Ok(Outcome::Storage {
            cache_bytes: caches.iter().map(|cache| cache.bytes).sum(),
            library_bytes: bytes_below(&home.originals())
                + ["library.db", "library.db-wal"]
                    .iter()
                    .filter_map(|name| std::fs::metadata(home.data().join(name)).ok())
                    .map(|metadata| metadata.len())
                    .sum::<u64>(),
            free_bytes: free_bytes(home.data()),
        })
    }

    /// Removes what any model has read of a document. Jobs that hold it are ended first.
    pub async fn forget(&self, id: &str) -> Result<(), Failure> {
        let row = self.library.row(id).await?;
        let _turn = self.end_jobs(id).await;
        for text in [row.earlier_text, Some(row.text_sha256)].iter().flatten() {
            self.remove_caches(text).await?;
        }
        self.library.forget_readings(id).await?;
        Ok(())
    }

    /// Removes a document with its conversations and caches. Jobs that hold it are ended first.
    pub async fn remove(&self, id: &str) -> Result<(), Failure> {
        let row = self.library.row(id).await?;
        let _turn = self.end_jobs(id).await;
        self.library.remove(id).await?;
        self.opened.forget(id);
        self.index.forget();
        for text in [row.earlier_text, Some(row.text_sha256)].iter().flatten() {
            self.remove_caches(text).await?;
        }
        self.forget_recognised(&row.sha256);
        Ok(())
    }

    /// Ends the jobs that hold a document and takes its turn.
    pub(super) async fn end_jobs(&self, id: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self.turn(id);
        loop {
            for (_, cancel) in lock(&self.running).iter().filter(|(held, _)| held == id) {
                cancel.cancel();
            }
            // A job that waited for its turn may come before us; it is ended the next time round.
            match tokio::time::timeout(super::seat::LOOK_AGAIN, turn.clone().lock_owned()).await {
                Ok(guard) => return guard,
                Err(_) => continue,
            }
        }
    }

    /// Removes the caches of a text, unless another document has the same text.
    async fn remove_caches(&self, text: &[u8; 32]) -> Result<(), Failure> {
        let rows = self.library.list().await?;
        let sharing = rows.iter().filter(|row| row.text_sha256 == *text).count();
        if sharing > 1 {
            return Ok(());
        }
        for cache in self.caches()? {
            if cache.identity.text == *text {
                kv::remove(&cache.folder).map_err(Told::told)?;
            }
        }
        Ok(())
    }

    /// Removes the caches used longest ago until what is about to be read fits the budget, and says so.
    pub(super) fn make_room(
        &self,
        on: &Handle,
        lesson: &Lesson,
        cache: &KvCache,
        job: &Job,
    ) -> Result<(), Failure> {
        let budget = self.settings().cache_budget_bytes;
        if budget == 0 {
            return Ok(());
        }
        let needed = cache.append_bytes(lesson.total() - cache.tokens());
        let rows = on.block_on(self.library.list())?;
        let kept = [cache.folder().to_path_buf()];
        for victim in kv::victims(&self.caches()?, budget, needed, &kept) {
            match kv::remove(&victim.folder) {
                Ok(()) => {}
                // In use, here or in another Lectern: not one to be removed.
                Err(KvError::Locked { .. }) => continue,
                Err(error) => return Err(error.told()),
            }
            let mut title = "a document that was removed".to_owned();
            for row in rows
                .iter()
                .filter(|row| row.text_sha256 == victim.identity.text)
            {
                title = format!("“{}”", row.title);
                on.block_on(self.library.forget_reading(
                    &row.id,
                    &victim.identity.model,
                    way_of(&victim.identity),
                ))?;
            }
            job.tell(Event::Notice {
                message: format!(
                    "To keep to the budget of {}, what was read of {title} was removed ({}). It will be read again \
                     when it is asked about.",
                    megabytes(budget),
                    megabytes(victim.bytes)
                ),
            });
        }
        if needed + cache.bytes() > budget {
            job.tell(Event::Notice {
                message: format!(
                    "This document alone takes {} when it is read, more than the budget of {}.",
                    megabytes(needed + cache.bytes()),
                    megabytes(budget)
                ),
            });
        }
        Ok(())
    }

    /// Brings read states and caches into step: what a list promises is there and can be used, and no cache outlives its
    /// document (which may happen when a document is removed while another Lectern reads it) or its format. One that a
    /// later version may have made stays.
    pub(super) async fn settle_caches(&self) -> Result<(), Failure> {
        let caches = self.caches()?;
        // After the caches: whatever was listed above had its row before.
        let rows = self.library.list().await?;
        let known: HashSet<[u8; 32]> = rows
            .iter()
            .flat_map(|row| [Some(row.text_sha256), row.earlier_text])
            .flatten()
            .collect();
        let mut here: HashSet<([u8; 32], String, ReadingWay)> = HashSet::new();
        for cache in caches {
            let is_retired = BlockFormat::RETIRED.contains(&cache.identity.format);
            if is_retired || !known.contains(&cache.identity.text) {
                if let Err(error) = kv::remove(&cache.folder) {
                    tracing::warn!("{} was left behind: {error}", cache.folder.display());
                }
            } else if BlockFormat::by_number(cache.identity.format).is_some() {
                let way = way_of(&cache.identity);
                here.insert((cache.identity.text, cache.identity.model, way));
            }
        }
        Ok(self
            .library
            .keep_readings(|text, model, way| here.contains(&(text, model.to_owned(), way)))
            .await?)
    }

    pub(super) fn caches(&self) -> Result<Vec<CacheEntry>, Failure> {
        kv::list(&self.library.home().caches()).map_err(Told::told)
    }
}

pub(super) fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// Bytes that this user may still write on the disk of `path`; 0 where it cannot be told.
#[cfg(unix)]
pub(super) fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |disk| disk.f_bavail * disk.f_frsize)
}

#[cfg(not(unix))]
pub(super) fn free_bytes(_path: &Path) -> u64 {
    0
}
