//! Which model is used.

use super::Lectern;
use super::told::Told;
use crate::kv::BlockFormat;
use lectern_models::Model;
use lectern_models::catalogue::{Catalogue, CatalogueEntry};
use lectern_protocol::{Failure, FailureCode};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Tokens of a document up to which a small model reads it whole of which nothing was measured.
const WHOLE_TOKENS: usize = 2048;

/// Bytes of a small model: up to two or three billion parameters of 4 bits.
const SMALL_BYTES: u64 = 2_000_000_000;

/// A model that was chosen, by name or path, and is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenModel {
    /// Name in the catalogue, or the path.
    pub name: String,
    /// What the catalogue calls it for people, if it knows the file.
    pub title: Option<String>,
    /// Its file.
    pub path: PathBuf,
    /// Its retrieval heads, `(layer, query head)`; none if they were not measured.
    pub retrieval_heads: Vec<(usize, usize)>,
    /// Tokens of its window; unknown of a file that is not in the catalogue.
    pub context: Option<usize>,
    /// Smallest cache format that was measured to be good enough for it.
    pub kv_format: BlockFormat,
    /// Tokens of a document up to which it is read with attention to everything.
    pub whole_tokens: usize,
}

impl Lectern {
    /// The model that would be used now: `--model`, else the setting, else the catalogue's default, else any of the
    /// catalogue that is here.
    pub fn chosen_model(&self) -> Result<ChosenModel, Failure> {
        if let Some(choice) = self.options.model.clone().or_else(|| self.settings().model) {
            return self.find_model(&choice);
        }
        let catalogue = self.catalogue()?;
        let default = catalogue.default_entry();
        let here = |entry: &&CatalogueEntry| entry.supported() && catalogue.is_installed(entry);
        let entry = default
            .filter(here)
            .or_else(|| catalogue.entries().iter().find(here));
        match (entry, default) {
            (Some(entry), _) => Ok(chosen(&catalogue, entry)),
            (None, default) => Err(Failure {
                code: FailureCode::ModelMissing,
                message: "no model is installed yet".to_owned(),
                advice: Some(advice(default)),
            }),
        }
    }

    /// The model of that name or at that path, if its file is here.
    pub(super) fn find_model(&self, choice: &str) -> Result<ChosenModel, Failure> {
        let catalogue = self.catalogue()?;
        if let Ok(entry) = catalogue.entry(choice) {
            return if catalogue.is_installed(entry) {
                Ok(chosen(&catalogue, entry))
            } else {
                Err(Failure {
                    code: FailureCode::ModelMissing,
                    message: format!(
                        "the model {} is not installed: {} is not there",
                        entry.name,
                        catalogue.path(entry).display()
                    ),
                    advice: Some(advice(Some(entry))),
                })
            };
        }
        let path = std::path::absolute(Path::new(choice)).unwrap_or_else(|_| choice.into());
        if path.is_file() {
            let entry = catalogue.entry_of_file(&path);
            return Ok(ChosenModel {
                name: choice.to_owned(),
                title: entry.map(|entry| entry.title.clone()),
                retrieval_heads: entry
                    .map(|entry| entry.retrieval_heads.clone())
                    .unwrap_or_default(),
                context: entry.map(|entry| entry.context as usize),
                kv_format: measured_format(entry),
                whole_tokens: measured_whole(entry, &path),
                path,
            });
        }
        Err(Failure {
            code: FailureCode::ModelMissing,
            message: format!(
                "there is no model {choice:?}: it is neither a name in the catalogue nor a file"
            ),
            advice: Some("`lectern models` shows the models that can be had.".to_owned()),
        })
    }

    pub(super) fn catalogue(&self) -> Result<Catalogue, Failure> {
        Catalogue::load(self.library.home().models()).map_err(Told::told)
    }

    /// Fingerprint of the model that would be used now, if it was loaded before and is the same file still.
    pub(super) async fn noted_fingerprint(&self) -> Result<Option<String>, Failure> {
        let Some((path, bytes, modified)) = self
            .chosen_model()
            .ok()
            .and_then(|chosen| file_identity(&chosen.path))
        else {
            return Ok(None);
        };
        let noted = self
            .library
            .model_fingerprint(&path, bytes, modified)
            .await?;
        let stretch = f64::from(self.settings().stretch);
        Ok(noted.map(|noted| Model::stretched_fingerprint(&noted, stretch)))
    }

    /// Notes a loaded model's fingerprint, so that the next list needs no pass over its file.
    pub(super) async fn note_fingerprint(
        &self,
        path: &Path,
        fingerprint: &str,
    ) -> Result<(), Failure> {
        if let Some((path, bytes, modified)) = file_identity(path) {
            self.library
                .note_model(&path, bytes, modified, fingerprint)
                .await?;
        }
        Ok(())
    }
}

fn chosen(catalogue: &Catalogue, entry: &CatalogueEntry) -> ChosenModel {
    ChosenModel {
        name: entry.name.clone(),
        title: Some(entry.title.clone()),
        path: catalogue.path(entry),
        retrieval_heads: entry.retrieval_heads.clone(),
        context: Some(entry.context as usize),
        kv_format: measured_format(Some(entry)),
        whole_tokens: measured_whole(Some(entry), &catalogue.path(entry)),
    }
}

/// The catalogue's, or where nothing was measured what small models that were can do; of large ones, all that their window holds.
fn measured_whole(entry: Option<&CatalogueEntry>, path: &Path) -> usize {
    let measured = entry.and_then(|entry| Some(entry.whole_tokens? as usize));
    let is_small = || std::fs::metadata(path).is_ok_and(|file| file.len() < SMALL_BYTES);
    measured.unwrap_or_else(|| match is_small() {
        true => WHOLE_TOKENS,
        false => usize::MAX,
    })
}

/// The catalogue's format, or where nothing was measured the finest of the codes.
fn measured_format(entry: Option<&CatalogueEntry>) -> BlockFormat {
    entry
        .and_then(|entry| BlockFormat::by_name(entry.kv_format.as_deref()?))
        .unwrap_or(BlockFormat::K8V8)
}

fn advice(entry: Option<&CatalogueEntry>) -> String {
    match entry {
        Some(entry) if !entry.imported() => format!(
            "`lectern models get {}` downloads it ({} MB); `lectern models import FILE` takes a GGUF file you have.",
            entry.name,
            entry.bytes / 1_000_000
        ),
        _ => "`lectern models` shows the models that can be had.".to_owned(),
    }
}

/// Path, size and time of a file: while they stay, its content is taken to be the same.
fn file_identity(path: &Path) -> Option<(String, u64, i64)> {
    let metadata = std::fs::metadata(path).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((
        path.to_str()?.to_owned(),
        metadata.len(),
        modified.as_nanos() as i64,
    ))
}
