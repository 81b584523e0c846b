//! Documents: added, listed, read, shown, removed.

use super::answers::one_line;
use super::commands::{Session, print_json};
use super::exit::Exit;
use super::progress::{Progress, about, say_failure};
use super::say;
use lectern_engine::lectern::Job;
use lectern_protocol::*;
use serde::Serialize;
use std::io::{IsTerminal, Write, stdin, stdout};
use std::path::PathBuf;
use std::sync::Arc;

impl Session<'_> {
    pub(super) async fn add(
        &self,
        paths: &[PathBuf],
        password: Option<&str>,
        read: bool,
        json: bool,
    ) -> Result<Exit, Failure> {
        let added = self.add_all(paths, password, json).await?;
        let mut exit = Exit::Done;
        for entry in &added {
            if let Some(failure) = &entry.failure {
                exit = Exit::of(failure);
                if !json {
                    say_failure(failure);
                }
            }
            if json {
                print_json(entry)?;
            } else if let Some(document) = &entry.document {
                let known = match (&entry.refreshed, entry.known) {
                    (Some(_), _) => " (updated)",
                    (None, true) => " (known already)",
                    (None, false) => "",
                };
                say(&format!("{}  {}{known}", document.id, document.title));
                for notice in document.notices.iter().filter(|_| !entry.known) {
                    eprintln!("  {notice}");
                }
            }
        }
        // With several, the code says only that something failed.
        if exit != Exit::Done && added.len() > 1 {
            exit = Exit::Failed;
        }
        if read {
            for document in added.iter().filter_map(|entry| entry.document.as_ref()) {
                self.lectern
                    .read(&document.id, &self.job(&Arc::new(Progress::new())))
                    .await?;
            }
        }
        Ok(exit)
    }

    pub(super) async fn list(&self, json: bool) -> Result<Exit, Failure> {
        let documents = self.lectern.list().await?;
        if json {
            print_json(&documents)?;
            return Ok(Exit::Done);
        }
        if documents.is_empty() {
            eprintln!("The library is empty. `lectern add FILE` puts something into it.");
        }
        for document in &documents {
            say(&format!(
                "{}  {:<9} {:>9} words  {}",
                document.id,
                reading_in_words(&document.reading),
                document.words,
                document.title
            ));
        }
        Ok(Exit::Done)
    }

    pub(super) async fn read(
        &self,
        target: &str,
        password: Option<&str>,
        json: bool,
    ) -> Result<Exit, Failure> {
        let id = self.document(target, password, json).await?;
        let progress = Arc::new(Progress::new());
        let shown = Arc::clone(&progress);
        let job = Job::new(
            move |event| match event {
                Event::Reading(reading) if json => {
                    // A reader that has gone must not stop the reading.
                    let _ = print_json(&reading);
                }
                event => shown.show(&event),
            },
            self.cancel.clone(),
        );
        let read = self.lectern.read(&id, &job).await;
        progress.clear();
        let document = read.inspect_err(|failure| {
            if failure.code == FailureCode::Cancelled {
                eprintln!("What was read is kept: `lectern read {id}` goes on from there.");
            }
        })?;
        if !json {
            say(&format!(
                "{}  {}: {}",
                document.id,
                document.title,
                match document.reading {
                    ReadState::Read {
                        tokens,
                        cache_bytes,
                    } => format!(
                        "read, {tokens} tokens in {:.1} MB",
                        cache_bytes as f64 / 1e6
                    ),
                    ReadState::TooLong { tokens, window } => format!(
                        "{tokens} tokens are longer than the model's window of {window}; each question reads the \
                         passages that match it best (`lectern settings beyond_window read` has it read whole: \
                         sooner answered, less often right)"
                    ),
                    other => reading_in_words(&other),
                }
            ));
        }
        Ok(Exit::Done)
    }

    pub(super) async fn show(&self, target: &str, text: bool, json: bool) -> Result<Exit, Failure> {
        let id = self.document(target, None, json).await?;
        if text {
            // Exactly the canonical text, whose bytes spans count.
            let text = self.lectern.text(&id).await?;
            let _ = stdout().write_all(text.as_bytes());
            return Ok(Exit::Done);
        }
        let document = self.lectern.summary(&id).await?;
        let outline = self.lectern.outline(&id).await?;
        if json {
            #[derive(Serialize)]
            struct Shown {
                document: DocumentSummary,
                outline: Outline,
            }
            print_json(&Shown { document, outline })?;
            return Ok(Exit::Done);
        }
        say(&document.title);
        if let Some(authors) = &document.authors {
            say(&format!("by {authors}"));
        }
        let pages = document
            .pages
            .map(|pages| format!(", {pages} pages"))
            .unwrap_or_default();
        say(&format!(
            "{}  {} words{pages}, {}\nfrom {}",
            document.id,
            document.words,
            reading_in_words(&document.reading),
            document.source
        ));
        if let Some(forecast) = &document.forecast {
            say(&format!(
                "reading it takes about {} and {:.0} MB on disk{}",
                about(forecast.seconds),
                forecast.cache_bytes as f64 / 1e6,
                match forecast.fits {
                    true => "",
                    false => ", more than there is room for",
                }
            ));
            if let Some(gpu) = &forecast.gpu {
                say(gpu);
            }
        }
        for notice in &document.notices {
            say(&format!("note: {notice}"));
        }
        for section in &outline.sections {
            let page = section
                .page
                .map(|page| format!("  (p. {page})"))
                .unwrap_or_default();
            let indent = "  ".repeat(section.depth as usize + 1);
            say(&format!("{indent}{}{page}", one_line(&section.title)));
        }
        Ok(Exit::Done)
    }

    pub(super) async fn remove(&self, documents: &[String], yes: bool) -> Result<Exit, Failure> {
        let mut removed = Vec::with_capacity(documents.len());
        for target in documents {
            let id = self.lectern.resolve(target).await?;
            removed.push(self.lectern.summary(&id).await?);
        }
        for document in removed {
            // Without a person there is nobody to ask, and whoever wrote the script meant it.
            if !yes && stdin().is_terminal() && !confirmed(&document.title) {
                continue;
            }
            self.lectern.remove(&document.id).await?;
            say(&format!("removed {}  {}", document.id, document.title));
        }
        Ok(Exit::Done)
    }
}

fn reading_in_words(reading: &ReadState) -> String {
    match reading {
        ReadState::Unread => "unread".to_owned(),
        ReadState::Partly { tokens, total } => {
            format!(
                "{} % read",
                u64::from(*tokens) * 100 / u64::from((*total).max(1))
            )
        }
        ReadState::Read { .. } => "read".to_owned(),
        ReadState::TooLong { .. } => "long".to_owned(),
    }
}

fn confirmed(title: &str) -> bool {
    eprint!("Remove “{title}” with its conversations and what was read of it? [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
