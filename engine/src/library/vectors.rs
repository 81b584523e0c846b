use super::{Library, LibraryError};
use std::collections::{HashMap, HashSet};

impl Library {
    /// The vectors that this sentence transformer made of a document's passages, by the number of the passage's text.
    pub async fn vectors(
        &self,
        id: &str,
        model: u64,
    ) -> Result<HashMap<u64, Vec<u8>>, LibraryError> {
        let model = model as i64;
        let rows = sqlx::query!(
            "SELECT passage, vector FROM vectors JOIN documents ON key = document WHERE id = ? AND model = ?",
            id,
            model
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.passage as u64, row.vector))
            .collect())
    }

    /// Keeps vectors of a document's passages.
    pub async fn keep_vectors(
        &self,
        id: &str,
        model: u64,
        vectors: &[(u64, Vec<u8>)],
    ) -> Result<(), LibraryError> {
        let model = model as i64;
        let mut change = self.writer.begin().await?;
        for (passage, vector) in vectors {
            let passage = *passage as i64;
            sqlx::query!(
                "INSERT OR REPLACE INTO vectors (document, model, passage, vector)
                 SELECT key, ?2, ?3, ?4 FROM documents WHERE id = ?1",
                id,
                model,
                passage,
                vector
            )
            .execute(&mut *change)
            .await?;
        }
        Ok(change.commit().await?)
    }

    /// Forgets a document's vectors but those that this sentence transformer made of these passages.
    pub async fn keep_only_vectors(
        &self,
        id: &str,
        model: u64,
        passages: &HashSet<u64>,
    ) -> Result<(), LibraryError> {
        let model = model as i64;
        let rows = sqlx::query!(
            "SELECT document, model, passage FROM vectors JOIN documents ON key = document WHERE id = ?",
            id
        )
        .fetch_all(&self.readers)
        .await?;
        let mut change = self.writer.begin().await?;
        for row in rows {
            if row.model == model && passages.contains(&(row.passage as u64)) {
                continue;
            }
            sqlx::query!(
                "DELETE FROM vectors WHERE document = ? AND model = ? AND passage = ?",
                row.document,
                row.model,
                row.passage
            )
            .execute(&mut *change)
            .await?;
        }
        Ok(change.commit().await?)
    }
}
