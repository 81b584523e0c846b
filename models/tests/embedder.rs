//! The sentence transformer against a plain forward pass in numpy (`fixtures/sentence_vectors.py`).
#![allow(clippy::unwrap_used)]

mod reference;

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

#[test]
fn vectors_are_those_of_the_plain_forward_pass() {
    let (embedder, _) = load();
    let rows: Vec<Row> =
        serde_json::from_str(include_str!("fixtures/sentence_vectors.json")).unwrap();
    assert!(rows.len() >= 6);
    for row in rows {
        let vector = embedder.embed(&row.text).unwrap();
        assert_eq!(vector.len(), row.vector.len());
        for (found, expected) in vector.iter().zip(&row.vector) {
            assert!(
                (found - expected).abs() < 2e-5,
                "{:?}: {found} for {expected}",
                row.text
            );
        }
    }
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
