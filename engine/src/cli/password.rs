//! Passwords of encrypted files, asked for where a person sits at a terminal.

use super::commands::Session;
use super::progress::{Progress, say_failure};
use lectern_protocol::{Added, Failure, FailureCode};
use std::io::{IsTerminal, stderr, stdin};
use std::path::PathBuf;
use std::sync::Arc;

impl Session<'_> {
    /// Adds files and folders. `quiet`, a given password, or no terminal: what is encrypted fails. Otherwise its
    /// password is asked for until it fits or is left empty.
    pub(super) async fn add_all(
        &self,
        paths: &[PathBuf],
        password: Option<&str>,
        quiet: bool,
    ) -> Result<Vec<Added>, Failure> {
        let progress = Arc::new(Progress::new());
        let job = self.job(&progress);
        let mut added = self.lectern.add(paths, password, &job).await?;
        progress.clear();
        let ask = !quiet && password.is_none() && stdin().is_terminal() && stderr().is_terminal();
        for entry in added.iter_mut().filter(|_| ask) {
            while let Some(failure) = entry.failure.as_ref()
                && failure.code == FailureCode::PasswordNeeded
            {
                say_failure(failure);
                let prompt = "Password, or nothing to leave this file: ";
                let typed = rpassword::prompt_password(prompt)
                    .map_err(|error| super::other(format!("no password was typed: {error}")))?;
                if typed.is_empty() || self.cancel.is_cancelled() {
                    break;
                }
                let path = PathBuf::from(&entry.path);
                let again = self.lectern.add(&[path], Some(&typed), &job).await?;
                progress.clear();
                if let Some(again) = again.into_iter().next() {
                    *entry = again;
                }
            }
        }
        Ok(added)
    }
}
