//! Which files of a folder are read.

use super::left_out::{LeftOut, Reason};
use super::names::{is_foreign_folder, is_tool_file};
use crate::ingest::{IngestFault, Limits};
use ignore::WalkBuilder;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FolderFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its path from the folder, with `/`.
    pub relative: String,
}

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Walked {
    /// Files to read, in the order of their paths.
    pub files: Vec<FolderFile>,
    /// What was left out.
    pub left_out: LeftOut,
}

/// Lists the files of a folder: `.gitignore` and `.ignore` are respected, also without a repository; hidden files,
/// symbolic links, folders of dependencies and build results, lock files and large files are left out.
pub(crate) fn walk(root: &Path, limits: &Limits) -> Result<Walked, IngestFault> {
    std::fs::read_dir(root).map_err(|e| IngestFault::from_io(&e, true))?;
    let foreign = Arc::new(Mutex::new(LeftOut::default()));
    let (seen, base) = (Arc::clone(&foreign), root.to_owned());
    let walk = WalkBuilder::new(root)
        .hidden(true)
        .parents(false)
        .git_global(false)
        .require_git(false)
        .follow_links(false)
        .filter_entry(move |entry| {
            let folder = entry.file_type().is_some_and(|t| t.is_dir());
            let foreign = folder
                && entry.depth() > 0
                && is_foreign_folder(&entry.file_name().to_string_lossy());
            if foreign {
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .note(Reason::ForeignFolder, &relative_path(&base, entry.path()));
            }
            !foreign
        })
        .build();
    let mut left_out = LeftOut::default();
    let mut files = Vec::new();
    for entry in walk {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                // The walker also looks for a repository above the folder, where the child may not look.
                let path = path_of(&error).unwrap_or(root);
                if path.starts_with(root) {
                    left_out.note(Reason::Unreadable, &relative_path(root, path));
                }
                continue;
            }
        };
        let Some(kind) = entry.file_type().filter(|t| !t.is_dir()) else {
            continue;
        };
        let relative = relative_path(root, entry.path());
        if kind.is_symlink() {
            left_out.note(Reason::Link, &relative);
        } else if !kind.is_file() {
            left_out.note(Reason::Binary, &relative); // a socket or a device
        } else if is_tool_file(&entry.file_name().to_string_lossy()) {
            left_out.note(Reason::ToolFile, &relative);
        } else {
            match entry.metadata() {
                Ok(metadata) if metadata.len() > limits.source_bytes => {
                    left_out.note(Reason::Large, &relative);
                }
                Ok(_) => files.push(FolderFile {
                    relative,
                    path: entry.into_path(),
                }),
                Err(_) => left_out.note(Reason::Vanished, &relative),
            }
        }
    }
    let foreign = std::mem::take(&mut *foreign.lock().unwrap_or_else(PoisonError::into_inner));
    left_out.append(foreign);
    files.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok(Walked { files, left_out })
}

/// What an error of the walker is about.
fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of(err)
        }
        _ => None,
    }
}

fn relative_path(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    relative
        .components()
        .map(|c| c.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}
