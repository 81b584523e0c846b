//! Measurements of answers and citations on data with known evidence: `lectern eval ...`.
//!
//! In: a model and a folder of public question sets. Out: tables on standard output (or one JSON object), with the
//! number of questions and 95% intervals. What ships is chosen here: retrieval heads ([`heads`](self)), the
//! weights of [`citing`](crate::citing), the wording of the prompt, the format of the cache, which pages of it
//! are looked at. Results are kept in
//! `docs/citations.md` and `docs/long-context.md`.
//!
//! Nothing here is used by the rest of the engine.

mod attended;
mod book;
mod cite;
mod claims;
mod clapnq;
mod data;
mod discern;
mod doubts;
mod fit;
mod ground;
mod heads;
mod hold;
mod journal;
mod kv;
mod logistic;
mod near;
mod passages;
mod probe;
mod qmsum;
mod record;
mod savers;
mod score;
mod sources;
mod sparse;
mod summhay;
mod sweqa;
mod words;
mod xquad;

pub use book::BookArgs;
pub use hold::HoldArgs;
pub use kv::KvArgs;
pub use near::NearArgs;
pub use passages::PassagesArgs;
pub use savers::SaversArgs;
pub use sparse::SparseArgs;

use crate::asking::AskError;
use crate::attention::DenseAttention;
use crate::citing::HoldError;
use crate::kv::{BlockFormat, KvError};
use crate::library::LibraryError;
use crate::reading::{PromptError, ReadingError};
use crate::retrieval::Transformer;
use clap::{Args, Subcommand};
use lectern_models::{
    Catalogue, CatalogueError, EmbedderError, ForwardError, Model, ModelError, TokenizerError,
};
use lectern_protocol::{Failure, FailureCode};
use record::Records;
use std::path::PathBuf;
use std::sync::Arc;

/// Tokens of an answer at most where the model is told how to answer.
const TOLD_TOKENS: usize = 192;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Evaluation {
    /// Which attention heads look at the words an answer comes from, best first.
    ///
    /// Reads questions with gold answers and needles hidden in book text, lets the model say the right answer, and
    /// scores every head by how much of its attention falls on the sentence that holds it.
    Heads(HeadsArgs),
    /// How well citations hold when every answer is right, or wrong, and words alone decide. Needs no model.
    Words(WordsArgs),
    /// How well the passage that answers a question is found: by its words, by its meaning, by both. Needs no model that
    /// answers (ClapNQ, XQuAD, QMSum, SWE-QA).
    Passages(PassagesArgs),
    /// How near documents come to questions that they answer and to others (ClapNQ, XQuAD, QMSum): fits what tells them apart.
    Near(NearArgs),
    /// How well a model's retrieval heads find the passage, from the keys that it kept when it read (XQuAD).
    Attended(AttendedArgs),
    /// How well a model's own probability of a claim, with its cited words and without, tells true from false.
    Hold(HoldArgs),
    /// How often answers are right, and how often their citations hold the words they rest on (XQuAD).
    Cite(CiteArgs),
    /// Whether questions without an answer are recognised, and how well answers of several sentences are cited
    /// (ClapNQ).
    Clapnq(ClapnqArgs),
    /// Whether answers are cited from the turns of a meeting (QMSum) or the documents among a hundred (SummHay) that hold what they say.
    Sources(SourcesArgs),
    /// What each format of the cache costs: divergence, perplexity, copying and needles against half precision.
    Kv(KvArgs),
    /// What looking at a part of the cache costs: divergence, copying, needles and chains against looking at all of it.
    Sparse(SparseArgs),
    /// What is lost where a read document's cache is made smaller: what heads need least is left out of it.
    Savers(SaversArgs),
    /// Whether a whole book is known: questions whose answer stands in one sentence, some of them planted.
    Book(BookArgs),
}

/// Puts what was read onto the GPU where there is one that computes what the processor does: `cached_tokens` of them, and
/// passes of at most `pass_tokens` behind.
#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
fn put_on_gpu(
    attention: &mut DenseAttention,
    model: &Model,
    format: BlockFormat,
    cached_tokens: usize,
    pass_tokens: usize,
) {
    #[cfg(feature = "cuda")]
    attention.use_gpu_if_sound(&crate::attention::GpuRead {
        spread: crate::model::spread_of(model),
        format,
        cached_tokens,
        window_tokens: pass_tokens,
        pass_tokens,
    });
}

/// Of [`Evaluation::Heads`].
#[derive(Debug, Args)]
pub struct HeadsArgs {
    /// Folder that holds `xquad/`.
    #[arg(long)]
    pub data: PathBuf,
    /// A book as plain text, to hide needles in.
    #[arg(long)]
    pub book: PathBuf,
    /// Questions of XQuAD, and as many needles.
    #[arg(long, default_value_t = 40)]
    pub limit: usize,
    /// Tokens of a document.
    #[arg(long, default_value_t = 1024)]
    pub tokens: usize,
    /// Heads to list.
    #[arg(long, default_value_t = 16)]
    pub top: usize,
    /// Seed of the needles.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Of [`Evaluation::Words`].
#[derive(Debug, Args)]
pub struct WordsArgs {
    /// Folder that holds `xquad/`.
    #[arg(long)]
    pub data: PathBuf,
    /// Language of the questions and articles.
    #[arg(long, default_value = "en")]
    pub language: String,
    /// Bytes of a document: articles are joined until it has about as many.
    #[arg(long, default_value_t = 16000)]
    pub bytes: usize,
}

/// Of [`Evaluation::Attended`].
#[derive(Debug, Args)]
pub struct AttendedArgs {
    /// Folder that holds `xquad/`.
    #[arg(long)]
    pub data: PathBuf,
    /// Language of the articles.
    #[arg(long, default_value = "en")]
    pub language: String,
    /// Language of the questions, if it is another.
    #[arg(long)]
    pub asked_in: Option<String>,
    /// Tokens of a document: articles are joined until it has about as many.
    #[arg(long, default_value_t = 16000)]
    pub tokens: usize,
    /// Questions on each document.
    #[arg(long, default_value_t = 80)]
    pub limit: usize,
    /// Documents at most.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    pub documents: usize,
}

/// Of [`Evaluation::Cite`].
#[derive(Debug, Args)]
pub struct CiteArgs {
    /// Folder that holds `xquad/`.
    #[arg(long)]
    pub data: PathBuf,
    /// Language of the questions and articles.
    #[arg(long, default_value = "en")]
    pub language: String,
    /// Questions asked.
    #[arg(long, default_value_t = 48)]
    pub limit: usize,
    /// Questions asked on one document.
    #[arg(long, default_value_t = 6)]
    pub per_document: usize,
    /// Tokens of a document: articles are joined until it has about as many.
    #[arg(long, default_value_t = 3000)]
    pub tokens: usize,
    /// Tokens that each token of a question looks at, in place of all.
    #[arg(long, conflicts_with = "segment")]
    pub look_at: Option<usize>,
    /// How it is read in segments.
    #[command(flatten)]
    pub segments: SegmentArgs,
    /// Read nothing before; each question reads passages of so many tokens.
    #[arg(long, conflicts_with_all = ["segment", "look_at"])]
    pub passages: Option<usize>,
    /// Retrieval heads, `layer-head` separated by commas, instead of the catalogue's.
    #[arg(long, value_delimiter = ',', value_parser = head)]
    pub heads: Vec<(usize, usize)>,
    /// Leave the closed-book questions out.
    #[arg(long)]
    pub no_closed_book: bool,
    /// Share of what can be left out of the caches that is kept; 1 leaves nothing out.
    #[arg(long, default_value_t = 1.0)]
    pub keep: f64,
    /// Judge the sentences that are shown as supported by their probability with the cited words and without.
    #[arg(long)]
    pub hold: bool,
    /// Fit weights on the first half of the documents (they are printed, not used).
    #[arg(long)]
    pub fit: bool,
    /// File that keeps the answers: what is in it is not asked again, only judged.
    #[arg(long)]
    pub answers: Option<PathBuf>,
    /// One JSON object with every question instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// How a document is read in segments, if it is.
#[derive(Debug, Args)]
pub struct SegmentArgs {
    /// Read in segments of so many tokens.
    #[arg(long)]
    pub segment: Option<usize>,
    /// Tokens of segments that a question looks at, where these are read.
    #[arg(long, default_value_t = 2048)]
    pub asked: usize,
    /// Find segments and passages by their words alone, even if what finds them by their meaning is here.
    #[arg(long)]
    pub words_only: bool,
}

impl SegmentArgs {
    fn seen(&self) -> Option<ground::Seen> {
        let asked = self.asked;
        self.segment
            .map(|size| ground::Seen::Segments { size, asked })
    }
}

/// How questions are put, and what comes of the answers.
#[derive(Debug, Args)]
pub struct AskedArgs {
    /// Tell the model this behind each question, such as how long to answer.
    #[arg(long)]
    pub tell: Option<String>,
    /// Tokens of an answer at most, in place of 64, or of 192 where the model is told something.
    #[arg(long)]
    pub answer_tokens: Option<usize>,
    /// How it is read in segments.
    #[command(flatten)]
    pub segments: SegmentArgs,
    /// File that keeps the answers: what is in it is not asked again, only judged.
    #[arg(long)]
    pub answers: Option<PathBuf>,
    /// One JSON object with every question instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl AskedArgs {
    /// The answers so far, and how others are asked for.
    fn records(&self, measured: &MeasuredModel) -> Result<Records, EvaluationError> {
        let usual = match self.tell {
            Some(_) => TOLD_TOKENS,
            None => ground::ANSWER_TOKENS,
        };
        let records = Records::open(
            self.answers.as_deref(),
            self.segments.seen().unwrap_or(ground::Seen::Whole),
            measured.kv_format,
            measured.transformer(self.segments.words_only)?,
        )?;
        Ok(records.asking(self.tell.as_deref(), self.answer_tokens.unwrap_or(usual)))
    }
}

/// Of [`Evaluation::Clapnq`].
#[derive(Debug, Args)]
pub struct ClapnqArgs {
    /// Folder that holds `clapnq/`.
    #[arg(long)]
    pub data: PathBuf,
    /// Instead of asking, cite the reference answers by their words: what citing could reach. Of the model only the tokenizer is used.
    #[arg(long, conflicts_with = "doubts")]
    pub gold: bool,
    /// Instead of asking, print for each question what an answer could be doubted by, as JSON; what the model says too where documents are read in segments.
    #[arg(long)]
    pub doubts: bool,
    /// Questions asked, half of them without an answer.
    #[arg(long, default_value_t = 48)]
    pub limit: usize,
    /// Tokens of a document: passages are joined until it has about as many.
    #[arg(long, default_value_t = 1500)]
    pub tokens: usize,
    /// How questions are put.
    #[command(flatten)]
    pub asked: AskedArgs,
}

/// Of [`Evaluation::Sources`].
#[derive(Debug, Args)]
pub struct SourcesArgs {
    /// Folder that holds `qmsum/` and `summhay/`.
    #[arg(long)]
    pub data: PathBuf,
    /// What to ask about.
    #[arg(long, value_enum)]
    pub set: sources::Set,
    /// Instead of asking, cite what people wrote by its words: what citing could reach. No model answers.
    #[arg(long)]
    pub gold: bool,
    /// Documents at most.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    pub documents: usize,
    /// How questions are put.
    #[command(flatten)]
    pub asked: AskedArgs,
}

/// The model that is measured.
#[derive(Debug, Clone)]
pub struct MeasuredModel {
    /// Its GGUF file.
    pub path: PathBuf,
    /// Its retrieval heads, `(layer, query head)`, as the catalogue has them.
    pub retrieval_heads: Vec<(usize, usize)>,
    /// The cache format that is used for it.
    pub kv_format: BlockFormat,
    /// How many times further than it was trained for it is to read.
    pub stretch: f64,
    /// Where models are kept, among them what finds passages by their meaning.
    pub models: PathBuf,
}

impl MeasuredModel {
    fn load(&self) -> Result<Model, ModelError> {
        crate::model::load_stretched(&self.path, self.stretch)
    }

    /// What finds passages by their meaning, if it is here and they are not to be found by their words alone.
    fn transformer(&self, words_only: bool) -> Result<Option<Arc<Transformer>>, EvaluationError> {
        if words_only {
            return Ok(None);
        }
        let catalogue = Catalogue::load(&self.models)?;
        Ok(Transformer::of_catalogue(&catalogue)?.map(Arc::new))
    }
}

/// Why a measurement ended early.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// A file of the data set is missing or unreadable.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that was asked for cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of the data set is not what it should be.
    #[error("{path} is not a file of that data set: {source}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A question's sentence is not in the text.
    #[error("the book does not hold the sentence {sentence:?}")]
    NoSuchSentence {
        /// The sentence.
        sentence: String,
    },
    /// A temporary folder or file failed.
    #[error("a temporary cache failed: {0}")]
    Scratch(#[from] std::io::Error),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The forward pass.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] KvError),
    /// The reading of a document.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// The library that ranks passages.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A question.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A claim could not be judged by its probability.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// The catalogue of models.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// What finds passages by their meaning.
    #[error(transparent)]
    Embedder(#[from] EmbedderError),
    /// A codebase could not be taken in.
    #[error(transparent)]
    Ingest(#[from] crate::ingest::IngestError),
    /// What tells whether two sentences say the same is not here.
    #[error(
        "what compares sentences by their meaning is not here: `lectern models get minilm` gets it"
    )]
    NoEmbedder,
    /// How answers name lines of code.
    #[error("the pattern of places in code: {0}")]
    Pattern(#[from] regex::Error),
}

impl From<EvaluationError> for Failure {
    fn from(error: EvaluationError) -> Failure {
        Failure {
            code: FailureCode::Other,
            message: error.to_string(),
            advice: None,
        }
    }
}

/// Runs a measurement and prints it; `model` is asked for only where one is needed.
pub fn run(
    evaluation: &Evaluation,
    model: &dyn Fn() -> Result<MeasuredModel, Failure>,
) -> Result<(), Failure> {
    match evaluation {
        Evaluation::Words(args) => words::run(args)?,
        Evaluation::Passages(args) => passages::run(args)?,
        Evaluation::Near(args) => near::run(args)?,
        Evaluation::Hold(args) => hold::run(args, &model()?)?,
        Evaluation::Heads(args) => heads::run(args, &model()?)?,
        Evaluation::Attended(args) => attended::run(args, &model()?)?,
        Evaluation::Cite(args) => cite::run(args, &model()?)?,
        Evaluation::Clapnq(args) => clapnq::run(args, &model()?)?,
        Evaluation::Sources(args) => sources::run(args, &model()?)?,
        Evaluation::Kv(args) => kv::run(args, &model()?)?,
        Evaluation::Sparse(args) => sparse::run(args, &model()?)?,
        Evaluation::Savers(args) => savers::run(args, &model()?)?,
        Evaluation::Book(args) => book::run(args, &model()?)?,
    }
    Ok(())
}

/// `12-3` as layer 12, head 3.
fn head(text: &str) -> Result<(usize, usize), String> {
    let parse = |part: &str| part.trim().parse::<usize>().ok();
    text.split_once('-')
        .and_then(|(layer, head)| Some((parse(layer)?, parse(head)?)))
        .ok_or_else(|| format!("{text:?} is not of the form layer-head, such as 12-3"))
}
