//! A Lectern on a library of its own, with the smallest real model.
#![allow(clippy::unwrap_used)]

use lectern_engine::attention::CancelFlag;
use lectern_engine::home::Home;
use lectern_engine::lectern::{Job, Lectern, Options};
use lectern_engine::power::Power;
use lectern_protocol::{Ask, Settings};
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

/// A job that nobody follows.
pub fn job() -> Job {
    Job::new(|_| (), CancelFlag::new())
}

/// Adds a log book of so many days, all different by its name; returns its id.
pub async fn add_log(lectern: &Lectern, folder: &Path, name: &str, days: usize) -> String {
    let path = folder.join(name);
    let days: String = (0..days)
        .map(|day| format!("\n\nOn day {day} the crew of the {name} mended nets.\n"))
        .collect();
    std::fs::write(&path, format!("The boat was called Petrel.{days}")).unwrap();
    let mut added = lectern.add(&[path], None, &job()).await.unwrap();
    added.pop().unwrap().document.unwrap().id
}

/// A question, to be answered with so many of the likeliest tokens at most.
pub fn question(document: &str, question: &str, max_tokens: u32) -> Ask {
    Ask {
        document: document.to_owned(),
        question: question.to_owned(),
        conversation: None,
        max_tokens: Some(max_tokens),
        seed: None,
        greedy: Some(true),
        at_once: None,
    }
}
