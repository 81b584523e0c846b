//! Whose word is taken for who a server is.

use super::EndpointError;
use std::path::PathBuf;
use ureq::tls::{PemItem, RootCerts, parse_pem};

/// Whom a certificate must come from: Mozilla's list, or the authorities in the file that `SSL_CERT_FILE` names, as for
/// OpenSSL; a cluster's own authority is usually among no list.
pub(super) fn root_certificates() -> Result<RootCerts, EndpointError> {
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
        return Ok(RootCerts::WebPki);
    };
    let path = PathBuf::from(path);
    let failed = |reason: String| EndpointError::Certificates {
        path: path.clone(),
        reason,
    };
    let pem = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err(failed("it holds none in PEM form".to_owned())),
        false => Ok(RootCerts::Specific(std::sync::Arc::new(certificates))),
    }
}
