//! GGUF files of the person's own, remembered by a list in the models directory. The files stay where they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::entry::CatalogueEntry;
use super::error::CatalogueError;
use crate::architecture::Hyperparameters;
use crate::gguf::Gguf;
use crate::model::Model;

fn list_path(models: &Path) -> PathBuf {
    models.join("imported.json")
}

pub(super) fn read(models: &Path) -> Result<Vec<CatalogueEntry>, CatalogueError> {
    let path = list_path(models);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CatalogueError::file(&path)(error)),
    };
    serde_json::from_slice(&text).map_err(|source| CatalogueError::ImportedList { path, source })
}

pub(super) fn write(models: &Path, entries: &[&CatalogueEntry]) -> Result<(), CatalogueError> {
    let path = list_path(models);
    let new = path.with_extension("new");
    let text = serde_json::to_vec_pretty(entries).map_err(io::Error::other);
    fs::create_dir_all(models)
        .and(text)
        .and_then(|text| fs::write(&new, text))
        .and_then(|()| fs::rename(&new, &path))
        .map_err(CatalogueError::file(&path))
}

/// Loads a file to be sure that it runs, and describes it. `name` is free in the catalogue.
pub(super) fn describe(path: &Path, name: String) -> Result<CatalogueEntry, CatalogueError> {
    let absolute = fs::canonicalize(path).map_err(CatalogueError::file(path))?;
    let file = Gguf::open(&absolute)?;
    let parameters = Hyperparameters::of(&file, 1.0)?;
    let bytes = file.map().len() as u64;
    drop(Model::load(&absolute)?);
    Ok(CatalogueEntry {
        name,
        aliases: Vec::new(),
        title: file.name(),
        licence: file
            .metadata()
            .string("general.license")
            .unwrap_or_default()
            .to_owned(),
        architecture: file
            .metadata()
            .string("general.architecture")
            .unwrap_or_default()
            .to_owned(),
        bytes,
        context: u32::try_from(parameters.context_length).unwrap_or(u32::MAX),
        // The packed weights, the vocabulary and the activations of a chunk: the catalogue's models need 1.1 times the
        // file where it is large.
        memory_bytes: bytes * 5 / 4,
        summary: format!("Imported from {}", absolute.display()),
        file: absolute,
        sha256: None,
        default: false,
        retrieval_heads: Vec::new(),
        kv_format: None,
        whole_tokens: None,
        parts: Vec::new(),
        sources: Vec::new(),
    })
}
