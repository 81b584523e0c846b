//! The map of a codebase: its folders and files with their sizes, what each says it is for, and its main symbols.
//!
//! It is the last section of the document's text, so the model reads it with everything else and questions on
//! structure have words to rest on. It stands at the end because every change to a file changes it: at the beginning
//! it would cost everything that was read of the files behind it. A citation of it names the map, never a file's
//! lines.

use super::symbols::Symbol;

/// Fewest files that need a map.
const FEWEST: usize = 3;
/// The map takes a twelfth of the text at most, within these bounds, in bytes.
const SHARE: usize = 12;
const SMALLEST: usize = 1500;
const LARGEST: usize = 16_000;
/// Characters of what a file says of itself.
const LONGEST_ABOUT: usize = 110;
/// Symbols kept of a file.
const MOST_SYMBOLS: usize = 6;

/// A file on the map.
#[derive(Debug)]
pub(super) struct MappedFile {
    path: String,
    lines: usize,
    about: String,
    /// The longest ones, as they follow each other in the file.
    symbols: Vec<String>,
}

impl MappedFile {
    /// What the map says of a file.
    pub fn new(path: &str, text: &str, symbols: &[Symbol]) -> MappedFile {
        let mut main: Vec<&Symbol> = symbols
            .iter()
            .filter(|symbol| symbol.depth == 0 && !symbol.title.starts_with("impl "))
            .filter(|symbol| !matches!(symbol.title.as_str(), "mod tests" | "mod test"))
            .collect();
        main.sort_by_key(|symbol| std::cmp::Reverse(symbol.bytes.len()));
        main.truncate(MOST_SYMBOLS);
        main.sort_by_key(|symbol| symbol.bytes.start);
        MappedFile {
            path: path.to_owned(),
            lines: text.lines().count(),
            about: about(text),
            symbols: main.iter().map(|symbol| symbol.title.clone()).collect(),
        }
    }

    fn line(&self, detail: Detail) -> String {
        let mut line = format!("{}, {}", self.path, count(self.lines, "line"));
        if detail.about && !self.about.is_empty() {
            line.push_str(": ");
            line.push_str(&self.about);
        }
        // The longest first, when there is room for some only.
        let kept = &self.symbols[..self.symbols.len().min(detail.symbols)];
        if !kept.is_empty() {
            line.push_str(if detail.about && !self.about.is_empty() {
                " Holds "
            } else {
                ": "
            });
            line.push_str(&kept.join(", "));
            line.push('.');
        }
        line
    }
}

/// How much is said of each file.
#[derive(Clone, Copy)]
struct Detail {
    about: bool,
    symbols: usize,
}

/// The lines of the map of `files` (in the order of their paths), for a text of `text_bytes`; none for a few files.
///
/// Where there is no room for everything, symbols go first, then what files say of themselves, then the files of the
/// deepest folders, whose counts stay.
pub(super) fn lines(files: &[MappedFile], text_bytes: usize) -> Vec<String> {
    if files.len() < FEWEST {
        return Vec::new();
    }
    let room = (text_bytes / SHARE).clamp(SMALLEST, LARGEST);
    let all = files.iter().map(|file| file.lines).sum();
    let opening = format!(
        "Made by Lectern from the files: {}, {}.",
        count(files.len(), "file"),
        count(all, "line")
    );
    let details = [
        (true, MOST_SYMBOLS),
        (true, MOST_SYMBOLS / 2),
        (true, 0),
        (false, 0),
    ];
    let mut folders = folders(files, 1);
    for (about, symbols) in details {
        let detail = Detail { about, symbols };
        let lines = || files.iter().map(|file| file.line(detail));
        let bytes: usize = lines().chain(folders.clone()).map(|l| l.len() + 2).sum();
        if bytes <= room {
            return [opening]
                .into_iter()
                .chain(folders)
                .chain(lines())
                .collect();
        }
    }
    // The most folders that fit, by depth.
    for depth in (2..=6).rev() {
        let deeper = self::folders(files, depth);
        if deeper.iter().map(|l| l.len() + 2).sum::<usize>() <= room {
            folders = deeper;
            break;
        }
    }
    let mut left = room;
    let shown = folders
        .iter()
        .take_while(|line| {
            left = left.saturating_sub(line.len() + 2);
            left > 0
        })
        .count();
    let more = folders.len() - shown;
    folders.truncate(shown);
    if more > 0 {
        folders.push(format!("And {more} more folders."));
    }
    [opening].into_iter().chain(folders).collect()
}

/// "Folder src/kv: 12 files, 3,100 lines." for each folder at most `depth` deep.
fn folders(files: &[MappedFile], depth: usize) -> Vec<String> {
    let mut folders: Vec<(String, usize, usize)> = Vec::new();
    for file in files {
        let parts: Vec<&str> = file.path.split('/').collect();
        let within = &parts[..(parts.len() - 1).min(depth)];
        for end in 1..=within.len() {
            let folder = within[..end].join("/");
            match folders.iter_mut().rev().find(|(name, ..)| *name == folder) {
                Some((_, files, lines)) => {
                    *files += 1;
                    *lines += file.lines;
                }
                None => folders.push((folder, 1, file.lines)),
            }
        }
    }
    folders
        .into_iter()
        .map(|(folder, files, lines)| {
            format!(
                "Folder {folder}: {}, {}.",
                count(files, "file"),
                count(lines, "line")
            )
        })
        .collect()
}

/// What a file says of itself: the first sentence of the comment that it begins with, unless that is a licence.
fn about(text: &str) -> String {
    const MARKS: [&str; 9] = ["//!", "///", "//", "/**", "/*", "\"\"\"", "#", "*", "--"];
    let mut words = String::new();
    let mut quoted = false;
    for line in text.lines().take(40) {
        let line = line.trim();
        if line.is_empty() || line.starts_with("#!") || line.starts_with("<?php") {
            match words.is_empty() {
                true => continue,
                false => break,
            }
        }
        let mark = MARKS.iter().find(|mark| line.starts_with(**mark));
        // A preprocessor's line, an attribute or the first line of code.
        let comment = quoted
            || mark.is_some_and(|mark| {
                *mark != "#" || line.starts_with("# ") || line.starts_with("##")
            });
        if !comment {
            break;
        }
        quoted |= mark == Some(&"\"\"\"");
        let body = line
            .trim_start_matches(['/', '!', '*', '#', '-', '"'])
            .trim_end_matches(['/', '*', '"'])
            .trim();
        let lower = body.to_ascii_lowercase();
        if ["copyright", "license", "licence", "spdx"]
            .iter()
            .any(|word| lower.contains(word))
        {
            return String::new();
        }
        // A blank comment line, or the closing quotes, end the first paragraph.
        if body.is_empty() && !words.is_empty() {
            break;
        }
        if !words.is_empty() && !body.is_empty() {
            words.push(' ');
        }
        words.push_str(body);
        if words.len() > 4 * LONGEST_ABOUT || (quoted && line.len() > 3 && line.ends_with("\"\"\""))
        {
            break;
        }
    }
    let end = words.find(". ").map_or(words.len(), |at| at + 1);
    let sentence = words[..end].trim();
    if sentence.chars().count() <= LONGEST_ABOUT {
        return match sentence {
            "" => String::new(),
            whole if whole.ends_with(['.', '!', '?', ':']) => whole.to_owned(),
            open => format!("{open}."),
        };
    }
    let mut short: String = sentence.chars().take(LONGEST_ABOUT).collect();
    if let Some(word) = short.rfind(' ') {
        short.truncate(word);
    }
    short + "…"
}

/// "1 line", "2,345 lines".
fn count(number: usize, unit: &str) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let plural = if number == 1 { "" } else { "s" };
    format!("{grouped} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, lines: usize, symbols: &[&str]) -> MappedFile {
        MappedFile {
            path: path.to_owned(),
            lines,
            about: "Says something.".to_owned(),
            symbols: symbols.iter().map(|s| (*s).to_owned()).collect(),
        }
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        for (text, said) in [
            (
                "//! One cache, open\n//! for reading. More.\n\nuse x;\n",
                "One cache, open for reading.",
            ),
            ("#!/bin/sh\n# Runs it\nset -e\n", "Runs it."),
            (
                "\"\"\"Reads the file.\n\nLong.\n\"\"\"\nimport x\n",
                "Reads the file.",
            ),
            ("\"\"\"Short\"\"\"\nimport x\n", "Short."),
            ("/*\n * Draws a line.\n */\n", "Draws a line."),
            ("// Copyright 2020 A. N. Author\n// All rights\n", ""),
            ("#include <x.h>\n", ""),
            ("fn main() {}\n", ""),
            ("# Title\n\nText\n", "Title."),
            ("", ""),
        ] {
            assert_eq!(about(text), said, "{text:?}");
        }
        assert!(about(&format!("// {}", "word ".repeat(100))).ends_with('…'));
    }

    #[test]
    fn what_does_not_fit_goes_symbols_first() {
        let few = [file("a.rs", 1, &[]), file("b.rs", 2, &[])];
        assert!(lines(&few, 1_000_000).is_empty());
        let mut files = vec![
            file("kv/cache.rs", 1200, &["struct KvCache", "fn open"]),
            file("kv/deep/x.rs", 1, &[]),
            file("main.rs", 10, &["fn main"]),
        ];
        assert_eq!(
            lines(&files, 100_000),
            [
                "Made by Lectern from the files: 3 files, 1,211 lines.",
                "Folder kv: 2 files, 1,201 lines.",
                "kv/cache.rs, 1,200 lines: Says something. Holds struct KvCache, fn open.",
                "kv/deep/x.rs, 1 line: Says something.",
                "main.rs, 10 lines: Says something. Holds fn main.",
            ]
        );
        files.extend((0..300).map(|n| file(&format!("many/sub{}/f{n}.rs", n / 10), 5, &["fn x"])));
        let some = lines(&files, 200_000);
        assert!(some.contains(&"many/sub0/f3.rs, 5 lines: Says something.".to_owned()));
        assert!(some.iter().map(|line| line.len() + 2).sum::<usize>() <= 16_000 + 80);
        let fewer = lines(&files, 1000);
        assert!(fewer.contains(&"Folder many/sub7: 10 files, 50 lines.".to_owned()));
        assert!(!fewer.iter().any(|line| line.contains(".rs")));
    }
}
