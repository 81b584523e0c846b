//! Links, opened in the window.

use super::answers::one_line;
use super::commands::{Session, print_json};
use super::exit::Exit;
use super::{other, say};
use lectern_engine::lectern::place;
use lectern_protocol::{Failure, FailureCode};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a window that cannot be opened takes to say so.
const SOON: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Says what a link names, and shows it in the window. A link that names nothing starts nothing.
    pub(super) async fn open(&self, link: &str, show: bool, json: bool) -> Result<Exit, Failure> {
        let citation = self.lectern.follow(link).await?;
        if json {
            print_json(&citation)?;
        } else {
            let document = self.lectern.summary(&citation.document).await?;
            let (title, place) = (one_line(&document.title), place(&citation.anchor));
            let quote = one_line(&citation.quote);
            say(&format!("{title}, {place}: \u{201C}{quote}\u{201D}"));
        }
        if show {
            start_window(link)?;
        }
        Ok(Exit::Done)
    }
}

/// Starts the window; if one is open on this library, it is that one which goes to the place.
fn start_window(link: &str) -> Result<(), Failure> {
    let program = window();
    let mut command = Command::new(&program);
    command
        .arg(link)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // It stays when the terminal that it was started from is closed.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut started = command.spawn().map_err(|error| Failure {
        code: FailureCode::Other,
        message: format!(
            "the window cannot be started: {}: {error}",
            program.display()
        ),
        advice: Some(
            "Install it, or put `lectern-desktop` beside `lectern`; `--print` needs no window."
                .to_owned(),
        ),
    })?;
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        match started.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                return Err(other(format!(
                    "the window cannot be opened: it ended with {status}"
                )));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(other(format!("the window was lost: {error}"))),
        }
    }
    Ok(())
}

/// `LECTERN_DESKTOP`, else `lectern-desktop` beside this program, else whatever has that name.
fn window() -> PathBuf {
    let name = format!("lectern-desktop{}", std::env::consts::EXE_SUFFIX);
    if let Some(program) = std::env::var_os("LECTERN_DESKTOP") {
        return program.into();
    }
    std::env::current_exe()
        .ok()
        .map(|lectern| lectern.with_file_name(&name))
        .filter(|beside| beside.is_file())
        .unwrap_or_else(|| name.into())
}
