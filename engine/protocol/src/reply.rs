//! Lines from the engine.

use crate::*;
use serde::{Deserialize, Serialize};
use specta::Type;

/// One line from the engine.
#[derive(Debug, Clone, Serialize, Deserialize, Type)]
pub struct Reply {
    /// The call it belongs to.
    pub id: u32,
    /// Event, result or error.
    #[serde(flatten)]
    pub body: ReplyBody,
}

/// What a line carries.
#[derive(Debug, Clone, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum ReplyBody {
    /// More will come.
    Event(Event),
    /// The last line of the call.
    Result(Outcome),
    /// The last line of the call.
    Error(Failure),
}

/// Progress of a call.
#[derive(Debug, Clone, Serialize, Deserialize, Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// Of [`Request::Add`].
    Ingest(IngestProgress),
    /// Of [`Request::Read`] and [`Request::Ask`].
    Reading(ReadProgress),
    /// Of [`Request::Ask`]: what it is doing now.
    Stage {
        /// What.
        stage: AskStage,
    },
    /// Of [`Request::Ask`]: more of the answer.
    Token {
        /// Append it.
        text: String,
    },
    /// Of [`Request::Ask`]: a sentence is finished and its citations are verified.
    Sentence {
        /// Place among the sentences.
        index: u32,
        /// The sentence.
        sentence: AnswerSentence,
    },
    /// Of [`Request::DownloadModel`].
    Download(DownloadProgress),
    /// Something the person should be told, in words for them (a cache was removed to make room, say).
    Notice {
        /// Words.
        message: String,
    },
}

/// What a call came to.
#[derive(Debug, Clone, Serialize, Deserialize, Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// Of `hello`.
    Hello(Hello),
    /// It is done.
    Done,
    /// Of `library`.
    Library {
        /// Newest first.
        documents: Vec<DocumentSummary>,
    },
    /// Of `add`.
    Added {
        /// One a path, in order; before a folder's own, one for each PDF, EPUB and office file in it.
        added: Vec<Added>,
    },
    /// Of `changes`.
    Changes {
        /// Newest document first; those that are as they were are not among them.
        changes: Vec<SourceChange>,
    },
    /// Of `refresh`.
    Refreshed {
        /// What became of it.
        refreshed: Refreshed,
    },
    /// Of `read`.
    Read {
        /// As it stands now.
        document: DocumentSummary,
    },
    /// Of `ask`.
    Answer {
        /// Whole, cited.
        answer: Answer,
    },
    /// Of `conversations`.
    Conversations {
        /// Newest first.
        conversations: Vec<ConversationSummary>,
    },
    /// Of `cited_by`.
    CitedBy {
        /// Newest first.
        answers: Vec<CitingAnswer>,
    },
    /// Of `conversation`.
    Conversation {
        /// Whole.
        conversation: Conversation,
    },
    /// Of `export`.
    Exported {
        /// A suggestion.
        file_name: String,
        /// The whole file.
        text: String,
    },
    /// Of `follow`.
    Followed {
        /// Document, span and place of the words.
        citation: Citation,
    },
    /// Of `outline`.
    Outline {
        /// Sections, pages, size.
        outline: Outline,
    },
    /// Of `content`.
    Content {
        /// In order.
        blocks: Vec<ContentBlock>,
    },
    /// Of `locate`.
    Located {
        /// One a span.
        anchors: Vec<AnchorView>,
    },
    /// Of `find`.
    Found {
        /// In order, at most 1,000.
        spans: Vec<TextSpan>,
        /// Whether there are more.
        more: bool,
    },
    /// Of `original`.
    Original {
        /// Absolute path of the library's copy.
        path: String,
        /// Media type.
        media_type: String,
    },
    /// Of `models` and `import_model`.
    Models {
        /// Catalogue order, then imported ones.
        models: Vec<ModelEntry>,
    },
    /// Of `settings` and `change_settings`.
    Settings {
        /// As they are now.
        settings: Settings,
    },
    /// Of `describe_endpoint` and `keep_endpoint_key`.
    Endpoint {
        /// What is sent where.
        endpoint: EndpointDescription,
    },
    /// Of `storage`.
    Storage {
        /// Bytes of caches on disk.
        cache_bytes: u64,
        /// Bytes of originals and database.
        library_bytes: u64,
        /// Bytes free on that disk.
        free_bytes: u64,
    },
}

/// Who is there.
#[derive(Debug, Clone, Serialize, Deserialize, Type)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// Of the program.
    pub version: String,
    /// Where the library lies.
    pub home: String,
    /// The model that would be used now, if one is there.
    pub model: Option<String>,
}
