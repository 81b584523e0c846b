//! Bad input: a clear message that names the file and the fact, and nothing lost.
#![allow(clippy::unwrap_used)]

use anyhow::{Context, Result, ensure};
use lectern_protocol::{Ask, FailureCode, Outcome, Request};
use lectern_tests::{Home, Run, Serve, canonical, model, pdf, program, texts};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn add(home: &Home, path: &Path) -> Run {
    home.run(["add", path.to_str().unwrap()])
}

/// A library with one good document, to which nothing may happen.
fn library_with_a_document() -> Result<Home> {
    let home = Home::new();
    let file = home.write("good.txt", texts::lighthouse_text());
    let added = add(&home, &file);
    ensure!(added.code == Some(0), "{added:?}");
    Ok(home)
}

fn titles(home: &Home) -> Result<Vec<String>> {
    let mut serve = Serve::start(home)?;
    let documents = canonical::library(&mut serve)?;
    Ok(documents
        .into_iter()
        .map(|document| document.title)
        .collect())
}

#[test]
fn each_bad_file_is_refused_with_its_name_and_the_fact() -> Result<()> {
    let home = library_with_a_document()?;
    let sample = std::fs::read(program::sample_book())?;
    let huge = home.write("huge.txt", "The first line of a very long file.\n");
    File::options().write(true).open(&huge)?.set_len(1 << 30)?;
    let cases = [
        (home.write("empty.txt", ""), "the file is empty"),
        (home.write("blank.txt", " \n\t\n \n"), "the file is empty"),
        (home.write("no-pages.pdf", pdf::with_text(&[])), "no pages"),
        (
            home.write("scan.pdf", pdf::without_text(3)),
            "pages holds text",
        ),
        (home.write("half.epub", &sample[..sample.len() / 2]), "EPUB"),
        (
            home.write("cut.pdf", &texts::lighthouse_pdf()[..200]),
            "PDF",
        ),
        (home.write("noise.pdf", [0x9c_u8; 5000]), "noise.pdf"),
        (
            home.write("picture.txt", [0xff_u8, 0xd8, 0xff, 0xe0, 0, 0x10]),
            "text",
        ),
        (home.desk().join("not-there.txt"), "no such file"),
        (huge, "huge.txt"),
    ];
    for (path, fact) in &cases {
        let began = Instant::now();
        let run = add(&home, path);
        run.assert_refused(fact);
        run.assert_refused(path.file_name().unwrap().to_str().unwrap());
        ensure!(began.elapsed().as_secs() < 120, "{path:?} took too long");
    }
    ensure!(titles(&home)?.len() == 1, "{:?}", titles(&home)?);
    Ok(())
}

#[test]
fn one_bad_file_does_not_block_the_rest() -> Result<()> {
    let home = Home::new();
    let good = home.write("good.txt", texts::lighthouse_text());
    let bad = home.write("bad.pdf", "%PDF-1.7 and then nothing");
    let other = home.write("other.md", texts::lighthouse_markdown());
    let run = home.run([
        "add",
        bad.to_str().unwrap(),
        good.to_str().unwrap(),
        other.to_str().unwrap(),
    ]);
    run.assert_refused("bad.pdf");
    ensure!(titles(&home)?.len() == 2, "{run:?}");
    Ok(())
}

#[test]
fn a_locked_pdf_asks_for_its_password() -> Result<()> {
    let home = Home::new();
    let locked = program::repository().join("tests/files/locked.pdf");
    add(&home, &locked).assert_refused("password");
    let path = locked.to_str().unwrap();
    home.run(["add", path, "--password", "wrong"])
        .assert_refused("password");
    let mut serve = Serve::start(&home)?;
    let request = |password: Option<&str>| Request::Add {
        paths: vec![path.to_owned()],
        password: password.map(str::to_owned),
    };
    match serve.call(request(None))?.outcome()? {
        Outcome::Added { added } => {
            let code = added[0].failure.as_ref().map(|failure| failure.code);
            ensure!(code == Some(FailureCode::PasswordNeeded), "{added:?}");
        }
        other => anyhow::bail!("{other:?}"),
    }
    match serve.call(request(Some("petrel")))?.outcome()? {
        Outcome::Added { added } => {
            let document = added[0].document.as_ref().map(|d| d.id.clone());
            let id = document.ok_or_else(|| anyhow::anyhow!("{added:?}"))?;
            let text = canonical::text(&mut serve, &id)?;
            ensure!(text.contains("Marta Olsen"), "{text:?}");
        }
        other => anyhow::bail!("{other:?}"),
    }
    Ok(())
}

/// `script` runs a program on a terminal of its own and types what it is given.
#[test]
fn a_terminal_asks_for_the_password_until_it_fits() -> Result<()> {
    let home = Home::new();
    let locked = program::repository().join("tests/files/locked.pdf");
    let type_in = |typed: &str| -> Result<std::process::Output> {
        let line = format!(
            "'{}' add '{}'",
            program::lectern().display(),
            locked.display()
        );
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        home.dress(&mut command);
        let mut terminal = command.spawn()?;
        let mut keys = terminal.stdin.take().context("stdin was asked for")?;
        keys.write_all(typed.as_bytes())?;
        drop(keys);
        Ok(terminal.wait_with_output()?)
    };
    let left = type_in("\n")?;
    ensure!(left.status.code() == Some(5), "{left:?}");
    let opened = type_in("wrong\npetrel\n")?;
    let said = String::from_utf8_lossy(&opened.stdout).into_owned();
    ensure!(opened.status.success(), "{said}");
    ensure!(said.matches("Password, or nothing").count() == 2, "{said}");
    Ok(())
}

#[test]
fn pages_without_text_are_named() -> Result<()> {
    let home = Home::new();
    let lines: &[&str] = &["The lamp was first lit on 3 May 1874."];
    let file = home.write("half-scanned.pdf", pdf::partly_scanned(&[lines], 2));
    let added = add(&home, &file);
    ensure!(added.code == Some(0), "{added:?}");
    let mut serve = Serve::start(&home)?;
    let document = canonical::library(&mut serve)?.remove(0);
    let notices = document.notices.join("\n");
    ensure!(
        notices.contains('2') && notices.contains('3'),
        "{document:?}"
    );
    Ok(())
}

#[test]
fn a_file_that_vanishes_after_it_was_added_is_still_read() -> Result<()> {
    let home = library_with_a_document()?;
    std::fs::remove_file(home.desk().join("good.txt"))?;
    let mut serve = Serve::start(&home)?;
    let document = canonical::library(&mut serve)?.remove(0);
    drop(serve);
    let answer = home.json(["ask", &document.id, "What was the boat called?", "--json"])?;
    ensure!(
        answer["timings"]["read_tokens"].as_u64() > Some(100),
        "{answer}"
    );
    Ok(())
}

#[test]
fn a_file_that_vanishes_while_it_is_added_is_an_error_or_whole() -> Result<()> {
    let home = library_with_a_document()?;
    let file = home.write("log.txt", texts::filler(400_000));
    let child = home
        .lectern(["add", file.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(30));
    std::fs::remove_file(&file)?;
    let run = Run::of(child.wait_with_output()?);
    if run.code == Some(0) {
        ensure!(titles(&home)?.len() == 2, "{run:?}");
    } else {
        run.assert_refused("log.txt");
        ensure!(titles(&home)?.len() == 1);
    }
    Ok(())
}

#[test]
fn an_unreadable_folder_is_named() -> Result<()> {
    let home = library_with_a_document()?;
    home.write("closed/inside.txt", "Nobody reads this.");
    let folder = home.desk().join("closed");
    let close = |mode: &str| Command::new("chmod").arg(mode).arg(&folder).status();
    close("000")?;
    // Root reads everything; without these two capabilities it is a user like any other.
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set=-dac_override,-dac_read_search", "--"])
        .arg(program::lectern())
        .args(["add", folder.to_str().unwrap()]);
    home.dress(&mut command);
    let is_root = std::fs::read_dir(&folder).is_ok();
    let run = if is_root {
        command.output().map(Run::of)?
    } else {
        add(&home, &folder)
    };
    close("755")?;
    run.assert_refused("closed");
    ensure!(titles(&home)?.len() == 1);
    Ok(())
}

/// A small file system of its own, unmounted when dropped; only root may have one.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(at: &Path, bytes: u64) -> Option<SmallDisk<'_>> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(at)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(at));
        }
        println!("skipped: this user may not mount a small file system");
        None
    }

    fn grow(&self, bytes: u64) -> bool {
        Command::new("mount")
            .args(["-o", &format!("remount,size={bytes}")])
            .arg(self.0)
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_and_the_job_goes_on_later() -> Result<()> {
    let home = Home::new();
    let settings = std::fs::read(home.path().join("settings.toml"))?;
    // Room for the library, not for the cache: SmolLM2 keeps 23 kB of keys and values a token in f16.
    let Some(disk) = SmallDisk::mount(home.path(), 24 << 20) else {
        return Ok(());
    };
    std::fs::write(home.path().join("settings.toml"), settings)?;
    let file = home.write("log.txt", texts::filler(2000));
    let path = file.to_str().unwrap();
    let added = home.run(["add", path]);
    ensure!(added.code == Some(0), "{added:?}");
    home.run(["read", path]).assert_refused("disk is full");
    ensure!(titles(&home)?.len() == 1, "the library was lost");
    ensure!(disk.grow(400 << 20));
    let answer = home.json(["ask", path, "What did the crew count?", "--json"])?;
    ensure!(!answer["answer"].as_str().unwrap_or("").is_empty());
    Ok(())
}

#[test]
fn a_model_file_deleted_while_serving_is_said_and_recovered() -> Result<()> {
    let models = tempfile::tempdir()?;
    let file = model::file(model::SMALL);
    let copy = models.path().join(file.file_name().unwrap());
    std::fs::copy(&file, &copy)?;
    let home = Home::new().models_in(models.path());
    let path = home.write("good.txt", texts::lighthouse_text());
    let added = add(&home, &path);
    ensure!(added.code == Some(0), "{added:?}");
    let mut serve = Serve::start(&home)?;
    let document = canonical::library(&mut serve)?.remove(0).id;
    let question = Request::Ask(Ask {
        document,
        question: "What was the boat called?".into(),
        conversation: None,
        max_tokens: Some(8),
        seed: None,
        greedy: Some(true),
        at_once: None,
    });
    ensure!(matches!(
        serve.call(question.clone())?.outcome()?,
        Outcome::Answer { .. }
    ));
    std::fs::remove_file(&copy)?;
    // What is loaded goes on; a failure must say that the model is gone. Either way the engine lives.
    if let Err(failure) = serve.call(question.clone())?.result {
        ensure!(failure.code == FailureCode::ModelMissing, "{failure:?}");
    }
    ensure!(canonical::library(&mut serve)?.len() == 1);
    // The next start has no model, says so, and says how to get one.
    serve.kill()?;
    let mut serve = Serve::start(&home)?;
    let failure = serve.call(question.clone())?.failure()?;
    ensure!(failure.code == FailureCode::ModelMissing, "{failure:?}");
    ensure!(failure.advice.is_some(), "{failure:?}");
    std::fs::copy(&file, &copy)?;
    match serve.call(question)?.outcome()? {
        Outcome::Answer { answer } => ensure!(answer.timings.read_tokens == 0),
        other => anyhow::bail!("{other:?}"),
    }
    Ok(())
}

#[test]
fn two_lecterns_share_one_library() -> Result<()> {
    let home = Home::new();
    let file = home.write("log.txt", texts::filler(1500));
    let other = home.write("good.txt", texts::lighthouse_text());
    let added = add(&home, &file);
    ensure!(added.code == Some(0), "{added:?}");
    let mut one = Serve::start(&home)?;
    let mut two = Serve::start(&home)?;
    let document = canonical::library(&mut one)?.remove(0).id;
    let read = Request::Read {
        document: document.clone(),
    };
    // Both read the same document: it is read, whoever does it, and nobody is told anything unclear.
    let (first, second) = (one.send(read.clone())?, two.send(read.clone())?);
    // Meanwhile one of them adds, and the other sees it.
    let added = add(&home, &other);
    ensure!(added.code == Some(0), "{added:?}");
    ensure!(canonical::library(&mut two)?.len() == 2);
    let results = [one.conclude(first)?.result, two.conclude(second)?.result];
    ensure!(results.iter().any(Result::is_ok), "{results:?}");
    for failure in results.iter().filter_map(|result| result.as_ref().err()) {
        ensure!(failure.message.contains("another Lectern"), "{failure:?}");
    }
    drop((one, two));
    let answer = home.json([
        "ask",
        &document,
        "What did the crew count?",
        "--json",
        "--max-tokens",
        "8",
    ])?;
    ensure!(answer["timings"]["read_tokens"] == 0, "{answer}");
    Ok(())
}
