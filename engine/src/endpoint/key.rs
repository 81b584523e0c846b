//! The key of a server, in a file of its own.
//!
//! Apart from the settings, because those are shown, copied and asked for help with. The file can be read by this account
//! alone (0600 where the system has modes): whoever has the key can spend in the person's name. A keyring would hide it
//! better, but needs a desktop session, which a machine that is reached over SSH has not. Kept with the key is the origin
//! it is for, so that another address in the settings never gets it.

use super::{Address, EndpointError};
use crate::home::Home;
use lectern_protocol::Secret;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Names the key for this run of the program, whatever is kept and whichever server is asked.
pub const KEY_VARIABLE: &str = "LECTERN_ENDPOINT_KEY";

#[derive(Serialize, Deserialize)]
struct Kept {
    /// Scheme, host and port.
    origin: String,
    key: Secret,
}

/// The key for a server: of the environment, else the one that is kept for this very origin.
pub fn key_of(home: &Home, address: &Address) -> Result<Option<Secret>, EndpointError> {
    if let Some(key) = std::env::var(KEY_VARIABLE)
        .ok()
        .filter(|key| !key.is_empty())
    {
        return usable(Secret::new(key)).map(Some);
    }
    let path = home.endpoint_key();
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| EndpointError::KeyFile {
            path: path.clone(),
            source,
        })?,
    };
    let kept: Kept = toml::from_str(&text).map_err(|_| EndpointError::KeyFile {
        // The parser's message would quote the line, and with it the key.
        path,
        source: std::io::Error::new(ErrorKind::InvalidData, "it does not hold a key"),
    })?;
    if kept.origin != address.origin() {
        return Ok(None);
    }
    usable(kept.key).map(Some)
}

/// Keeps `key` for a server in place of the one before, or forgets it.
pub fn keep_key(home: &Home, address: &Address, key: Option<Secret>) -> Result<(), EndpointError> {
    let path = home.endpoint_key();
    let written = match key {
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        Some(key) => {
            let kept = Kept {
                origin: address.origin(),
                key: usable(key)?,
            };
            toml::to_string(&kept)
                .map_err(std::io::Error::other)
                .and_then(|text| write_privately(&path, &text))
        }
    };
    written.map_err(|source| EndpointError::KeyFile { path, source })
}

/// A crash leaves the old or the new file; at no time can others read it.
fn write_privately(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidFilename)?;
    fs::create_dir_all(folder)?;
    let fresh = path.with_extension(format!("toml.{}", std::process::id()));
    // One that a crash left may have another mode.
    let _ = fs::remove_file(&fresh);
    let mut file = create_private(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(unix)]
fn create_private(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// A person's own folder is private already.
#[cfg(not(unix))]
fn create_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// A key that can stand in a header.
fn usable(key: Secret) -> Result<Secret, EndpointError> {
    let text = key.reveal().trim();
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(Secret::new(text.to_owned())),
        false => Err(EndpointError::KeyUnusable),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(url: &str) -> Address {
        Address::parse(url).unwrap()
    }

    #[test]
    fn a_key_is_kept_for_one_origin_and_for_this_account() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let gpu = address("https://gpu.example.org/v1");
        assert_eq!(key_of(&home, &gpu).unwrap(), None);
        keep_key(&home, &gpu, Some(Secret::new(" sk-1\n".into()))).unwrap();
        keep_key(&home, &gpu, Some(Secret::new("sk-2".into()))).unwrap();
        let kept = |url| key_of(&home, &address(url)).unwrap();
        assert_eq!(
            kept("https://gpu.example.org/other/v2").unwrap().reveal(),
            "sk-2"
        );
        for other in [
            "http://gpu.example.org/v1",
            "https://gpu.example.org:8443/v1",
            "https://example.org/v1",
            "https://gpu.example.org.evil.net/v1",
        ] {
            assert_eq!(kept(other), None, "{other}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(home.endpoint_key())
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        keep_key(&home, &gpu, None).unwrap();
        keep_key(&home, &gpu, None).unwrap();
        assert_eq!(kept("https://gpu.example.org/v1"), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_key_is_refused_without_telling_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let gpu = address("http://gpu/v1");
        for key in ["", "  ", "two words", "sk\r\nX-Evil: 1", "schl\u{FC}ssel"] {
            let error = keep_key(&home, &gpu, Some(Secret::new(key.into()))).unwrap_err();
            assert!(matches!(error, EndpointError::KeyUnusable), "{error}");
        }
        fs::write(
            home.endpoint_key(),
            "origin = \"http://gpu\"\nkey = sk-secret\n",
        )
        .unwrap();
        let said = format!("{0} {0:?}", key_of(&home, &gpu).unwrap_err());
        assert!(
            said.contains("does not hold a key") && !said.contains("sk-secret"),
            "{said}"
        );
        let key = Secret::new("sk-secret".into());
        assert_eq!(format!("{key:?}"), "[secret]");
    }
}
