use lectern_protocol::{Failure, FailureCode};
use std::path::PathBuf;

/// Characters of a server's own words that are shown.
const MOST_SHOWN: usize = 300;

/// Why a server gave no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address is none.
    #[error("{url:?} cannot be the address of a server: {reason}")]
    BadUrl {
        /// As entered; empty if it may hold a password.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No model is named.
    #[error("no model is named for the server {host}")]
    NoModelNamed {
        /// The server.
        host: String,
    },
    /// A key that cannot stand in a header.
    #[error(
        "the key is empty or holds characters that no key has (blanks, line breaks, letters beyond ASCII)"
    )]
    KeyUnusable,
    /// The key's file cannot be read or written.
    #[error("{path}: {source}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The fact.
        source: std::io::Error,
    },
    /// `SSL_CERT_FILE` names no certificates.
    #[error("{path} (named by SSL_CERT_FILE) holds no certificates that can be used: {reason}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The fact.
        reason: String,
    },
    /// Nothing listens there.
    #[error("{host} refused the connection: no server listens there")]
    Refused {
        /// The server.
        host: String,
    },
    /// The name means nothing.
    #[error("no machine called {host} was found")]
    HostNotFound {
        /// The server.
        host: String,
    },
    /// No connection came about.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The server.
        host: String,
        /// The fact.
        reason: String,
    },
    /// It is connected and says nothing.
    #[error("{host} said nothing for {seconds} seconds")]
    Silent {
        /// The server.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// No encrypted connection came about.
    #[error("no secure connection to {host}: {reason}")]
    Tls {
        /// The server.
        host: String,
        /// The fact.
        reason: String,
    },
    /// It wants another key, or one at all.
    #[error("{host} refused the key ({status}): {said}")]
    KeyRefused {
        /// The server.
        host: String,
        /// 401 or 403.
        status: u16,
        /// Its own words.
        said: String,
    },
    /// The path or the model is not there.
    #[error("{host} knows no {path}, or no model {model:?} (404): {said}")]
    NotFound {
        /// The server.
        host: String,
        /// Where the question was posted.
        path: String,
        /// The model that was named.
        model: String,
        /// Its own words.
        said: String,
    },
    /// It is somewhere else now. That was not followed: what is sent goes where the person said and nowhere else.
    #[error("{host} sends on to {to:?}, which is not followed")]
    Redirected {
        /// The server.
        host: String,
        /// Where to.
        to: String,
    },
    /// It has too much to do, or is starting.
    #[error("{host} cannot answer now ({status}): {said}")]
    Busy {
        /// The server.
        host: String,
        /// 429 or 503.
        status: u16,
        /// Seconds after which it wants to be asked again.
        retry_after: Option<u64>,
        /// Its own words.
        said: String,
    },
    /// It failed by itself.
    #[error("{host} failed ({status}): {said}")]
    Failed {
        /// The server.
        host: String,
        /// 500 or above.
        status: u16,
        /// Its own words.
        said: String,
    },
    /// What was sent is more than the model's window holds.
    #[error("the question and its passages are more than the model of {host} takes: {said}")]
    TooLong {
        /// The server.
        host: String,
        /// Its own words.
        said: String,
    },
    /// It does not take the request.
    #[error("{host} refused the question ({status}): {said}")]
    Rejected {
        /// The server.
        host: String,
        /// What it answered.
        status: u16,
        /// Its own words.
        said: String,
    },
    /// It answers with something else than a stream.
    #[error("{host} sent {found:?} and no stream of events")]
    NoStream {
        /// The server.
        host: String,
        /// The type it announced.
        found: String,
    },
    /// It does not speak the protocol.
    #[error("{host} does not speak the protocol: {reason}")]
    Malformed {
        /// The server.
        host: String,
        /// The fact.
        reason: String,
    },
    /// It sends more than any answer has.
    #[error("{host} sent more than {limit} bytes of {what}; the connection was ended")]
    TooMuch {
        /// The server.
        host: String,
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {host} ended in the middle of the answer")]
    CutOff {
        /// The server.
        host: String,
    },
    /// It failed while it answered.
    #[error("{host} gave up in the middle of the answer: {said}")]
    GaveUp {
        /// The server.
        host: String,
        /// Its own words.
        said: String,
    },
    /// It withholds the rest of the answer.
    #[error("{host} withheld the rest of the answer")]
    Withheld {
        /// The server.
        host: String,
    },
    /// The answer ended before a word of it was said.
    #[error("{host} ended its answer without a word of it")]
    NothingSaid {
        /// The server.
        host: String,
        /// Whether all tokens it may use were used: it was thinking.
        all_used: bool,
    },
}

impl EndpointError {
    fn advice(&self) -> String {
        use EndpointError::*;
        match self {
            BadUrl { .. } => "Enter it as the server's operator gives it, up to the version: http://127.0.0.1:8000/v1".into(),
            NoModelNamed { .. } => "Enter the name under which the server serves it; its /v1/models lists them.".into(),
            KeyUnusable => "Copy the key again, without anything around it.".into(),
            KeyFile { .. } => "See who owns that file and whether its folder can be written.".into(),
            Certificates { .. } => "Let SSL_CERT_FILE name a PEM file with the certificates of your authority, or unset it.".into(),
            Refused { .. } => "Start the server, or correct its address in the settings; turned off, the local model answers.".into(),
            HostNotFound { .. } => "Correct the address in the settings, or connect to the network that knows the name.".into(),
            Unreachable { .. } => "Look at the network and the server's address; turned off, the local model answers.".into(),
            Silent { .. } => "Ask again; if it stays silent, look at the server's log.".into(),
            Tls { .. } => "Correct the address (http:// where the server knows no TLS); for a certificate of your own authority let \
                           SSL_CERT_FILE name its PEM file."
                .into(),
            KeyRefused { .. } => "Enter the server's key in the settings (`lectern settings endpoint.key`).".into(),
            NotFound { .. } => "Correct the address, which usually ends with /v1, or the model's name; the server's /v1/models lists them.".into(),
            Redirected { .. } => "If you trust that address, enter it in the settings in place of this one.".into(),
            Busy { retry_after: Some(seconds), .. } => format!("Ask again in {seconds} seconds."),
            Busy { .. } => "Ask again in a while.".into(),
            Failed { .. } => "Ask again; if it fails again, look at the server's log.".into(),
            TooLong { .. } => "Let fewer tokens of the document go along (endpoint.document_tokens), or ask in a new conversation.".into(),
            Rejected { .. } => "See what the server says; its log may say more.".into(),
            NoStream { .. } | Malformed { .. } => {
                "The address must be that of an OpenAI-compatible interface (vLLM, SGLang, llama-server); correct it in the settings.".into()
            }
            TooMuch { .. } => "Look at the server: no answer is that long.".into(),
            CutOff { .. } | GaveUp { .. } => "What was said until then is kept. Ask again for a whole answer.".into(),
            Withheld { .. } => "What was said until then is kept. Ask in other words, or another model.".into(),
            NothingSaid { all_used: true, .. } => {
                "If the model thinks before it answers, let answers be longer (max_answer_tokens), or turn its thinking off on the server.".into()
            }
            NothingSaid { .. } => "Ask again, or in other words.".into(),
        }
    }
}

impl From<EndpointError> for Failure {
    fn from(error: EndpointError) -> Failure {
        Failure {
            code: FailureCode::Other,
            message: error.to_string(),
            advice: Some(error.advice()),
        }
    }
}

/// Somebody else's words as they can be shown: on one line, without control characters, cut.
pub(super) fn clean(words: &str) -> String {
    let line = words
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if line.chars().count() <= MOST_SHOWN {
        return line;
    }
    let mut cut: String = line.chars().take(MOST_SHOWN).collect();
    cut.push('\u{2026}');
    cut
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn foreign_words_are_one_short_line() {
        assert_eq!(clean("\x1b[31mred\x07\r\n  two\t"), "[31mred two");
        assert_eq!(clean(&"long ".repeat(999)).chars().count(), 301);
        assert_eq!(clean(""), "");
    }
}
