//! Documents whose source has changed.

use super::commands::{Session, print_json};
use super::exit::Exit;
use super::progress::{Progress, say_failure};
use super::say;
use lectern_protocol::*;
use std::sync::Arc;

impl Session<'_> {
    /// Refreshes the documents named, or all that have changed.
    pub(super) async fn refresh(
        &self,
        documents: &[String],
        again: bool,
        password: Option<&str>,
        json: bool,
    ) -> Result<Exit, Failure> {
        let mut ids = Vec::new();
        for target in documents {
            ids.push(self.lectern.resolve(target).await?);
        }
        if documents.is_empty() {
            ids.extend(
                self.lectern
                    .changes()
                    .await?
                    .into_iter()
                    .map(|change| change.document),
            );
            if ids.is_empty() && !json {
                eprintln!("Every document holds what its file or folder holds.");
            }
        }
        let mut exit = Exit::Done;
        for id in &ids {
            let progress = Arc::new(Progress::new());
            let refreshed = self
                .lectern
                .refresh(id, password, again, &self.job(&progress))
                .await;
            progress.clear();
            match refreshed {
                Ok(refreshed) if json => print_json(&refreshed)?,
                Ok(refreshed) => say_refreshed(&refreshed),
                // One that cannot be taken in stays as it is; the others are not its fault.
                Err(failure) if failure.code == FailureCode::Cancelled => return Err(failure),
                Err(failure) => {
                    exit = Exit::of(&failure);
                    say_failure(&failure);
                }
            }
        }
        if exit != Exit::Done && ids.len() > 1 {
            exit = Exit::Failed;
        }
        Ok(exit)
    }
}

fn say_refreshed(refreshed: &Refreshed) {
    let document = &refreshed.document;
    let line = match refreshed.state {
        RefreshedState::Unchanged => "has not changed".to_owned(),
        RefreshedState::Missing => format!("{} is gone; kept as it is", document.source),
        RefreshedState::Updated => {
            let citations = match (refreshed.citations_kept, refreshed.citations_gone) {
                (0, 0) => String::new(),
                (kept, 0) => format!("; all {kept} citations still stand"),
                (kept, gone) => {
                    format!("; {kept} citations still stand, {gone} are no longer in the document")
                }
            };
            format!("updated; what was read of the parts that did not change is kept{citations}")
        }
    };
    say(&format!("{}  {}: {line}", document.id, document.title));
    if refreshed.state == RefreshedState::Updated {
        for notice in &document.notices {
            eprintln!("  {notice}");
        }
    }
}
