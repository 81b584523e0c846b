//! Files and links named on the command line, of this start and of later ones (a second start hands its own to the
//! first). A system that opens a `lectern://` link starts the program with it.

use serde::{Deserialize, Serialize};
use specta::Type;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a start of the program names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Opened {
    /// Absolute paths.
    pub paths: Vec<String>,
    /// Whatever has a scheme, as it was given; only the engine knows which links are good.
    pub links: Vec<String>,
}

/// What a later start of the program names.
#[derive(Debug, Clone, Serialize, Deserialize, Type, tauri_specta::Event)]
pub struct OpenLater(pub Opened);

/// What this start names, until the web view takes it; and whether it has.
#[derive(Default)]
pub struct Waiting(Mutex<State>);

#[derive(Default)]
struct State {
    opened: Opened,
    taken: bool,
}

impl Opened {
    /// What a program's arguments name; options and the program's own name are left out.
    pub(crate) fn named_by(arguments: impl IntoIterator<Item = String>, folder: &Path) -> Opened {
        let mut opened = Opened::default();
        let arguments = arguments.into_iter().skip(1);
        for argument in
            arguments.filter(|argument| !argument.is_empty() && !argument.starts_with('-'))
        {
            if has_scheme(&argument) {
                opened.links.push(argument);
            } else if let Some(path) = folder.join(&argument).to_str() {
                opened.paths.push(path.to_owned());
            }
        }
        opened
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.links.is_empty()
    }

    fn append(&mut self, mut later: Opened) {
        self.paths.append(&mut later.paths);
        self.links.append(&mut later.links);
    }
}

impl Waiting {
    pub(crate) fn new(opened: Opened) -> Waiting {
        Waiting(Mutex::new(State {
            opened,
            taken: false,
        }))
    }

    /// What waits; from now on the web view listens for itself.
    pub(crate) fn take(&self) -> Opened {
        let mut state = self.lock();
        state.taken = true;
        std::mem::take(&mut state.opened)
    }

    /// Keeps what a later start names for a web view that does not listen yet; gives it back if it does.
    pub(crate) fn keep(&self, later: Opened) -> Option<Opened> {
        let mut state = self.lock();
        if state.taken {
            return Some(later);
        }
        state.opened.append(later);
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an argument begins with a scheme and `//`, or with ours: `C:\book.pdf` and `notes: new.txt` are files.
fn has_scheme(argument: &str) -> bool {
    argument.split_once(':').is_some_and(|(scheme, rest)| {
        let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        named && (rest.starts_with("//") || scheme.eq_ignore_ascii_case("lectern"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(arguments: &[&str]) -> Opened {
        let all = std::iter::once("lectern-desktop").chain(arguments.iter().copied());
        Opened::named_by(all.map(str::to_owned), Path::new("/home/someone"))
    }

    #[test]
    fn paths_are_absolute_and_options_are_not_paths() {
        let named = opened(&[
            "a.pdf",
            "--flag",
            "/b/c.epub",
            "",
            "notes: new.txt",
            "C:\\x.pdf",
        ]);
        assert_eq!(
            named.paths,
            [
                "/home/someone/a.pdf",
                "/b/c.epub",
                "/home/someone/notes: new.txt",
                "/home/someone/C:\\x.pdf"
            ]
        );
        assert!(named.links.is_empty());
    }

    #[test]
    fn links_are_told_from_paths_and_left_as_they_are() {
        let links = [
            "lectern://open/3fa9?start=1&end=2",
            "LECTERN:x",
            "https://a/b",
        ];
        let named = opened(&links);
        assert_eq!(
            (named.paths.len(), named.links),
            (0, links.map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn a_later_start_waits_for_a_web_view_that_does_not_listen_yet() {
        let waiting = Waiting::new(opened(&["a.pdf"]));
        assert_eq!(waiting.keep(opened(&["lectern://x"])), None);
        assert_eq!(waiting.take(), opened(&["a.pdf", "lectern://x"]));
        assert_eq!(waiting.keep(opened(&["b.pdf"])), Some(opened(&["b.pdf"])));
        assert!(waiting.take().is_empty());
    }
}
