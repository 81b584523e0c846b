//! What a person chooses: models and settings.

use super::arguments::{Models, ModelsCommand};
use super::commands::{Session, print_json};
use super::exit::Exit;
use super::progress::Progress;
use super::say;
use lectern_protocol::*;
use std::sync::Arc;

impl Session<'_> {
    pub(super) async fn models(&self, models: Models) -> Result<Exit, Failure> {
        match models
            .command
            .unwrap_or(ModelsCommand::List { json: false })
        {
            ModelsCommand::List { json } => {
                let models = self.lectern.models()?;
                if json {
                    print_json(&models)?;
                    return Ok(Exit::Done);
                }
                for model in &models {
                    let state = match model {
                        ModelEntry { current: true, .. } => "in use",
                        ModelEntry {
                            installed: true, ..
                        } => "here",
                        ModelEntry {
                            supported: false, ..
                        } => "not yet supported",
                        _ => "",
                    };
                    say(&format!(
                        "{:<22} {:>6} MB  {:<18} {}",
                        model.name,
                        model.bytes / 1_000_000,
                        state,
                        model.summary
                    ));
                }
            }
            ModelsCommand::Get { name } => {
                let progress = Arc::new(Progress::new());
                let got = self
                    .lectern
                    .download_model(&name, &self.job(&progress))
                    .await;
                progress.clear();
                got.inspect_err(|failure| {
                    if failure.code == FailureCode::Cancelled {
                        eprintln!(
                            "What is here is kept: `lectern models get {name}` goes on from there."
                        );
                    }
                })?;
                say(&format!("{name} is here"));
            }
            ModelsCommand::Import { path } => {
                let name = self.lectern.import_model(&path).await?;
                say(&format!("{} is now called {name}", path.display()));
            }
            ModelsCommand::Use { model } => {
                let settings = Settings {
                    model: Some(model.clone()),
                    ..self.lectern.settings()
                };
                self.lectern.change_settings(settings)?;
                say(&format!("{model} is used from now on"));
            }
            ModelsCommand::Remove { name } => {
                self.lectern.remove_model(&name)?;
                say(&format!("{name} is removed"));
            }
        }
        Ok(Exit::Done)
    }

    pub(super) fn settings(&self, change: Option<(String, String)>) -> Result<Exit, Failure> {
        let settings = match change {
            None => self.lectern.settings(),
            Some((name, value)) => {
                let changed = changed(&self.lectern.settings(), &name, &value)?;
                self.lectern.change_settings(changed)?
            }
        };
        let text =
            toml::to_string_pretty(&settings).map_err(|error| super::other(error.to_string()))?;
        say(text.trim_end());
        Ok(Exit::Done)
    }
}

/// The settings with one of them changed; the value as TOML, or as a string.
fn changed(settings: &Settings, name: &str, value: &str) -> Result<Settings, Failure> {
    let failed = |error: &dyn std::fmt::Display| super::other(format!("{name} = {value}: {error}"));
    let mut table = toml::Table::try_from(Settings {
        // So that the name is known even while nothing is chosen.
        model: settings.model.clone().or_else(|| Some(String::new())),
        ..settings.clone()
    })
    .map_err(|error| failed(&error))?;
    let place = table
        .get_mut(name)
        .ok_or_else(|| failed(&"there is no such setting"))?;
    *place = match place {
        toml::Value::String(_) => toml::Value::String(value.to_owned()),
        _ => toml::from_str::<toml::Table>(&format!("value = {value}"))
            .map_err(|error| failed(&error.message()))?
            .remove("value")
            .ok_or_else(|| failed(&"it has no value"))?,
    };
    let mut changed: Settings = table.try_into().map_err(|error| failed(&error))?;
    changed.model = changed.model.filter(|model| !model.is_empty());
    Ok(changed)
}
