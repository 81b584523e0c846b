//! `cargo xtask run`: from a fresh clone to a window with a book in it.

use crate::step::{run as run_program, say, step};
use crate::workspace::{Profile, build_programs, root};
use crate::{model, system, web};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// The book that comes with the repository.
const SAMPLE: &str = "assets/alice-in-wonderland.epub";

/// What is asked of it where there is no window to ask in.
const QUESTION: &str = "What was written on the label of the bottle that Alice found?";

/// How to run.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask run                               open the window
  cargo xtask run --terminal                    the same job in the terminal, even where there is a display
  cargo xtask run --terminal --question \"Why did Alice follow the Rabbit?\"
  LECTERN_HOME=/tmp/lectern cargo xtask run     with a library and settings of its own")]
pub struct Options {
    /// Stay in the terminal: read the sample book, ask a question, print the cited answer.
    #[arg(long)]
    terminal: bool,
    /// The question asked in the terminal.
    #[arg(long, default_value = QUESTION)]
    question: String,
}

/// `cargo xtask run`.
pub fn run(options: &Options) -> Result<()> {
    let window = !options.terminal && system::has_display();
    if !window && !options.terminal {
        say(
            "No display (neither WAYLAND_DISPLAY nor DISPLAY is set): doing the job in the terminal.",
        );
    }
    if window {
        step("System libraries", || {
            system::ensure_packages(system::Need::Window)
        })?;
        step("Web packages", web::install_packages)?;
        step("Web view", web::build)?;
    }
    let programs = step("Release build (the first takes some minutes)", || {
        build_programs(Profile::Release, window)
    })?;
    let lectern = programs.lectern;
    step("Model", || {
        model::get(&lectern, model::EMBEDDER)?;
        model::get(&lectern, model::DEFAULT)
    })?;
    let sample = root().join(SAMPLE);
    match programs.desktop {
        Some(desktop) => {
            // The window looks for the engine beside itself; cargo builds both into one folder.
            let mut window = Command::new(desktop);
            if library_is_empty(&lectern)? {
                // As if it were dropped there: the window adds it and begins to read.
                window.arg(&sample);
            }
            say("== Lectern is open; close its window to end this command");
            run_program(&mut window)
        }
        None => in_terminal(&lectern, &sample, &options.question),
    }
}

/// Adds, reads and asks through the command line, as a person without a screen would.
fn in_terminal(lectern: &Path, sample: &Path, question: &str) -> Result<()> {
    step("Adding the sample book", || {
        run_program(Command::new(lectern).arg("add").arg(sample))
    })?;
    step(
        "Reading it (once; the next questions need no reading)",
        || run_program(Command::new(lectern).arg("read").arg(sample)),
    )?;
    step("Asking", || {
        say(&format!("   {question}\n"));
        run_program(Command::new(lectern).arg("ask").arg(sample).arg(question))
    })?;
    say(&format!(
        "\nAsk on with:\n  {} ask {} \"...\"",
        lectern.display(),
        sample.display()
    ));
    Ok(())
}

fn library_is_empty(lectern: &Path) -> Result<bool> {
    let output = Command::new(lectern)
        .args(["list", "--json"])
        .output()
        .context("the engine could not be started")?;
    anyhow::ensure!(
        output.status.success(),
        "`lectern list --json` failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let list: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("`lectern list --json` printed no JSON")?;
    Ok(list.as_array().is_none_or(Vec::is_empty))
}
