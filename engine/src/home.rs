//! Where Lectern keeps its data on this machine.
//!
//! In: the environment. Out: paths; nothing is created until somebody writes. `LECTERN_HOME` overrides both the data
//! and the settings folder (a library on a stick, a test), `LECTERN_MODELS` the folder of models alone (one copy of
//! a large file for several libraries).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The platform names no home folder and `LECTERN_HOME` is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this account has no home folder, and LECTERN_HOME does not name another place for the library"
)]
pub struct NoHome;

/// The folders of one library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    data: PathBuf,
    config: PathBuf,
    models: PathBuf,
}

impl Home {
    /// The home that the environment names: `LECTERN_HOME`, else `lectern` in the platform's data and config folders.
    pub fn find() -> Result<Home, NoHome> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let mut home = match set("LECTERN_HOME") {
            Some(root) => Home::at(&absolute(root)),
            None => {
                let dirs = directories::BaseDirs::new().ok_or(NoHome)?;
                let data = dirs.data_local_dir().join("lectern");
                Home {
                    config: dirs.config_dir().join("lectern"),
                    models: data.join("models"),
                    data,
                }
            }
        };
        if let Some(models) = set("LECTERN_MODELS") {
            home.models = absolute(models);
        }
        Ok(home)
    }

    /// A home whose data and settings lie in `root`.
    pub fn at(root: &Path) -> Home {
        Home {
            data: root.to_path_buf(),
            config: root.to_path_buf(),
            models: root.join("models"),
        }
    }

    /// The same home with its models elsewhere.
    pub fn with_models(mut self, models: &Path) -> Home {
        self.models = models.to_path_buf();
        self
    }

    /// The folder of everything but settings.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The SQLite database.
    pub fn database(&self) -> PathBuf {
        self.data.join("library.db")
    }

    /// Copies of added files, named by content hash.
    pub fn originals(&self) -> PathBuf {
        self.data.join("originals")
    }

    /// Recognised pages of scanned documents, one file each, named by content hash.
    pub fn recognised(&self) -> PathBuf {
        self.data.join("recognised")
    }

    /// Key/value caches.
    pub fn caches(&self) -> PathBuf {
        self.data.join("caches")
    }

    /// What reading took on this machine.
    pub fn paces(&self) -> PathBuf {
        self.data.join("paces.json")
    }

    /// What self-checks of GPUs found.
    pub fn gpu_checks(&self) -> PathBuf {
        self.data.join("gpu-checks.json")
    }

    /// Model files.
    pub fn models(&self) -> &Path {
        &self.models
    }

    /// The settings file.
    pub fn settings(&self) -> PathBuf {
        self.config.join("settings.toml")
    }

    /// The key of a server that answers, for this account alone.
    pub fn endpoint_key(&self) -> PathBuf {
        self.config.join("endpoint-key.toml")
    }
}

fn absolute(path: OsString) -> PathBuf {
    let path = PathBuf::from(path);
    // Only an empty path or a vanished working directory fails here; the path as given is then the best name.
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_a_home_lies_in_it() {
        let home = Home::at(Path::new("/books"));
        for path in [
            home.database(),
            home.originals(),
            home.caches(),
            home.recognised(),
            home.models().to_path_buf(),
            home.settings(),
            home.endpoint_key(),
        ] {
            assert!(path.starts_with("/books"), "{}", path.display());
        }
        assert_eq!(
            home.with_models(Path::new("/models")).models(),
            Path::new("/models")
        );
    }
}
