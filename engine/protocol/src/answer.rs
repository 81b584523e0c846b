//! Answers and the evidence for each of their sentences.

use crate::*;
use serde::{Deserialize, Serialize};
use specta::Type;

/// A half-open byte range of a document's canonical text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Type)]
pub struct TextSpan {
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

/// What an ask is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum AskStage {
    /// Another job holds the model.
    Waiting,
    /// The model is being loaded.
    LoadingModel,
    /// The document is read first.
    ReadingDocument,
    /// Passages are picked: the document is longer than the model's window, or is not to be waited for.
    Retrieving,
    /// They are read; progress counts their tokens, not the document's.
    ReadingPassages,
    /// The question and the passages went to a server, which has not begun to answer.
    WaitingForEndpoint,
    /// The question is being read.
    ReadingQuestion,
    /// Tokens come.
    Answering,
    /// Citations are being verified.
    Citing,
}

/// A whole, cited answer. `lectern ask --json` prints this object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct Answer {
    /// As asked.
    pub question: String,
    /// The answer's text.
    pub answer: String,
    /// Its sentences, in order.
    pub sentences: Vec<AnswerSentence>,
    /// What of the document the answer could see, in order.
    pub coverage: Vec<TextSpan>,
    /// What it cost.
    pub timings: Timings,
    /// Name of the model; with [`Strategy::Endpoint`] also of the server ("NAME at HOST").
    pub model: String,
    /// How it was worked.
    pub strategy: Strategy,
    /// The conversation it was kept in.
    pub conversation: Option<String>,
    /// Whether it was stopped before it was finished.
    pub stopped: bool,
    /// Whether the document probably does not answer the question, since little in it comes near: less still where something
    /// that is said is supported. Where that is not known, and where the answer says so itself, it is false.
    #[serde(default)]
    pub far: bool,
    /// Where nothing of the answer is cited: what comes nearest to the question in the document, whatever the answer says and
    /// however near that is. Empty where it is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<Citation>,
    /// The question as the model says it in the document's language, where that is another and passages were looked for by both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_for: Option<String>,
}

/// How a question was worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Over the cache of the whole document.
    WholeDocument,
    /// Over those segments that match the question best: the document is longer than the model reads well and was read in
    /// segments, each by itself.
    ReadSegments,
    /// Over passages picked by BM25, because the document is longer than the model's window.
    RetrievedPassages,
    /// Over what was read so far, and passages of the rest picked by BM25, because reading has not ended.
    PartlyRead,
    /// By a server, from passages picked by BM25 on this machine, or from the whole text where it is short.
    Endpoint,
}

/// One sentence of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct AnswerSentence {
    /// Its words.
    pub text: String,
    /// Where it stands in the answer's text, in bytes.
    pub span: TextSpan,
    /// Whether the document bears it out.
    pub state: SupportState,
    /// Evidence that was verified; strongest first. Empty where nothing bears the sentence out.
    pub citations: Vec<Citation>,
}

/// Whether the document bears a sentence out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum SupportState {
    /// Its numbers, names and quotations stand in the cited words, and so do most of its other words.
    Supported,
    /// Some of it does.
    Partly,
    /// Nothing in the text was found that bears it out.
    Unsupported,
    /// It says nothing that a text could bear out: that the document does not answer, or what comes next.
    NoClaim,
}

/// Evidence that was verified against the text and can be shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct Citation {
    /// Document id.
    pub document: String,
    /// First byte in the canonical text.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
    /// The words from `start` to `end`, exactly.
    pub quote: String,
    /// Where they stand in the original.
    pub anchor: AnchorView,
    /// Confidence in 0..=1.
    pub score: f32,
    /// The document has changed since, and the words do not stand in it any more: `start` and `end` are 0, `anchor`
    /// says where they stood, and nothing is to be linked.
    #[serde(default)]
    pub gone: bool,
}

/// What an answer cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, Type)]
pub struct Timings {
    /// From the question to the first token, reading of the document excluded, model loading included.
    pub first_token_ms: f64,
    /// Tokens generated.
    pub tokens: u32,
    /// Those of them that were guessed from the document and came true.
    #[serde(default)]
    pub guessed_tokens: u32,
    /// Speed of generating.
    pub decode_tokens_per_s: f64,
    /// Tokens of the document read within this call (0 when it was read before).
    pub read_tokens: u32,
    /// Seconds that reading took within this call.
    pub read_s: f64,
    /// Seconds spent on citations.
    pub cite_s: f64,
}

/// A conversation in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct ConversationSummary {
    /// Id.
    pub id: String,
    /// Document id.
    pub document: String,
    /// The first question.
    pub title: String,
    /// Questions in it.
    pub turns: u32,
    /// Unix seconds of the last turn.
    pub updated: u32,
}

/// An answer that cites words of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct CitingAnswer {
    /// Id of the conversation it stands in.
    pub conversation: String,
    /// Its place among the conversation's turns, from 0.
    pub turn: u32,
    /// What was asked.
    pub question: String,
    /// The first sentence of the answer that cites them.
    pub sentence: String,
}

/// A conversation whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct Conversation {
    /// Id.
    pub id: String,
    /// Document id.
    pub document: String,
    /// In order.
    pub turns: Vec<Answer>,
}
