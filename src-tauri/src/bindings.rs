//! The bridge between the shell and the web view, listed once.
//!
//! `ui/src/lib/bindings.ts` is generated from this list; the test below fails when the two differ, so neither side
//! is ever written by hand. After a change: `LECTERN_WRITE_BINDINGS=1 cargo test -p lectern-desktop bindings`.

use crate::commands;
use crate::engine::EngineStopped;
use crate::opened::OpenLater;
use tauri_specta::{Builder, ErrorHandlingMode, collect_commands, collect_events};

pub(crate) fn builder() -> Builder<tauri::Wry> {
    Builder::new()
        .commands(collect_commands![
            commands::call,
            commands::cancel,
            commands::runs_on,
            commands::original_size,
            commands::read_original,
            commands::pick,
            commands::save_export,
            commands::sample_path,
            commands::opened,
        ])
        .events(collect_events![EngineStopped, OpenLater])
        .constant("PROTOCOL_VERSION", lectern_protocol::PROTOCOL_VERSION)
        .error_handling(ErrorHandlingMode::Throw)
        // Byte counts and sizes: 2^53 bytes are enough for any disk.
        .dangerously_cast_bigints_to_number()
        .disable_serde_phases()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use specta_typescript::Typescript;
    use std::path::Path;

    #[test]
    fn the_web_views_bindings_are_those_of_this_program() {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/src/lib/bindings.ts");
        let folder = tempfile::tempdir().unwrap();
        let fresh = folder.path().join("bindings.ts");
        builder().export(Typescript::default(), &fresh).unwrap();
        let fresh = std::fs::read_to_string(fresh).unwrap();
        if std::env::var_os("LECTERN_WRITE_BINDINGS").is_some() {
            std::fs::write(&committed, &fresh).unwrap();
        }
        let committed = std::fs::read_to_string(&committed).unwrap_or_default();
        assert!(
            committed == fresh,
            "ui/src/lib/bindings.ts is out of date: run \
             LECTERN_WRITE_BINDINGS=1 cargo test -p lectern-desktop bindings"
        );
    }
}
