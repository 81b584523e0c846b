//! Every line of the protocol as it stands on the wire: each is read, written again, and must be the same JSON.
#![allow(clippy::unwrap_used)]

use lectern_protocol::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn round_trip<T: Serialize + DeserializeOwned>(line: &Value) -> T {
    let value: T =
        serde_json::from_str(&line.to_string()).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(&serde_json::to_value(&value).unwrap(), line);
    value
}

fn endpoint() -> Value {
    json!({"on": true, "url": "http://127.0.0.1:8000/v1", "model": "m", "document_tokens": 4096})
}

#[test]
fn every_request() {
    let settings = json!({
        "model": "smollm2-135m", "threads": 2, "idle_minutes": 3, "cache_budget_bytes": 21474836480u64,
        "read_when_added": true, "read_on_battery": true,
        "max_answer_tokens": 256, "full_answers": true, "stretch": 2, "whole_tokens": 8192, "beyond_window": "read", "retrieval_tokens": 2048, "kv_format": "8/4",
        "kept_percent": 60, "attention_tokens": 2048, "attention_choice": "moments", "endpoint": endpoint()
    });
    let requests = [
        json!({"method": "hello"}),
        json!({"method": "library"}),
        json!({"method": "add", "params": {"paths": ["/a.pdf", "/b"], "password": "secret"}}),
        json!({"method": "remove", "params": {"document": "b3f1"}}),
        json!({"method": "changes"}),
        json!({"method": "refresh", "params": {"document": "b3f1", "password": null, "again": true}}),
        json!({"method": "read", "params": {"document": "b3f1"}}),
        json!({"method": "ask", "params": {"document": "b3f1", "question": "Who?", "conversation": null,
            "max_tokens": 64, "seed": 7, "greedy": true, "at_once": null}}),
        json!({"method": "conversations", "params": {"document": null, "query": "street"}}),
        json!({"method": "cited_by", "params": {"document": "b3f1", "span": {"start": 3, "end": 9}}}),
        json!({"method": "conversation", "params": {"conversation": "c1"}}),
        json!({"method": "delete_conversation", "params": {"conversation": "c1"}}),
        json!({"method": "export", "params": {"conversation": "c1", "format": "html"}}),
        json!({"method": "follow", "params": {"link": "lectern://open/3fa9c2d1e0b48776?start=1&end=2"}}),
        json!({"method": "outline", "params": {"document": "b3f1"}}),
        json!({"method": "content", "params": {"document": "b3f1", "first": 0, "count": 50}}),
        json!({"method": "locate", "params": {"document": "b3f1", "spans": [{"start": 0, "end": 5}]}}),
        json!({"method": "find", "params": {"document": "b3f1", "query": "street"}}),
        json!({"method": "original", "params": {"document": "b3f1"}}),
        json!({"method": "models"}),
        json!({"method": "download_model", "params": {"name": "smollm2-135m"}}),
        json!({"method": "import_model", "params": {"path": "/m.gguf"}}),
        json!({"method": "settings"}),
        json!({"method": "change_settings", "params": {"settings": settings}}),
        json!({"method": "describe_endpoint", "params": {"endpoint": endpoint()}}),
        json!({"method": "keep_endpoint_key", "params": {"endpoint": endpoint(), "key": "sk-1"}}),
        json!({"method": "storage"}),
        json!({"method": "forget", "params": {"document": "b3f1"}}),
        json!({"method": "cancel", "params": {"call": 3}}),
    ];
    for mut request in requests {
        request["id"] = json!(4_294_967_295u32);
        let call: Call = round_trip(&request);
        assert_eq!(call.id, u32::MAX);
    }
}

#[test]
fn an_ask_needs_only_document_and_question() {
    let line = r#"{"id":1,"method":"ask","params":{"document":"b3f1","question":"Who came to Baker Street?"}}"#;
    let call: Call = serde_json::from_str(line).unwrap();
    let Request::Ask(ask) = call.request else {
        panic!("{call:?}");
    };
    assert_eq!(ask.question, "Who came to Baker Street?");
    assert_eq!(
        (ask.conversation, ask.max_tokens, ask.greedy),
        (None, None, None)
    );
}

#[test]
fn settings_of_before_there_were_servers_have_none() {
    let settings: Settings = serde_json::from_str(r#"{"threads": 2}"#).unwrap();
    assert!(!settings.endpoint.on);
    let line =
        json!({"id": 1, "method": "keep_endpoint_key", "params": {"endpoint": {}, "key": "sk-1"}});
    let call: Call = serde_json::from_str(&line.to_string()).unwrap();
    // Whoever logs a call does not log the key in it.
    assert!(!format!("{call:?}").contains("sk-1"));
}

#[test]
fn what_is_no_call_is_refused() {
    for line in [
        "",
        "{}",
        "[1]",
        r#"{"id":1}"#,
        r#"{"id":-1,"method":"hello"}"#,
        r#"{"id":4294967296,"method":"hello"}"#,
        r#"{"id":1,"method":"fly"}"#,
        r#"{"id":1,"method":"read"}"#,
        r#"{"id":1,"method":"read","params":{}}"#,
        r#"{"method":"hello"}"#,
    ] {
        assert!(serde_json::from_str::<Call>(line).is_err(), "{line}");
    }
}

fn document() -> Value {
    json!({
        "id": "b3f1", "title": "T", "authors": null, "format": "pdf", "source": "/t.pdf", "text_bytes": 9,
        "words": 2, "pages": 1, "added": 5, "reading": {"state": "partly", "tokens": 1, "total": 2},
        "forecast": {"tokens": 9, "cache_bytes": 99, "seconds": 1.5, "error": null, "fits": true, "gpu": "1 GB"},
        "notices": ["page 3 holds no text"], "scans_unread": true, "could_be_smaller": true
    })
}

fn sentence() -> Value {
    json!({
        "text": "He came.", "span": {"start": 0, "end": 8}, "state": "supported",
        "citations": [{
            "document": "b3f1", "start": 3, "end": 9, "quote": "he did", "score": 0.5,
            "gone": false,
            "anchor": {"kind": "pages", "pages": [{"page": 1, "label": "i",
                "quads": [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.5]], "recognised": true}]}
        }]
    })
}

fn answer() -> Value {
    json!({
        "question": "Who?", "answer": "He came.", "sentences": [sentence()],
        "coverage": [{"start": 0, "end": 9}],
        "timings": {"first_token_ms": 1.5, "tokens": 3, "decode_tokens_per_s": 10.0, "read_tokens": 0,
            "read_s": 0.0, "cite_s": 0.25,
            "guessed_tokens": 3},
        "model": "m", "strategy": "whole_document", "conversation": "c1", "stopped": false, "far": true,
        "looked_for": "谁？"
    })
}

#[test]
fn every_event() {
    let reading = json!({"kind": "reading", "tokens": 512, "total": 1024, "tokens_per_s": 55.5, "seconds_left": null,
        "cache_bytes": 6_000_000_000u64, "waiting": false, "making_smaller": true});
    for event in [
        json!({"kind": "ingest", "path": "/t.pdf", "stage": "extracting", "fraction": 0.5, "pages": null}),
        reading,
        json!({"kind": "stage", "stage": "reading_passages"}),
        json!({"kind": "token", "text": " The\n\"\u{1F600}"}),
        json!({"kind": "sentence", "index": 0, "sentence": sentence()}),
        json!({"kind": "download", "name": "m", "bytes": 1, "total": 2, "bytes_per_s": 3.5, "verifying": false}),
        json!({"kind": "notice", "message": "removed"}),
    ] {
        let reply: Reply = round_trip(&json!({"id": 1, "event": event}));
        assert!(matches!(reply.body, ReplyBody::Event(_)));
    }
}

#[test]
fn every_outcome() {
    let model = json!({"name": "m", "title": "M", "licence": "MIT", "bytes": 1, "context": 2, "memory_bytes": 3,
        "summary": "s", "installed": true, "partial_bytes": 0, "supported": true, "current": true, "purpose": "recognition"});
    let failure = json!({"code": "password_needed", "message": "t.pdf is protected by a password", "advice": null});
    for outcome in [
        json!({"kind": "hello", "protocol": 3, "version": "0.1.0", "home": "/h", "model": null}),
        json!({"kind": "done"}),
        json!({"kind": "library", "documents": [document()]}),
        json!({"kind": "added", "added": [
            {"path": "/t.pdf", "document": document(), "known": true, "refreshed": null, "failure": null},
            {"path": "/u.pdf", "document": null, "known": false, "refreshed": null, "failure": failure}]}),
        json!({"kind": "changes", "changes": [{"document": "b3f1", "state": "changed"},
            {"document": "b3f2", "state": "missing"}]}),
        json!({"kind": "refreshed", "refreshed": {"document": document(), "state": "updated",
            "unchanged_bytes": 7, "citations_kept": 2, "citations_gone": 1}}),
        json!({"kind": "cited_by", "answers": [
            {"conversation": "c1", "turn": 0, "question": "Who?", "sentence": "He came."}]}),
        json!({"kind": "read", "document": document()}),
        json!({"kind": "answer", "answer": answer()}),
        json!({"kind": "conversations", "conversations": [
            {"id": "c1", "document": "b3f1", "title": "Who?", "turns": 1, "updated": 6}]}),
        json!({"kind": "conversation", "conversation": {"id": "c1", "document": "b3f1", "turns": [answer()]}}),
        json!({"kind": "exported", "file_name": "t.md", "text": "# T"}),
        json!({"kind": "followed", "citation": sentence()["citations"][0]}),
        json!({"kind": "outline", "outline": {
            "sections": [{"title": "One", "depth": 0, "span": {"start": 0, "end": 9}, "block": 0, "page": 1}],
            "pages": [{"label": "i", "width": 612.0, "height": 792.0, "span": {"start": 0, "end": 9}, "recognised": false}],
            "blocks": 1, "bytes": 9, "notices": []}}),
        json!({"kind": "content", "blocks": [
            {"index": 0, "layout": {"kind": "list_item", "depth": 0, "number": null}, "span": {"start": 0, "end": 2},
                "text": "ab", "marks": [{"style": "code", "span": {"start": 0, "end": 1}}]},
            {"index": 1, "layout": {"kind": "preformatted", "first_line": 1, "file": "a.rs"},
                "span": {"start": 4, "end": 5}, "text": "x", "marks": []}]}),
        json!({"kind": "located", "anchors": [
            {"kind": "element", "item": "c1.xhtml", "section": "One", "block": 3},
            {"kind": "lines", "file": "a.rs", "symbol": "fn a", "first_line": 1, "first_column": 2, "last_line": 3, "last_column": 4,
                "block": 5},
            {"kind": "flow", "section": "", "line": 1, "block": 0}]}),
        json!({"kind": "found", "spans": [{"start": 0, "end": 2}], "more": false}),
        json!({"kind": "original", "path": "/h/originals/x.pdf", "media_type": "application/pdf"}),
        json!({"kind": "models", "models": [model]}),
        json!({"kind": "settings", "settings": Settings::default()}),
        json!({"kind": "endpoint", "endpoint": {"host": "gpu:8000", "url": "http://gpu:8000/v1/chat/completions",
            "loopback": false, "encrypted": false, "has_key": true, "sends": ["Your question."]}}),
        json!({"kind": "storage", "cache_bytes": 1, "library_bytes": 2, "free_bytes": 3}),
    ] {
        let reply: Reply = round_trip(&json!({"id": 1, "result": outcome}));
        assert!(matches!(reply.body, ReplyBody::Result(_)));
    }
}

#[test]
fn every_failure_code_and_read_state() {
    for code in [
        "cancelled",
        "password_needed",
        "model_missing",
        "disk_full",
        "not_found",
        "other",
    ] {
        let line = json!({"id": 1, "error": {"code": code, "message": "m", "advice": "a"}});
        let reply: Reply = round_trip(&line);
        assert!(matches!(reply.body, ReplyBody::Error(_)));
    }
    for state in [
        json!({"state": "unread"}),
        json!({"state": "partly", "tokens": 1, "total": 2}),
        json!({"state": "read", "tokens": 2, "cache_bytes": 5_000_000_000u64}),
        json!({"state": "too_long", "tokens": 100_000, "window": 32_768}),
    ] {
        round_trip::<ReadState>(&state);
    }
}
