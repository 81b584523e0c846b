//! System packages: what Debian and Ubuntu call the libraries that the window and its tests need.
//!
//! Installed only where something is missing, with one `apt-get update`; where that needs rights this program does
//! not have, it says the exact command instead of failing in a linker an hour later.

use crate::step::{output_of, run, say};
use anyhow::{Result, bail};
use std::io::IsTerminal;
use std::path::Path;
use std::process::Command;

/// What the window links against.
const WINDOW: &[&str] = &[
    "build-essential",
    "pkg-config",
    "libwebkit2gtk-4.1-dev",
    "libssl-dev",
    "libxdo-dev",
    "librsvg2-dev",
    "libayatana-appindicator3-dev",
];

/// What tests use: a display without a screen, a WebDriver, real mouse moves, screenshots; a look at system calls.
const TESTS: &[&str] = &[
    "strace",
    "webkit2gtk-driver",
    "xvfb",
    "xauth",
    "x11-utils",
    "x11-apps",
    "xdotool",
    "imagemagick",
    "dbus",
    "dbus-x11",
    "fonts-dejavu-core",
    "python3-gi",
    "gir1.2-gtk-3.0",
];

/// What a job needs of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To compile and run the window.
    Window,
    /// To test it as well.
    Tests,
}

/// Whether there is a screen to open a window on.
pub fn has_display() -> bool {
    if cfg!(any(target_os = "macos", windows)) {
        return true;
    }
    ["WAYLAND_DISPLAY", "DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Installs what is missing of `need`, or says what to install.
pub fn ensure_packages(need: Need) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let mut packages = WINDOW.to_vec();
    if need == Need::Tests {
        packages.extend(TESTS);
    }
    if !Path::new("/usr/bin/dpkg-query").exists() {
        // Not Debian's family: the linker decides, but the person should know the names to look for.
        say(&format!(
            "   this system has no dpkg: Lectern expects its equivalents of {}",
            packages.join(" ")
        ));
        return Ok(());
    }
    let missing: Vec<&str> = packages
        .into_iter()
        .filter(|name| !is_installed(name))
        .collect();
    if missing.is_empty() {
        say("   all system packages are there");
        return Ok(());
    }
    let advice = format!(
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    );
    let Some(elevation) = elevation() else {
        bail!(
            "system packages are missing and this user may not install them. Run\n\n  {advice}\n\nand start again"
        );
    };
    say(&format!("   installing {}", missing.join(" ")));
    apt(&elevation, &["update", "-q"])?;
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(&missing);
    apt(&elevation, &arguments)
        .map_err(|error| error.context(format!("system packages could not be installed; {advice}")))
}

/// The words before a command that make it run as root; `None` if that cannot be done.
fn elevation() -> Option<Vec<&'static str>> {
    if output_of("id", &["-u"])? == "0" {
        return Some(Vec::new());
    }
    output_of("sudo", &["--version"])?;
    if std::io::stdin().is_terminal() {
        return Some(vec!["sudo"]); // asks for the password
    }
    output_of("sudo", &["-n", "true"]).map(|_| vec!["sudo", "-n"])
}

fn apt(elevation: &[&str], arguments: &[&str]) -> Result<()> {
    let mut words = elevation.to_vec();
    // `env` because sudo drops the environment.
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    words.extend(arguments);
    run(Command::new(words[0]).args(&words[1..]))
}

fn is_installed(package: &str) -> bool {
    output_of(
        "dpkg-query",
        &["--show", "--showformat=${db:Status-Status}", package],
    )
    .is_some_and(|status| status == "installed")
}
