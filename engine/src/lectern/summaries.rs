//! Documents as a list shows them: what they are, how far they are read, what reading them will take.

use super::caches::free_bytes;
use super::way::{Way, way_of};
use super::{ChosenModel, Lectern};
use crate::kv::{BlockFormat, CacheEntry};
use crate::library::{DocumentRow, Reading, ReadingWay};
#[cfg(feature = "cuda")]
use lectern_protocol::Forecast;
use lectern_protocol::{DocumentSummary, Failure, ReadState};
use std::collections::{HashMap, HashSet};

/// What the model that would be used now has read.
pub(super) struct ReadByNow<'l> {
    lectern: &'l Lectern,
    model: Option<String>,
    readings: HashMap<String, Vec<Reading>>,
    /// What decides how it reads, if it is there.
    chosen: Option<ChosenModel>,
    /// Tokens of a document up to which it is not read in segments.
    whole: Option<usize>,
    /// Bytes that a cache may take.
    room: u64,
    /// Caches of which more is kept than the settings want: of which text, by which model, in which way.
    too_large: HashSet<([u8; 32], String, ReadingWay)>,
}

impl Lectern {
    /// All documents, newest first.
    pub async fn list(&self) -> Result<Vec<DocumentSummary>, Failure> {
        let read = self.read_by_now().await?;
        let rows = self.library.list().await?;
        Ok(rows.into_iter().map(|row| read.summary(row)).collect())
    }

    /// One document.
    pub async fn summary(&self, id: &str) -> Result<DocumentSummary, Failure> {
        let row = self.library.row(id).await?;
        Ok(self.read_by_now().await?.summary(row))
    }

    /// What the model that would be used now has read.
    pub(super) async fn read_by_now(&self) -> Result<ReadByNow<'_>, Failure> {
        let model = self.noted_fingerprint().await?;
        let budget = match self.settings().cache_budget_bytes {
            0 => u64::MAX,
            budget => budget,
        };
        let chosen = self.chosen_model().ok();
        Ok(ReadByNow {
            whole: chosen.as_ref().map(|chosen| self.whole_tokens(chosen)),
            chosen,
            lectern: self,
            readings: match &model {
                Some(fingerprint) => self.library.readings(fingerprint).await?,
                None => HashMap::new(),
            },
            model,
            too_large: self.too_large()?,
            room: budget.min(free_bytes(self.library.home().data())),
        })
    }
}

impl Lectern {
    /// Looks at no cache if everything of all of them is to be kept.
    fn too_large(&self) -> Result<HashSet<([u8; 32], String, ReadingWay)>, Failure> {
        let wanted = self.settings().kept_percent;
        if wanted >= 100 {
            return Ok(HashSet::new());
        }
        let too_large = |cache: &CacheEntry| {
            let format = BlockFormat::by_number(cache.identity.format);
            cache.kept_percent > wanted && format.is_some_and(BlockFormat::can_be_thinned)
        };
        let caches = self.caches()?.into_iter().filter(too_large);
        Ok(caches
            .map(|cache| {
                let way = way_of(&cache.identity);
                (cache.identity.text, cache.identity.model, way)
            })
            .collect())
    }
}

impl ReadByNow<'_> {
    /// How far one document is read in the way in which it would be read now; `None` if it was never opened for reading.
    pub fn reading(&self, id: &str) -> Option<Reading> {
        let readings = self.readings.get(id)?;
        let measured = self.chosen.as_ref()?.kv_format;
        let setting = self.lectern.settings().kv_format;
        let used = readings.iter().filter(|reading| {
            let way = self.way(**reading);
            way.is_some_and(|way| way.uses(reading.way, setting, measured))
        });
        // Read in another way, it is only known how long it is.
        let measured_only = |reading: &Reading| Reading {
            tokens: 0,
            cache_bytes: 0,
            ..*reading
        };
        used.max_by_key(|reading| reading.tokens)
            .copied()
            .or_else(|| readings.first().map(measured_only))
    }

    fn way(&self, reading: Reading) -> Option<Way> {
        let beyond = self.lectern.settings().beyond_window;
        let [tokens, window] = [reading.total, reading.window].map(|count| count as usize);
        Some(Way::of(tokens, window, self.whole?, beyond))
    }

    fn summary(&self, row: DocumentRow) -> DocumentSummary {
        let known = self.reading(&row.id);
        let reading = known.map_or(ReadState::Unread, |known| self.read_state(known));
        let forecast = match (&self.model, reading) {
            (Some(model), ReadState::Unread) => {
                let tokens = known.map(|known| known.total);
                let foretold = self.lectern.forecaster.foretell(
                    model,
                    row.text_bytes,
                    tokens,
                    self.whole,
                    self.room,
                );
                #[cfg(feature = "cuda")]
                let foretold = foretold.map(|forecast| Forecast {
                    gpu: self.lectern.gpu_plan(forecast.tokens as usize),
                    ..forecast
                });
                foretold
            }
            _ => None,
        };
        let could_be_smaller = match (&self.model, known, reading) {
            (Some(model), Some(known), ReadState::Read { .. }) => {
                self.too_large
                    .contains(&(row.text_sha256, model.clone(), known.way))
            }
            _ => false,
        };
        DocumentSummary {
            could_be_smaller,
            id: row.id,
            title: row.title,
            authors: row.authors,
            format: row.kind.into(),
            source: row.source,
            text_bytes: row.text_bytes as u32,
            words: row.words as u32,
            pages: row.pages,
            added: row.added as u32,
            reading,
            forecast,
            scans_unread: crate::ingest::has_unread_scans(&row.notices),
            notices: row.notices,
        }
    }

    fn read_state(&self, reading: Reading) -> ReadState {
        let (tokens, total) = (reading.tokens as u32, reading.total as u32);
        if self.way(reading) == Some(Way::TooLong) {
            ReadState::TooLong {
                tokens: total,
                window: reading.window as u32,
            }
        } else if tokens == 0 {
            ReadState::Unread
        } else if tokens < total {
            ReadState::Partly { tokens, total }
        } else {
            ReadState::Read {
                tokens,
                cache_bytes: reading.cache_bytes,
            }
        }
    }
}
