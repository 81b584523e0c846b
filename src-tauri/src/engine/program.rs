//! Which of the two builds of the engine is started: `lectern-cuda`, if it is there and finds a GPU that it can use, or
//! `lectern`.
//!
//! In: the path of `lectern`. Out: the program to start, and for the person where it computes, and why not on the GPU.
//! The probe is a process of its own with a deadline: a broken driver may hang, crash, or refuse to load, and each of
//! these is an answer.

use serde::{Deserialize, Serialize};
use specta::Type;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// How long the probe may take. Waking a GPU takes seconds on some machines.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps to the processor if it is `off`, as for the engine itself.
const SWITCH: &str = "LECTERN_GPU";

/// Where the engine computes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
pub struct RunsOn {
    /// On a GPU.
    pub gpu: bool,
    /// Which GPU it is, or why it is none; nothing where the build for GPUs is not installed.
    pub words: Option<String>,
}

/// The probe's answer, see `lectern-cuda --probe`.
#[derive(Deserialize)]
struct Probe {
    usable: bool,
    words: String,
}

/// The program to start in place of `lectern`, and what to tell.
pub(super) async fn choose(lectern: &Path) -> (PathBuf, RunsOn) {
    let here = |words: Option<String>| (lectern.to_owned(), RunsOn { gpu: false, words });
    let name = format!("lectern-cuda{}", std::env::consts::EXE_SUFFIX);
    let for_gpu = lectern.with_file_name(name);
    if !for_gpu.is_file() {
        return here(None);
    }
    if std::env::var_os(SWITCH).is_some_and(|value| value == "off") {
        return here(Some(format!("The GPU is switched off ({SWITCH}=off).")));
    }
    let asked = Command::new(&for_gpu)
        .arg("--probe")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let answer = match timeout(PATIENCE, asked).await {
        Err(_) => return here(Some("The GPU did not answer in time.".to_owned())),
        Ok(Err(error)) => {
            return here(Some(format!(
                "{} cannot be started: {error}.",
                for_gpu.display()
            )));
        }
        Ok(Ok(output)) => serde_json::from_slice::<Probe>(&output.stdout),
    };
    match answer {
        Ok(Probe {
            usable: true,
            words,
        }) => (
            for_gpu,
            RunsOn {
                gpu: true,
                words: Some(words),
            },
        ),
        Ok(Probe { words, .. }) => here(Some(words)),
        Err(_) => here(Some(
            "The engine's build for NVIDIA GPUs does not start on this computer.".to_owned(),
        )),
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn programs(probe: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(body) = probe {
            let path = folder.path().join("lectern-cuda");
            std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let lectern = folder.path().join("lectern");
        (folder, lectern)
    }

    #[tokio::test]
    async fn the_build_for_gpus_is_started_where_it_finds_one() {
        let (folder, lectern) = programs(Some(
            r#"[ "$1" = --probe ] && echo '{"usable":true,"words":"A GPU"}'"#,
        ));
        let (program, runs_on) = choose(&lectern).await;
        assert_eq!(program, folder.path().join("lectern-cuda"));
        assert_eq!(runs_on.words.as_deref(), Some("A GPU"));
        assert!(runs_on.gpu);
    }

    #[tokio::test]
    async fn whatever_is_wrong_with_it_the_other_one_is_started() {
        for (probe, words) in [
            (None, None),
            (
                Some(r#"echo '{"usable":false,"words":"no driver"}'; exit 1"#),
                Some("no driver"),
            ),
            (Some("exit 127"), Some("does not start")),
            (Some("kill -11 $$"), Some("does not start")),
        ] {
            let (_folder, lectern) = programs(probe);
            let (program, runs_on) = choose(&lectern).await;
            assert_eq!(program, lectern);
            assert!(!runs_on.gpu);
            match words {
                None => assert_eq!(runs_on.words, None),
                Some(words) => assert!(runs_on.words.unwrap().contains(words), "{probe:?}"),
            }
        }
    }
}
