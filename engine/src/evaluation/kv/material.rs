//! Documents to measure on, with needles in them, and what is asked back.

use crate::evaluation::EvaluationError;
use lectern_models::{Token, Tokenizer, TokenizerError};
use std::path::{Path, PathBuf};

/// Needles of a document, and passages that are asked to be copied.
const NEEDLES: usize = 8;
const COPIES: usize = 4;

/// Tokens of a passage, and how many of them are only a cue.
const COPY_TOKENS: usize = 96;
const CUE_TOKENS: usize = 16;

const PLACES: [&str; NEEDLES] = [
    "harbour",
    "granary",
    "observatory",
    "chapel",
    "archive",
    "foundry",
    "orchard",
    "lighthouse",
];

/// A document with what is asked about it.
pub(super) struct Material {
    pub ids: Vec<u32>,
    /// Passages of the document, to be said again.
    pub copies: Vec<Probe>,
    /// Questions whose answer stands in one place.
    pub needles: Vec<Probe>,
}

/// Tokens to put behind the document.
pub(super) struct Probe {
    pub ids: Vec<u32>,
    /// From this one on the tokens are to be predicted.
    pub judged: usize,
}

impl Material {
    /// The first `tokens` tokens of `text`, with needles in even distances.
    pub fn of(
        tokenizer: &Tokenizer,
        text: &str,
        tokens: usize,
    ) -> Result<Material, EvaluationError> {
        // No text has more than about eight bytes a token over such lengths.
        let text = &text[..text.floor_char_boundary(8 * tokens)];
        let plain = tokenizer.encode_with_offsets(text)?;
        let end = plain.get(tokens).map_or(text.len(), |t| t.start as usize);
        let mut document = String::new();
        let mut from = 0;
        let mut needles = Vec::new();
        for (nth, place) in PLACES.into_iter().enumerate() {
            let wanted = text.floor_char_boundary(end * (2 * nth + 1) / (2 * NEEDLES + 2));
            let line = text[wanted..]
                .find('\n')
                .map_or(wanted, |at| wanted + at + 1);
            document.push_str(&text[from..line]);
            from = line;
            let code = 10_000 + (nth * 7919 + tokens * 31) % 89_999;
            document.push_str(&format!("The secret code of the {place} is {code}.\n"));
            let question = format!("\n\nThe secret code of the {place} is ");
            needles.push(probe(tokenizer, &question, &code.to_string())?);
        }
        document.push_str(&text[from..]);
        let mut ids = tokenizer.encode(&document)?;
        ids.truncate(tokens);
        let between = tokenizer.encode("\n\n")?;
        let copies = (0..COPIES)
            .map(|nth| {
                let first = ids.len().saturating_sub(COPY_TOKENS) * nth / COPIES;
                let passage = &ids[first..ids.len().min(first + COPY_TOKENS)];
                Probe {
                    ids: between.iter().chain(passage).copied().collect(),
                    judged: between.len() + CUE_TOKENS.min(passage.len()),
                }
            })
            .collect();
        Ok(Material {
            ids,
            copies,
            needles,
        })
    }
}

/// A question with its answer, which is judged.
fn probe(tokenizer: &Tokenizer, question: &str, answer: &str) -> Result<Probe, TokenizerError> {
    let tokens = tokenizer.encode_with_offsets(&format!("{question}{answer}"))?;
    let judged = tokens.partition_point(|token: &Token| (token.start as usize) < question.len());
    Ok(Probe {
        ids: tokens.iter().map(|token| token.id).collect(),
        judged: judged.max(1),
    })
}

/// A plain text file.
pub(in crate::evaluation) fn novel(path: &Path) -> Result<String, EvaluationError> {
    let bytes = std::fs::read(path).map_err(unreadable(path))?;
    Ok(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
}

/// The source files below a folder, one after the other by name.
pub(super) fn code(folder: &Path) -> Result<String, EvaluationError> {
    const ENDINGS: [&str; 10] = [
        "rs", "py", "c", "h", "cpp", "go", "js", "ts", "java", "toml",
    ];
    let mut files: Vec<PathBuf> = ignore::Walk::new(folder)
        .flatten()
        .map(ignore::DirEntry::into_path)
        .filter(|path| {
            let ending = path.extension().and_then(|ending| ending.to_str());
            path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending))
        })
        .collect();
    files.sort();
    let mut text = String::new();
    for path in files {
        let bytes = std::fs::read(&path).map_err(unreadable(&path))?;
        text.push_str(&String::from_utf8_lossy(&bytes));
        text.push('\n');
    }
    Ok(text)
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> EvaluationError {
    let path = path.to_owned();
    move |source| EvaluationError::Unreadable { path, source }
}
