//! The smallest real model, for tests.

#![allow(clippy::unwrap_used)]

use lectern_models::Model;
use std::path::PathBuf;
use std::sync::OnceLock;

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// SmolLM2-135M, loaded once a process. Panics with advice if it is not there: a test without a model is no pass.
pub(crate) fn smollm() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let folder = set("LECTERN_MODELS").unwrap_or_else(|| {
            let data = || {
                directories::BaseDirs::new()
                    .unwrap()
                    .data_local_dir()
                    .join("lectern")
            };
            set("LECTERN_HOME").unwrap_or_else(data).join("models")
        });
        let path = folder.join(FILE);
        assert!(
            path.is_file(),
            "{} is missing: run `cargo xtask model get smollm2-135m`",
            path.display()
        );
        Model::load(&path).unwrap()
    })
}
