//! The `lectern` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(command) if command == "extract" => lectern_engine::ingest::child_main(),
        _ => ExitCode::from(2),
    }
}
