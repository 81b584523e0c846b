//! What a person is told before anything is sent.

use super::{Address, EndpointError};
use lectern_protocol::{Endpoint, EndpointDescription};

/// What goes to this server, and over what.
///
/// # Errors
/// If its address is none.
pub fn describe(endpoint: &Endpoint, has_key: bool) -> Result<EndpointDescription, EndpointError> {
    let address = Address::parse(&endpoint.url)?;
    let (host, loopback, encrypted) = (
        address.host(),
        address.is_loopback(),
        address.is_encrypted(),
    );
    let mut sends = vec![format!(
        "Each question goes to {host}, with up to {} tokens of the document (a short one whole, of a longer one the passages \
         that match best) and the last two questions and answers of the conversation.",
        endpoint.document_tokens
    )];
    if has_key {
        sends.push(format!("The key kept for {host} goes along."));
    }
    if loopback {
        sends.push(
            "That is an address of this machine; what listens there may pass it on.".to_owned(),
        );
    } else if !encrypted {
        sends.push(
            "The connection is not encrypted: whoever is on the way can read all of it. Use https:// if the server has it."
                .to_owned(),
        );
    }
    sends.push(
        "Files, the library and the search for passages and citations stay on this machine, and nothing is sent while \
         no question is asked."
            .to_owned(),
    );
    Ok(EndpointDescription {
        host,
        url: address.chat(),
        loopback,
        encrypted,
        has_key,
        sends,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_open_line_to_another_machine_is_warned_of() {
        let said = |url: &str| {
            let endpoint = Endpoint {
                url: url.to_owned(),
                ..Endpoint::default()
            };
            describe(&endpoint, true).unwrap().sends.join(" ")
        };
        let warning = "not encrypted";
        assert!(said("http://gpu:8000/v1").contains(warning));
        assert!(!said("https://gpu:8000/v1").contains(warning));
        let here = said("http://127.0.0.1:8000/v1");
        assert!(!here.contains(warning) && here.contains("may pass it on"));
        assert!(here.contains("6144 tokens") && here.contains("127.0.0.1:8000"));
    }
}
