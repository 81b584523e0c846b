//! `cargo xtask test`: every check and every test, on a machine that may have nothing yet.
//!
//! Steps run in the order in which they need each other, and a failed check does not hide the next one; only what
//! everything else stands on (system libraries, web packages, a build, models) ends the run early. One build serves
//! all Rust tests: choosing packages differently from step to step would make cargo unify features differently
//! and compile half of the dependencies twice.

use crate::report::Tally;
use crate::step::{duration, run, run_counted, say, step};
use crate::workspace::{self, Profile, cargo};
use crate::{bench, model, system, web};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Instant;

/// What to test.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask test                 everything, as continuous integration does
  cargo xtask test --quick         the same without whole-system and window tests
  cargo xtask test --no-window     the same without window tests
  cargo xtask test kv::            Rust tests whose names contain `kv::`, and nothing else")]
pub struct Options {
    /// Leave out the tests that run whole programs.
    #[arg(long, conflicts_with = "filter")]
    quick: bool,
    /// Leave out the tests that open a window.
    #[arg(long)]
    no_window: bool,
    /// Run only the Rust tests whose names contain this.
    filter: Option<String>,
}

/// Selects everything in the workspace, the window with its web view inside.
const WHOLE_WORKSPACE: &[&str] = &[
    "--locked",
    "--workspace",
    "--features",
    "lectern-desktop/custom-protocol",
];

/// The same with attention on the GPU.
const WITH_CUDA: &[&str] = &[
    "--locked",
    "--workspace",
    "--features",
    "lectern-desktop/custom-protocol,lectern-engine/cuda",
];

/// What has been found out so far.
#[derive(Default)]
struct Verdict {
    tally: Tally,
    failed_steps: Vec<String>,
}

impl Verdict {
    /// A step whose failure is recorded, with the way out, and does not end the run.
    fn check(
        &mut self,
        name: &str,
        way_out: &str,
        work: impl FnOnce(&mut Tally) -> Result<()>,
    ) -> bool {
        let tally = &mut self.tally;
        let result = step(name, || work(tally));
        if let Err(error) = &result {
            say(&format!("   {error:#}"));
            self.failed_steps.push(format!("{name} ({way_out})"));
        }
        result.is_ok()
    }

    /// Prints the closing lines; an error if anything failed.
    fn close(self, began: Instant) -> Result<()> {
        say("");
        for test in &self.tally.failures {
            say(&format!("failed test: {test}"));
        }
        for name in &self.failed_steps {
            say(&format!("failed step: {name}"));
        }
        let seconds = began.elapsed().as_secs_f64();
        say(&format!("{} ({})", self.tally.summary(), duration(seconds)));
        if !self.failed_steps.is_empty() {
            bail!("{} of the steps failed", self.failed_steps.len());
        }
        Ok(())
    }
}

/// `cargo xtask test`.
pub fn test(options: &Options) -> Result<()> {
    let began = Instant::now();
    let mut verdict = Verdict::default();
    let window = !options.no_window && !options.quick;
    step("System packages", || {
        system::ensure_packages(if options.quick {
            system::Need::Window
        } else {
            system::Need::Tests
        })
    })?;
    step("Web packages", web::install_packages)?;
    if options.filter.is_none() {
        checks(&mut verdict);
    } else {
        // The window embeds it.
        step("Web view", web::build)?;
    }
    rust_tests(&mut verdict, options, window)?;
    if options.filter.is_none() {
        with_cuda(&mut verdict);
    }
    verdict.close(began)
}

/// Everything that needs no model: formatting, the web view, lints, generated files.
fn checks(verdict: &mut Verdict) {
    verdict.check("Formatting", "run `cargo fmt --all`", |_| {
        run(cargo().args(["fmt", "--all", "--check"]))
    });
    verdict.check("Web view: types", "`npm run check` in ui/", |_| {
        run(&mut web::npm(&["run", "--silent", "check"]))
    });
    verdict.check("Web view: tests", "`npm test` in ui/", |tally| {
        run_counted(&mut web::npm(&["run", "--silent", "test"]), tally)
    });
    verdict.check("Web view: build", "`npm run build` in ui/", |_| {
        web::build()
    });
    verdict.check("Lints", "`cargo clippy --workspace --all-targets`", |_| {
        run(cargo().arg("clippy").args(WHOLE_WORKSPACE).args([
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ]))
    });
}

/// What only a build for the GPU has: lints, and attention on the fake driver. The last step, since it builds the engine
/// in another way; no GPU, driver or compiler of NVIDIA's is needed.
fn with_cuda(verdict: &mut Verdict) {
    verdict.check(
        "No CUDA in the CPU build",
        "`cargo tree --package lectern-engine`",
        |_| {
            let tree = output_of_cargo(&[
                "tree",
                "--locked",
                "--package",
                "lectern-engine",
                "--edges",
                "normal",
            ])?;
            anyhow::ensure!(
                tree.contains("candle-core") && !tree.contains("cudarc"),
                "the engine depends on CUDA without being asked to"
            );
            Ok(())
        },
    );
    verdict.check(
        "GPU: lints",
        "`cargo clippy --features lectern-engine/cuda`",
        |_| {
            run(cargo().arg("clippy").args(WITH_CUDA).args([
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ]))
        },
    );
    verdict.check(
        "GPU: attention on the fake driver",
        "`cargo xtask test` runs it last",
        |tally| {
            let mut command = cargo();
            command.arg("test").args(WITH_CUDA);
            run_counted(
                command
                    .args(["--test", "cuda_attention", "--test", "cuda_unsound"])
                    .args(["--test", "cuda_split", "--test", "cuda_reading"])
                    .args(["--", "--show-output"]),
                tally,
            )
        },
    );
}

/// What a cargo command prints.
fn output_of_cargo(arguments: &[&str]) -> Result<String> {
    let output = cargo().args(arguments).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Builds once, puts the models in place, runs unit tests, examples in documentation, whole-system tests and the
/// window's.
fn rust_tests(verdict: &mut Verdict, options: &Options, window: bool) -> Result<()> {
    step("Build", || {
        run(cargo()
            .arg("build")
            .args(WHOLE_WORKSPACE)
            .args(["--bins", "--tests"]))
    })?;
    let programs = workspace::build_folder(Profile::Dev)?;
    let lectern = programs.join(workspace::program_name("lectern"));
    let desktop = programs.join(workspace::program_name("lectern-desktop"));
    step("Models", || {
        model::TESTED
            .iter()
            .try_for_each(|name| model::get(&lectern, name))
    })?;
    let cargo_test = |targets: &[String]| {
        let mut command = cargo();
        command
            .arg("test")
            .args(WHOLE_WORKSPACE)
            .arg("--no-fail-fast")
            .args(targets)
            .args(&options.filter)
            // What passing tests print (figures, reasons to skip) belongs into the record.
            .args(["--", "--show-output"])
            .env("LECTERN_BIN", &lectern)
            .env("LECTERN_DESKTOP", &desktop);
        command
    };
    let (window_targets, system_targets): (Vec<String>, Vec<String>) =
        workspace::integration_tests()?
            .into_iter()
            .partition(|name| name.starts_with("window"));
    let way_out = "`cargo xtask test NAME` runs one test";

    verdict.check("Unit tests", way_out, |tally| {
        run_counted(&mut cargo_test(&flags(&["--lib", "--bins"])), tally)
    });
    verdict.check("Examples in documentation", way_out, |tally| {
        run_counted(&mut cargo_test(&flags(&["--doc"])), tally)
    });
    if options.quick {
        return Ok(());
    }
    let mut server = None;
    verdict.check("Server of the OpenAI protocol: llama.cpp", way_out, |_| {
        server = Some(bench::llama_server(2)?);
        Ok(())
    });
    verdict.check("Whole-system tests", way_out, |tally| {
        let mut command = cargo_test(&each("--test", &system_targets));
        if let Some(server) = &server {
            command.env("LECTERN_LLAMA_SERVER", server);
        }
        run_counted(&mut command, tally)
    });
    if window && !window_targets.is_empty() {
        verdict.check("Window tests", way_out, |tally| {
            let inner = cargo_test(&each("--test", &window_targets));
            run_counted(&mut on_virtual_display(&inner), tally)
        });
    }
    Ok(())
}

/// The same command on a display and a message bus of its own, so that it needs no screen and disturbs none.
fn on_virtual_display(inner: &Command) -> Command {
    let mut command = Command::new("xvfb-run");
    command
        .args([
            "-a",
            "-s",
            "-screen 0 1280x1100x24",
            "dbus-run-session",
            "--",
        ])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(workspace::root());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}

fn flags(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

/// `flag` before each of `values`.
fn each(flag: &str, values: &[String]) -> Vec<String> {
    values
        .iter()
        .flat_map(|value| [flag.to_owned(), value.clone()])
        .collect()
}
