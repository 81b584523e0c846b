//! What of a folder or archive was not read, and why.

use std::collections::BTreeMap;

/// Names given for each reason.
const NAMED: usize = 3;

/// Why a file or folder was left out, in the order in which a person is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// Pictures, programs, archives, documents.
    Binary,
    /// Lines that no person wrote.
    Minified,
    /// Its first lines say that a tool wrote it.
    Generated,
    /// Written by package managers and the like.
    ToolFile,
    /// Dependencies and build results.
    ForeignFolder,
    /// Larger than a source file is.
    Large,
    /// Permission denied and the like.
    Unreadable,
    /// Gone between the listing and the reading.
    Vanished,
    /// Symbolic links: their targets are read where they are, if they are in the folder at all.
    Link,
}

impl Reason {
    fn in_words(self) -> (&'static str, &'static str) {
        match self {
            Reason::Binary => ("binary file", "binary files"),
            Reason::Minified => ("minified file", "minified files"),
            Reason::Generated => ("generated file", "generated files"),
            Reason::ToolFile => (
                "lock file or bundle that a tool wrote",
                "lock files and bundles that tools wrote",
            ),
            Reason::ForeignFolder => (
                "folder of dependencies or build results",
                "folders of dependencies or build results",
            ),
            Reason::Large => ("file over the size limit", "files over the size limit"),
            Reason::Unreadable => ("unreadable file", "unreadable files"),
            Reason::Vanished => (
                "file that vanished meanwhile",
                "files that vanished meanwhile",
            ),
            Reason::Link => ("symbolic link", "symbolic links"),
        }
    }
}

/// How many were left out for each reason, and the first of their names. What `.gitignore` names and hidden files are
/// not counted: their owner has said that they do not belong.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    reasons: BTreeMap<Reason, (usize, Vec<String>)>,
}

impl LeftOut {
    /// Counts one; `name` is its path in the whole.
    pub fn note(&mut self, reason: Reason, name: &str) {
        let (count, names) = self.reasons.entry(reason).or_default();
        *count += 1;
        let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
        if names.len() < NAMED && !name.is_empty() {
            names.push(name);
        }
    }

    /// Counts one whose name is counted once: an archive names a folder in each of its files.
    pub fn note_once(&mut self, reason: Reason, name: &str) {
        let known = self.reasons.get(&reason).is_some_and(|(count, names)| {
            names.iter().any(|known| known == name) || *count >= NAMED
        });
        if !known {
            self.note(reason, name);
        }
    }

    /// Adds what another found.
    pub fn append(&mut self, other: LeftOut) {
        for (reason, (count, names)) in other.reasons {
            let (all, known) = self.reasons.entry(reason).or_default();
            *all += count;
            known.extend(names);
            known.truncate(NAMED);
        }
    }

    /// "3 binary files (a.png, b.png, ...), 1 minified file (c.js)", or nothing.
    pub fn in_words(&self) -> String {
        self.reasons
            .iter()
            .map(|(reason, (count, names))| {
                let (one, several) = reason.in_words();
                let kind = if *count == 1 { one } else { several };
                let more = if *count > names.len() { ", …" } else { "" };
                match names.is_empty() {
                    true => format!("{count} {kind}"),
                    false => format!("{count} {kind} ({}{more})", names.join(", ")),
                }
            })
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_the_first_are_named() {
        let mut left_out = LeftOut::default();
        assert_eq!(left_out.in_words(), "");
        for name in ["a.png", "b.png", "c.png", "d.png"] {
            left_out.note(Reason::Binary, name);
        }
        left_out.note_once(Reason::ForeignFolder, "vendor");
        left_out.note_once(Reason::ForeignFolder, "vendor");
        let mut other = LeftOut::default();
        other.note(Reason::Minified, "x\u{7}.js");
        left_out.append(other);
        assert_eq!(
            left_out.in_words(),
            "4 binary files (a.png, b.png, c.png, …), 1 minified file (x.js), \
             1 folder of dependencies or build results (vendor)"
        );
    }
}
