//! What each command does and prints.

use super::answers::{one_line, print_evidence};
use super::arguments::{Command, Models, ModelsCommand};
use super::exit::Exit;
use super::progress::{Progress, say_failure};
use super::say;
use lectern_engine::attention::CancelFlag;
use lectern_engine::evaluation::{self, Evaluation, MeasuredModel};
use lectern_engine::lectern::{Job, Lectern, place};
use lectern_protocol::*;
use serde::Serialize;
use std::io::{IsTerminal, Write, stdin, stdout};
use std::path::{Path, PathBuf};
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
            password,
            json,
        } => {
            let ask = Ask {
                document: session.document(&target, password.as_deref()).await?,
                question,
                conversation,
                max_tokens,
                seed,
                greedy: greedy.then_some(true),
            };
            session.ask(ask, json).await
        }
        Command::Show { target, text, json } => session.show(&target, text, json).await,
        Command::Search {
            query,
            document,
            json,
        } => session.search(&query, document.as_deref(), json).await,
        Command::Export {
            conversation,
            output,
        } => session.export(&conversation, output.as_deref()).await,
        Command::Remove { documents, yes } => session.remove(&documents, yes).await,
        Command::Models(models) => session.models(models).await,
        Command::Settings { name, value } => session.settings(name.zip(value)),
        Command::Eval { evaluation } => session.evaluate(evaluation).await,
        // Handled where the program starts.
        Command::Serve => Ok(Exit::Done),
    }
}

struct Session<'s> {
    lectern: &'s Arc<Lectern>,
    cancel: &'s CancelFlag,
}

impl Session<'_> {
    async fn evaluate(&self, evaluation: Evaluation) -> Result<Exit, Failure> {
        let lectern = Arc::clone(self.lectern);
        let measured = tokio::task::spawn_blocking(move || {
            evaluation::run(&evaluation, &|| {
                let chosen = lectern.chosen_model()?;
                Ok(MeasuredModel {
                    path: chosen.path,
                    retrieval_heads: chosen.retrieval_heads,
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
    fn job(&self, progress: &Arc<Progress>) -> Job {
        let progress = Arc::clone(progress);
        Job::new(move |event| progress.show(&event), self.cancel.clone())
    }

    /// The document that `target` names: a path, which is added if it is new, else an id.
    async fn document(&self, target: &str, password: Option<&str>) -> Result<String, Failure> {
        let path = Path::new(target);
        if !path.exists() {
            return self.lectern.resolve(target).await.map_err(|mut failure| {
                if failure.code == FailureCode::NotFound {
                    failure.message = format!("{target:?} is neither a file nor a document's id");
                }
                failure
            });
        }
        let progress = Arc::new(Progress::new());
        let mut added = self
            .lectern
            .add(&[path.to_owned()], password, &self.job(&progress))
            .await?;
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

    async fn add(
        &self,
        paths: &[PathBuf],
        password: Option<&str>,
        read: bool,
        json: bool,
    ) -> Result<Exit, Failure> {
        let progress = Arc::new(Progress::new());
        let added = self
            .lectern
            .add(paths, password, &self.job(&progress))
            .await?;
        progress.clear();
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
                let known = if entry.known { " (known already)" } else { "" };
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
                    .read(&document.id, &self.job(&progress))
                    .await?;
            }
        }
        Ok(exit)
    }

    async fn list(&self, json: bool) -> Result<Exit, Failure> {
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

    async fn read(
        &self,
        target: &str,
        password: Option<&str>,
        json: bool,
    ) -> Result<Exit, Failure> {
        let id = self.document(target, password).await?;
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
                         passages that match it best"
                    ),
                    other => reading_in_words(&other),
                }
            ));
        }
        Ok(Exit::Done)
    }

    async fn ask(&self, ask: Ask, json: bool) -> Result<Exit, Failure> {
        let progress = Arc::new(Progress::new());
        let shown = Arc::clone(&progress);
        let job = Job::new(
            move |event| match &event {
                Event::Token { text } if !json => {
                    shown.clear();
                    let _ = write!(stdout(), "{text}").and_then(|()| stdout().flush());
                }
                _ => shown.show(&event),
            },
            self.cancel.clone(),
        );
        let answer = self.lectern.ask(ask, &job).await;
        progress.clear();
        if !json && (answer.is_ok() || self.cancel.is_cancelled()) {
            say("");
        }
        let answer = answer?;
        if json {
            print_json(&answer)?;
        } else {
            print_evidence(&answer);
        }
        Ok(Exit::Done)
    }

    async fn show(&self, target: &str, text: bool, json: bool) -> Result<Exit, Failure> {
        let id = self.document(target, None).await?;
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

    async fn search(
        &self,
        query: &str,
        document: Option<&str>,
        json: bool,
    ) -> Result<Exit, Failure> {
        let Some(target) = document else {
            let found = self.lectern.conversations(None, Some(query)).await?;
            if json {
                print_json(&found)?;
            } else {
                for conversation in &found {
                    say(&format!(
                        "{}  {} (document {}, {} questions)",
                        conversation.id,
                        one_line(&conversation.title),
                        conversation.document,
                        conversation.turns
                    ));
                }
            }
            return Ok(found_or_not(found.is_empty()));
        };
        let id = self.document(target, None).await?;
        let Outcome::Found { spans, more } = self.lectern.find(&id, query).await? else {
            return Ok(Exit::Failed);
        };
        let anchors = self.lectern.locate(&id, &spans).await?;
        let text = self.lectern.text(&id).await?;
        #[derive(Serialize)]
        struct Found<'f> {
            start: u32,
            end: u32,
            quote: &'f str,
            anchor: &'f AnchorView,
        }
        for (span, anchor) in spans.iter().zip(&anchors) {
            let quote = &text[span.start as usize..span.end as usize];
            if json {
                print_json(&Found {
                    start: span.start,
                    end: span.end,
                    quote,
                    anchor,
                })?;
            } else {
                say(&format!("{}: {}", place(anchor), around(&text, *span)));
            }
        }
        if more {
            eprintln!("There are more places than the {} shown.", spans.len());
        }
        Ok(found_or_not(spans.is_empty()))
    }

    async fn export(&self, conversation: &str, output: Option<&Path>) -> Result<Exit, Failure> {
        let (_, markdown) = self.lectern.export(conversation).await?;
        match output {
            Some(path) => std::fs::write(path, markdown)
                .map_err(|error| super::other(format!("{}: {error}", path.display())))?,
            None => say(markdown.trim_end()),
        }
        Ok(Exit::Done)
    }

    async fn remove(&self, documents: &[String], yes: bool) -> Result<Exit, Failure> {
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

    async fn models(&self, models: Models) -> Result<Exit, Failure> {
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

    fn settings(&self, change: Option<(String, String)>) -> Result<Exit, Failure> {
        let settings = match change {
            None => self.lectern.settings(),
            Some((name, value)) => {
                let changed = changed(&self.lectern.settings(), &name, &value)?;
                self.lectern.change_settings(changed)?
            }
        };
        let text =
            toml::to_string_pretty(&settings).map_err(|error| super::other(error.to_string()))?;
        say(text.trim_end());
        Ok(Exit::Done)
    }
}

/// The settings with one of them changed; the value as TOML, or as a string.
fn changed(settings: &Settings, name: &str, value: &str) -> Result<Settings, Failure> {
    let failed = |error: &dyn std::fmt::Display| super::other(format!("{name} = {value}: {error}"));
    let mut table = toml::Table::try_from(Settings {
        // So that the name is known even while nothing is chosen.
        model: settings.model.clone().or_else(|| Some(String::new())),
        ..settings.clone()
    })
    .map_err(|error| failed(&error))?;
    let place = table
        .get_mut(name)
        .ok_or_else(|| failed(&"there is no such setting"))?;
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

fn found_or_not(nothing: bool) -> Exit {
    if nothing {
        eprintln!("Nothing was found.");
        Exit::NotFound
    } else {
        Exit::Done
    }
}

/// The words about a span, on one line.
fn around(text: &str, span: TextSpan) -> String {
    const WORDS: usize = 60;
    let edge = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = edge((span.start as usize).saturating_sub(WORDS));
    let to = edge((span.end as usize + WORDS).min(text.len()));
    one_line(&text[from..to])
}

fn confirmed(title: &str) -> bool {
    eprint!("Remove “{title}” with its conversations and what was read of it? [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(|error| super::other(error.to_string()))?;
    let mut out = stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| super::other(format!("the output cannot be written: {error}")))
}
