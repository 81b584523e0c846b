//! Models as a person chooses among them: listed, downloaded, imported.

use super::told::Told;
use super::{Job, Lectern, blocking};
use lectern_protocol::{DownloadProgress, Event, Failure, ModelEntry, ModelPurpose};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a download's progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

impl Lectern {
    /// Models of the catalogue in its order, then imported ones, then what finds passages and what recognises scanned pages.
    pub fn models(&self) -> Result<Vec<ModelEntry>, Failure> {
        let catalogue = self.catalogue()?;
        let current = self.chosen_model().ok().map(|chosen| chosen.path);
        let answers = catalogue
            .entries()
            .iter()
            .map(|entry| (entry, ModelPurpose::Answers));
        let recogniser = catalogue
            .recogniser()
            .map(|entry| (entry, ModelPurpose::Recognition));
        let embedder = catalogue
            .embedder()
            .map(|entry| (entry, ModelPurpose::Passages));
        Ok(answers
            .chain(embedder)
            .chain(recogniser)
            .map(|(entry, purpose)| ModelEntry {
                name: entry.name.clone(),
                title: entry.title.clone(),
                licence: entry.licence.clone(),
                bytes: entry.bytes,
                context: entry.context,
                memory_bytes: entry.memory_bytes,
                summary: entry.summary.clone(),
                installed: catalogue.is_installed(entry),
                partial_bytes: catalogue.partial_bytes(entry),
                supported: entry.supported() || purpose != ModelPurpose::Answers,
                current: current.as_ref() == Some(&catalogue.path(entry)),
                purpose,
            })
            .collect())
    }

    /// Where they are kept.
    pub fn models_folder(&self) -> &Path {
        self.library.home().models()
    }

    /// Downloads a model of the catalogue, or goes on with it.
    pub async fn download_model(&self, name: &str, job: &Job) -> Result<(), Failure> {
        let catalogue = self.catalogue()?;
        let (name, job) = (name.to_owned(), job.clone());
        blocking(move || {
            let mut speed = Speed::new();
            let path = catalogue.download(&name, &mut |progress| {
                if job.cancel.is_cancelled() {
                    return ControlFlow::Break(());
                }
                if let Some(bytes_per_s) = speed.at(progress.bytes, progress.verifying) {
                    job.tell(Event::Download(DownloadProgress {
                        name: name.clone(),
                        bytes: progress.bytes,
                        total: progress.total,
                        bytes_per_s,
                        verifying: progress.verifying,
                    }));
                }
                ControlFlow::Continue(())
            });
            path.map_err(Told::told)?;
            Ok(())
        })
        .await
    }

    /// Takes a GGUF file into the catalogue, where it lies; returns its name there.
    pub async fn import_model(&self, path: &Path) -> Result<String, Failure> {
        let mut catalogue = self.catalogue()?;
        let path = path.to_owned();
        blocking(move || {
            let entry = catalogue.import(&path).map_err(Told::told)?;
            Ok(entry.name.clone())
        })
        .await
    }

    /// Removes a model's file; an imported model is only forgotten.
    pub fn remove_model(&self, name: &str) -> Result<(), Failure> {
        self.meaning.forget();
        self.catalogue()?.remove(name).map_err(Told::told)
    }
}

/// Bytes a second since the download began (or verification did), told now and then.
struct Speed {
    began: Option<(Instant, u64, bool)>,
    told: Option<Instant>,
}

impl Speed {
    fn new() -> Speed {
        Speed {
            began: None,
            told: None,
        }
    }

    /// The speed, if it is time to tell it again.
    fn at(&mut self, bytes: u64, verifying: bool) -> Option<f64> {
        let (began, from, _) = *match &self.began {
            Some(began) if began.2 == verifying => began,
            _ => {
                self.told = None;
                self.began.insert((Instant::now(), bytes, verifying))
            }
        };
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return None;
        }
        self.told = Some(Instant::now());
        let seconds = began.elapsed().as_secs_f64();
        Some(if seconds > 0.0 {
            bytes.saturating_sub(from) as f64 / seconds
        } else {
            0.0
        })
    }
}
