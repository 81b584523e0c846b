//! The models under test, where the person's own installation keeps them.

use std::path::PathBuf;

/// The smallest: reads hundreds of tokens a second, answers weakly. For everything but the words of an answer.
pub const SMALL: &str = "smollm2-135m";

/// The default: for the words of an answer.
pub const DEFAULT: &str = "qwen2.5-0.5b";

/// The folder of models: `LECTERN_MODELS`, else that of the person's library.
pub fn folder() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let data = || {
        set("XDG_DATA_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/share")))
            .unwrap_or_default()
            .join("lectern")
    };
    set("LECTERN_MODELS").unwrap_or_else(|| set("LECTERN_HOME").unwrap_or_else(data).join("models"))
}

/// The file of a model.
///
/// # Panics
/// If it is not there: a test run without its model is not a pass.
pub fn file(name: &str) -> PathBuf {
    let file = match name {
        SMALL => "SmolLM2-135M-Instruct.Q4_1.gguf",
        DEFAULT => "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf",
        other => panic!("the tests know no model {other:?}"),
    };
    let path = folder().join(file);
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask model get {name}`",
        path.display()
    );
    path
}
