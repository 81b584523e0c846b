//! Everything between a file and a cited answer, headless.
//!
//! One folder a stage, in the order data flows; a stage may use what stands above it here, never what stands below.

// Where a library lies on this machine.
pub mod home;

// What the person may set.
pub mod settings;

// Threads for what nobody waits for.
pub mod background;

// A model, on a GPU or on the processor.
pub mod model;

// What one ingested item is: text, structure, places.
pub mod document;

// From a file or folder to a document, in a confined child process.
pub mod ingest;

// Documents, conversations and read states, in SQLite and files.
pub mod library;

// The key/value cache on disk.
pub mod kv;

// A model's attention over that cache.
pub mod attention;

// Prefilling a document into its cache.
pub mod reading;

// Finding the part of a document that matters, without a model.
pub mod retrieval;

// A server that answers in place of the local model.
pub mod endpoint;

// Evidence for a sentence, verified against the text.
pub mod citing;

// From a question to a cited answer.
pub mod asking;

// How good answers and citations are, measured on question sets.
pub mod evaluation;

// Whether the machine runs on its battery.
pub mod power;

// All of it behind one handle.
pub mod lectern;

// That handle over stdin and stdout.
pub mod serve;
