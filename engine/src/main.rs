//! The `lectern` program.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The extracting child is this program again; it must not start threads before it gives up its rights.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|command| command == "extract")
    {
        return lectern_engine::ingest::child_main();
    }
    cli::main()
}
