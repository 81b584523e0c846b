//! Puts the window together and runs it.

use crate::bindings;
use crate::engine::{Engine, find_program};
use crate::opened::{OpenPaths, OpenedPaths, paths_in};
use crate::originals::Originals;
use crate::window_state::WindowState;
use std::process::ExitCode;
use std::time::Duration;
use tauri::{AppHandle, Manager, RunEvent, WebviewUrl, WebviewWindowBuilder, WindowEvent};
use tauri_specta::Event;

/// How long a closing window waits for the engine to finish what must not be torn.
const PATIENCE_AT_END: Duration = Duration::from_secs(10);

/// Opens the window and returns when it is closed.
pub fn run() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let bindings = bindings::builder();
    let mut app = tauri::Builder::default();
    // A library of its own (LECTERN_HOME) gets a window of its own.
    if std::env::var_os("LECTERN_HOME").is_none() {
        app = app.plugin(tauri_plugin_single_instance::init(
            |app, arguments, folder| {
                open_later(app, paths_in(arguments, folder.as_ref()));
            },
        ));
    }
    let app = app
        .plugin(tauri_plugin_dialog::init())
        .invoke_handler(bindings.invoke_handler())
        .setup(move |app| {
            bindings.mount_events(app);
            let handle = app.handle().clone();
            app.manage(Engine::new(find_program(), move |stopped| {
                if let Err(error) = stopped.emit(&handle) {
                    tracing::warn!(%error, "the window was not told that the engine stopped");
                }
            }));
            app.manage(Originals::default());
            let folder = std::env::current_dir().unwrap_or_default();
            app.manage(OpenedPaths::new(paths_in(std::env::args(), &folder)));
            let window = WebviewWindowBuilder::new(app, "main", WebviewUrl::default())
                .title("Lectern")
                .inner_size(1280.0, 832.0)
                .min_inner_size(640.0, 420.0)
                .devtools(cfg!(debug_assertions))
                .build()?;
            WindowState::restore(&window);
            Ok(())
        })
        .on_window_event(|window, event| {
            if let WindowEvent::CloseRequested { .. } = event {
                WindowState::keep(window);
            }
        })
        .build(tauri::generate_context!());
    let app = match app {
        Ok(app) => app,
        Err(error) => {
            eprintln!("lectern-desktop: the window cannot be opened: {error}");
            return ExitCode::FAILURE;
        }
    };
    app.run(|app, event| {
        if let RunEvent::Exit = event {
            let engine = app.state::<Engine>().inner().clone();
            tauri::async_runtime::block_on(engine.shut_down(PATIENCE_AT_END));
        }
    });
    ExitCode::SUCCESS
}

/// Hands the files of a second start to the window that is open, and shows it.
fn open_later(app: &AppHandle, paths: Vec<String>) {
    if let Some(window) = app.get_webview_window("main") {
        let _ = window.unminimize();
        let _ = window.set_focus();
    }
    if !paths.is_empty()
        && let Err(error) = (OpenPaths { paths }).emit(app)
    {
        tracing::warn!(%error, "the window was not told which files to open");
    }
}
