//! Documents as a list shows them: what they are, how far they are read, what reading them will take.

use super::Lectern;
use super::caches::free_bytes;
use crate::library::{DocumentRow, Reading};
#[cfg(feature = "cuda")]
use lectern_protocol::Forecast;
use lectern_protocol::{BeyondWindow, DocumentSummary, Failure, ReadState};
use std::collections::HashMap;

/// What the model that would be used now has read.
pub(super) struct ReadByNow<'l> {
    lectern: &'l Lectern,
    model: Option<String>,
    readings: HashMap<String, Reading>,
    /// Whether documents longer than the model's window are read.
    beyond: bool,
    /// Tokens of a document up to which it is not read in segments, if a model is there.
    whole: Option<usize>,
    /// Bytes that a cache may take.
    room: u64,
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
        let beyond = self.settings().beyond_window == BeyondWindow::Read;
        Ok(ReadByNow {
            whole: chosen.map(|chosen| self.whole_tokens(&chosen)),
            beyond,
            lectern: self,
            readings: match &model {
                Some(fingerprint) => self.library.readings(fingerprint).await?,
                None => HashMap::new(),
            },
            model,
            room: budget.min(free_bytes(self.library.home().data())),
        })
    }
}

impl ReadByNow<'_> {
    /// How far one document is read.
    pub fn reading(&self, id: &str) -> Option<Reading> {
        self.readings.get(id).copied()
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
        DocumentSummary {
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
        // What was measured before the setting changed is to be read now.
        if reading.total > reading.window && !self.beyond {
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
