//! A Lectern on a library of its own, with the smallest real model.
#![allow(clippy::unwrap_used)]

use lectern_engine::home::Home;
use lectern_engine::lectern::{Lectern, Options};
use lectern_engine::power::Power;
use lectern_protocol::Settings;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of models: `LECTERN_MODELS`, else that of the person's library.
pub fn models() -> PathBuf {
    let home = Home::find().unwrap();
    let models = home.models().to_path_buf();
    let smallest = models.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(
        smallest.exists(),
        "{} is missing: run `cargo xtask model get smollm2-135m`",
        smallest.display()
    );
    models
}

/// The library in `folder`.
pub fn home(folder: &Path) -> Home {
    Home::at(&folder.join("home")).with_models(&models())
}

/// Opens it with the default settings and this change of them, on a machine with these power supplies.
pub async fn open_on(
    power: Power,
    folder: &Path,
    change: impl FnOnce(&mut Settings),
) -> Arc<Lectern> {
    let home = home(folder);
    let mut settings = Settings {
        model: Some("smollm2-135m".to_owned()),
        ..Settings::default()
    };
    change(&mut settings);
    lectern_engine::settings::save(&home, &settings).unwrap();
    let options = Options {
        program: Some(env!("CARGO_BIN_EXE_lectern").into()),
        power,
        ..Options::default()
    };
    Lectern::open(&home, options).await.unwrap()
}

/// The same on a machine of which nothing is known.
pub async fn open(folder: &Path, change: impl FnOnce(&mut Settings)) -> Arc<Lectern> {
    open_on(Power::default(), folder, change).await
}
