//! What one event of a streamed completion says.

use serde::Deserialize;
use serde_json::Value;

/// Ends the stream.
const DONE: &str = "[DONE]";

/// What an event came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// More of the answer, or nothing of it (the role, thoughts that the server keeps apart, a count).
    Piece(Piece),
    /// The stream's own end.
    Done,
    /// The server failed midway; in its own words.
    Failed(String),
}

/// A piece of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Piece {
    /// May be empty.
    pub text: String,
    /// Why nothing comes after it.
    pub finish: Option<Finish>,
    /// Tokens of the whole answer, where the server counts them.
    pub tokens: Option<u32>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// It is whole.
    Stop,
    /// It is as long as was asked for.
    Length,
    /// The server withholds the rest.
    Filter,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<Value>,
    usage: Option<Usage>,
    /// vLLM's older form of an error.
    object: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    completion_tokens: Option<u32>,
}

/// Reads the data of an event; the error says what is wrong with it.
pub(super) fn read(data: &str) -> Result<Said, String> {
    if data.trim() == DONE {
        return Ok(Said::Done);
    }
    let chunk: Chunk = serde_json::from_str(data).map_err(|error| error.to_string())?;
    if let Some(error) = chunk.error {
        return Ok(Said::Failed(words_of(&error)));
    }
    if chunk.object.as_deref() == Some("error") {
        return Ok(Said::Failed(chunk.message.unwrap_or_default()));
    }
    let mut piece = Piece {
        tokens: chunk.usage.and_then(|usage| usage.completion_tokens),
        ..Piece::default()
    };
    // One answer was asked for; a server that gives several is heard once.
    if let Some(choice) = chunk.choices.into_iter().find(|choice| choice.index == 0) {
        let delta = choice
            .delta
            .and_then(|delta| delta.content.or(delta.refusal));
        piece.text = delta.unwrap_or_default();
        piece.finish = choice.finish_reason.map(|reason| match reason.as_str() {
            "length" => Finish::Length,
            "content_filter" => Finish::Filter,
            _ => Finish::Stop,
        });
    }
    Ok(Said::Piece(piece))
}

/// The words of an error object, whichever of its usual forms it has; the whole of it otherwise.
pub(super) fn words_of(error: &Value) -> String {
    let inner = error.get("error").unwrap_or(error);
    [inner.get("message"), inner.get("detail"), Some(inner)]
        .into_iter()
        .flatten()
        .find_map(Value::as_str)
        .map_or_else(|| inner.to_string(), str::to_owned)
}

/// The kinds that an error object names: its type and its code.
pub(super) fn kinds_of(error: &Value) -> String {
    let inner = error.get("error").unwrap_or(error);
    ["type", "code"]
        .iter()
        .filter_map(|name| inner.get(name)?.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(text: &str, finish: Option<Finish>, tokens: Option<u32>) -> Result<Said, String> {
        let text = text.to_owned();
        Ok(Said::Piece(Piece {
            text,
            finish,
            tokens,
        }))
    }

    /// As the servers write them, but for fields that are not read.
    #[test]
    fn chunks_of_vllm_sglang_and_llama_server() {
        for (data, expected) in [
            (
                r#"{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}"#,
                piece("", None, None),
            ),
            (
                r#"{"choices":[{"index":0,"delta":{"content":" Skarn"},"finish_reason":null,"stop_reason":null}],"usage":null}"#,
                piece(" Skarn", None, None),
            ),
            (
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":"Hm","tool_calls":null}}]}"#,
                piece("", None, None),
            ),
            (
                r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"usage":{"completion_tokens":12,"prompt_tokens":90}}"#,
                piece("", Some(Finish::Stop), Some(12)),
            ),
            (
                r#"{"choices":[],"usage":{"completion_tokens":12}}"#,
                piece("", None, Some(12)),
            ),
            (
                r#"{"choices":[{"index":1,"delta":{"content":"other"}},{"index":0,"delta":{"content":"this"},"finish_reason":"length"}]}"#,
                piece("this", Some(Finish::Length), None),
            ),
            (
                r#"{"choices":[{"delta":{"refusal":"No."},"finish_reason":"content_filter"}]}"#,
                piece("No.", Some(Finish::Filter), None),
            ),
            (
                r#"{"error":{"message":"out of memory","type":"server_error","code":500}}"#,
                Ok(Said::Failed("out of memory".into())),
            ),
            (
                r#"{"error":"plain words"}"#,
                Ok(Said::Failed("plain words".into())),
            ),
            (
                r#"{"object":"error","message":"engine died","code":500}"#,
                Ok(Said::Failed("engine died".into())),
            ),
            ("[DONE]", Ok(Said::Done)),
        ] {
            assert_eq!(read(data), expected, "{data}");
        }
        for data in [
            "",
            "{",
            "[]",
            "<html>",
            r#"{"choices":"none"}"#,
            r#"{"choices":[{"delta":{"content":7}}]}"#,
        ] {
            assert!(read(data).is_err(), "{data}");
        }
    }

    #[test]
    fn an_error_is_put_in_words_whatever_its_form() {
        for (text, words, kinds) in [
            (
                r#"{"error":{"message":"too long","type":"exceed_context_size_error","code":400}}"#,
                "too long",
                "exceed_context_size_error",
            ),
            (
                r#"{"object":"error","message":"no such model","type":"NotFoundError","code":404}"#,
                "no such model",
                "NotFoundError",
            ),
            (r#"{"detail":"Not Found"}"#, "Not Found", ""),
            (
                r#"{"detail":[{"loc":["body"]}]}"#,
                r#"{"detail":[{"loc":["body"]}]}"#,
                "",
            ),
            (r#""words""#, "words", ""),
        ] {
            let value: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(
                (words_of(&value), kinds_of(&value)),
                (words.into(), kinds.into())
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_ends_in_a_panic(data in "\\PC{0,60}", nested in 0usize..400) {
            let _ = read(&data);
            let _ = read(&format!("{}{data}", "{\"choices\":[".repeat(nested)));
        }
    }
}
