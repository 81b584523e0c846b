//! A server of the OpenAI protocol (vLLM, SGLang, llama-server) that answers in place of the local model.
//!
//! In: where it is ([`Address`]), its key if it wants one, and the messages of one question. Out: the pieces of the answer
//! as they come, and how it ended. What is in the messages is decided by [`asking`](crate::asking); here is only the way
//! there. Nothing is sent but by [`Server::ask`].
//!
//! Why ureq, which blocks, on a thread of its own. It is in the tree for downloads, and a question waits for nothing but
//! the next piece. The thread that asked looks every [`LOOK_AGAIN`] whether it was stopped, and then shuts the socket down
//! under the one that reads, so that a stop ends the connection at once, and with it the server's work.
//!
//! What the server says is untrusted: every size has a bound, its words of an error are cut and cleaned before they are
//! shown, a redirect is told and not followed, and a key goes to the one origin it was kept for.

mod address;
mod certificates;
mod chunk;
mod describe;
mod error;
mod events;
mod exchange;
mod key;
mod refusal;
#[cfg(test)]
mod tests;
mod thought;

pub use address::Address;
pub use describe::describe;
pub use error::EndpointError;
pub use exchange::{Chat, Ended, Server};
pub use key::{KEY_VARIABLE, keep_key, key_of};

use std::time::Duration;

/// Bytes of text that count as one token where nobody can count them: the server has the tokenizer. English takes more
/// bytes a token (4.4), source code about three; counting too many tokens leaves room unused, too few is refused by the
/// server and asked again with less.
pub const BYTES_A_TOKEN: usize = 3;

/// How soon a stop is seen.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
