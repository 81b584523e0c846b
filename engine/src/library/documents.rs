use super::{Library, LibraryError};
use crate::document::{Block, Document, DocumentKind, Page, Section, Span};
use std::path::PathBuf;

/// A document as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentRow {
    /// Id.
    pub id: String,
    /// SHA-256 of the content in hexadecimal digits.
    pub sha256: String,
    /// Format family.
    pub kind: DocumentKind,
    /// Title.
    pub title: String,
    /// Authors as one line.
    pub authors: Option<String>,
    /// Where it was added from.
    pub source: String,
    /// File name of its original in `originals`.
    pub original: Option<String>,
    /// SHA-256 of the canonical text: part of a cache's identity.
    pub text_sha256: [u8; 32],
    /// That of an earlier version, whose caches are kept for the reading of this one.
    pub earlier_text: Option<[u8; 32]>,
    /// What the source looked like when it was last found to hold this content ([`crate::ingest::stamp`]).
    pub stamp: Option<String>,
    /// Bytes of canonical text.
    pub text_bytes: u64,
    /// Words of canonical text.
    pub words: u64,
    /// Pages of a PDF.
    pub pages: Option<u32>,
    /// What the person should know.
    pub notices: Vec<String>,
    /// Unix seconds.
    pub added: u64,
}

/// A document with its text and structure.
#[derive(Debug, Clone)]
pub struct StoredDocument {
    /// What a list shows of it.
    pub row: DocumentRow,
    /// Whole, but for the character boxes of its pages: those are empty here, and [`Library::anchor`] reads the
    /// ones it needs.
    pub document: Document,
}

/// Columns of `documents` as SQLite holds them.
struct Columns {
    id: String,
    sha256: String,
    kind: String,
    title: String,
    authors: Option<String>,
    source: String,
    original: Option<String>,
    text_sha256: Vec<u8>,
    earlier_text: Option<Vec<u8>>,
    stamp: Option<String>,
    text_bytes: i64,
    words: i64,
    pages: Option<i64>,
    notices: String,
    added: i64,
}

impl Columns {
    fn into_row(self) -> Result<DocumentRow, LibraryError> {
        let damaged = |what: &str, fact: String| LibraryError::Undecodable {
            id: self.id.clone(),
            what: what.to_owned(),
            source: fact.into(),
        };
        Ok(DocumentRow {
            kind: kind_of(&self.kind)
                .ok_or_else(|| damaged("kind", format!("{:?} is no kind", self.kind)))?,
            text_sha256: self
                .text_sha256
                .as_slice()
                .try_into()
                .map_err(|_| damaged("text hash", "it has not 32 bytes".to_owned()))?,
            // Only of use if it is whole.
            earlier_text: self
                .earlier_text
                .and_then(|text| text.as_slice().try_into().ok()),
            stamp: self.stamp,
            sha256: self.sha256,
            notices: serde_json::from_str(&self.notices)
                .map_err(|error| damaged("notices", error.to_string()))?,
            text_bytes: self.text_bytes as u64,
            words: self.words as u64,
            pages: self.pages.map(|pages| pages as u32),
            added: self.added as u64,
            id: self.id,
            title: self.title,
            authors: self.authors,
            source: self.source,
            original: self.original,
        })
    }
}

fn kind_of(name: &str) -> Option<DocumentKind> {
    [
        DocumentKind::Pdf,
        DocumentKind::Epub,
        DocumentKind::Html,
        DocumentKind::Markdown,
        DocumentKind::Text,
        DocumentKind::Code,
        DocumentKind::Word,
        DocumentKind::Slides,
        DocumentKind::Sheets,
        DocumentKind::Mail,
    ]
    .into_iter()
    .find(|kind| super::storing::kind_name(*kind) == name)
}

impl Library {
    /// All documents, newest first.
    pub async fn list(&self) -> Result<Vec<DocumentRow>, LibraryError> {
        sqlx::query_as!(
            Columns,
            "SELECT id, sha256, kind, title, authors, source, original, text_sha256, earlier_text, stamp, text_bytes,
                 words, pages, notices, added
             FROM documents ORDER BY key DESC"
        )
        .fetch_all(&self.readers)
        .await?
        .into_iter()
        .map(Columns::into_row)
        .collect()
    }

    /// One document as a list shows it.
    pub async fn row(&self, id: &str) -> Result<DocumentRow, LibraryError> {
        sqlx::query_as!(
            Columns,
            "SELECT id, sha256, kind, title, authors, source, original, text_sha256, earlier_text, stamp, text_bytes,
                 words, pages, notices, added
             FROM documents WHERE id = ?",
            id
        )
        .fetch_optional(&self.readers)
        .await?
        .ok_or_else(|| LibraryError::NoDocument(id.to_owned()))?
        .into_row()
    }

    /// The id that begins with `prefix` (at least four digits, or a whole id).
    pub async fn resolve(&self, prefix: &str) -> Result<String, LibraryError> {
        let unknown = || LibraryError::NoDocument(prefix.to_owned());
        let digits = prefix.to_ascii_lowercase();
        if digits.len() < 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let mut ids = sqlx::query_scalar!(
            "SELECT id FROM documents WHERE substr(id, 1, length(?1)) = ?1",
            digits
        )
        .fetch_all(&self.readers)
        .await?;
        match (ids.pop(), ids.len()) {
            (None, _) => Err(unknown()),
            (Some(id), 0) => Ok(id),
            (Some(_), others) => Err(LibraryError::Ambiguous {
                prefix: prefix.to_owned(),
                count: others + 1,
            }),
        }
    }

    /// A document with its text and structure, without character boxes.
    pub async fn document(&self, id: &str) -> Result<StoredDocument, LibraryError> {
        let row = self.row(id).await?;
        let stored = sqlx::query!(
            "SELECT text, sections, t.blocks FROM texts t JOIN documents ON key = document WHERE id = ?",
            id
        )
        .fetch_one(&self.readers)
        .await?;
        let undecodable = |what: &str, source: postcard::Error| LibraryError::Undecodable {
            id: id.to_owned(),
            what: what.to_owned(),
            source: Box::new(source),
        };
        let sections: Vec<Section> = postcard::from_bytes(&stored.sections)
            .map_err(|error| undecodable("sections", error))?;
        let blocks: Vec<Block> =
            postcard::from_bytes(&stored.blocks).map_err(|error| undecodable("blocks", error))?;
        let pages = sqlx::query!(
            "SELECT number, label, width, height, start, end, recognised
             FROM pages JOIN documents ON key = document WHERE id = ? ORDER BY number",
            id
        )
        .fetch_all(&self.readers)
        .await?
        .into_iter()
        .map(|page| Page {
            number: page.number as u32,
            label: page.label,
            width: page.width as f32,
            height: page.height as f32,
            span: Span {
                start: page.start as usize,
                end: page.end as usize,
            },
            boxes: Vec::new(),
            recognised: page.recognised != 0,
        })
        .collect();
        Ok(StoredDocument {
            document: Document {
                kind: row.kind,
                title: row.title.clone(),
                authors: row.authors.clone(),
                text: stored.text,
                sections,
                blocks,
                pages,
                notices: row.notices.clone(),
            },
            row,
        })
    }

    /// Absolute path of the kept copy of the original.
    pub async fn original(&self, id: &str) -> Result<PathBuf, LibraryError> {
        let row = self.row(id).await?;
        let name = row.original.ok_or(LibraryError::NoOriginal(row.title))?;
        Ok(self.home.originals().join(name))
    }

    /// Removes a document with its conversations and its original.
    pub async fn remove(&self, id: &str) -> Result<(), LibraryError> {
        let row = self.row(id).await?;
        sqlx::query!("DELETE FROM documents WHERE id = ?", id)
            .execute(&self.writer)
            .await?;
        match row.original {
            Some(name) => self.remove_original(&name),
            None => Ok(()),
        }
    }
}
