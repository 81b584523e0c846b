//! Everything between a file and a cited answer, headless.
//!
//! One folder a stage, in the order data flows; a stage may use what stands above it here, never what stands below.

pub mod home; // where a library lies on this machine
pub mod settings; // what the person may set

pub mod document; // what one ingested item is: text, structure, places
pub mod ingest; // from a file or folder to a document, in a confined child process
pub mod library; // documents, conversations and read states, in SQLite and files

pub mod kv; // the key/value cache on disk

pub mod attention; // a model's attention over that cache

pub mod reading; // what is prefilled once, so that questions need not

pub mod retrieval; // finding the part of a document that matters, without a model

pub mod citing; // evidence for a sentence, verified against the text

pub mod asking; // from a question to a cited answer

pub mod evaluation; // measurements on data with known evidence
