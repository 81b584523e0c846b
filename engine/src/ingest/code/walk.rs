//! Which files of a folder are read.

use super::names::{is_foreign_folder, is_tool_file};
use crate::ingest::{IngestFault, Limits};
use ignore::WalkBuilder;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// How many of each kind were left out. What `.gitignore` names and hidden files are not counted: their owner has
/// said that they do not belong.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Pictures, programs, archives, documents.
    pub binary: usize,
    /// Minified.
    pub minified: usize,
    /// Written by a tool: generated code, lock files.
    pub generated: usize,
    /// Folders of dependencies and build results.
    pub foreign_folders: usize,
    /// Larger than a source file is.
    pub large: usize,
    /// Permission denied and the like.
    pub unreadable: usize,
    /// Gone between the listing and the reading.
    pub vanished: usize,
    /// Symbolic links: their targets are read where they are, if they are in the folder at all.
    pub links: usize,
}

impl LeftOut {
    /// "3 binary files, 1 minified file", or nothing.
    pub fn in_words(&self) -> String {
        let files = |count: usize, kind: &str, kinds: &str| match count {
            0 => None,
            1 => Some(format!("1 {kind}")),
            n => Some(format!("{n} {kinds}")),
        };
        [
            files(self.binary, "binary file", "binary files"),
            files(self.minified, "minified file", "minified files"),
            files(self.generated, "generated file", "generated files"),
            files(
                self.foreign_folders,
                "folder of dependencies or build results",
                "folders of dependencies or build results",
            ),
            files(
                self.large,
                "file over the size limit",
                "files over the size limit",
            ),
            files(self.unreadable, "unreadable file", "unreadable files"),
            files(
                self.vanished,
                "file that vanished meanwhile",
                "files that vanished meanwhile",
            ),
            files(self.links, "symbolic link", "symbolic links"),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
    }
}

/// Lists the files of a folder: `.gitignore` and `.ignore` are respected, also without a repository; hidden files,
/// symbolic links, folders of dependencies and build results, lock files and large files are left out.
pub(crate) fn walk(root: &Path, limits: &Limits) -> Result<Walked, IngestFault> {
    std::fs::read_dir(root).map_err(|e| IngestFault::from_io(&e, true))?;
    let foreign_folders = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&foreign_folders);
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
                seen.fetch_add(1, Ordering::Relaxed);
            }
            !foreign
        })
        .build();
    let mut left_out = LeftOut::default();
    let mut files = Vec::new();
    for entry in walk {
        let Ok(entry) = entry else {
            left_out.unreadable += 1;
            continue;
        };
        let Some(kind) = entry.file_type().filter(|t| !t.is_dir()) else {
            continue;
        };
        if kind.is_symlink() {
            left_out.links += 1;
        } else if !kind.is_file() {
            left_out.binary += 1; // a socket or a device
        } else if is_tool_file(&entry.file_name().to_string_lossy()) {
            left_out.generated += 1;
        } else {
            match entry.metadata() {
                Ok(metadata) if metadata.len() > limits.source_bytes => left_out.large += 1,
                Ok(_) => files.push(FolderFile {
                    relative: relative_path(root, entry.path()),
                    path: entry.into_path(),
                }),
                Err(_) => left_out.vanished += 1,
            }
        }
    }
    left_out.foreign_folders = foreign_folders.load(Ordering::Relaxed);
    files.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok(Walked { files, left_out })
}

fn relative_path(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    relative
        .components()
        .map(|c| c.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}
