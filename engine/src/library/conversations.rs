use super::storing::encode_json;
use super::{Library, LibraryError, indexed_words, now, query_words};
use lectern_protocol::{Answer, Conversation, ConversationSummary};

/// What continues or begins a conversation.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Document id.
    pub document: &'a str,
    /// The conversation it continues; a new one without.
    pub conversation: Option<&'a str>,
    /// The question with its answer.
    pub answer: &'a Answer,
}

impl Library {
    /// Keeps a turn; returns the conversation's id. The stored answer carries it.
    pub async fn keep_turn(&self, turn: &Turn<'_>) -> Result<String, LibraryError> {
        let asked = now();
        let mut change = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let id = match turn.conversation {
            Some(id) => id.to_owned(),
            None => {
                // Random, so that two Lecterns never choose the same one; SQLite's generator is seeded by the system.
                sqlx::query_scalar!("SELECT lower(hex(randomblob(8))) AS 'id!: String'")
                    .fetch_one(&mut *change)
                    .await?
            }
        };
        if turn.conversation.is_none() {
            let created = sqlx::query!(
                "INSERT INTO conversations (id, document, updated) SELECT ?1, key, ?2 FROM documents WHERE id = ?3",
                id,
                asked,
                turn.document
            )
            .execute(&mut *change)
            .await?;
            if created.rows_affected() == 0 {
                return Err(LibraryError::NoDocument(turn.document.to_owned()));
            }
        }
        let mut answer = turn.answer.clone();
        answer.conversation = Some(id.clone());
        let json = encode_json(&answer, "answer")?;
        let words = indexed_words(&format!("{}\n{}", answer.question, answer.answer));
        let updated = sqlx::query!(
            "UPDATE conversations SET updated = ? WHERE id = ?",
            asked,
            id
        )
        .execute(&mut *change)
        .await?;
        if updated.rows_affected() == 0 {
            return Err(LibraryError::NoConversation(id));
        }
        let row = sqlx::query!(
            "INSERT INTO turns (conversation, question, answer, asked)
             SELECT key, ?2, ?3, ?4 FROM conversations WHERE id = ?1",
            id,
            answer.question,
            json,
            asked
        )
        .execute(&mut *change)
        .await?
        .last_insert_rowid();
        sqlx::query!(
            "INSERT INTO turn_words (rowid, words) VALUES (?, ?)",
            row,
            words
        )
        .execute(&mut *change)
        .await?;
        change.commit().await?;
        Ok(id)
    }

    /// Conversations of one document or of all, newest first; with `query`, those with a turn that holds all its
    /// words.
    pub async fn conversations(
        &self,
        document: Option<&str>,
        query: Option<&str>,
    ) -> Result<Vec<ConversationSummary>, LibraryError> {
        let words = query_words(query.unwrap_or_default()).join(" ");
        if query.is_some_and(|query| !query.trim().is_empty()) && words.is_empty() {
            return Ok(Vec::new());
        }
        let rows = if words.is_empty() {
            sqlx::query_as!(
                Summary,
                "SELECT c.id, d.id AS document, c.updated,
                     (SELECT question FROM turns WHERE conversation = c.key ORDER BY key LIMIT 1) AS 'title!: String',
                     (SELECT count(*) FROM turns WHERE conversation = c.key) AS 'turns!: i64'
                 FROM conversations c JOIN documents d ON d.key = c.document
                 WHERE ?1 IS NULL OR d.id = ?1
                 ORDER BY c.updated DESC, c.key DESC",
                document
            )
            .fetch_all(&self.readers)
            .await?
        } else {
            sqlx::query_as!(
                Summary,
                "SELECT c.id, d.id AS document, c.updated,
                     (SELECT question FROM turns WHERE conversation = c.key ORDER BY key LIMIT 1) AS 'title!: String',
                     (SELECT count(*) FROM turns WHERE conversation = c.key) AS 'turns!: i64'
                 FROM conversations c JOIN documents d ON d.key = c.document
                 WHERE (?1 IS NULL OR d.id = ?1) AND c.key IN (SELECT conversation FROM turns WHERE key IN
                     (SELECT rowid FROM turn_words WHERE turn_words MATCH ?2))
                 ORDER BY c.updated DESC, c.key DESC",
                document,
                words
            )
            .fetch_all(&self.readers)
            .await?
        };
        Ok(rows.into_iter().map(Summary::into_protocol).collect())
    }

    /// One conversation whole.
    pub async fn conversation(&self, id: &str) -> Result<Conversation, LibraryError> {
        let document = sqlx::query_scalar!(
            "SELECT d.id FROM conversations c JOIN documents d ON d.key = c.document WHERE c.id = ?",
            id
        )
        .fetch_optional(&self.readers)
        .await?
        .ok_or_else(|| LibraryError::NoConversation(id.to_owned()))?;
        let turns = sqlx::query_scalar!(
            "SELECT answer FROM turns JOIN conversations c ON c.key = conversation WHERE c.id = ? ORDER BY turns.key",
            id
        )
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|json| serde_json::from_str::<Answer>(json))
        .collect::<Result<_, _>>()
        .map_err(|source| LibraryError::Undecodable {
            id: document.clone(),
            what: "answer".to_owned(),
            source: Box::new(source),
        })?;
        Ok(Conversation {
            id: id.to_owned(),
            document,
            turns,
        })
    }

    /// Every kept answer about a document with the id of its conversation and its place there, newest first.
    pub async fn answers(
        &self,
        document: &str,
    ) -> Result<Vec<(String, u32, Answer)>, LibraryError> {
        let rows = sqlx::query!(
            "SELECT c.id, answer,
                 (SELECT count(*) FROM turns t WHERE t.conversation = c.key AND t.key < turns.key) AS 'place!: i64'
             FROM turns JOIN conversations c ON c.key = turns.conversation JOIN documents d ON d.key = c.document
             WHERE d.id = ? ORDER BY turns.key DESC",
            document
        )
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|row| {
                let answer = serde_json::from_str(&row.answer).map_err(|source| {
                    LibraryError::Undecodable {
                        id: document.to_owned(),
                        what: "answer".to_owned(),
                        source: Box::new(source),
                    }
                })?;
                Ok((row.id, row.place as u32, answer))
            })
            .collect()
    }

    /// Deletes a conversation.
    pub async fn delete_conversation(&self, id: &str) -> Result<(), LibraryError> {
        let deleted = sqlx::query!("DELETE FROM conversations WHERE id = ?", id)
            .execute(&self.writer)
            .await?;
        if deleted.rows_affected() == 0 {
            return Err(LibraryError::NoConversation(id.to_owned()));
        }
        Ok(())
    }
}

struct Summary {
    id: String,
    document: String,
    title: String,
    turns: i64,
    updated: i64,
}

impl Summary {
    fn into_protocol(self) -> ConversationSummary {
        ConversationSummary {
            id: self.id,
            document: self.document,
            title: self.title,
            turns: self.turns as u32,
            updated: self.updated as u32,
        }
    }
}
