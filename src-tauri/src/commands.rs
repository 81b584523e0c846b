//! What the web view may ask of the shell.

use crate::dialogs::{self, PickKind, SaveFormat};
use crate::engine::{Engine, RunsOn};
use crate::opened::{Opened, Waiting};
use crate::originals::{FileBytes, Originals};
use lectern_protocol::{Event, Failure, Outcome, Request};
use tauri::ipc::Channel;
use tauri::path::BaseDirectory;
use tauri::{AppHandle, Manager, State};

/// Forwards a request to the engine; its events stream through `events` until the outcome is returned.
/// `key` is chosen by the web view and names the call for [`cancel`].
#[tauri::command]
#[specta::specta]
pub async fn call(
    engine: State<'_, Engine>,
    key: u32,
    request: Request,
    events: Channel<Event>,
) -> Result<Outcome, Failure> {
    let on_event = Box::new(move |event| {
        // A closed web view hears nothing more; its calls end with the process.
        let _ = events.send(event);
    });
    engine.call(Some(key), request, on_event).await
}

/// Asks the engine to end a call; that call then fails with `cancelled`.
#[tauri::command]
#[specta::specta]
pub async fn cancel(engine: State<'_, Engine>, key: u32) -> Result<(), Failure> {
    engine.cancel(key);
    Ok(())
}

/// Where the engine computes, and why not on a GPU; nothing before it was first asked anything.
#[tauri::command]
#[specta::specta]
pub async fn runs_on(engine: State<'_, Engine>) -> Result<Option<RunsOn>, Failure> {
    Ok(engine.runs_on())
}

/// Bytes in the library's copy of a document's original file.
#[tauri::command]
#[specta::specta]
pub async fn original_size(
    engine: State<'_, Engine>,
    originals: State<'_, Originals>,
    document: String,
) -> Result<u64, Failure> {
    originals.size(&engine, &document).await
}

/// A run of bytes of the library's copy of a document's original file; shorter only at its end.
#[tauri::command]
#[specta::specta]
pub async fn read_original(
    engine: State<'_, Engine>,
    originals: State<'_, Originals>,
    document: String,
    offset: u64,
    length: u32,
) -> Result<FileBytes, Failure> {
    originals.read(&engine, &document, offset, length).await
}

/// Shows the system's dialog to choose files or a folder; an empty list if the person changed their mind.
#[tauri::command]
#[specta::specta]
pub async fn pick(app: AppHandle, kind: PickKind) -> Result<Vec<String>, Failure> {
    dialogs::pick(&app, kind).await
}

/// Asks where to keep an exported conversation and writes it there; the path, or nothing if the person changed their
/// mind.
#[tauri::command]
#[specta::specta]
pub async fn save_export(
    app: AppHandle,
    format: SaveFormat,
    file_name: String,
    text: String,
) -> Result<Option<String>, Failure> {
    dialogs::save_export(&app, format, &file_name, &text).await
}

/// The sample book that came with the program, if it did.
#[tauri::command]
#[specta::specta]
pub async fn sample_path(app: AppHandle) -> Result<Option<String>, Failure> {
    const SAMPLE: &str = "alice-in-wonderland.epub";
    let installed = app.path().resolve(SAMPLE, BaseDirectory::Resource).ok();
    // A program that was built and not installed has its resources beside it.
    let beside = std::env::current_exe()
        .ok()
        .map(|program| program.with_file_name(SAMPLE));
    Ok([installed, beside]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
        .and_then(|path| path.to_str().map(str::to_owned)))
}

/// Files and links named on the command line until now; later ones come as [`OpenLater`](crate::opened::OpenLater).
#[tauri::command]
#[specta::specta]
pub async fn opened(waiting: State<'_, Waiting>) -> Result<Opened, Failure> {
    Ok(waiting.take())
}
