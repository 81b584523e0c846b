//! What the whole-system tests share: the programs, a library of one's own for each test, files to put into it.
//!
//! Nothing is mocked. A test starts the binary that a person starts, with a real model, on real files, in a
//! `LECTERN_HOME` that is deleted afterwards. Only the models are shared with the person's own installation, because
//! they are large; a test without its model fails and says how to get it, because a run without one proves nothing.

pub mod canonical;
pub mod data;
pub mod home;
pub mod links;
pub mod llama_server;
pub mod model;
pub mod pdf;
pub mod program;
pub mod serve;
pub mod texts;

pub use home::{Home, Run};
pub use serve::Serve;
