//! Files that are no models, and models that were damaged on their way: always an error that names the file and the
//! fact, never a panic, never an allocation as large as the header claims.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod reference;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::OnceLock;

use lectern_models::{GgufFault, Model, ModelError};
use proptest::prelude::*;
use reference::{SMOLLM2, model_path};
use tempfile::TempDir;

/// The header of a real model, some 3 MB, and a little of its weights.
fn header() -> &'static [u8] {
    static HEADER: OnceLock<Vec<u8>> = OnceLock::new();
    HEADER.get_or_init(|| {
        let mut head = Vec::new();
        let file = fs::File::open(model_path(SMOLLM2)).unwrap();
        file.take(4 << 20).read_to_end(&mut head).unwrap();
        head
    })
}

fn write(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// The error of a file with these bytes; its message must name the file, and there must be advice.
fn error_of(bytes: &[u8]) -> ModelError {
    let (_folder, path) = write("damaged.gguf", bytes);
    let error = Model::load(&path).expect_err("it is no model");
    assert!(error.to_string().contains("damaged.gguf"), "{error}");
    assert!(!error.advice().is_empty());
    error
}

fn fault_of(bytes: &[u8]) -> GgufFault {
    match error_of(bytes) {
        ModelError::Damaged { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

/// A small GGUF: keys as they are given, then tensors (name, dimensions, type, offset), then `data` bytes.
fn gguf(keys: &[(&str, Value)], tensors: &[(&str, &[u64], u32, u64)], data: usize) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((keys.len() as u64).to_le_bytes());
    let string = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    for (key, value) in keys {
        string(&mut out, key);
        match value {
            Value::Number(number) => {
                out.extend(4u32.to_le_bytes());
                out.extend(number.to_le_bytes());
            }
            Value::Float(number) => {
                out.extend(6u32.to_le_bytes());
                out.extend(number.to_le_bytes());
            }
            Value::Text(text) => {
                out.extend(8u32.to_le_bytes());
                string(&mut out, text);
            }
        }
    }
    for (name, dimensions, kind, offset) in tensors {
        string(&mut out, name);
        out.extend((dimensions.len() as u32).to_le_bytes());
        out.extend(dimensions.iter().flat_map(|length| length.to_le_bytes()));
        out.extend(kind.to_le_bytes());
        out.extend(offset.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32) + data, 0);
    out
}

enum Value {
    Number(u32),
    Float(f32),
    Text(&'static str),
}

/// The keys of a tiny llama.
fn tiny_llama() -> Vec<(&'static str, Value)> {
    vec![
        ("general.architecture", Value::Text("llama")),
        ("llama.block_count", Value::Number(1)),
        ("llama.context_length", Value::Number(64)),
        ("llama.embedding_length", Value::Number(32)),
        ("llama.feed_forward_length", Value::Number(32)),
        ("llama.attention.head_count", Value::Number(1)),
        ("llama.attention.layer_norm_rms_epsilon", Value::Float(1e-5)),
    ]
}

#[test]
fn a_missing_file_names_itself() {
    let error = Model::load(&PathBuf::from("/nowhere/it.gguf")).expect_err("it is not there");
    assert!(matches!(error, ModelError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/it.gguf"), "{error}");
    assert!(error.advice().contains("Download"), "{}", error.advice());
}

#[test]
fn what_is_no_gguf_says_so() {
    assert_eq!(fault_of(b""), GgufFault::NotGguf);
    assert_eq!(fault_of(b"PK\x03\x04 a zip file"), GgufFault::NotGguf);
    assert_eq!(fault_of(b"GGUF\x01\0\0\0 and more"), GgufFault::Version(1));
    assert_eq!(
        fault_of(b"GGUF\0\0\0\x03 and more"),
        GgufFault::Version(0x0300_0000)
    );
    assert!(matches!(
        fault_of(b"GGUF\x03\0\0\0"),
        GgufFault::HeaderCut { .. }
    ));
}

#[test]
fn a_folder_is_no_model() {
    let folder = TempDir::new().unwrap();
    let error = Model::load(folder.path()).expect_err("a folder");
    assert!(matches!(error, ModelError::Unreadable { .. }), "{error}");
}

#[test]
fn a_truncated_model_says_how_much_is_missing() {
    let whole = fs::metadata(model_path(SMOLLM2)).unwrap().len();
    match fault_of(header()) {
        GgufFault::Truncated { needed, found, .. } => {
            assert_eq!(found, header().len() as u64);
            assert!(
                needed <= whole && needed > whole - 64,
                "{needed} of {whole}"
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn another_architecture_is_named() {
    let keys = [("general.architecture", Value::Text("rwkv7"))];
    let message = error_of(&gguf(&keys, &[], 0)).to_string();
    assert!(
        message.contains("rwkv7") && message.contains("qwen2"),
        "{message}"
    );
}

#[test]
fn a_quantization_that_cannot_be_multiplied_is_named() {
    let tensors: [(&str, &[u64], u32, u64); 1] = [("token_embd.weight", &[32, 4], 20, 0)];
    let error = error_of(&gguf(&tiny_llama(), &tensors, 4096));
    assert!(matches!(error, ModelError::Quantization { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("IQ4_NL") && message.contains("token_embd.weight"),
        "{message}"
    );
    let unheard_of: [(&str, &[u64], u32, u64); 1] = [("token_embd.weight", &[32, 4], 1234, 0)];
    let message = error_of(&gguf(&tiny_llama(), &unheard_of, 4096)).to_string();
    assert!(message.contains("type 1234"), "{message}");
}

#[test]
fn parts_that_the_forward_pass_lacks_are_named() {
    for (key, value, part) in [
        ("llama.expert_count", Value::Number(8), "experts"),
        (
            "llama.rope.scaling.type",
            Value::Text("longrope"),
            "longrope",
        ),
    ] {
        let mut keys = tiny_llama();
        keys.push((key, value));
        let error = error_of(&gguf(&keys, &[], 0));
        assert!(matches!(error, ModelError::Feature { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_tensor_that_is_missing_or_of_another_shape_is_named() {
    let message = error_of(&gguf(&tiny_llama(), &[], 0)).to_string();
    assert!(message.contains("token_embd.weight"), "{message}");
    let tensors: [(&str, &[u64], u32, u64); 1] = [("token_embd.weight", &[64, 4], 0, 0)];
    let error = error_of(&gguf(&tiny_llama(), &tensors, 4096));
    assert!(matches!(error, ModelError::TensorShape { .. }), "{error}");
}

#[test]
fn metadata_without_sense_is_named() {
    for (key, value) in [
        ("llama.attention.head_count_kv", Value::Number(0)),
        ("llama.rope.freq_base", Value::Float(f32::NAN)),
        ("llama.rope.dimension_count", Value::Number(4_000_000_000)),
    ] {
        let mut keys = tiny_llama();
        keys.push((key, value));
        let error = error_of(&gguf(&keys, &[], 0));
        assert!(matches!(error, ModelError::Metadata { .. }), "{error}");
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let alignment = [("general.alignment", Value::Number(0))];
    assert_eq!(fault_of(&gguf(&alignment, &[], 0)), GgufFault::Alignment(0));
    let twice = [("a", Value::Number(1)), ("a", Value::Number(2))];
    assert_eq!(
        fault_of(&gguf(&twice, &[], 0)),
        GgufFault::Twice("a".to_owned())
    );
    let far: [(&str, &[u64], u32, u64); 1] = [("t", &[32], 0, u64::MAX - 31)];
    assert!(matches!(
        fault_of(&gguf(&[], &far, 0)),
        GgufFault::Tensor { .. }
    ));
    let huge: [(&str, &[u64], u32, u64); 1] = [("t", &[1 << 40, 1 << 40], 0, 0)];
    assert!(matches!(
        fault_of(&gguf(&[], &huge, 0)),
        GgufFault::Tensor { .. }
    ));
    // An array of 2^40 strings in a file of some bytes.
    let mut array = b"GGUF\x03\0\0\0".to_vec();
    array.extend([0u64, 1, 1].iter().flat_map(|n| n.to_le_bytes()));
    array.extend(b"k\x09\0\0\0\x08\0\0\0");
    array.extend((1u64 << 40).to_le_bytes());
    assert!(matches!(fault_of(&array), GgufFault::Excessive { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Cut anywhere, a header is an error.
    #[test]
    fn a_header_cut_anywhere_is_an_error(length in 0usize..4 << 20) {
        error_of(&header()[..length]);
    }

    /// Bits flipped anywhere, mostly near the front where lengths are: an error, for the weights are missing too.
    #[test]
    fn flipped_bits_are_an_error(flips in prop::collection::vec((0.0f64..1.0, 0u8..8), 1..20)) {
        let mut bytes = header().to_vec();
        for (place, bit) in flips {
            let at = (place.powi(6) * bytes.len() as f64) as usize;
            bytes[at] ^= 1 << bit;
        }
        error_of(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// The same on a header small enough that every byte is hit.
    #[test]
    fn a_tiny_header_with_flipped_bits_is_an_error(flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6)) {
        let tensors: [(&str, &[u64], u32, u64); 2] =
            [("token_embd.weight", &[32, 4], 0, 0), ("output_norm.weight", &[32], 0, 512)];
        let mut bytes = gguf(&tiny_llama(), &tensors, 1024);
        for (place, bit) in flips {
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        error_of(&bytes);
    }

    /// And on bytes that are nothing at all.
    #[test]
    fn noise_behind_the_magic_is_an_error(noise in prop::collection::vec(any::<u8>(), 0..512)) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(noise);
        error_of(&bytes);
    }
}
