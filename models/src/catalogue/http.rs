//! A file over HTTP, resumed with `Range` where it stopped.
//!
//! The server's `ETag` is kept with the body and sent back as `If-Range` (RFC 9110, section 13.1.5): if the file has
//! changed meanwhile, the server sends it from the start, and so does one that knows no ranges.

use std::time::Duration;

use ureq::Agent;
use ureq::http::Response;
use ureq::{Body, http};

use super::error::CatalogueError;
use super::partial::{Partial, State, append};

/// Downloads `url` into the body. `each` is called with the bytes here and in all, and may stop it with an error.
pub(super) fn download(
    url: &str,
    partial: &Partial,
    each: &mut dyn FnMut(u64, u64) -> Result<(), CatalogueError>,
) -> Result<(), CatalogueError> {
    let failed = |reason: String| CatalogueError::Network {
        url: url.to_owned(),
        reason,
    };
    let mut state = partial.state(url);
    let body_path = partial.body_path();
    let here = match &state.etag {
        Some(_) => std::fs::metadata(&body_path).map_or(0, |body| body.len()),
        None => 0, // nothing says that what is here belongs to what would come
    };
    if here > 0 && state.total == Some(here) {
        return Ok(());
    }
    let agent: Agent = Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .http_status_as_error(false)
        .user_agent(concat!("lectern/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut request = agent.get(url);
    if let (Some(etag), true) = (&state.etag, here > 0) {
        request = request
            .header("Range", format!("bytes={here}-"))
            .header("If-Range", etag);
    }
    let response = request.call().map_err(|error| failed(error.to_string()))?;
    let (from, total) = match response.status() {
        http::StatusCode::OK => (0, number(&response, "content-length")),
        http::StatusCode::PARTIAL_CONTENT => match content_range(&response) {
            Some((from, total)) if from == here => (from, Some(total)),
            _ => {
                return Err(failed(
                    "the server sent another part than was asked for".to_owned(),
                ));
            }
        },
        status => return Err(failed(format!("the server answered {status}"))),
    };
    let etag = response
        .headers()
        .get("etag")
        .and_then(|tag| tag.to_str().ok());
    if from == 0 {
        state = State {
            source: url.to_owned(),
            // A weak tag does not promise the same bytes.
            etag: etag.filter(|tag| !tag.starts_with("W/")).map(str::to_owned),
            total,
            ..State::default()
        };
        // The old body goes first: the new tag must never vouch for it.
        drop(partial.body(0)?);
        partial.set_state(&state)?;
    }
    let mut body = partial.body(from)?;
    let mut reader = response
        .into_body()
        .into_with_config()
        .limit(u64::MAX)
        .reader();
    let all = total.unwrap_or(0);
    let came = append(
        &mut reader,
        &mut body,
        &body_path,
        |error| failed(error.to_string()),
        &mut |done| each(from + done, all.max(from + done)),
    )?;
    match total {
        Some(total) if from + came != total => Err(failed(format!(
            "the connection ended after {} of {total} bytes",
            from + came
        ))),
        _ => Ok(()),
    }
}

fn number(response: &Response<Body>, header: &str) -> Option<u64> {
    response
        .headers()
        .get(header)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// First byte and size of the whole, from `Content-Range: bytes 5-99/100`.
fn content_range(response: &Response<Body>) -> Option<(u64, u64)> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    let (range, total) = range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()?))
}
