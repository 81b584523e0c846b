//! Files named on the command line, of this start and of later ones (a second start hands its files to the first).

use serde::{Deserialize, Serialize};
use specta::Type;
use std::path::Path;
use std::sync::Mutex;

/// Files named by a later start of the program.
#[derive(Debug, Clone, Serialize, Deserialize, Type, tauri_specta::Event)]
pub struct OpenPaths {
    /// Absolute paths.
    pub paths: Vec<String>,
}

/// Files of this start, until the web view takes them.
pub struct OpenedPaths(Mutex<Vec<String>>);

impl OpenedPaths {
    pub(crate) fn new(paths: Vec<String>) -> OpenedPaths {
        OpenedPaths(Mutex::new(paths))
    }

    pub(crate) fn take(&self) -> Vec<String> {
        let mut paths = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut paths)
    }
}

/// The files among a program's arguments, made absolute; options and the program's own name are left out.
pub(crate) fn paths_in(arguments: impl IntoIterator<Item = String>, folder: &Path) -> Vec<String> {
    arguments
        .into_iter()
        .skip(1)
        .filter(|argument| !argument.is_empty() && !argument.starts_with('-'))
        .filter_map(|argument| folder.join(argument).to_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_options_are_not_paths() {
        let arguments = ["lectern-desktop", "a.pdf", "--flag", "/b/c.epub", ""];
        let paths = paths_in(arguments.map(str::to_owned), Path::new("/home/someone"));
        assert_eq!(paths, ["/home/someone/a.pdf", "/b/c.epub"]);
    }
}
