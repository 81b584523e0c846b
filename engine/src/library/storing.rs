use super::{
    ContentHash, Incoming, Library, LibraryError, count_words, indexed_words, now, page_boxes,
};
use crate::document::{Document, DocumentKind, Span};
use sha2::{Digest, Sha256};

/// A document that is ready to be stored.
#[derive(Debug)]
pub struct NewDocument<'a> {
    /// What makes it the same document again.
    pub hash: ContentHash,
    /// Where it was added from, as the person named it.
    pub source: &'a str,
    /// The private copy it was extracted from; none for folders.
    pub original: Option<&'a Incoming>,
    /// Extracted and checked.
    pub document: &'a Document,
    /// What full-text search ranks, in order.
    pub passages: &'a [Span],
}

impl Library {
    /// Stores a document whole or not at all; returns its id, and whether it was there before.
    pub async fn insert(&self, new: &NewDocument<'_>) -> Result<(String, bool), LibraryError> {
        let id = new.hash.id();
        if self.has_content(&new.hash).await? {
            return Ok((id, true));
        }
        let original = match new.original {
            Some(incoming) => Some(incoming.settle(&self.home)?),
            None => None,
        };
        let document = new.document;
        let sha256 = new.hash.hex();
        let kind = kind_name(document.kind);
        let text_sha256 = Sha256::digest(document.text.as_bytes()).to_vec();
        let text_bytes = document.text.len() as i64;
        let words = count_words(&document.text) as i64;
        let pages = (document.kind == DocumentKind::Pdf).then_some(document.pages.len() as i64);
        let blocks = document.blocks.len() as i64;
        let notices = encode_json(&document.notices, "notices")?;
        let added = now();
        let sections_blob = encode(&document.sections, "sections")?;
        let blocks_blob = encode(&document.blocks, "blocks")?;

        // IMMEDIATE: the write lock is taken before anything is looked at, so a second Lectern that adds the same
        // content either waits here or finds the row.
        let mut change = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let twin = sqlx::query_scalar!("SELECT sha256 FROM documents WHERE id = ?", id)
            .fetch_optional(&mut *change)
            .await?;
        if let Some(twin) = twin {
            return if twin == sha256 {
                Ok((id, true))
            } else {
                Err(LibraryError::IdTaken(id))
            };
        }
        let key = sqlx::query!(
            "INSERT INTO documents (id, sha256, kind, title, authors, source, original, text_sha256, text_bytes,
                 words, pages, blocks, notices, added)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            id,
            sha256,
            kind,
            document.title,
            document.authors,
            new.source,
            original,
            text_sha256,
            text_bytes,
            words,
            pages,
            blocks,
            notices,
            added
        )
        .execute(&mut *change)
        .await?
        .last_insert_rowid();
        sqlx::query!(
            "INSERT INTO texts (document, text, sections, blocks) VALUES (?, ?, ?, ?)",
            key,
            document.text,
            sections_blob,
            blocks_blob
        )
        .execute(&mut *change)
        .await?;
        for page in &document.pages {
            let boxes = page_boxes::encode(&page.boxes);
            let (start, end) = (page.span.start as i64, page.span.end as i64);
            sqlx::query!(
                "INSERT INTO pages (document, number, label, width, height, start, end, boxes)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                key,
                page.number,
                page.label,
                page.width,
                page.height,
                start,
                end,
                boxes
            )
            .execute(&mut *change)
            .await?;
        }
        for passage in new.passages {
            let Some(words) = passage.of(&document.text).map(indexed_words) else {
                continue;
            };
            let (start, end) = (passage.start as i64, passage.end as i64);
            let row = sqlx::query!(
                "INSERT INTO passages (document, start, end) VALUES (?, ?, ?)",
                key,
                start,
                end
            )
            .execute(&mut *change)
            .await?
            .last_insert_rowid();
            sqlx::query!(
                "INSERT INTO passage_words (rowid, words) VALUES (?, ?)",
                row,
                words
            )
            .execute(&mut *change)
            .await?;
        }
        change.commit().await?;
        Ok((id, false))
    }

    /// Whether this content is in the library.
    pub async fn has_content(&self, hash: &ContentHash) -> Result<bool, LibraryError> {
        let sha256 = hash.hex();
        let found = sqlx::query_scalar!("SELECT count(*) FROM documents WHERE sha256 = ?", sha256)
            .fetch_one(&self.readers)
            .await?;
        Ok(found > 0)
    }
}

/// The name of a kind in the table.
pub(super) fn kind_name(kind: DocumentKind) -> &'static str {
    match kind {
        DocumentKind::Pdf => "pdf",
        DocumentKind::Epub => "epub",
        DocumentKind::Html => "html",
        DocumentKind::Markdown => "markdown",
        DocumentKind::Text => "text",
        DocumentKind::Code => "code",
        DocumentKind::Word => "word",
        DocumentKind::Slides => "slides",
        DocumentKind::Sheets => "sheets",
        DocumentKind::Mail => "mail",
    }
}

fn encode(value: &impl serde::Serialize, what: &'static str) -> Result<Vec<u8>, LibraryError> {
    postcard::to_stdvec(value).map_err(|source| LibraryError::Unencodable {
        what,
        source: Box::new(source),
    })
}

pub(super) fn encode_json(
    value: &impl serde::Serialize,
    what: &'static str,
) -> Result<String, LibraryError> {
    serde_json::to_string(value).map_err(|source| LibraryError::Unencodable {
        what,
        source: Box::new(source),
    })
}
