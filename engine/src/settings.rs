//! The settings file: [`lectern_protocol::Settings`] as TOML, so that a person can read and edit it.
//!
//! In and out: `settings.toml` in the config folder. A missing file is the defaults; a missing key is its default; a
//! file that cannot be read is an error that names the line, never silently replaced.

use crate::home::Home;
use lectern_protocol::{Failure, FailureCode, Settings};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

/// Why the settings were not read or written.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file holds something else than settings.
    #[error("{path} does not hold settings: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line and fact.
        source: Box<toml::de::Error>,
    },
    /// A number that cannot be followed.
    #[error("{name} = {value}: it can be {least} to {most}")]
    OutOfRange {
        /// Of the setting.
        name: &'static str,
        /// What was wanted.
        value: u32,
        /// The least that can be.
        least: u32,
        /// The most.
        most: u32,
    },
    /// The settings cannot be written as TOML.
    #[error("the settings cannot be written as TOML: {0}")]
    Unwritable(#[from] toml::ser::Error),
    /// The file system refused.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The fact.
        source: std::io::Error,
    },
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Failure {
        let (code, advice) = match &error {
            SettingsError::OutOfRange {
                name, least, most, ..
            } => (
                FailureCode::Other,
                Some(format!(
                    "`lectern settings {name} N` sets it, N from {least} to {most}."
                )),
            ),
            SettingsError::Malformed { .. } => (
                FailureCode::Other,
                Some("Correct the line, or delete the file to go back to the defaults.".to_owned()),
            ),
            SettingsError::File { source, .. } if source.kind() == ErrorKind::StorageFull => (
                FailureCode::DiskFull,
                Some("Make room on that disk and try again.".to_owned()),
            ),
            _ => (FailureCode::Other, None),
        };
        Failure {
            code,
            message: error.to_string(),
            advice,
        }
    }
}

/// Hundredths of a cache that can be kept at least: with less, answers were never measured.
const LEAST_KEPT: u32 = 20;
/// Times that positions can be stretched: further, nothing was measured.
const MOST_STRETCHED: u32 = 8;

/// Whether these settings can be followed.
fn check(settings: &Settings) -> Result<(), SettingsError> {
    for (name, value, least, most) in [
        ("kept_percent", settings.kept_percent, LEAST_KEPT, 100),
        ("stretch", settings.stretch, 1, MOST_STRETCHED),
    ] {
        if !(least..=most).contains(&value) {
            return Err(SettingsError::OutOfRange {
                name,
                value,
                least,
                most,
            });
        }
    }
    Ok(())
}

/// Reads the settings of `home`.
pub fn load(home: &Home) -> Result<Settings, SettingsError> {
    let path = home.settings();
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let settings = toml::from_str(&text).map_err(|source| SettingsError::Malformed {
                path,
                source: Box::new(source),
            })?;
            check(&settings)?;
            Ok(settings)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Settings::default()),
        Err(source) => Err(SettingsError::File { path, source }),
    }
}

/// Replaces the settings of `home`: a crash leaves the old or the new file, never half of one.
pub fn save(home: &Home, settings: &Settings) -> Result<(), SettingsError> {
    check(settings)?;
    let path = home.settings();
    let text = toml::to_string_pretty(settings)?;
    let write = || {
        let folder = path.parent().ok_or(ErrorKind::InvalidFilename)?;
        std::fs::create_dir_all(folder)?;
        let fresh = path.with_extension(format!("toml.{}", std::process::id()));
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)
    };
    write().map_err(|source| SettingsError::File {
        path: path.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings_survive_and_missing_keys_are_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        assert_eq!(load(&home).unwrap(), Settings::default());

        let mut settings = Settings {
            model: Some("smollm2-135m".to_owned()),
            threads: 3,
            ..Settings::default()
        };
        save(&home, &settings).unwrap();
        assert_eq!(load(&home).unwrap(), settings);

        settings = Settings {
            threads: 7,
            ..Settings::default()
        };
        std::fs::write(home.settings(), "threads = 7\n").unwrap();
        assert_eq!(load(&home).unwrap(), settings);
    }

    #[test]
    fn what_cannot_be_followed_is_refused_wherever_it_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let with = |kept_percent, stretch| Settings {
            kept_percent,
            stretch,
            ..Settings::default()
        };
        save(&home, &with(60, 4)).unwrap();
        for settings in [with(0, 1), with(101, 1), with(100, 0), with(100, 9)] {
            let failure = Failure::from(save(&home, &settings).unwrap_err());
            assert!(failure.advice.is_some(), "{failure:?}");
        }
        assert_eq!(load(&home).unwrap(), with(60, 4));
        std::fs::write(home.settings(), "kept_percent = 5\n").unwrap();
        let refused = load(&home).unwrap_err();
        assert!(
            refused.to_string().contains("kept_percent = 5"),
            "{refused}"
        );
    }

    #[test]
    fn a_malformed_file_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        std::fs::write(home.settings(), "threads = \"many\"\n").unwrap();
        let failure = Failure::from(load(&home).unwrap_err());
        assert!(failure.message.contains("settings.toml"), "{failure:?}");
        assert!(failure.advice.is_some());
        assert!(home.settings().exists());
    }
}
