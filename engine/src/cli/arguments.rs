use clap::{Args, Parser, Subcommand, ValueEnum};
use lectern_engine::evaluation::Evaluation;
use std::path::PathBuf;

/// Reads a whole document once, then answers questions about it, each sentence with the words it rests on.
#[derive(Debug, Parser)]
#[command(
    name = "lectern",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Examples:
  lectern add book.pdf notes/ paper.epub
  lectern ask book.pdf \"Who is the narrator?\"
  lectern ask 3fa9 \"And who is his friend?\" --json
  lectern read 3fa9
  lectern models get qwen2.5-1.5b
  lectern models get minilm

A TARGET is a path (added first if it is new) or a document's id; its first four digits are enough.

Exit codes:
  0 done   1 failed   2 wrong usage   3 not found   4 no model   5 password needed   6 disk full
  130 stopped with Ctrl-C (what was read until then is kept)

Environment:
  LECTERN_HOME    folder of library and settings, instead of the platform's
  LECTERN_ENDPOINT_KEY  key of a server that answers (ask --endpoint)
  LECTERN_GPU     off: nothing is computed on a GPU (lectern-cuda)
  LECTERN_GPU_MEMORY  how much of the GPU's memory may be used at most: 6GB (lectern-cuda)
  LECTERN_MODELS  folder of models
  LECTERN_LOG     what is logged to stderr (error, warn, info, debug)"
)]
pub struct Arguments {
    /// Name of a model in the catalogue, or path of a GGUF file; goes before the setting.
    #[arg(long, global = true, value_name = "NAME|PATH")]
    pub model: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put files and folders into the library.
    #[command(after_help = "Examples:
  lectern add book.pdf
  lectern add ~/src/project            a folder of source code is one document
  lectern add locked.pdf --password s3cret")]
    Add {
        /// PDF, EPUB, office files, CSV, mail, HTML, Markdown, text, or folders of source code.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// For an encrypted PDF.
        #[arg(long)]
        password: Option<String>,
        /// Read them at once.
        #[arg(long)]
        read: bool,
        /// Print one JSON object a path.
        #[arg(long)]
        json: bool,
    },
    /// List the documents of the library.
    List {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Let the model read a document, or go on reading it.
    #[command(
        after_help = "Stop it with Ctrl-C at any time: what was read is kept, and reading goes on from there."
    )]
    Read {
        /// Path or id.
        target: String,
        /// For an encrypted PDF.
        #[arg(long)]
        password: Option<String>,
        /// Print progress as JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Ask a question about a document.
    #[command(after_help = "Examples:
  lectern ask book.pdf \"Who is the narrator?\"
  lectern ask 3fa9 \"How many ships?\" --json --greedy --max-tokens 64
  lectern ask 3fa9 \"And then?\" --conversation 8c1f0a2b3c4d5e6f
  lectern ask long.pdf \"Who wrote it?\" --now
  lectern ask 3fa9 \"Who wrote it?\" --endpoint http://127.0.0.1:8000/v1 --endpoint-model qwen3-32b")]
    Ask {
        /// Path or id.
        target: String,
        /// In any language.
        question: String,
        /// Go on with this conversation.
        #[arg(long, value_name = "ID")]
        conversation: Option<String>,
        /// Tokens of the answer at most.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        max_tokens: Option<u32>,
        /// Draw among the likely words, the same for the same seed.
        #[arg(long, value_name = "N", conflicts_with = "greedy")]
        seed: Option<u32>,
        /// Always take the likeliest word (the default without --seed).
        #[arg(long)]
        greedy: bool,
        /// Do not read first: answer from what was read so far and the passages that match best.
        #[arg(long)]
        now: bool,
        /// Let this OpenAI-compatible server answer: the question and passages of the document go there. Its key is read
        /// from LECTERN_ENDPOINT_KEY, else the one kept for it is taken.
        #[arg(long, value_name = "URL", requires = "endpoint_model")]
        endpoint: Option<String>,
        /// The model's name as that server has it.
        #[arg(long, value_name = "NAME", requires = "endpoint")]
        endpoint_model: Option<String>,
        /// For an encrypted PDF.
        #[arg(long)]
        password: Option<String>,
        /// Print the answer with its evidence as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Take in what has changed in the files and folders that documents were made of.
    #[command(after_help = "Examples:
  lectern refresh               every document whose source has changed
  lectern refresh 3fa9          this one
  lectern refresh 3fa9 --again  also if it has not changed: a newer Lectern may take more from it

What was read before the first change is kept; conversations stay, and their citations follow the words they quote.")]
    Refresh {
        /// Ids; all documents without.
        documents: Vec<String>,
        /// Also what has not changed.
        #[arg(long, requires = "documents")]
        again: bool,
        /// For an encrypted PDF.
        #[arg(long)]
        password: Option<String>,
        /// Print one JSON object a document.
        #[arg(long)]
        json: bool,
    },
    /// Show a document: what it is, its chapters; or the text of a span.
    Show {
        /// Path or id.
        target: String,
        /// Print the canonical text.
        #[arg(long, conflicts_with = "json")]
        text: bool,
        /// Print summary and structure as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Find a phrase in a document, or words in all conversations.
    #[command(after_help = "Examples:
  lectern search \"baker street\" --in 3fa9     every place in a document
  lectern search \"baker street\"               conversations that speak of it")]
    Search {
        /// What to look for.
        query: String,
        /// In this document (path or id) instead of conversations.
        #[arg(long = "in", value_name = "TARGET")]
        document: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a conversation with its citations, as Markdown or as a web page.
    #[command(after_help = "Examples:
  lectern export 8c1f0a2b3c4d5e6f
  lectern export 8c1f0a2b3c4d5e6f --output talk.html      the name says which format
  lectern export 8c1f0a2b3c4d5e6f --format html

Each citation links to its words: `lectern open` follows such a link.")]
    Export {
        /// Conversation id, as `lectern search` and `lectern ask --json` show it.
        conversation: String,
        /// Of the output; without, as the file's name says, else Markdown.
        #[arg(long, value_enum, value_name = "FORMAT")]
        format: Option<Format>,
        /// Write it to this file.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Open the window at the words that a `lectern://` link names.
    #[command(after_help = "\
Example: lectern open 'lectern://open/3fa9c2d1e0b48776?start=1204&end=1251'

A window that is open already goes to the place. In a shell, put the link in quotes.")]
    Open {
        /// As an exported conversation has it.
        link: String,
        /// Only say where the words stand; open no window.
        #[arg(long)]
        print: bool,
        /// Print document, span, words and place as one JSON object; open no window.
        #[arg(long)]
        json: bool,
    },
    /// Take documents out of the library. Your own files are not touched.
    Remove {
        /// Ids.
        #[arg(required = true)]
        documents: Vec<String>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// See, get, import and choose models.
    Models(Models),
    /// Show the settings, or change one.
    #[command(after_help = "Examples:
  lectern settings cache_budget_bytes 50000000000
  lectern settings endpoint.url https://gpu.example.org/v1
  lectern settings endpoint.key      asks for it, or reads it from a pipe
  lectern settings endpoint.on true  from now on that server answers")]
    Settings {
        /// Name of a setting.
        name: Option<String>,
        /// Its new value.
        value: Option<String>,
    },
    /// Measure answers and citations on question sets with known evidence.
    #[command(after_help = "Examples:
  lectern eval words --data data
  lectern eval cite --data data --limit 48 --tokens 3000 --model qwen2.5-1.5b
  lectern eval clapnq --data data --limit 40 --answers answers.jsonl
  lectern eval heads --data data --book book.txt --model qwen2.5-0.5b
  lectern eval kv --text book.txt --code src/ --tokens 1024,4096 --model qwen2.5-0.5b
  lectern eval book --text moby-dick.txt --questions tests/files/moby-dick-questions.json")]
    Eval {
        /// Let the model read so many times further than it was trained for, its positions stretched (YaRN).
        #[arg(long, global = true, value_name = "TIMES", default_value_t = 1.0)]
        stretch: f64,
        /// What to measure.
        #[command(subcommand)]
        evaluation: Evaluation,
    },
    /// Speak the protocol of the window over stdin and stdout.
    #[command(after_help = "One JSON object a line; see the crate lectern-protocol.")]
    Serve,
}

/// What a conversation is exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// CommonMark with footnotes.
    Markdown,
    /// A page that needs nothing but itself, and prints well.
    Html,
}

/// `lectern models`.
#[derive(Debug, Args)]
pub struct Models {
    /// What to do; lists them without.
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
}

/// What can be done with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models that can be had.
    List {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Download a model, or go on with it.
    Get {
        /// As the list names it.
        name: String,
    },
    /// Take a GGUF file into the list, where it lies.
    Import {
        /// The file.
        path: PathBuf,
    },
    /// Use this model from now on.
    Use {
        /// Name or path.
        model: String,
    },
    /// Remove a model's file; an imported one is only forgotten.
    Remove {
        /// As the list names it.
        name: String,
    },
}
