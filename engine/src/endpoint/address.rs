//! Where a server is, taken apart and checked.

use super::EndpointError;
use std::net::IpAddr;
use std::str::FromStr;
use ureq::http::Uri;

/// What is appended to the address of the interface.
const CHAT: &str = "/chat/completions";

/// What stands for a path that was left out: where vLLM, SGLang and llama-server have the interface.
const USUAL_PATH: &str = "/v1";

/// The address of a server's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    encrypted: bool,
    /// In lower case; an IPv6 address in brackets.
    host: String,
    /// None for the scheme's own.
    port: Option<u16>,
    /// Begins with a slash and ends without.
    path: String,
}

impl Address {
    /// Takes a URL apart: `http` or `https`, a host, perhaps a port and a path, and nothing else.
    ///
    /// # Errors
    /// [`EndpointError::BadUrl`] with what is wrong with it.
    pub fn parse(url: &str) -> Result<Address, EndpointError> {
        let url = url.trim();
        let bad = |reason: &'static str| EndpointError::BadUrl {
            // What stands before an @ may be a password.
            url: match url.contains('@') {
                true => String::new(),
                false => super::error::clean(url),
            },
            reason,
        };
        if url.contains(['?', '#']) {
            return Err(bad("it must end with the path, without ? or #"));
        }
        let uri = Uri::from_str(url).map_err(|_| bad("it is not an address"))?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad("it must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad(
                "a name or password does not belong into it: keep a key instead",
            ));
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        let named_port = authority.as_str().len() > authority.host().len();
        let port = authority.port_u16();
        if named_port && port.is_none_or(|port| port == 0) {
            return Err(bad("its port is no number from 1 to 65535"));
        }
        let usual = if encrypted { 443 } else { 80 };
        let path = uri.path().trim_end_matches('/');
        let path = path.strip_suffix(CHAT).unwrap_or(path);
        Ok(Address {
            encrypted,
            host,
            port: port.filter(|port| *port != usual),
            path: match path {
                "" => USUAL_PATH.to_owned(),
                path => path.trim_end_matches('/').to_owned(),
            },
        })
    }

    /// Host, with its port if that is not the scheme's own: what a person is shown.
    pub fn host(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Scheme, host and port: what a key is kept for.
    pub fn origin(&self) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }

    /// Where questions are posted.
    pub fn chat(&self) -> String {
        format!("{}{}{CHAT}", self.origin(), self.path)
    }

    /// Whether nobody on the way can read what is sent.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether it is an address of this machine. A name counts only if it must mean it (RFC 6761); nothing is looked up.
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (url, host, chat) in [
            (
                "http://127.0.0.1:8000/v1",
                "127.0.0.1:8000",
                "http://127.0.0.1:8000/v1/chat/completions",
            ),
            (
                " https://GPU.example.org/v1/ ",
                "gpu.example.org",
                "https://gpu.example.org/v1/chat/completions",
            ),
            ("https://a.b:443", "a.b", "https://a.b/v1/chat/completions"),
            (
                "http://a.b:443/",
                "a.b:443",
                "http://a.b:443/v1/chat/completions",
            ),
            (
                "http://[::1]:9/openai/v1/chat/completions",
                "[::1]:9",
                "http://[::1]:9/openai/v1/chat/completions",
            ),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.host(), address.chat()), (host.into(), chat.into()));
            // What is shown leads to the same place when it is entered.
            assert_eq!(Address::parse(&address.chat()).unwrap(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in [
            "",
            "gpu",
            "gpu:8000/v1",
            "ftp://gpu/v1",
            "file:///etc/passwd",
            "http://",
            "http:///v1",
            "http://gpu:0/v1",
            "http://gpu:99999/v1",
            "http://gpu:/v1",
            "http://gpu/v1?key=1",
            "http://gpu/v1#top",
            "http://gpu\r\nHost: evil/v1",
            "http://ada:swordfish@gpu/v1",
        ] {
            let error = Address::parse(url).unwrap_err();
            let said = error.to_string();
            assert!(matches!(error, EndpointError::BadUrl { .. }), "{url}");
            assert!(
                !said.contains("swordfish") && !said.contains('\r'),
                "{said}"
            );
        }
    }

    #[test]
    fn only_this_machine_is_this_machine() {
        for (url, here) in [
            ("http://127.0.0.1/v1", true),
            ("http://127.8.9.1:80/v1", true),
            ("http://[::1]/v1", true),
            ("http://[::ffff:127.0.0.1]/v1", true),
            ("http://localhost:8000", true),
            ("http://api.localhost", true),
            ("http://127.0.0.1.example.org/v1", false),
            ("http://notlocalhost/v1", false),
            ("http://10.0.0.1/v1", false),
            ("http://0.0.0.0/v1", false),
        ] {
            assert_eq!(Address::parse(url).unwrap().is_loopback(), here, "{url}");
        }
    }
}
