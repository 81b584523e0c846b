use super::{Library, LibraryError};
use std::collections::HashMap;

/// How far a model has read a document, as a list shows it. The cache file is the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Tokens read and on disk.
    pub tokens: u64,
    /// Tokens of the whole document.
    pub total: u64,
    /// Tokens of a document that the model can hold beside a question and its answer.
    pub window: u64,
    /// Bytes of the cache on disk.
    pub cache_bytes: u64,
    /// How it was read.
    pub way: ReadingWay,
}

/// How a document was read and is kept, as the [`CacheIdentity`](crate::kv::CacheIdentity) of its cache says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReadingWay {
    /// Its `scope`.
    pub scope: u64,
    /// Its `format`.
    pub format: u32,
}

impl Library {
    /// Notes how far the model with this fingerprint has read a document.
    pub async fn note_reading(
        &self,
        id: &str,
        model: &str,
        reading: Reading,
    ) -> Result<(), LibraryError> {
        let [tokens, total, window, cache_bytes, scope] = [
            reading.tokens,
            reading.total,
            reading.window,
            reading.cache_bytes,
            reading.way.scope,
        ]
        .map(|value| value as i64);
        sqlx::query!(
            "INSERT INTO readings (document, model, tokens, total, window, cache_bytes, scope, format)
             SELECT key, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM documents WHERE id = ?1
             ON CONFLICT (document, model, scope, format) DO UPDATE SET tokens = excluded.tokens,
                 total = excluded.total, window = excluded.window, cache_bytes = excluded.cache_bytes",
            id,
            model,
            tokens,
            total,
            window,
            cache_bytes,
            scope,
            reading.way.format
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Forgets what any model has read of a document.
    pub async fn forget_readings(&self, id: &str) -> Result<(), LibraryError> {
        sqlx::query!(
            "DELETE FROM readings WHERE document = (SELECT key FROM documents WHERE id = ?)",
            id
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Forgets what one model has read of a document in one way.
    pub async fn forget_reading(
        &self,
        id: &str,
        model: &str,
        way: ReadingWay,
    ) -> Result<(), LibraryError> {
        let scope = way.scope as i64;
        sqlx::query!(
            "DELETE FROM readings
             WHERE model = ? AND scope = ? AND format = ? AND document = (SELECT key FROM documents WHERE id = ?)",
            model,
            scope,
            way.format,
            id
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Forgets the readings that left something on disk once and are not `here`, by the text's SHA-256, the
    /// model's fingerprint and the way.
    pub async fn keep_readings(
        &self,
        here: impl Fn([u8; 32], &str, ReadingWay) -> bool,
    ) -> Result<(), LibraryError> {
        let rows = sqlx::query!(
            "SELECT id, text_sha256, model, scope, format
             FROM readings JOIN documents ON key = document WHERE tokens > 0"
        )
        .fetch_all(&self.readers)
        .await?;
        for row in rows {
            let way = ReadingWay {
                scope: row.scope as u64,
                format: row.format as u32,
            };
            let text = row.text_sha256.as_slice().try_into();
            if !text.is_ok_and(|text| here(text, &row.model, way)) {
                self.forget_reading(&row.id, &row.model, way).await?;
            }
        }
        Ok(())
    }

    /// What the model with this fingerprint has read, by document id, in each way in which it has.
    pub async fn readings(
        &self,
        model: &str,
    ) -> Result<HashMap<String, Vec<Reading>>, LibraryError> {
        let rows = sqlx::query!(
            "SELECT id, tokens, total, window, cache_bytes, scope, format
             FROM readings JOIN documents ON key = document WHERE model = ?",
            model
        )
        .fetch_all(&self.readers)
        .await?;
        let mut readings: HashMap<String, Vec<Reading>> = HashMap::new();
        for row in rows {
            readings.entry(row.id).or_default().push(Reading {
                tokens: row.tokens as u64,
                total: row.total as u64,
                window: row.window as u64,
                cache_bytes: row.cache_bytes as u64,
                way: ReadingWay {
                    scope: row.scope as u64,
                    format: row.format as u32,
                },
            });
        }
        Ok(readings)
    }

    /// The noted fingerprint of a model file, if it is still the file of that size and time.
    pub async fn model_fingerprint(
        &self,
        path: &str,
        bytes: u64,
        modified_ns: i64,
    ) -> Result<Option<String>, LibraryError> {
        let bytes = bytes as i64;
        Ok(sqlx::query_scalar!(
            "SELECT fingerprint FROM models WHERE path = ? AND bytes = ? AND modified_ns = ?",
            path,
            bytes,
            modified_ns
        )
        .fetch_optional(&self.readers)
        .await?)
    }

    /// Notes the fingerprint of a model file.
    pub async fn note_model(
        &self,
        path: &str,
        bytes: u64,
        modified_ns: i64,
        fingerprint: &str,
    ) -> Result<(), LibraryError> {
        let bytes = bytes as i64;
        sqlx::query!(
            "INSERT OR REPLACE INTO models (path, bytes, modified_ns, fingerprint) VALUES (?, ?, ?, ?)",
            path,
            bytes,
            modified_ns,
            fingerprint
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}
