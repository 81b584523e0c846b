//! What `lectern extract` does.

use super::{NO_REPORT, Order, PROGRESS, confine};
use crate::document::Document;
use crate::ingest::{IngestFault, extract_here};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Stack of the parsing thread; parsers recurse with the nesting of their input.
const STACK: usize = 64 << 20;

/// The body of `lectern extract`: reads an order from standard input, gives up everything else, extracts, and
/// writes the result to standard output.
pub fn child_main() -> ExitCode {
    let mut order = Vec::new();
    if std::io::stdin().read_to_end(&mut order).is_err() {
        return ExitCode::from(NO_REPORT);
    }
    let Ok(order) = postcard::from_bytes::<Order>(&order) else {
        eprintln!(
            "`lectern extract` is started by Lectern itself, with an order on its standard input. \
             To add a file use `lectern add FILE`."
        );
        return ExitCode::from(2);
    };
    // A panic's message goes into the result, not to the terminal.
    std::panic::set_hook(Box::new(|_| {}));
    for missing in confine::confine(&order.path, &order.limits, order.seconds) {
        eprintln!("not confined: {missing}");
    }
    let worker = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || run(&order));
    let result = match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(IngestFault::Crashed {
            detail: "it stopped without a reason".into(),
        }),
        Err(error) => Err(IngestFault::NotStarted {
            reason: error.to_string(),
        }),
    };
    let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    // Encoded on the way out: no second copy of the document in this process.
    match postcard::to_io(&result, &mut out).map(|out| out.flush()) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::from(NO_REPORT),
    }
}

fn run(order: &Order) -> Result<Document, IngestFault> {
    let mut last = Instant::now();
    let mut report = |fraction: f32| {
        if last.elapsed() >= Duration::from_millis(100) {
            last = Instant::now();
            // If nobody listens any more, the result will find that out.
            let _ = writeln!(std::io::stderr(), "{PROGRESS}{fraction:.3}");
        }
    };
    let password = order.password.as_deref();
    let extracting =
        AssertUnwindSafe(|| extract_here(&order.path, password, &order.limits, &mut report));
    match catch_unwind(extracting) {
        Ok(result) => result.map_err(|error| error.fault),
        Err(panic) => Err(IngestFault::Crashed {
            detail: panic_message(&*panic),
        }),
    }
}

/// The words of a panic.
pub(in crate::ingest) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason given".into());
    message.chars().take(200).collect()
}
