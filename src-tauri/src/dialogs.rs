//! The system's dialogs to open and save files.

use crate::pdf;
use lectern_protocol::{Failure, FailureCode};
use serde::{Deserialize, Serialize};
use specta::Type;
use std::path::Path;
use tauri::AppHandle;
use tauri_plugin_dialog::{DialogExt, FilePath};
use tokio::sync::oneshot;

/// What to choose.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum PickKind {
    /// Any number of documents.
    Files,
    /// A folder of documents or source code.
    Folder,
    /// A model in GGUF format.
    Model,
}

/// Extensions offered first in the dialog; "All files" is there too, since plain text has many names.
const DOCUMENTS: &[&str] = &[
    "pdf", "epub", "mobi", "azw3", "fb2", "docx", "odt", "rtf", "pptx", "odp", "xlsx", "ods",
    "csv", "eml", "html", "htm", "xhtml", "md", "markdown", "txt", "text", "rst", "tex", "zip",
    "py", "rs", "js", "ts", "c", "h", "cpp", "java", "go", "rb", "sh",
];

pub(crate) async fn pick(app: &AppHandle, kind: PickKind) -> Result<Vec<String>, Failure> {
    let (answer, chosen) = oneshot::channel::<Vec<FilePath>>();
    let dialog = app.dialog().file();
    match kind {
        PickKind::Files => dialog
            .set_title("Add documents")
            .add_filter("Documents", DOCUMENTS)
            .add_filter("All files", &["*"])
            .pick_files(move |paths| drop(answer.send(paths.unwrap_or_default()))),
        PickKind::Folder => dialog
            .set_title("Add a folder")
            .pick_folder(move |path| drop(answer.send(path.into_iter().collect()))),
        PickKind::Model => dialog
            .set_title("Import a model")
            .add_filter("GGUF models", &["gguf"])
            .pick_file(move |path| drop(answer.send(path.into_iter().collect()))),
    }
    chosen
        .await
        .unwrap_or_default()
        .into_iter()
        .map(|path| {
            let path = path.into_path().map_err(|error| Failure {
                code: FailureCode::Other,
                message: format!("What was chosen is not a local file: {error}."),
                advice: Some("Copy it to this computer first.".into()),
            })?;
            utf8(&path)
        })
        .collect()
}

/// What an exported conversation is kept as.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum SaveFormat {
    /// Markdown, as it is given.
    Markdown,
    /// A web page, as it is given.
    Html,
    /// A PDF, printed from the web page that is given.
    Pdf,
}

/// Writes `text`, Markdown or a web page, to where the person says.
pub(crate) async fn save_export(
    app: &AppHandle,
    format: SaveFormat,
    file_name: &str,
    text: &str,
) -> Result<Option<String>, Failure> {
    let (kind, extensions): (_, &[&str]) = match format {
        SaveFormat::Markdown => ("Markdown", &["md"]),
        SaveFormat::Html => ("Web page", &["html", "htm"]),
        SaveFormat::Pdf => ("PDF", &["pdf"]),
    };
    let (answer, chosen) = oneshot::channel();
    app.dialog()
        .file()
        .set_title("Export the conversation")
        .set_file_name(file_name)
        .add_filter(kind, extensions)
        .save_file(move |path| drop(answer.send(path)));
    let Some(path) = chosen
        .await
        .ok()
        .flatten()
        .and_then(|path| path.into_path().ok())
    else {
        return Ok(None);
    };
    match format {
        SaveFormat::Markdown | SaveFormat::Html => tokio::fs::write(&path, text)
            .await
            .map_err(|error| unwritable(&path, &error.to_string()))?,
        SaveFormat::Pdf => pdf::print(app, text, &path)
            .await
            .map_err(|error| unwritable(&path, &error.to_string()))?,
    }
    utf8(&path).map(Some)
}

fn unwritable(path: &Path, why: &str) -> Failure {
    Failure {
        code: FailureCode::Other,
        message: format!("{} cannot be written: {why}.", path.display()),
        advice: Some("Choose another place.".into()),
    }
}

fn utf8(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| Failure {
        code: FailureCode::Other,
        message: format!("The name of {} is not valid Unicode.", path.display()),
        advice: Some("Rename it and try again.".into()),
    })
}
