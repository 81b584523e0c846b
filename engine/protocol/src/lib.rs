//! The protocol of `lectern serve`: newline-delimited JSON over stdin and stdout.
//!
//! The client writes one [`Call`] a line; the engine answers each with any number of [`Event`]s and then exactly one
//! result or one [`Failure`], every line a [`Reply`] that carries the call's id. Calls run side by side; answers
//! come in any order. [`Request::Cancel`] ends another call early (it then fails with [`FailureCode::Cancelled`]).
//! A line that is no call fails under the id it carries, or under 0 (which no client uses) if none can be read.
//! End of input means: finish what must not be torn, then exit.
//!
//! ```json
//! {"id":1,"method":"ask","params":{"document":"b3f1","question":"Who came to Baker Street?"}}
//! {"id":1,"event":{"kind":"token","text":"The"}}
//! {"id":1,"result":{"kind":"answer","answer":{"question":"...","sentences":[]}}}
//! ```
//!
//! This crate holds the types and nothing else, so that the window needs no model, no database and no parser. The
//! web view's TypeScript is generated from it; a test fails when the two drift.

mod answer;
mod call;
mod content;
mod endpoint;
mod failure;
mod library;
mod model;
mod reply;

pub use answer::*;
pub use call::*;
pub use content::*;
pub use endpoint::*;
pub use failure::*;
pub use library::*;
pub use model::*;
pub use reply::*;

/// Version of this protocol; [`Hello`] carries it, and the window refuses an engine with another one.
pub const PROTOCOL_VERSION: u32 = 3;
