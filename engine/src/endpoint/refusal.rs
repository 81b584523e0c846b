//! Why no answer came, or not all of it: from what the way there and the server failed with to what a person is told.

use super::error::clean;
use super::exchange::{CONNECTING, Server};
use super::{EndpointError, chunk};
use std::io::{ErrorKind, Read};
use ureq::Body;
use ureq::http::Response;

/// Bytes of a refusal that are read.
const LONGEST_REFUSAL: u64 = 64 << 10;

/// Longest wait of a busy server that is worth telling, in seconds.
const LONGEST_RETRY: u64 = 24 * 3600;

impl Server {
    /// Why no response came.
    pub(super) fn no_response(&self, error: ureq::Error) -> EndpointError {
        let host = self.address.host();
        let reason = clean(&match &error {
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        });
        match error {
            ureq::Error::HostNotFound => EndpointError::HostNotFound { host },
            ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
                EndpointError::Unreachable {
                    host,
                    reason: format!("no answer within {} seconds", CONNECTING.as_secs()),
                }
            }
            ureq::Error::Timeout(_) => EndpointError::Silent {
                host,
                seconds: self.silence.as_secs(),
            },
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => {
                EndpointError::Tls { host, reason }
            }
            // What rustls refuses comes wrapped so.
            ureq::Error::Io(error)
                if self.address.is_encrypted() && error.kind() == ErrorKind::InvalidData =>
            {
                EndpointError::Tls { host, reason }
            }
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                EndpointError::Refused { host }
            }
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
                EndpointError::Malformed { host, reason }
            }
            ureq::Error::LargeResponseHeader(_, limit) => EndpointError::TooMuch {
                host,
                what: "headers",
                limit,
            },
            _ => EndpointError::Unreachable { host, reason },
        }
    }

    /// Why the stream ended early.
    pub(super) fn broken_stream(&self, error: &std::io::Error) -> EndpointError {
        let host = self.address.host();
        let wrapped = error.get_ref().and_then(|inner| inner.downcast_ref());
        match (wrapped, error.kind()) {
            (Some(ureq::Error::Timeout(_)), _) | (_, ErrorKind::TimedOut) => {
                EndpointError::Silent {
                    host,
                    seconds: self.silence.as_secs(),
                }
            }
            (Some(ureq::Error::Protocol(error)), _) => EndpointError::Malformed {
                host,
                reason: clean(&error.to_string()),
            },
            _ => EndpointError::CutOff { host },
        }
    }

    /// Why another response than an answer came.
    pub(super) fn refusal(&self, response: Response<Body>) -> EndpointError {
        let host = self.address.host();
        let status = response.status();
        if status.is_redirection() {
            return EndpointError::Redirected {
                host,
                to: self.quoted(&header(&response, "location")),
            };
        }
        let retry_after = header(&response, "retry-after").trim().parse().ok();
        let mut text = Vec::new();
        // Whatever could be read of it says more than nothing.
        let _ = response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader()
            .take(LONGEST_REFUSAL)
            .read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        let json = serde_json::from_str(&text);
        let (said, kinds) = match &json {
            Ok(json) => (chunk::words_of(json), chunk::kinds_of(json)),
            Err(_) => (text.into_owned(), String::new()),
        };
        let about_length = is_about_length(&said, &kinds);
        let said = match self.quoted(&said) {
            said if said.is_empty() => "no reason was given".to_owned(),
            said => said,
        };
        let status = status.as_u16();
        match status {
            401 | 403 => EndpointError::KeyRefused { host, status, said },
            413 => EndpointError::TooLong { host, said },
            400..=499 if status != 429 && about_length => EndpointError::TooLong { host, said },
            404 => EndpointError::NotFound {
                host,
                path: self.address.chat(),
                model: self.model.clone(),
                said,
            },
            429 | 503 => EndpointError::Busy {
                host,
                status,
                retry_after: retry_after.filter(|seconds| *seconds <= LONGEST_RETRY),
                said,
            },
            500.. => EndpointError::Failed { host, status, said },
            _ => EndpointError::Rejected { host, status, said },
        }
    }

    /// The server's own words as they can be shown: some repeat the key that they refuse.
    pub(super) fn quoted(&self, words: &str) -> String {
        match &self.key {
            Some(key) => clean(&words.replace(key.reveal(), "[key]")),
            None => clean(words),
        }
    }
}

/// Whether a refusal means that too much was sent. Servers agree on no code for it: vLLM ("maximum context length is"),
/// SGLang ("longer than the model's context length"), llama-server (`exceed_context_size_error`), OpenAI
/// (`context_length_exceeded`).
pub(super) fn is_about_length(said: &str, kinds: &str) -> bool {
    let (said, kinds) = (said.to_lowercase(), kinds.to_lowercase());
    let exceeded = kinds.contains("context") && kinds.contains("exceed");
    let names_window = [
        "context length",
        "context size",
        "context window",
        "maximum model length",
    ]
    .iter()
    .any(|words| said.contains(words));
    exceeded || names_window
}

/// A header as text; empty without one.
pub(super) fn header(response: &Response<Body>, name: &str) -> String {
    let value = response.headers().get(name).map(|value| value.as_bytes());
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}
