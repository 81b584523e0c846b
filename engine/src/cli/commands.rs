//! From a command to what does it; what all commands need.

use super::arguments::Command;
use super::exit::Exit;
use super::progress::Progress;
use lectern_engine::attention::CancelFlag;
use lectern_engine::evaluation::{self, Evaluation, MeasuredModel};
use lectern_engine::lectern::{Job, Lectern};
use lectern_protocol::*;
use serde::Serialize;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;

/// Does what a command says.
pub async fn run(
    lectern: &Arc<Lectern>,
    command: Command,
    cancel: &CancelFlag,
) -> Result<Exit, Failure> {
    let session = Session { lectern, cancel };
    match command {
        Command::Add {
            paths,
            password,
            read,
            json,
        } => session.add(&paths, password.as_deref(), read, json).await,
        Command::List { json } => session.list(json).await,
        Command::Read {
            target,
            password,
            json,
        } => session.read(&target, password.as_deref(), json).await,
        Command::Ask {
            target,
            question,
            conversation,
            max_tokens,
            seed,
            greedy,
            now,
            endpoint: _,
            endpoint_model: _,
            password,
            json,
        } => {
            let ask = Ask {
                document: session.document(&target, password.as_deref(), json).await?,
                question,
                conversation,
                max_tokens,
                seed,
                greedy: greedy.then_some(true),
                at_once: now.then_some(true),
            };
            session.ask(ask, json).await
        }
        Command::Refresh {
            documents,
            again,
            password,
            json,
        } => {
            session
                .refresh(&documents, again, password.as_deref(), json)
                .await
        }
        Command::Show { target, text, json } => session.show(&target, text, json).await,
        Command::Search {
            query,
            document,
            json,
        } => session.search(&query, document.as_deref(), json).await,
        Command::Export {
            conversation,
            format,
            output,
        } => {
            session
                .export(&conversation, format, output.as_deref())
                .await
        }
        Command::Open { link, print, json } => session.open(&link, !print && !json, json).await,
        Command::Remove { documents, yes } => session.remove(&documents, yes).await,
        Command::Models(models) => session.models(models).await,
        Command::Settings { name, value } => session.settings(name, value),
        Command::Eval {
            stretch,
            evaluation,
        } => session.evaluate(evaluation, stretch).await,
        // Handled where the program starts.
        Command::Serve => Ok(Exit::Done),
    }
}

/// A run of the program.
pub(super) struct Session<'s> {
    pub lectern: &'s Arc<Lectern>,
    pub cancel: &'s CancelFlag,
}

impl Session<'_> {
    async fn evaluate(&self, evaluation: Evaluation, stretch: f64) -> Result<Exit, Failure> {
        let lectern = Arc::clone(self.lectern);
        let measured = tokio::task::spawn_blocking(move || {
            evaluation::run(&evaluation, &|| {
                let chosen = lectern.chosen_model()?;
                Ok(MeasuredModel {
                    path: chosen.path,
                    retrieval_heads: chosen.retrieval_heads,
                    kv_format: chosen.kv_format,
                    stretch,
                    models: lectern.models_folder().to_owned(),
                })
            })
        });
        measured.await.map_err(|_| Failure {
            code: FailureCode::Other,
            message: "the measurement ended with a fault of its own".to_owned(),
            advice: None,
        })??;
        Ok(Exit::Done)
    }

    /// A job whose events are shown as progress.
    pub fn job(&self, progress: &Arc<Progress>) -> Job {
        let progress = Arc::clone(progress);
        Job::new(move |event| progress.show(&event), self.cancel.clone())
    }

    /// The document that `target` names: a path, which is added if it is new, else an id.
    /// Without `json` a terminal is asked for the password of an encrypted file.
    pub async fn document(
        &self,
        target: &str,
        password: Option<&str>,
        json: bool,
    ) -> Result<String, Failure> {
        let path = Path::new(target);
        if !path.exists() {
            return self.lectern.resolve(target).await.map_err(|mut failure| {
                if failure.code == FailureCode::NotFound {
                    failure.message = format!("{target:?} is neither a file nor a document's id");
                }
                failure
            });
        }
        let mut added = self.add_all(&[path.to_owned()], password, json).await?;
        // Of a folder of books there may be several; only one of its own can be meant without more words.
        let own = added.iter().position(|entry| entry.path == target);
        let meant = match (own, added.len()) {
            (Some(own), _) => added.swap_remove(own),
            (None, 1) => added.swap_remove(0),
            (None, several) => {
                return Err(super::other(format!(
                    "{target} holds {several} documents; name one of them (`lectern list`)"
                )));
            }
        };
        match meant {
            Added {
                document: Some(document),
                ..
            } => Ok(document.id),
            Added { failure, .. } => {
                Err(failure.unwrap_or_else(|| super::other(format!("{target} was not added"))))
            }
        }
    }
}

/// Prints a value as one line of JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(|error| super::other(error.to_string()))?;
    let mut out = stdout();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        // `| head` has read what it wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(super::other(format!(
            "the output cannot be written: {error}"
        ))),
        _ => Ok(()),
    }
}
