use super::words::indexed_code;
use super::{
    ContentHash, Incoming, Library, LibraryError, count_words, indexed_words, now, page_boxes,
};
use crate::document::{Document, DocumentKind, Span};
use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;

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
        if let Some(id) = self.known(&new.hash).await? {
            return Ok((id, true));
        }
        let original = match new.original {
            Some(incoming) => Some(incoming.settle(&self.home)?),
            None => None,
        };
        let sha256 = new.hash.hex();
        let added = now();
        let about = Description::of(new.document)?;

        // IMMEDIATE: the write lock is taken before anything is looked at, so a second Lectern that adds the same
        // content either waits here or finds the row.
        let mut change = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let twin = sqlx::query_scalar!("SELECT id FROM documents WHERE sha256 = ?", sha256)
            .fetch_optional(&mut *change)
            .await?;
        if let Some(twin) = twin {
            return Ok((twin, true));
        }
        // A document keeps its id when its content changes, so the id of what it held before may be taken.
        let mut id = new.hash.id();
        for attempt in 1u32.. {
            let taken = sqlx::query_scalar!("SELECT count(*) FROM documents WHERE id = ?", id)
                .fetch_one(&mut *change)
                .await?;
            if taken == 0 {
                break;
            }
            let other = Sha256::digest(format!("{sha256} {attempt}"));
            id = ContentHash(other.into()).id();
        }
        let key = sqlx::query!(
            "INSERT INTO documents (id, sha256, kind, title, authors, source, original, text_sha256, text_bytes,
                 words, pages, blocks, notices, added)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            id,
            sha256,
            about.kind,
            new.document.title,
            new.document.authors,
            new.source,
            original,
            about.text_sha256,
            about.text_bytes,
            about.words,
            about.pages,
            about.blocks,
            about.notices,
            added
        )
        .execute(&mut *change)
        .await?
        .last_insert_rowid();
        store_content(&mut change, key, new).await?;
        change.commit().await?;
        Ok((id, false))
    }

    /// The document that holds this content, if it is in the library.
    pub async fn known(&self, hash: &ContentHash) -> Result<Option<String>, LibraryError> {
        let sha256 = hash.hex();
        Ok(
            sqlx::query_scalar!("SELECT id FROM documents WHERE sha256 = ?", sha256)
                .fetch_optional(&self.readers)
                .await?,
        )
    }
}

/// What a row says of a document's content.
pub(super) struct Description {
    pub kind: &'static str,
    pub text_sha256: Vec<u8>,
    pub text_bytes: i64,
    pub words: i64,
    pub pages: Option<i64>,
    pub blocks: i64,
    pub notices: String,
}

impl Description {
    pub fn of(document: &Document) -> Result<Description, LibraryError> {
        Ok(Description {
            kind: kind_name(document.kind),
            text_sha256: Sha256::digest(document.text.as_bytes()).to_vec(),
            text_bytes: document.text.len() as i64,
            words: count_words(&document.text) as i64,
            pages: (document.kind == DocumentKind::Pdf).then_some(document.pages.len() as i64),
            blocks: document.blocks.len() as i64,
            notices: encode_json(&document.notices, "notices")?,
        })
    }
}

/// Stores text, structure, pages and passages under the row `key`, which has none.
pub(super) async fn store_content(
    change: &mut SqliteConnection,
    key: i64,
    new: &NewDocument<'_>,
) -> Result<(), LibraryError> {
    let document = new.document;
    let sections = encode(&document.sections, "sections")?;
    let blocks = encode(&document.blocks, "blocks")?;
    sqlx::query!(
        "INSERT INTO texts (document, text, sections, blocks) VALUES (?, ?, ?, ?)",
        key,
        document.text,
        sections,
        blocks
    )
    .execute(&mut *change)
    .await?;
    for page in &document.pages {
        let boxes = page_boxes::encode(&page.boxes);
        let (start, end) = (page.span.start as i64, page.span.end as i64);
        sqlx::query!(
            "INSERT INTO pages (document, number, label, width, height, start, end, boxes, recognised)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            key,
            page.number,
            page.label,
            page.width,
            page.height,
            start,
            end,
            boxes,
            page.recognised
        )
        .execute(&mut *change)
        .await?;
    }
    let indexed = match document.kind {
        DocumentKind::Code => indexed_code,
        _ => indexed_words,
    };
    for passage in new.passages {
        let Some(words) = passage.of(&document.text) else {
            continue;
        };
        // A question names a file or a class more often than a passage inside of it does.
        let words = match document.belongs_to(*passage) {
            Some(place) => indexed(&format!("{place}\n{words}")),
            None => indexed(words),
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
    Ok(())
}

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
