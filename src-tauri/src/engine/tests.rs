#![allow(clippy::unwrap_used)]
//! The shell's side of the protocol against small scripts: framing, order, cancel, and death. What the real engine
//! answers is tested in `lectern-tests`.

use super::*;
use std::os::unix::fs::PermissionsExt;

/// How a script says who it is, speaking this version of the protocol.
fn hello(protocol: u32) -> String {
    HELLO.replace("VERSION", &protocol.to_string())
}

const HELLO: &str = r#"read line; id=$(echo "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
echo "{\"id\":$id,\"result\":{\"kind\":\"hello\",\"protocol\":VERSION,\"version\":\"0\",\"home\":\"/\",\"model\":null}}""#;

fn script(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("engine.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn engine(program: PathBuf) -> (Engine, Arc<Mutex<Vec<String>>>) {
    let stops = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&stops);
    let engine = Engine::new(program, move |stop| {
        heard.lock().unwrap().push(stop.message);
    });
    (engine, stops)
}

fn ignore() -> OnEvent {
    Box::new(|_| {})
}

#[tokio::test]
async fn events_come_in_order_before_the_outcome() {
    let hello = hello(PROTOCOL_VERSION);
    let folder = tempfile::tempdir().unwrap();
    let body = format!(
        r#"{hello}
read line; id=$(echo "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
for word in one two three; do echo "{{\"id\":$id,\"event\":{{\"kind\":\"token\",\"text\":\"$word\"}}}}"; done
echo "{{\"id\":$id,\"result\":{{\"kind\":\"done\"}}}}"
cat > /dev/null"#
    );
    let (engine, _) = engine(script(folder.path(), &body));
    let words = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&words);
    let on_event: OnEvent = Box::new(move |event| {
        if let Event::Token { text } = event {
            heard.lock().unwrap().push(text);
        }
    });
    let outcome = engine.call(None, Request::Models, on_event).await.unwrap();
    assert!(matches!(outcome, Outcome::Done));
    assert_eq!(*words.lock().unwrap(), ["one", "two", "three"]);
    engine.shut_down(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_death_fails_calls_in_flight_and_the_next_call_starts_afresh() {
    let hello = hello(PROTOCOL_VERSION);
    let folder = tempfile::tempdir().unwrap();
    // Dies in the first life, answers in the second.
    let body = format!(
        r#"{hello}
read line; id=$(echo "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
if [ ! -e {0}/lived ]; then touch {0}/lived; echo "weights are gone" >&2; kill -9 $$; fi
echo "{{\"id\":$id,\"result\":{{\"kind\":\"done\"}}}}"
cat > /dev/null"#,
        folder.path().display()
    );
    let (engine, stops) = engine(script(folder.path(), &body));
    let failure = engine
        .call(None, Request::Models, ignore())
        .await
        .unwrap_err();
    assert!(failure.message.contains("was killed"), "{failure:?}");
    assert!(failure.message.contains("weights are gone"), "{failure:?}");
    let outcome = engine.call(None, Request::Models, ignore()).await;
    assert!(matches!(outcome, Ok(Outcome::Done)), "{outcome:?}");
    assert_eq!(stops.lock().unwrap().len(), 1);
    engine.shut_down(Duration::from_secs(2)).await;
    assert_eq!(
        stops.lock().unwrap().len(),
        1,
        "a wanted end is not reported"
    );
}

#[tokio::test]
async fn cancel_names_the_call_by_the_engines_id() {
    let hello = hello(PROTOCOL_VERSION);
    let folder = tempfile::tempdir().unwrap();
    let body = format!(
        r#"{hello}
read line; id=$(echo "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
read line; case "$line" in
*'"method":"cancel","params":{{"call":'$id'}}'*) ;;
*) echo "unexpected $line" >&2; exit 3;; esac
echo "{{\"id\":$id,\"error\":{{\"code\":\"cancelled\",\"message\":\"Stopped.\",\"advice\":null}}}}"
cat > /dev/null"#
    );
    let (engine, _) = engine(script(folder.path(), &body));
    let asking = tokio::spawn({
        let engine = engine.clone();
        async move { engine.call(Some(77), Request::Models, ignore()).await }
    });
    while !engine.lock().keys.contains_key(&77) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    engine.cancel(77);
    let failure = asking.await.unwrap().unwrap_err();
    assert_eq!(failure.code, FailureCode::Cancelled, "{failure:?}");
    engine.shut_down(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn another_protocol_or_a_missing_program_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let newer = hello(99);
    let (other, _) = engine(script(folder.path(), &format!("{newer}\ncat > /dev/null")));
    let failure = other
        .call(None, Request::Models, ignore())
        .await
        .unwrap_err();
    assert!(failure.message.contains("version 99"), "{failure:?}");

    let (missing, _) = engine(folder.path().join("nowhere"));
    let failure = missing
        .call(None, Request::Models, ignore())
        .await
        .unwrap_err();
    assert!(failure.message.contains("cannot be started"), "{failure:?}");
}

#[tokio::test]
async fn an_engine_that_dies_at_start_is_told_once_by_the_call_that_started_it() {
    let folder = tempfile::tempdir().unwrap();
    let body = "echo 'lectern: no room for a library' >&2; exit 4";
    let (engine, stops) = engine(script(folder.path(), body));
    let failure = engine
        .call(None, Request::Library, ignore())
        .await
        .unwrap_err();
    assert!(failure.message.contains("no room"), "{failure:?}");
    assert!(stops.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_death_is_noticed_though_another_process_holds_the_pipes() {
    let hello = hello(PROTOCOL_VERSION);
    let folder = tempfile::tempdir().unwrap();
    let body = format!("{hello}\nread line\nsleep 20 &\nkill -9 $$");
    let (engine, stops) = engine(script(folder.path(), &body));
    let began = std::time::Instant::now();
    let failure = engine
        .call(None, Request::Models, ignore())
        .await
        .unwrap_err();
    assert!(failure.message.contains("was killed"), "{failure:?}");
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(stops.lock().unwrap().len(), 1);
}
