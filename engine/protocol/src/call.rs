//! What a client may ask for.

use crate::{Endpoint, Secret, TextSpan};
use serde::{Deserialize, Serialize};
use specta::Type;

/// One line from the client.
#[derive(Debug, Clone, Serialize, Deserialize, Type)]
pub struct Call {
    /// Chosen by the client, unique among its calls in flight.
    pub id: u32,
    /// What it wants.
    #[serde(flatten)]
    pub request: Request,
}

/// Every request, with what its result is ([`Outcome`]) and which events come before it.
#[derive(Debug, Clone, Serialize, Deserialize, Type)]
#[serde(tag = "method", content = "params", rename_all = "snake_case")]
pub enum Request {
    /// Who is there. [`Outcome::Hello`].
    Hello,
    /// All documents, newest first. [`Outcome::Library`].
    Library,
    /// Ingests files and folders; a folder that a document was made of before is refreshed. Events: [`Event::Ingest`]. [`Outcome::Added`], one entry a path (each PDF, EPUB
    /// and office file in a folder is one of its own); a bad file is an entry with a failure, never the end of the call.
    Add {
        /// Absolute paths.
        paths: Vec<String>,
        /// For encrypted files.
        password: Option<String>,
    },
    /// Takes a document with its conversations and caches out of the library. The person's own file is not
    /// touched. [`Outcome::Done`].
    Remove {
        /// Document id.
        document: String,
    },
    /// Documents whose file or folder has changed since it was ingested, or is gone. [`Outcome::Changes`].
    Changes,
    /// Ingests a document's file or folder again if it has changed. The document keeps its id and its conversations;
    /// citations follow the words they quote. Until the new version is stored whole the old one stays. Jobs that hold
    /// the document end with `cancelled`. Events: [`Event::Ingest`]. [`Outcome::Refreshed`].
    Refresh {
        /// Document id.
        document: String,
        /// For encrypted files.
        password: Option<String>,
        /// Also if it has not changed: a newer Lectern may take more from it.
        #[serde(default)]
        again: Option<bool>,
    },
    /// Reads the document, or goes on reading it; returns at once if it is read. Waits for its turn behind other
    /// readings; questions go first. Cancel to pause. Events: [`Event::Reading`]. [`Outcome::Read`].
    Read {
        /// Document id.
        document: String,
    },
    /// Asks about a document. Reads it first if it is not read, unless asked to answer at once. Events: [`Event::Reading`], [`Event::Stage`],
    /// [`Event::Token`], [`Event::Sentence`]. [`Outcome::Answer`]. Cancel to stop; what was said until then is kept.
    Ask(Ask),
    /// Conversations of one document, or of all, newest first; with `query`, those whose words match.
    /// [`Outcome::Conversations`].
    Conversations {
        /// Document id.
        document: Option<String>,
        /// Words to look for.
        query: Option<String>,
    },
    /// Answers that cite words of a span of the document, newest first. [`Outcome::CitedBy`].
    CitedBy {
        /// Document id.
        document: String,
        /// Byte range of the canonical text.
        span: TextSpan,
    },
    /// One conversation whole. [`Outcome::Conversation`].
    Conversation {
        /// Conversation id.
        conversation: String,
    },
    /// Deletes a conversation. [`Outcome::Done`].
    DeleteConversation {
        /// Conversation id.
        conversation: String,
    },
    /// A conversation to take along, with its citations. [`Outcome::Exported`].
    Export {
        /// Conversation id.
        conversation: String,
        /// As what.
        #[serde(default)]
        format: ExportFormat,
    },
    /// The words that a `lectern://` link names, where they stand now. [`Outcome::Followed`].
    Follow {
        /// The link, as a person or a system gave it.
        link: String,
    },
    /// Sections, pages and size of a document. [`Outcome::Outline`].
    Outline {
        /// Document id.
        document: String,
    },
    /// A run of blocks. [`Outcome::Content`].
    Content {
        /// Document id.
        document: String,
        /// Index of the first block.
        first: u32,
        /// How many at most.
        count: u32,
    },
    /// Where spans live in the original. [`Outcome::Located`], one entry a span.
    Locate {
        /// Document id.
        document: String,
        /// Byte ranges of the canonical text.
        spans: Vec<TextSpan>,
    },
    /// Every place where the words stand, ignoring case. [`Outcome::Found`].
    Find {
        /// Document id.
        document: String,
        /// Words.
        query: String,
    },
    /// Where the kept copy of the original file is. [`Outcome::Original`].
    Original {
        /// Document id.
        document: String,
    },
    /// Models of the catalogue and imported ones. [`Outcome::Models`].
    Models,
    /// Downloads a model of the catalogue, or goes on with it. Events: [`Event::Download`]. [`Outcome::Done`].
    DownloadModel {
        /// Name in the catalogue.
        name: String,
    },
    /// Takes a local GGUF file into the catalogue, where it lies. [`Outcome::Models`].
    ImportModel {
        /// Absolute path.
        path: String,
    },
    /// Settings. [`Outcome::Settings`].
    Settings,
    /// Replaces the settings. [`Outcome::Settings`].
    ChangeSettings {
        /// The new ones, whole.
        settings: Settings,
    },
    /// What a server would be sent and over what, without asking it anything; fails if its address is none.
    /// [`Outcome::Endpoint`].
    DescribeEndpoint {
        /// As it is set, or as it would be.
        endpoint: Endpoint,
    },
    /// Keeps the key of a server, in a file that only this account can read, or forgets it. It is sent to that server alone
    /// and never told again. [`Outcome::Endpoint`].
    KeepEndpointKey {
        /// The server whose key it is.
        endpoint: Endpoint,
        /// None to forget it.
        key: Option<Secret>,
    },
    /// How much room the caches take, and what would be removed to keep to the budget. [`Outcome::Storage`].
    Storage,
    /// Removes the read state of a document, not the document. [`Outcome::Done`].
    Forget {
        /// Document id.
        document: String,
    },
    /// Ends another call. [`Outcome::Done`] at once; the other call fails with `cancelled` when it has stopped.
    Cancel {
        /// The other call's id.
        call: u32,
    },
}

/// A question.
#[derive(Debug, Clone, Serialize, Deserialize, Type)]
pub struct Ask {
    /// Document id.
    pub document: String,
    /// In any language.
    pub question: String,
    /// The conversation it continues; a new one without.
    #[serde(default)]
    pub conversation: Option<String>,
    /// Tokens of the answer at most; the setting without.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// Seed of the sampler.
    #[serde(default)]
    pub seed: Option<u32>,
    /// Always take the likeliest token.
    #[serde(default)]
    pub greedy: Option<bool>,
    /// Do not wait for the document to be read: answer from what was read so far and from the passages of the rest
    /// that match best ([`crate::Strategy::PartlyRead`]). Little that is left is read all the same.
    #[serde(default)]
    pub at_once: Option<bool>,
}

/// What the person may set. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Settings {
    /// Name or path of the model that reads and answers; the catalogue's default without.
    pub model: Option<String>,
    /// Threads for computing, from the next start on; 0 for one fewer than the machine has, but both of two.
    pub threads: u32,
    /// Minutes that the model stays in memory, the GPU's if it is there, after it was last used.
    pub idle_minutes: u32,
    /// Room that caches may take; least recently used ones go first, and the person is told. 0 for no limit.
    pub cache_budget_bytes: u64,
    /// Begin to read as soon as a document is added.
    pub read_when_added: bool,
    /// Go on reading while the machine runs on its battery. What a question needs is read all the same.
    pub read_on_battery: bool,
    /// Tokens of an answer at most.
    pub max_answer_tokens: u32,
    /// Ask for all that the document says of a question, in two or three sentences, in place of one or two short ones.
    pub full_answers: bool,
    /// How many times further than it was trained for the model is to read, by stretched positions (YaRN): a model of 32,768 tokens up to 65,536
    /// with 2. It finds less there; 1 leaves it as it was trained.
    pub stretch: u32,
    /// Tokens of a document up to which it is read with attention to everything, if they fit the model's window; a longer one is
    /// read in segments, each by itself. 0 for what was measured for the model.
    pub whole_tokens: u32,
    /// What is done with a document that is longer than the model's window.
    pub beyond_window: BeyondWindow,
    /// Tokens that a question sees at most of a document longer than the model's window: passages up to these, or as many
    /// segments as match nearly as well as the best.
    pub retrieval_tokens: u32,
    /// How finely what was read is kept.
    pub kv_format: KvFormat,
    /// How much of it is kept, in hundredths. Less than 100 loses something: what the model needs least is left out of a cache once
    /// the document is read, for which it is gone over a second time.
    pub kept_percent: u32,
    /// Tokens of a read document that each token of a question and an answer looks at, in every layer and head; 0 for
    /// all of them. A document of less than four times as many is looked at whole; of one within the model's window an
    /// eighth is looked at if that is more.
    pub attention_tokens: u32,
    /// How these are chosen.
    pub attention_choice: AttentionChoice,
    /// A server that answers in place of the local model.
    pub endpoint: Endpoint,
}

/// What a conversation is exported as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// CommonMark, citations as footnotes.
    #[default]
    Markdown,
    /// A page that needs nothing but itself.
    Html,
}

/// What is done with a document that is longer than the model's window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum BeyondWindow {
    /// It is read whole, in segments, each by itself; a question looks at those that match it best.
    #[default]
    Read,
    /// It is not read; each question reads the passages that match it best.
    Passages,
}

/// By what the tokens that are looked at are chosen, 64 together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum AttentionChoice {
    /// The best of their keys, kept coarsely in memory.
    #[default]
    Keys,
    /// Signs of their keys.
    Signs,
    /// Means and variances of their keys.
    Moments,
    /// Means of their keys.
    Clusters,
    /// Bounds of their keys.
    Bounds,
    /// Nothing: the document's end is looked at.
    Window,
}

/// How keys and values of what was read are kept: bits of a key and of a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub enum KvFormat {
    /// The smallest that was measured to be as good for the model. What was read in a finer one stays in use.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// Half precision, as computed.
    #[serde(rename = "f16")]
    F16,
    /// Keys and values of 8 bits.
    #[serde(rename = "8/8")]
    K8V8,
    /// Keys of 8 bits, values of 4.
    #[serde(rename = "8/4")]
    K8V4,
    /// Keys and values of 4 bits.
    #[serde(rename = "4/4")]
    K4V4,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            model: None,
            threads: 0,
            idle_minutes: 15,
            cache_budget_bytes: 20 << 30,
            read_when_added: true,
            read_on_battery: false,
            max_answer_tokens: 256,
            full_answers: false,
            stretch: 1,
            whole_tokens: 0,
            beyond_window: BeyondWindow::Read,
            retrieval_tokens: 2048,
            kv_format: KvFormat::Auto,
            kept_percent: 100,
            attention_tokens: 2048,
            attention_choice: AttentionChoice::Keys,
            endpoint: Endpoint::default(),
        }
    }
}
