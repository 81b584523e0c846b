//! The little of HTTP that talking to a server on this machine takes.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Sends JSON, or nothing, and returns the JSON that comes back.
pub fn call(port: u16, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the peer's answer has no end of headers")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.contains(" 200 "),
        "the peer answered {method} {path} with {status:?}: {body}"
    );
    serde_json::from_str(body).with_context(|| format!("the peer's answer is not JSON: {body}"))
}
