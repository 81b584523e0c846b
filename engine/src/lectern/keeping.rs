//! Conversations: listed, shown, deleted.

use super::Lectern;
use lectern_protocol::{Conversation, ConversationSummary, Failure};

impl Lectern {
    /// Conversations of one document or of all, newest first; with `query`, those whose words match.
    pub async fn conversations(
        &self,
        document: Option<&str>,
        query: Option<&str>,
    ) -> Result<Vec<ConversationSummary>, Failure> {
        Ok(self.library.conversations(document, query).await?)
    }

    /// One conversation whole.
    pub async fn conversation(&self, id: &str) -> Result<Conversation, Failure> {
        Ok(self.library.conversation(id).await?)
    }

    /// Deletes a conversation.
    pub async fn delete_conversation(&self, id: &str) -> Result<(), Failure> {
        Ok(self.library.delete_conversation(id).await?)
    }
}
