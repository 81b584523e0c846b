//! New versions of a document: the source has changed, the document stays the same one.

use super::storing::{Description, encode_json, store_content};
use super::{Library, LibraryError, NewDocument};
use lectern_protocol::Answer;

/// A new version of a document.
#[derive(Debug)]
pub struct NewVersion<'a> {
    /// Content, as for a new document.
    pub new: &'a NewDocument<'a>,
    /// Text whose caches are kept for the reading of this one.
    pub earlier_text: Option<[u8; 32]>,
    /// Of the source, taken before it was read.
    pub stamp: Option<&'a str>,
}

impl Library {
    /// Puts a new version in the place of a document's text, structure, pages, passages and original; its id, its
    /// conversations and when it was added stay. `settle` is given every answer of its conversations and brings the
    /// citations into step. All of it is one transaction: until it is committed, the old version is what is there.
    ///
    /// What models have read of the old text is forgotten here, not on disk.
    ///
    /// # Errors
    /// [`LibraryError::NoDocument`] if it was removed meanwhile; [`LibraryError::File`], [`LibraryError::Database`].
    pub async fn replace(
        &self,
        id: &str,
        version: &NewVersion<'_>,
        settle: &(dyn Fn(&mut Answer) + Sync),
    ) -> Result<(), LibraryError> {
        let before = self.row(id).await?;
        let new = version.new;
        let original = match new.original {
            Some(incoming) => Some(incoming.settle(&self.home)?),
            None => None,
        };
        let sha256 = new.hash.hex();
        let about = Description::of(new.document)?;
        let earlier = version.earlier_text.map(|text| text.to_vec());

        let mut change = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let key = sqlx::query_scalar!("SELECT key AS 'key!' FROM documents WHERE id = ?", id)
            .fetch_optional(&mut *change)
            .await?
            .ok_or_else(|| LibraryError::NoDocument(id.to_owned()))?;
        sqlx::query!(
            "UPDATE documents SET sha256 = ?, kind = ?, title = ?, authors = ?, original = ?, text_sha256 = ?,
                 text_bytes = ?, words = ?, pages = ?, blocks = ?, notices = ?, stamp = ?, earlier_text = ?
             WHERE key = ?",
            sha256,
            about.kind,
            new.document.title,
            new.document.authors,
            original,
            about.text_sha256,
            about.text_bytes,
            about.words,
            about.pages,
            about.blocks,
            about.notices,
            version.stamp,
            earlier,
            key
        )
        .execute(&mut *change)
        .await?;
        sqlx::query!("DELETE FROM texts WHERE document = ?", key)
            .execute(&mut *change)
            .await?;
        sqlx::query!("DELETE FROM pages WHERE document = ?", key)
            .execute(&mut *change)
            .await?;
        sqlx::query!("DELETE FROM passages WHERE document = ?", key)
            .execute(&mut *change)
            .await?;
        sqlx::query!("DELETE FROM readings WHERE document = ?", key)
            .execute(&mut *change)
            .await?;
        store_content(&mut change, key, new).await?;

        let turns = sqlx::query!(
            "SELECT turns.key AS 'key!', answer FROM turns JOIN conversations c ON c.key = conversation
             WHERE c.document = ?",
            key
        )
        .fetch_all(&mut *change)
        .await?;
        for turn in turns {
            let mut answer: Answer =
                serde_json::from_str(&turn.answer).map_err(|source| LibraryError::Undecodable {
                    id: id.to_owned(),
                    what: "answer".to_owned(),
                    source: Box::new(source),
                })?;
            settle(&mut answer);
            let json = encode_json(&answer, "answer")?;
            sqlx::query!("UPDATE turns SET answer = ? WHERE key = ?", json, turn.key)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;

        // Another document may have been made of the same file.
        if let Some(name) = before.original {
            let users =
                sqlx::query_scalar!("SELECT count(*) FROM documents WHERE original = ?", name)
                    .fetch_one(&self.readers)
                    .await?;
            if users == 0 {
                self.remove_original(&name)?;
            }
        }
        Ok(())
    }

    /// Notes what a source looked like when it was found to hold what the document holds.
    pub async fn note_stamp(&self, id: &str, stamp: &str) -> Result<(), LibraryError> {
        sqlx::query!("UPDATE documents SET stamp = ? WHERE id = ?", stamp, id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}
