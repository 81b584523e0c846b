//! The `lectern-cuda` program: `lectern` with attention on an NVIDIA GPU.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1);
    // As in `lectern`: the extracting child is this program again.
    if first.as_ref().is_some_and(|command| command == "extract") {
        return lectern_engine::ingest::child_main();
    }
    if first.is_some_and(|command| command == "--probe") {
        return probe();
    }
    cli::main()
}

/// Says which GPUs can be used, on one line of JSON: the window starts `lectern` where this is not so, and says why.
fn probe() -> ExitCode {
    let (usable, words) = match lectern_cuda::probe_all() {
        Ok(found) => {
            let words: Vec<String> = found.iter().map(ToString::to_string).collect();
            (true, words.join("; "))
        }
        Err(error) => (false, error.to_string()),
    };
    println!(
        "{}",
        serde_json::json!({ "usable": usable, "words": words })
    );
    match usable {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
