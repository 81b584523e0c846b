//! What a person chooses: models and settings.

use super::arguments::{Models, ModelsCommand};
use super::commands::{Session, print_json};
use super::exit::Exit;
use super::progress::Progress;
use super::say;
use lectern_protocol::*;
use std::io::{IsTerminal, Read, stdin};
use std::sync::Arc;

/// Named like a setting, but kept elsewhere and told nobody.
const KEY: &str = "endpoint.key";

/// Keys have some hundreds of characters at most.
const MOST_KEY_BYTES: u64 = 4096;

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
                self.say_what_finds_passages(&name)?;
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

    /// Says how passages are found by their meaning, if what does it is not here though a model that answers, `got`, is.
    fn say_what_finds_passages(&self, got: &str) -> Result<(), Failure> {
        let models = self.lectern.models()?;
        let beside =
            |model: &ModelEntry| model.name == got && model.purpose != ModelPurpose::Answers;
        let missing = models
            .iter()
            .find(|model| model.purpose == ModelPurpose::Passages && !model.installed);
        if let (Some(ModelEntry { name, bytes, .. }), false) = (missing, models.iter().any(beside))
        {
            say(&format!(
                "`lectern models get {name}` ({} MB) lets passages be found by their meaning, not by their words alone.",
                bytes / 1_000_000
            ));
        }
        Ok(())
    }

    pub(super) fn settings(
        &self,
        name: Option<String>,
        value: Option<String>,
    ) -> Result<Exit, Failure> {
        let mut settings = self.lectern.settings();
        match (name.as_deref(), value) {
            (Some(KEY), value) => return self.endpoint_key(&settings.endpoint, value.is_some()),
            (Some(name), Some(value)) => {
                let changed = changed(&settings, name, &value)?;
                settings = self.lectern.change_settings(changed)?;
                if name.starts_with("endpoint.") && settings.endpoint.on {
                    self.say_what_is_sent(&settings.endpoint)?;
                }
            }
            (Some(name), None) => {
                let mut table =
                    table(&settings).map_err(|error| super::other(error.to_string()))?;
                let value = place_of(&mut table, name)
                    .ok_or_else(|| super::other(format!("{name}: there is no such setting")))?;
                say(&value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned));
                return Ok(Exit::Done);
            }
            (None, _) => {}
        }
        let text =
            toml::to_string_pretty(&settings).map_err(|error| super::other(error.to_string()))?;
        say(text.trim_end());
        Ok(Exit::Done)
    }

    /// Takes the key of the server in the settings from the terminal, unseen, or from a pipe.
    fn endpoint_key(&self, endpoint: &Endpoint, in_arguments: bool) -> Result<Exit, Failure> {
        if in_arguments {
            return Err(Failure {
                code: FailureCode::Other,
                message: "a key on the command line can be seen by others and stays in the shell's history".to_owned(),
                advice: Some(format!(
                    "`lectern settings {KEY}` asks for it; `lectern settings {KEY} < FILE` reads it from a file."
                )),
            });
        }
        let described = self.lectern.describe_endpoint(endpoint)?;
        let typed = match stdin().is_terminal() {
            true => rpassword::prompt_password(format!(
                "Key for {}, or nothing to forget it: ",
                described.host
            )),
            false => std::io::read_to_string(stdin().take(MOST_KEY_BYTES)),
        }
        .map_err(|error| super::other(format!("no key was read: {error}")))?;
        let key = Some(typed.trim()).filter(|key| !key.is_empty());
        let kept = key.is_some();
        let key = key.map(|key| Secret::new(key.to_owned()));
        self.lectern.keep_endpoint_key(endpoint, key)?;
        say(&match kept {
            true => format!("the key for {} is kept", described.host),
            false => "no key is kept".to_owned(),
        });
        Ok(Exit::Done)
    }

    fn say_what_is_sent(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        for sentence in self.lectern.describe_endpoint(endpoint)?.sends {
            eprintln!("{sentence}");
        }
        Ok(())
    }
}

/// The settings as a table in which every name has a place, also while nothing is chosen.
fn table(settings: &Settings) -> Result<toml::Table, toml::ser::Error> {
    toml::Table::try_from(Settings {
        model: settings.model.clone().or_else(|| Some(String::new())),
        ..settings.clone()
    })
}

/// Where a setting of that name stands; a dot leads into a part ("endpoint.url").
fn place_of<'t>(table: &'t mut toml::Table, name: &str) -> Option<&'t mut toml::Value> {
    match name.split_once('.') {
        Some((part, rest)) => place_of(table.get_mut(part)?.as_table_mut()?, rest),
        None => table.get_mut(name),
    }
}

/// The settings with one of them changed; the value as TOML, or as a string.
fn changed(settings: &Settings, name: &str, value: &str) -> Result<Settings, Failure> {
    let failed = |error: &dyn std::fmt::Display| super::other(format!("{name} = {value}: {error}"));
    let mut table = table(settings).map_err(|error| failed(&error))?;
    let place = place_of(&mut table, name).ok_or_else(|| failed(&"there is no such setting"))?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_setting_is_changed_by_its_name_and_parts_by_theirs() {
        let settings = Settings::default();
        let endpoint = changed(&settings, "endpoint.url", "http://gpu/v1")
            .unwrap()
            .endpoint;
        assert_eq!(endpoint.url, "http://gpu/v1");
        assert!(
            changed(&settings, "endpoint.on", "true")
                .unwrap()
                .endpoint
                .on
        );
        assert_eq!(changed(&settings, "threads", "3").unwrap().threads, 3);
        assert_eq!(
            changed(&settings, "model", "m").unwrap().model.unwrap(),
            "m"
        );
        for (name, value) in [
            ("endpoint", "true"),
            ("endpoint.on", "perhaps"),
            ("endpoint.key", "sk-1"),
            ("threads.more", "1"),
            ("", "1"),
        ] {
            assert!(changed(&settings, name, value).is_err(), "{name}");
        }
    }
}
