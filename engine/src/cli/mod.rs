//! The command line: what a person types, and how it is shown.
//!
//! In: arguments. Out: text for a person on stdout, JSON with `--json`; progress and problems on stderr. What is done
//! is [`Lectern`]'s; nothing is decided here.

mod answers;
mod arguments;
mod choices;
mod commands;
mod documents;
mod exit;
mod opening;
mod password;
mod progress;
mod questions;
mod refreshing;

use arguments::{Arguments, Command};
use clap::Parser;
use exit::Exit;
use lectern_engine::attention::CancelFlag;
use lectern_engine::background::STACK;
use lectern_engine::home::Home;
use lectern_engine::lectern::{Lectern, Options};
use lectern_engine::power::Power;
use lectern_engine::{serve, settings};
use lectern_protocol::{Endpoint, Failure, FailureCode};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// Reads the arguments, does what they say, and says how it went.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Help and version are no failures; clap knows which stream each goes to.
            let _ = usage.print();
            return if usage.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            }
            .into();
        }
    };
    log_to_stderr();
    match run(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            progress::say_failure(&failure);
            Exit::of(&failure).into()
        }
    }
}

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let home = Home::find().map_err(|error| other(error.to_string()))?;
    let settings = settings::load(&home)?;
    compute_on(settings.threads as usize)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .map_err(|error| other(format!("no threads can be started: {error}")))?;
    let options = Options {
        model: arguments.model,
        program: None,
        endpoint: match &arguments.command {
            Command::Ask {
                endpoint: Some(url),
                endpoint_model: Some(model),
                ..
            } => Some(Endpoint {
                on: true,
                url: url.clone(),
                model: model.clone(),
                ..settings.endpoint
            }),
            _ => None,
        },
        // Of the window, whose readings nobody may be waiting for; who types `read` does.
        power: match &arguments.command {
            Command::Serve => Power::of_this_machine(),
            _ => Power::default(),
        },
    };
    let exit = runtime.block_on(async {
        let lectern = Lectern::open(&home, options).await?;
        match arguments.command {
            Command::Serve => {
                let input = tokio::io::BufReader::new(tokio::io::stdin());
                serve::serve(Arc::clone(&lectern), input, tokio::io::stdout()).await;
                Ok(Exit::Done)
            }
            command => {
                let cancel = CancelFlag::new();
                tokio::spawn(cancel_on_interrupt(cancel.clone()));
                let exit = commands::run(&lectern, command, &cancel).await;
                lectern.close().await;
                exit
            }
        }
    });
    // A thread that waits for input (stdin) cannot be joined.
    runtime.shutdown_background();
    exit
}

/// Threads for tensors: all of rayon's, the kernels' as well as candle's.
fn compute_on(threads: usize) -> Result<(), Failure> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, |all| all_but_one(all.get())),
        chosen => chosen,
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK)
        .thread_name(|number| format!("compute-{number}"))
        .build_global()
        .map_err(|error| other(format!("the computing threads cannot be started: {error}")))
}

/// One is left to the rest of the machine, but of two: reading a book would take nearly twice as long.
fn all_but_one(all: usize) -> usize {
    match all {
        0..=2 => all.max(1),
        more => more - 1,
    }
}

/// The first Ctrl-C ends what runs at its next step; the second ends the program at once.
async fn cancel_on_interrupt(cancel: CancelFlag) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if cancel.is_cancelled() {
            std::process::exit(Exit::Cancelled as i32);
        }
        cancel.cancel();
    }
}

/// Logs go to stderr; `LECTERN_LOG` says how much (`lectern_engine=debug`, say).
fn log_to_stderr() {
    let mut filter = tracing_subscriber::EnvFilter::try_from_env("LECTERN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    // The HTTP client's trace holds all that it sends: a server's key, the person's questions.
    for quiet in ["ureq=warn", "ureq_proto=warn"] {
        match quiet.parse() {
            Ok(directive) => filter = filter.add_directive(directive),
            Err(error) => eprintln!("{quiet}: {error}"),
        }
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

/// Prints a line; a closed pipe (`| head`) is no reason to panic.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn other(message: String) -> Failure {
    Failure {
        code: FailureCode::Other,
        message,
        advice: None,
    }
}
