//! Puts the window together and runs it.

use crate::bindings;
use crate::engine::{Engine, find_program};
use crate::opened::{OpenLater, Opened, Waiting};
use crate::originals::Originals;
use crate::window_state::WindowState;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
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
    if let Some(name) = instance() {
        let one = tauri_plugin_single_instance::Builder::new()
            .callback(|app, arguments, folder| {
                open_later(app, Opened::named_by(arguments, folder.as_ref()));
            })
            .dbus_id(name);
        app = app.plugin(one.build());
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
            app.manage(Waiting::new(Opened::named_by(std::env::args(), &folder)));
            let mut window = WebviewWindowBuilder::new(app, "main", WebviewUrl::default());
            // What the web view remembers (theme, panes, positions) belongs to the library.
            if let Some(home) = std::env::var_os("LECTERN_HOME") {
                window = window.data_directory(Path::new(&home).join("window"));
            }
            let window = window
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
    app.run(|app, event| match event {
        RunEvent::Exit => {
            let engine = app.state::<Engine>().inner().clone();
            tauri::async_runtime::block_on(engine.shut_down(PATIENCE_AT_END));
        }
        // Where links do not come as arguments.
        #[cfg(target_os = "macos")]
        RunEvent::Opened { urls } => {
            let (paths, links): (Vec<_>, Vec<_>) =
                urls.iter().partition(|url| url.scheme() == "file");
            let paths = paths.iter().filter_map(|url| url.to_file_path().ok());
            open_later(
                app,
                Opened {
                    paths: paths
                        .filter_map(|path| path.to_str().map(str::to_owned))
                        .collect(),
                    links: links.iter().map(|url| url.to_string()).collect(),
                },
            );
        }
        _ => {}
    });
    ExitCode::SUCCESS
}

/// What windows on the same library have in common; None where several cannot be told apart.
fn instance() -> Option<String> {
    const NAME: &str = "org.lectern.Lectern";
    let Some(home) = std::env::var_os("LECTERN_HOME") else {
        return Some(NAME.to_owned());
    };
    // A library of its own gets a window of its own: by its path, as D-Bus takes names. Elsewhere the plugin knows
    // only the program.
    if !cfg!(target_os = "linux") {
        return None;
    }
    let home = std::fs::canonicalize(&home).unwrap_or_else(|_| home.into());
    let mut path = DefaultHasher::new();
    home.hash(&mut path);
    Some(format!("{NAME}.Home{:016x}", path.finish()))
}

/// Hands the files and links of a second start to the window that is open, and shows it.
fn open_later(app: &AppHandle, later: Opened) {
    if let Some(window) = app.get_webview_window("main") {
        let _ = window.unminimize();
        let _ = window.set_focus();
    }
    if !later.is_empty()
        && let Some(later) = app.state::<Waiting>().keep(later)
        && let Err(error) = OpenLater(later).emit(app)
    {
        tracing::warn!(%error, "the window was not told what to open");
    }
}
