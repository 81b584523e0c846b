//! The desktop window: a thin shell round `lectern serve`.
//!
//! In: what a person does (files dropped, picked or named on the command line; calls of the web view). Out: lines to
//! the engine and its replies back, file bytes for pdf.js, native dialogs. No domain logic lives here: everything
//! that knows about documents, models or answers is in the engine, a separate process, so that the window stays
//! alive when a model runs out of memory, and CPU and CUDA engines can be swapped as files.

mod bindings;
mod commands;
mod dialogs;
mod engine;
mod opened;
mod originals;
mod pdf;
mod run;
mod window_state;

pub use run::run;
