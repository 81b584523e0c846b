//! Every way in which a server can fail, from a socket that speaks given bytes.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::attention::CancelFlag;
use lectern_models::{ChatMessage, Role};
use lectern_protocol::{Endpoint, Failure, Secret};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

const KEY: &str = "sk-swordfish";

/// What is done on a connection whose request was read.
enum Act {
    Say(Vec<u8>),
    /// So that what comes next is read by itself.
    Pause,
    /// As long as the other side takes it.
    SayForEver(&'static [u8]),
    /// Until the other side hangs up; then whether it did.
    Hold,
}

/// A socket that takes one request and acts. Gives its address, the request it got, and how long after it the other side
/// hung up.
struct Canned {
    url: String,
    request: Receiver<String>,
    hung_up: Receiver<Instant>,
}

fn canned(acts: Vec<Act>) -> Canned {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (got, request) = channel();
    let (ended, hung_up) = channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = got.send(read_request(&mut stream));
        for act in acts {
            match act {
                Act::Say(bytes) => {
                    let _ = stream.write_all(&bytes);
                }
                Act::Pause => thread::sleep(Duration::from_millis(100)),
                Act::SayForEver(bytes) => while stream.write_all(bytes).is_ok() {},
                Act::Hold => {
                    let _ = stream.read(&mut [0]);
                    let _ = ended.send(Instant::now());
                }
            }
        }
    });
    Canned {
        url,
        request,
        hung_up,
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head
                .to_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            body.len() >= length.unwrap_or(0)
        });
        if whole || read == 0 {
            return text.into_owned();
        }
    }
}

fn say(text: &str) -> Act {
    Act::Say(text.as_bytes().to_vec())
}

/// A response whose body ends with the connection.
fn response(status: &str, headers: &str, body: &str) -> Act {
    say(&format!(
        "HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n{body}"
    ))
}

fn stream(events: &str) -> Act {
    response(
        "200 OK",
        "Content-Type: text/event-stream; charset=utf-8\r\n",
        events,
    )
}

fn piece(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{text:?}}}}}]}}\n\n")
}

fn end(reason: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":{reason:?}}}]}}\n\ndata: [DONE]\n\n"
    )
}

/// How long a server may say nothing: short where that is what is tested.
const SHORT: Duration = Duration::from_millis(1500);
const LONG: Duration = Duration::from_secs(60);

fn server(url: &str, silence: Duration) -> Server {
    let endpoint = Endpoint {
        on: true,
        url: url.to_owned(),
        model: "m".to_owned(),
        ..Endpoint::default()
    };
    let mut server = Server::new(&endpoint, Some(Secret::new(KEY.to_owned()))).unwrap();
    server.silence = silence;
    server
}

fn ask(url: &str) -> (String, Result<Ended, EndpointError>) {
    ask_until(url, SHORT, &CancelFlag::new(), &mut |_| {
        ControlFlow::Continue(())
    })
}

fn ask_until(
    url: &str,
    silence: Duration,
    cancel: &CancelFlag,
    each: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> (String, Result<Ended, EndpointError>) {
    let chat = Chat {
        messages: vec![ChatMessage {
            role: Role::User,
            content: "Who \"came\"?".to_owned(),
        }],
        max_tokens: 64,
        temperature: 0.0,
        seed: None,
    };
    let mut said = String::new();
    let ended = server(url, silence).ask(&chat, cancel, &mut |text| {
        said.push_str(text);
        each(text)
    });
    (said, ended)
}

fn error_of(acts: Vec<Act>) -> EndpointError {
    ask(&canned(acts).url).1.unwrap_err()
}

#[test]
fn an_answer_comes_piece_by_piece_and_the_request_is_the_protocols() {
    let events = [": ping\n\n", &piece("He "), &piece("came."), &end("stop")].concat();
    let canned = canned(vec![stream(&events)]);
    let (said, ended) = ask(&canned.url);
    assert_eq!(said, "He came.");
    let ended = ended.unwrap();
    assert_eq!((ended.stopped, ended.tokens), (false, 2));
    let request = canned.request.recv().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.to_lowercase()
            .contains(&format!("authorization: bearer {KEY}")),
        "{head}"
    );
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "model": "m", "messages": [{"role": "user", "content": "Who \"came\"?"}],
            "max_tokens": 64, "temperature": 0.0, "stream": true
        })
    );
}

#[test]
fn the_servers_own_count_goes_before_ours_and_thoughts_are_not_said() {
    let usage = "data: {\"choices\":[],\"usage\":{\"completion_tokens\":41}}\n\n";
    let events = [
        &piece("<think>Hm"),
        &piece("</think>\n\n"),
        &piece("Yes."),
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n",
        usage,
    ];
    let (said, ended) = ask(&canned(vec![stream(&events.concat())]).url);
    assert_eq!((said.trim(), ended.unwrap().tokens), ("Yes.", 41));
    let events = [piece("<think>Hm"), end("length")].concat();
    let error = error_of(vec![stream(&events)]);
    assert!(
        matches!(error, EndpointError::NothingSaid { all_used: true, .. }),
        "{error}"
    );
}

#[test]
fn refusals_are_told_apart() {
    let json = "Content-Type: application/json\r\n";
    for (status, headers, body, expected) in [
        (
            "401 Unauthorized",
            "",
            r#"{"error":{"message":"Incorrect API key: sk-swordfish"}}"#,
            "KeyRefused",
        ),
        (
            "403 Forbidden",
            "",
            "<html>no\r\n\x1b[31mway</html>",
            "KeyRefused",
        ),
        (
            "404 Not Found",
            "",
            r#"{"object":"error","message":"The model `m` does not exist.","type":"NotFoundError"}"#,
            "NotFound",
        ),
        ("404 Not Found", "", r#"{"detail":"Not Found"}"#, "NotFound"),
        (
            "429 Too Many Requests",
            "Retry-After: 7\r\n",
            r#"{"error":{"message":"slow down"}}"#,
            "Busy",
        ),
        (
            "503 Service Unavailable",
            "",
            r#"{"error":{"message":"Loading model"}}"#,
            "Busy",
        ),
        ("500 Internal Server Error", "", "", "Failed"),
        ("502 Bad Gateway", "", "<html>", "Failed"),
        ("413 Content Too Large", "", "", "TooLong"),
        (
            "400 Bad Request",
            "",
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 9000 tokens"}"#,
            "TooLong",
        ),
        (
            "400 Bad Request",
            "",
            r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
            "TooLong",
        ),
        (
            "400 Bad Request",
            "",
            r#"{"error":{"message":"too much","code":"context_length_exceeded"}}"#,
            "TooLong",
        ),
        (
            "400 Bad Request",
            "",
            r#"{"error":{"message":"temperature must be a number"}}"#,
            "Rejected",
        ),
        ("422 Unprocessable Content", "", "", "Rejected"),
        (
            "301 Moved Permanently",
            "Location: https://evil.example/v1?key=sk-swordfish\r\n",
            "",
            "Redirected",
        ),
        (
            "307 Temporary Redirect",
            "Location: /v2/chat/completions\r\n",
            "",
            "Redirected",
        ),
        ("204 No Content", "", "", "Rejected"),
    ] {
        let error = error_of(vec![response(status, &format!("{json}{headers}"), body)]);
        let debug = format!("{error:?}");
        assert!(debug.starts_with(expected), "{status}: {debug}");
        let failure = Failure::from(error);
        let shown = format!("{debug} {failure:?}");
        assert!(
            !shown.contains("swordfish") && !shown.contains('\u{1b}'),
            "{shown}"
        );
        assert!(failure.advice.is_some_and(|advice| !advice.is_empty()));
        if headers.contains("Retry-After") {
            assert!(shown.contains("in 7 seconds"), "{shown}");
        }
    }
}

#[test]
fn a_redirect_is_not_followed_to_anyone() {
    let elsewhere = canned(vec![stream(&end("stop"))]);
    let to = format!("Location: {}/chat/completions\r\n", elsewhere.url);
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let error = error_of(vec![response(status, &to, "")]);
        assert!(
            matches!(error, EndpointError::Redirected { .. }),
            "{status}: {error}"
        );
    }
    assert!(elsewhere.request.try_recv().is_err());
}

#[test]
fn an_answer_that_breaks_off_says_why_and_keeps_what_was_said() {
    let chunked =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = piece("He ");
    let one = format!("{chunked}{:x}\r\n{first}\r\n", first.len());
    for (acts, expected) in [
        (vec![stream(&first)], "CutOff"),
        (vec![stream(&format!("{first}data: [DONE]\n\n"))], "CutOff"),
        (vec![say(&one)], "CutOff"),
        (
            vec![say(&one), Act::Pause, say("no chunk\r\n"), Act::Hold],
            "Malformed",
        ),
        (
            vec![stream(&format!("{first}data: {{\"choices\":\n\n"))],
            "Malformed",
        ),
        (
            vec![stream(&format!(
                "{first}data: {{\"error\":{{\"message\":\"CUDA out of memory\"}}}}\n\n"
            ))],
            "GaveUp",
        ),
        (
            vec![stream(&[&first[..], &end("content_filter")].concat())],
            "Withheld",
        ),
        (vec![say(&one), Act::Hold], "Silent"),
    ] {
        let (said, ended) = ask(&canned(acts).url);
        let debug = format!("{:?}", ended.unwrap_err());
        assert!(debug.starts_with(expected), "{expected}: {debug}");
        assert_eq!(said, "He ", "{expected}");
    }
}

#[test]
fn what_is_no_server_of_the_protocol_is_told() {
    for (acts, expected) in [
        (
            vec![response("200 OK", "Content-Type: text/html\r\n", "<html>")],
            "NoStream",
        ),
        (vec![response("200 OK", "", "{}")], "NoStream"),
        (vec![stream("data: <html>\n\n")], "Malformed"),
        (vec![stream(&end("stop"))], "NothingSaid"),
        (vec![stream("")], "CutOff"),
        (vec![say("SSH-2.0-OpenSSH_9.2\r\n")], "Malformed"),
        (vec![], "Unreachable"),
        (vec![Act::Hold], "Silent"),
        (
            vec![
                say("HTTP/1.1 200 OK\r\nX: "),
                Act::SayForEver(&[b'x'; 4096]),
            ],
            "TooMuch",
        ),
    ] {
        let debug = format!("{:?}", error_of(acts));
        assert!(debug.starts_with(expected), "{expected}: {debug}");
    }
}

#[test]
fn nothing_that_a_server_sends_is_without_end() {
    for (first, endless) in [
        // An event that does not end.
        ("data: ", &[b'x'; 65536][..]),
        // Words without end, each event whole.
        ("", b"data: {\"choices\":[{\"delta\":{\"content\":\"and so on and so on and so on and so on \"}}]}\n\n"),
    ] {
        let debug = format!("{:?}", error_of(vec![stream(first), Act::SayForEver(endless)]));
        assert!(debug.starts_with("Malformed") || debug.starts_with("TooMuch"), "{debug}");
    }
    // Nor is a refusal: what was read of it is told.
    let refused = response("500 Oops", "", "no ");
    let debug = format!("{:?}", error_of(vec![refused, Act::SayForEver(b"no ")]));
    assert!(debug.starts_with("Failed") && debug.len() < 500, "{debug}");
}

#[test]
fn no_way_there_is_told_apart() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = ask(&format!("http://{free}/v1")).1.unwrap_err();
    assert!(matches!(error, EndpointError::Refused { .. }), "{error:?}");
    let error = ask("http://no-such-host.invalid/v1").1.unwrap_err();
    assert!(
        matches!(
            error,
            EndpointError::HostNotFound { .. } | EndpointError::Unreachable { .. }
        ),
        "{error:?}"
    );
    // A server without TLS where TLS is expected.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/v1", plain.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        let _ = stream.read(&mut [0; 4096]);
    });
    let error = ask(&url).1.unwrap_err();
    assert!(matches!(error, EndpointError::Tls { .. }), "{error:?}");
}

#[test]
fn a_stop_ends_the_connection_at_once_whatever_it_waits_for() {
    let chunked =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = piece("He ");
    let midway = say(&format!("{chunked}{:x}\r\n{first}\r\n", first.len()));
    for (before, acts) in [("", vec![Act::Hold]), ("He ", vec![midway, Act::Hold])] {
        let canned = canned(acts);
        let cancel = CancelFlag::new();
        let (flag, request) = (cancel.clone(), canned.request);
        let raised = thread::spawn(move || {
            request.recv().unwrap();
            thread::sleep(Duration::from_millis(100));
            flag.cancel();
            Instant::now()
        });
        let (said, ended) = ask_until(&canned.url, LONG, &cancel, &mut |_| {
            ControlFlow::Continue(())
        });
        let (returned, raised) = (Instant::now(), raised.join().unwrap());
        assert_eq!((said.as_str(), ended.unwrap().stopped), (before, true));
        let hung_up = canned.hung_up.recv_timeout(Duration::from_secs(5)).unwrap();
        // Some 20 ms; on a busy machine more, but never the silence that would end it otherwise.
        for took in [returned - raised, hung_up - raised] {
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
    }
}

#[test]
fn whoever_heard_enough_ends_the_connection() {
    let chunked =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = piece("He ");
    let midway = say(&format!("{chunked}{:x}\r\n{first}\r\n", first.len()));
    let canned = canned(vec![midway, Act::Hold]);
    let (said, ended) = ask_until(&canned.url, LONG, &CancelFlag::new(), &mut |_| {
        ControlFlow::Break(())
    });
    assert_eq!((said.as_str(), ended.unwrap().stopped), ("He ", false));
    assert!(canned.hung_up.recv_timeout(Duration::from_secs(5)).is_ok());
}

#[test]
fn a_key_file_that_is_a_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let home = crate::home::Home::at(folder.path());
    std::fs::create_dir(home.endpoint_key()).unwrap();
    let address = Address::parse("http://gpu/v1").unwrap();
    let error = key_of(&home, &address).unwrap_err();
    assert!(
        matches!(&error, EndpointError::KeyFile { source, .. } if source.kind() != ErrorKind::NotFound),
        "{error:?}"
    );
}
