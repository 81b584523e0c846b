//! Questions and what is kept of them: asked, searched, exported.

use super::answers::{one_line, print_evidence};
use super::arguments::Format;
use super::commands::{Session, print_json};
use super::exit::Exit;
use super::progress::Progress;
use super::say;
use lectern_engine::lectern::{Job, place};
use lectern_protocol::*;
use serde::Serialize;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;

impl Session<'_> {
    pub(super) async fn ask(&self, ask: Ask, json: bool) -> Result<Exit, Failure> {
        if let Some(endpoint) = self.lectern.endpoint() {
            self.announce(&endpoint)?;
        }
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

    /// Says on stderr who answers, before anything is sent.
    fn announce(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        let described = self.lectern.describe_endpoint(endpoint)?;
        eprintln!(
            "Asking {} at {}: the question and passages of the document go there.",
            endpoint.model, described.host
        );
        if !described.encrypted && !described.loopback {
            eprintln!("Warning: the connection is not encrypted; it can be read on the way.");
        }
        Ok(())
    }

    pub(super) async fn search(
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
        let id = self.document(target, None, json).await?;
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

    pub(super) async fn export(
        &self,
        conversation: &str,
        format: Option<Format>,
        output: Option<&Path>,
    ) -> Result<Exit, Failure> {
        let format = match format {
            Some(Format::Markdown) => ExportFormat::Markdown,
            Some(Format::Html) => ExportFormat::Html,
            None => format_of(output)?,
        };
        let (_, text) = self.lectern.export(conversation, format).await?;
        match output {
            Some(path) => std::fs::write(path, text)
                .map_err(|error| super::other(format!("{}: {error}", path.display())))?,
            None => say(text.trim_end()),
        }
        Ok(Exit::Done)
    }
}

/// What a file's name promises.
fn format_of(output: Option<&Path>) -> Result<ExportFormat, Failure> {
    let extension = output
        .and_then(|path| path.extension()?.to_str())
        .map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("html" | "htm") => Ok(ExportFormat::Html),
        Some("pdf") => Err(Failure {
            code: FailureCode::Other,
            message: "a PDF is made in the window, or printed from the web page".to_owned(),
            advice: Some(
                "Export to a name that ends with .html, open it, and print it.".to_owned(),
            ),
        }),
        _ => Ok(ExportFormat::Markdown),
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

/// The words about a span, on one line, whole but for the span's own.
fn around(text: &str, span: TextSpan) -> String {
    const WORDS: usize = 60;
    let edge = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (span.start as usize, span.end as usize);
    let before = &text[edge(start.saturating_sub(WORDS))..start];
    let after = &text[end..edge((end + WORDS).min(text.len()))];
    // A window that cuts a word begins after it, and one that cuts a word ends before it.
    let before = match start > WORDS {
        true => before
            .split_once(char::is_whitespace)
            .map_or("", |(_, rest)| rest),
        false => before,
    };
    let after = match end + WORDS < text.len() {
        true => after
            .rsplit_once(char::is_whitespace)
            .map_or("", |(rest, _)| rest),
        false => after,
    };
    one_line(&format!("{before}{}{after}", &text[start..end]))
}
