//! The sentence transformer against a plain forward pass in numpy (`fixtures/sentence_vectors.py`), and against
//! candle-transformers on whole passages.
#![allow(clippy::unwrap_used)]

mod reference;
mod sentence;

use lectern_models::{Catalogue, Embedder, EmbedderError};
use reference::MINILM;
use std::path::Path;

#[derive(serde::Deserialize)]
struct Row {
    text: String,
    vector: Vec<f32>,
}

fn load() -> (Embedder, u64) {
    let catalogue = Catalogue::load(Path::new("nowhere")).unwrap();
    let entry = catalogue.embedder().unwrap();
    let path = reference::model_path(MINILM);
    assert_eq!(path.file_name(), entry.file.file_name());
    let tokenizer_bytes = entry.parts[0];
    let embedder = Embedder::open(&path, tokenizer_bytes).unwrap();
    (embedder, tokenizer_bytes)
}

/// The cosine of two vectors of length one.
fn cosine(one: &[f32], other: &[f32]) -> f64 {
    assert_eq!(one.len(), other.len());
    let products = one.iter().zip(other);
    products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Weights and activations are rounded to 8 bits. Two passages about the same have a cosine of some 0.6, and what questions are
/// told apart by are some hundredths.
const NEAR: f64 = 0.998;

/// What rounding does to one token does not vanish in a mean.
const NEAR_TOKEN: f64 = 0.99;

#[test]
fn vectors_are_those_of_the_plain_forward_pass() {
    let (embedder, _) = load();
    let rows: Vec<Row> =
        serde_json::from_str(include_str!("fixtures/sentence_vectors.json")).unwrap();
    assert!(rows.len() >= 6);
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let together = embedder.embed(&texts).unwrap();
    for (row, vector) in rows.iter().zip(&together) {
        assert_eq!(vector.len(), row.vector.len());
        let length = cosine(vector, vector);
        assert!((length - 1.0).abs() < 1e-6, "{length}");
        let near = cosine(vector, &row.vector);
        assert!(near > NEAR, "{:?}: {near}", row.text);
        // Who is embedded beside a text does not matter.
        assert_eq!(&embedder.embed(&[&row.text]).unwrap()[0], vector);
    }
    assert!(embedder.embed(&[]).unwrap().is_empty());
}

#[test]
fn passages_have_the_vectors_of_candle_transformers() {
    let (embedder, tokenizer_bytes) = load();
    let licence = include_str!("../../LICENSE-APACHE");
    let passages: Vec<&str> = licence
        .split("\n\n")
        .filter(|text| text.len() > 250)
        .collect();
    assert!(passages.len() >= 10);
    let plain = sentence::Plain::open(&reference::model_path(MINILM), tokenizer_bytes as usize);
    let vectors = embedder.embed(&passages).unwrap();
    for (text, vector) in passages.iter().zip(&vectors) {
        let near = cosine(vector, &plain.embed(text));
        assert!(near > NEAR, "{text:?}: {near}");
    }
}

#[test]
fn tokens_have_the_states_of_candle_transformers() {
    let (embedder, tokenizer_bytes) = load();
    let plain = sentence::Plain::open(&reference::model_path(MINILM), tokenizer_bytes as usize);
    let texts = ["Marta Olsen taught herself lighthousekeeping.", "Who?"];
    let spelled = embedder.spell(&texts).unwrap();
    let vectors = embedder.embed(&texts).unwrap();
    for ((text, spelled), vector) in texts.iter().zip(&spelled).zip(&vectors) {
        assert_eq!(&spelled.vector, vector);
        let states = plain.states(text);
        // But for the two that begin and end it.
        let inside = &states[1..states.len() - 1];
        assert_eq!(spelled.tokens.len(), inside.len());
        for (token, state) in spelled.tokens.iter().zip(inside) {
            let length = cosine(state, state).sqrt();
            let near = cosine(&token.vector, state) / length;
            assert!(near > NEAR_TOKEN, "{token:?}: {near}");
        }
    }
    let pieces = |nth: usize| -> Vec<&str> {
        let tokens = spelled[nth].tokens.iter();
        tokens.map(|token| token.piece.as_str()).collect()
    };
    let whole = pieces(0).concat().replace("##", "");
    assert_eq!(whole, "martaolsentaughtherselflighthousekeeping.");
    assert_eq!(pieces(1), ["who", "?"]);
    assert!(embedder.spell(&[]).unwrap().is_empty());
}

#[test]
fn a_text_is_told_from_one_in_another_language() {
    let (embedder, _) = load();
    let spoken = |text: &str| embedder.fit(text).unwrap().is_spoken();
    assert!(spoken(
        "The old fisherman went down to the harbour, where the boats still lay in the mist."
    ));
    assert!(spoken(
        "let held = segments.of_document(cached); choice.passages.push(span);"
    ));
    assert!(!spoken(
        "Der alte Fischer ging am frühen Morgen hinunter zum Hafen, wo die Boote im Nebel lagen."
    ));
    assert!(!spoken(
        "Le vieux pêcheur descendit de bonne heure vers le port, où les bateaux dormaient."
    ));
    assert!(!spoken(
        "老渔夫清晨走到港口，船只还停在雾中。他整夜几乎没有合眼。"
    ));
    assert!(!spoken(""));
}

#[test]
fn a_file_that_is_none_is_refused() {
    let (_, tokenizer_bytes) = load();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.bin");
    let open = || Embedder::open(&path, tokenizer_bytes).map(|_| ());
    assert!(matches!(open(), Err(EmbedderError::Unreadable { .. })));
    std::fs::write(&path, "short").unwrap();
    assert!(matches!(open(), Err(EmbedderError::NotWhole { .. })));
    let whole = reference::model_path(MINILM);
    let bytes = std::fs::read(whole).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(open(), Err(EmbedderError::Tensors(_))));
    std::fs::write(&path, vec![b'{'; bytes.len()]).unwrap();
    assert!(matches!(open(), Err(EmbedderError::Tokenizer(_))));
}
