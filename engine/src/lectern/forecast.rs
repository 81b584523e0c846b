//! What reading a document will take, told before it is read: from what reading took on this machine so far.
//!
//! In: the [`Pace`] of every reading that ended. Out: tokens, bytes and seconds for a text of so many bytes. One entry
//! a model, in a file of a few hundred bytes beside the library; a machine on which nothing was read yet foretells
//! nothing, for that would be a guess about the machine.

use super::lock;
use crate::reading::{Pace, Segments, TokenCost};
use lectern_protocol::Forecast;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Mutex;

/// How much a reading changes what was known: the last three or so decide, so that a new machine or a busy week shows.
const NEWEST: f64 = 0.4;

/// What is known of reading, by the fingerprint of the model.
pub(super) struct Forecaster {
    path: PathBuf,
    known: Mutex<BTreeMap<String, Known>>,
}

/// Of one model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Known {
    /// Of a token that looks back at nothing.
    seconds_per_token: f64,
    /// More for each token that it looks back at.
    seconds_per_token_before: f64,
    text_bytes_per_token: f64,
    /// Of a token in the cache.
    cache_bytes_per_token: f64,
    /// Tokens in the cache for each of a document that is read in segments: some are read twice.
    #[serde(default = "read_in_segments")]
    in_segments: f64,
    /// Mean of |foretold / taken - 1|, once something was foretold.
    error: Option<f64>,
}

/// Before a document was read in segments: of novels, manuals and code 1.08 to 1.11 (`docs/long-context.md`).
fn read_in_segments() -> f64 {
    1.09
}

/// A reading that ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended<'r> {
    pub model: &'r str,
    pub text_bytes: usize,
    /// Of the whole document.
    pub tokens: usize,
    /// In its cache.
    pub cached: usize,
    pub cache_bytes: u64,
    /// Tokens of the cache that this reading found there.
    pub resumed_at: usize,
    /// Tokens that each looked at, where that was not all before it.
    pub looks_at: Option<usize>,
    pub pace: &'r Pace,
}

impl Forecaster {
    /// What the file at `path` holds; nothing, if there is none or it cannot be understood.
    pub fn open(path: PathBuf) -> Forecaster {
        let known = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!("{}: {error}; it is written anew", path.display());
                BTreeMap::new()
            }),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!("{}: {error}", path.display());
                }
                BTreeMap::new()
            }
        };
        Forecaster {
            path,
            known: Mutex::new(known),
        }
    }

    /// What reading a text will take, `tokens` of them if they were counted; one of more than `whole`
    /// is read in segments.
    pub fn foretell(
        &self,
        model: &str,
        text_bytes: u64,
        tokens: Option<u64>,
        whole: Option<usize>,
        room: u64,
    ) -> Option<Forecast> {
        let known = *lock(&self.known).get(model)?;
        let tokens = tokens.map_or(text_bytes as f64 / known.text_bytes_per_token, |t| t as f64);
        let is_in_segments = whole.is_some_and(|whole| tokens > whole as f64);
        let (cached, looks_at) = match is_in_segments {
            true => (tokens * known.in_segments, Some(Segments::LOOKED_AT)),
            false => (tokens, None),
        };
        let cache_bytes = (cached * known.cache_bytes_per_token) as u64;
        Some(Forecast {
            tokens: tokens as u32,
            cache_bytes,
            seconds: known.cost().seconds(0.0, cached, looks_at),
            error: known.error,
            fits: cache_bytes <= room,
            gpu: None,
        })
    }

    /// Learns from a reading. What cannot be written is known until the program ends.
    pub fn learn(&self, ended: &Ended) {
        let Some(cost) = ended.pace.cost() else {
            return;
        };
        let (tokens, cached) = (ended.tokens as f64, ended.cached as f64);
        let again = ended.looks_at.map(|_| cached / tokens);
        let mut all = lock(&self.known);
        let mut new = Known {
            seconds_per_token: cost.per_token,
            seconds_per_token_before: cost.per_token_before,
            text_bytes_per_token: ended.text_bytes as f64 / tokens,
            cache_bytes_per_token: ended.cache_bytes as f64 / cached,
            in_segments: again.unwrap_or_else(read_in_segments),
            error: None,
        };
        if let Some(old) = all.get(ended.model) {
            let from = ended.resumed_at as f64;
            let foretold = old.cost().seconds(from, cached, ended.looks_at);
            let error = (foretold / ended.pace.taken().as_secs_f64() - 1.0).abs();
            let mean = |old: f64, new: f64| old + NEWEST * (new - old);
            new = Known {
                seconds_per_token: mean(old.seconds_per_token, new.seconds_per_token),
                seconds_per_token_before: mean(
                    old.seconds_per_token_before,
                    new.seconds_per_token_before,
                ),
                text_bytes_per_token: mean(old.text_bytes_per_token, new.text_bytes_per_token),
                // A fact of the format, not a measurement: the newest holds.
                cache_bytes_per_token: new.cache_bytes_per_token,
                in_segments: again.map_or(old.in_segments, |again| mean(old.in_segments, again)),
                error: Some(old.error.map_or(error, |old| mean(old, error))),
            };
        }
        all.insert(ended.model.to_owned(), new);
        if let Err(error) = self.save(&all) {
            tracing::warn!("{}: {error}", self.path.display());
        }
    }

    /// Replaces the file: a crash leaves the old or the new one.
    fn save(&self, known: &BTreeMap<String, Known>) -> std::io::Result<()> {
        let fresh = self.path.with_extension(std::process::id().to_string());
        std::fs::write(&fresh, serde_json::to_vec_pretty(known)?)?;
        std::fs::rename(&fresh, &self.path)
    }
}

impl Known {
    fn cost(&self) -> TokenCost {
        TokenCost {
            per_token: self.seconds_per_token,
            per_token_before: self.seconds_per_token_before,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    /// A reading of `chunks` chunks at a base cost and a cost for each token before.
    fn paced(chunks: usize, base: f64, before: f64) -> Pace {
        let mut pace = Pace::default();
        for chunk in 0..chunks {
            let depth = (chunk * 256 + 128) as f64;
            let seconds = 256.0 * (base + before * depth);
            pace.add(chunk * 256, 256, Duration::from_secs_f64(seconds));
        }
        pace
    }

    fn ended<'r>(pace: &'r Pace, chunks: usize) -> Ended<'r> {
        Ended {
            model: "m",
            text_bytes: chunks * 1024,
            tokens: chunks * 256,
            cached: chunks * 256,
            cache_bytes: chunks as u64 * 256 * 3648,
            resumed_at: 0,
            looks_at: None,
            pace,
        }
    }

    #[test]
    fn a_short_reading_foretells_a_long_one_and_its_error_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paces.json");
        let forecaster = Forecaster::open(path.clone());
        assert_eq!(forecaster.foretell("m", 1000, None, None, u64::MAX), None);

        let short = paced(8, 0.01, 1e-6);
        forecaster.learn(&ended(&short, 8));
        // Another program, after a restart.
        let forecaster = Forecaster::open(path);
        let foretold = forecaster
            .foretell("m", 40 * 1024, None, None, 30_000_000)
            .unwrap();
        assert_eq!(foretold.tokens, 10_240);
        assert!(!foretold.fits, "{foretold:?}");
        assert_eq!(foretold.error, None);
        let expected = 0.01 * 10_240.0 + 1e-6 * 10_240f64.powi(2) / 2.0;
        let ratio = foretold.seconds / expected;
        assert!((0.999..1.001).contains(&ratio), "{foretold:?}");

        // The machine is half as fast now: the error says so, and the next forecast leans to it.
        let slower = paced(40, 0.02, 2e-6);
        forecaster.learn(&ended(&slower, 40));
        let next = forecaster
            .foretell("m", 40 * 1024, None, None, u64::MAX)
            .unwrap();
        assert!((next.error.unwrap() - 0.5).abs() < 0.01, "{next:?}");
        let ratio = next.seconds / expected;
        assert!((1.39..1.41).contains(&ratio), "{next:?}");
        assert!(next.fits);
    }

    #[test]
    fn what_segments_read_twice_is_foretold() {
        let folder = tempfile::tempdir().unwrap();
        let forecaster = Forecaster::open(folder.path().join("paces.json"));
        let pace = paced(8, 0.01, 0.0);
        let whole = |forecaster: &Forecaster| {
            let foretold = forecaster.foretell("m", 40 * 1024, None, Some(4096), u64::MAX);
            foretold.unwrap()
        };
        forecaster.learn(&ended(&pace, 8));
        let unread = whole(&forecaster);
        assert_eq!(unread.tokens, 10_240);
        assert!(
            (unread.seconds - 0.01 * 1.09 * 10_240.0).abs() < 0.1,
            "{unread:?}"
        );
        // A fifth is read twice.
        forecaster.learn(&Ended {
            tokens: 8 * 256,
            cached: 8 * 256 * 6 / 5,
            cache_bytes: 8 * 256 * 6 / 5 * 3648,
            looks_at: Some(512),
            ..ended(&pace, 8)
        });
        let read = whole(&forecaster);
        let again = f64::from(read.cache_bytes as u32) / (10_240.0 * 3648.0);
        assert!((again - (1.09 + NEWEST * 0.11)).abs() < 1e-3, "{read:?}");
    }

    #[test]
    fn a_broken_file_foretells_nothing_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paces.json");
        std::fs::write(&path, "{\"m\": 3").unwrap();
        let forecaster = Forecaster::open(path.clone());
        assert_eq!(forecaster.foretell("m", 1000, None, None, u64::MAX), None);
        forecaster.learn(&ended(&paced(4, 0.01, 0.0), 4));
        assert!(
            Forecaster::open(path)
                .foretell("m", 1000, None, None, u64::MAX)
                .is_some()
        );
    }
}
