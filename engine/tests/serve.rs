//! `lectern serve` in process: what it answers, and that nothing on its input ends it.
#![allow(clippy::unwrap_used)]

use lectern_engine::home::Home;
use lectern_engine::lectern::{Lectern, Options};
use lectern_engine::serve::serve;
use lectern_protocol::{FailureCode, Outcome, PROTOCOL_VERSION, Reply, ReplyBody};
use proptest::prelude::*;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// What was written, kept.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl tokio::io::AsyncWrite for Written {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Serves `input` from a fresh library and returns the replies; every line must be one.
fn replies(input: &[u8]) -> Vec<Reply> {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let written = Written::default();
    runtime.block_on(async {
        let lectern = Lectern::open(&home, Options::default()).await.unwrap();
        serve(lectern, input, written.clone()).await;
    });
    let written = written.0.lock().unwrap();
    assert!(written.is_empty() || written.ends_with(b"\n"));
    written
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            serde_json::from_slice(line)
                .unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(line)))
        })
        .collect()
}

/// The last line of each call, by id.
fn last_lines(replies: Vec<Reply>) -> HashMap<u32, ReplyBody> {
    let mut last = HashMap::new();
    for reply in replies {
        if !matches!(reply.body, ReplyBody::Event(_)) {
            assert!(
                reply.id == 0 || !last.contains_key(&reply.id),
                "call {} ended twice",
                reply.id
            );
            last.insert(reply.id, reply.body);
        }
    }
    last
}

#[test]
fn every_request_that_needs_no_model_is_answered() {
    let input = r#"{"id":1,"method":"hello"}
{"id":2,"method":"library"}
{"id":3,"method":"models"}
{"id":4,"method":"settings"}
{"id":5,"method":"storage"}
{"id":6,"method":"conversations","params":{"document":null,"query":"x"}}
{"id":7,"method":"cancel","params":{"call":99}}
{"id":8,"method":"outline","params":{"document":"0123456789abcdef"}}
{"id":9,"method":"add","params":{"paths":["/nowhere/at all.pdf"],"password":null}}
{"id":10,"method":"conversation","params":{"conversation":"nope"}}
not a call
{"id":11,"method":"fly"}
{"id":12,"method":"change_settings","params":{"settings":{"model":"no-such-model"}}}
{"id":13,"method":"ask","params":{"document":"0123456789abcdef","question":"Who?"}}"#;
    let last = last_lines(replies(input.as_bytes()));
    let outcome = |id: u32| match &last[&id] {
        ReplyBody::Result(outcome) => outcome,
        other => panic!("{id}: {other:?}"),
    };
    let code = |id: u32| match &last[&id] {
        ReplyBody::Error(failure) => failure.code,
        other => panic!("{id}: {other:?}"),
    };
    assert!(matches!(outcome(1), Outcome::Hello(hello) if hello.protocol == PROTOCOL_VERSION));
    assert!(matches!(outcome(2), Outcome::Library { documents } if documents.is_empty()));
    assert!(matches!(outcome(3), Outcome::Models { models } if !models.is_empty()));
    assert!(matches!(outcome(4), Outcome::Settings { .. }));
    assert!(
        matches!(outcome(5), Outcome::Storage { cache_bytes: 0, free_bytes, .. } if *free_bytes > 0)
    );
    assert!(
        matches!(outcome(6), Outcome::Conversations { conversations } if conversations.is_empty())
    );
    assert!(matches!(outcome(7), Outcome::Done));
    assert_eq!(code(8), FailureCode::NotFound);
    // End of input cancels what still runs, so the add may have ended either way.
    match &last[&9] {
        ReplyBody::Result(Outcome::Added { added }) => {
            let failure = added[0].failure.as_ref().unwrap();
            assert!(failure.message.contains("at all.pdf"), "{failure:?}");
        }
        ReplyBody::Error(failure) => assert_eq!(failure.code, FailureCode::Cancelled),
        other => panic!("{other:?}"),
    }
    assert_eq!(code(10), FailureCode::NotFound);
    assert_eq!(code(0), FailureCode::Other);
    assert_eq!(code(11), FailureCode::Other);
    assert_eq!(code(12), FailureCode::ModelMissing);
    // No model is there at all.
    assert_eq!(code(13), FailureCode::ModelMissing);
}

#[test]
fn a_line_without_end_is_refused_and_the_next_is_answered() {
    let mut input = vec![b'x'; 5 << 20];
    input.extend_from_slice(b"\n{\"id\":1,\"method\":\"hello\"}\n");
    let last = last_lines(replies(&input));
    assert!(matches!(&last[&0], ReplyBody::Error(failure) if failure.message.contains("longer")));
    assert!(matches!(&last[&1], ReplyBody::Result(Outcome::Hello(_))));
}

/// Bytes as they come from a confused client: noise, pieces of calls, whole calls with strange values.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        "\\PC{0,60}".prop_map(String::into_bytes),
        (any::<u32>(), "[a-z_]{0,12}").prop_map(|(id, method)| {
            format!("{{\"id\":{id},\"method\":\"{method}\"}}").into_bytes()
        }),
        (
            1..u32::MAX,
            prop::sample::select(vec![
                "remove", "read", "outline", "original", "forget", "content", "find", "locate",
                "ask", "export", "follow", "import_model",
            ]),
            "\\PC{0,20}",
            any::<u32>(),
        )
            .prop_map(|(id, method, text, number)| {
                serde_json::json!({"id": id, "method": method, "params": {
                    "document": text, "conversation": text, "question": text, "query": text, "path": text, "link": text,
                    "first": number, "count": number, "spans": [{"start": number, "end": number / 2}],
                }})
                .to_string()
                .into_bytes()
            }),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join(&b'\n'))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn nothing_on_the_input_ends_it(bytes in noise()) {
        let mut input = bytes;
        // Its id is one that no line above may have in flight.
        input.extend_from_slice(b"\n{\"id\":0,\"method\":\"hello\"}\n");
        let hello = replies(&input)
            .into_iter()
            .any(|reply| matches!(reply.body, ReplyBody::Result(Outcome::Hello(_))));
        prop_assert!(hello);
    }
}
