//! Size and place of the window, from one start to the next.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tauri::{PhysicalPosition, PhysicalSize, WebviewWindow};

/// Where the window was, in physical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct WindowState {
    x: i32,
    y: i32,
    width: u32,
    height: u32,
    maximized: bool,
}

impl WindowState {
    /// Puts the window where it was, if it was anywhere and that place is still on a screen.
    pub(crate) fn restore(window: &WebviewWindow) {
        let Some(state) = file()
            .and_then(|path| std::fs::read(path).ok())
            .and_then(|bytes| serde_json::from_slice::<WindowState>(&bytes).ok())
        else {
            return;
        };
        let on_screen = window.available_monitors().is_ok_and(|monitors| {
            monitors.iter().any(|monitor| {
                let (place, size) = (monitor.position(), monitor.size());
                let right = place.x + size.width as i32;
                let bottom = place.y + size.height as i32;
                (place.x..right).contains(&state.x) && (place.y..bottom).contains(&state.y)
            })
        });
        // A window that cannot be placed stays where the system put it: nothing to report.
        let _ = window.set_size(PhysicalSize::new(state.width, state.height));
        if on_screen {
            let _ = window.set_position(PhysicalPosition::new(state.x, state.y));
        }
        if state.maximized {
            let _ = window.maximize();
        }
    }

    /// Keeps where the window is now.
    pub(crate) fn keep(window: &tauri::Window) {
        let (Ok(place), Ok(size), Ok(maximized)) = (
            window.outer_position(),
            window.inner_size(),
            window.is_maximized(),
        ) else {
            return;
        };
        let state = WindowState {
            x: place.x,
            y: place.y,
            width: size.width,
            height: size.height,
            maximized,
        };
        let kept = file().map(|path| {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, serde_json::to_vec(&state)?)
        });
        if let Some(Err(error)) = kept {
            tracing::warn!(%error, "the window's place could not be kept");
        }
    }
}

/// `window.json` in `LECTERN_HOME`, else in the configuration folder.
fn file() -> Option<PathBuf> {
    let folder = match std::env::var_os("LECTERN_HOME") {
        Some(home) => PathBuf::from(home),
        None => directories::ProjectDirs::from("", "", "lectern")?
            .config_dir()
            .to_owned(),
    };
    Some(folder.join("window.json"))
}
