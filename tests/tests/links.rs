//! `lectern export` and `lectern open`: links that lead out of Lectern and back to the very words, and links that must
//! lead nowhere.
#![allow(clippy::unwrap_used)]

use anyhow::{Context, Result, ensure};
use lectern_tests::{Home, links, texts};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A library with the lighthouse in it, and one cited answer: its document's id and its conversation.
fn asked(home: &Home, file: &Path) -> Result<(String, Value)> {
    let question = "Who was the first keeper of the lighthouse on Skarn rock?";
    let answer = home.json([
        "ask",
        file.to_str().unwrap(),
        question,
        "--json",
        "--max-tokens",
        "40",
    ])?;
    let documents = home.json(["list", "--json"])?;
    let id = documents[0]["id"].as_str().context("an id")?;
    Ok((id.to_owned(), answer))
}

fn citations(answer: &Value) -> Vec<&Value> {
    let sentences = answer["sentences"].as_array();
    sentences
        .into_iter()
        .flatten()
        .flat_map(|sentence| sentence["citations"].as_array().into_iter().flatten())
        .collect()
}

/// A program in the window's place that notes what it was started with.
fn recorder(home: &Home) -> (PathBuf, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let record = home.desk().join("started-with");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$#\" \"$@\" > '{}'\n",
        record.display()
    );
    let program = home.write("window", script);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (program, record)
}

#[test]
fn every_exported_link_leads_back_to_the_cited_words() -> Result<()> {
    let home = Home::new();
    let file = home.write("skarn.pdf", texts::lighthouse_pdf());
    let (id, answer) = asked(&home, &file)?;
    let conversation = answer["conversation"].as_str().context("kept")?;
    let cited = citations(&answer);
    ensure!(!cited.is_empty(), "{answer}");
    let page = home.desk().join("talk.html");
    let wrote = home.run(["export", conversation, "--output", page.to_str().unwrap()]);
    ensure!(wrote.code == Some(0), "{wrote:?}");
    let page = std::fs::read_to_string(page)?;
    ensure!(
        page.starts_with("<!doctype html>") && page.contains("p. 1"),
        "{page}"
    );
    let markdown = home.run(["export", conversation]).stdout;
    for text in [&page, &markdown] {
        let links = links::links_in(text);
        ensure!(links.len() == cited.len(), "{text}");
        for (link, citation) in links.iter().zip(&cited) {
            ensure!(link.starts_with(&format!("lectern://open/{id}?")), "{link}");
            let followed = home.json(["open", link, "--json"])?;
            for field in ["document", "start", "end", "quote", "anchor"] {
                ensure!(followed[field] == citation[field], "{followed} {citation}");
            }
        }
    }

    // The window is started with the link and nothing else.
    let link = links::links_in(&page).swap_remove(0);
    let (program, record) = recorder(&home);
    let opened = home
        .lectern(["open", &link])
        .env("LECTERN_DESKTOP", &program)
        .output()?;
    ensure!(opened.status.success(), "{opened:?}");
    let said = String::from_utf8(opened.stdout)?;
    ensure!(said.starts_with("skarn, p. 1: \u{201c}"), "{said}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !record.is_file() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(std::fs::read_to_string(&record)?, format!("1\n{link}\n"));
    let missing = home
        .lectern(["open", &link])
        .env("LECTERN_DESKTOP", home.desk().join("nothing"))
        .output()?;
    lectern_tests::Run::of(missing).assert_refused("the window cannot be started");
    Ok(())
}

#[test]
fn links_survive_a_new_version_and_say_when_their_words_are_gone() -> Result<()> {
    let home = Home::new();
    let file = home.write("skarn.txt", texts::lighthouse_text());
    let (_, answer) = asked(&home, &file)?;
    let conversation = answer["conversation"].as_str().context("kept")?;
    let link = links::links_in(&home.run(["export", conversation]).stdout)
        .into_iter()
        .next()
        .context("a link")?;
    let before = home.json(["open", &link, "--json"])?;

    let preface = "A preface that was not there before.";
    home.write(
        "skarn.txt",
        format!("{preface}\n\n{}", texts::lighthouse_text()),
    );
    ensure!(home.run(["refresh"]).code == Some(0));
    let moved = home.json(["open", &link, "--json"])?;
    assert_eq!(moved["quote"], before["quote"]);
    let shift = preface.len() as u64 + 2;
    assert_eq!(
        moved["start"].as_u64(),
        before["start"].as_u64().map(|start| start + shift)
    );

    home.write("skarn.txt", "Nothing of it is left.\n");
    ensure!(home.run(["refresh"]).code == Some(0));
    let gone = home.run(["open", &link, "--print"]);
    gone.assert_refused("no longer stand in \u{201c}skarn\u{201d}");
    assert_eq!(gone.code, Some(3));
    Ok(())
}

#[test]
fn hostile_links_are_refused_and_start_nothing() -> Result<()> {
    let home = Home::new();
    let file = home.write("skarn.txt", texts::lighthouse_text());
    ensure!(home.run(["add", file.to_str().unwrap()]).code == Some(0));
    let before = home.json(["list", "--json"])?;
    let id = before[0]["id"].as_str().context("an id")?;
    let (program, record) = recorder(&home);
    let here = format!("lectern://open/{id}");
    for (link, fact, code) in [
        (
            "lectern://open/0123456789abcdef?start=1&end=9",
            "not in this library",
            3,
        ),
        (
            &format!("{here}?start=1&end=60000"),
            "are no words of it",
            3,
        ),
        (
            &format!("{here}?start=4000000000&end=4000000005"),
            "are no words of it",
            3,
        ),
        (
            &format!("{here}?start=0&end=99999999999999999999"),
            "not a number of bytes",
            1,
        ),
        (&format!("{here}?start=9&end=1"), "names no words", 1),
        (
            &format!("{here}?start=0&end=9&words=0000000000000000"),
            "no longer stand",
            3,
        ),
        (&here, "where the words start", 1),
        (
            "lectern://remove/0123456789abcdef",
            "not a link into Lectern",
            1,
        ),
        (
            "lectern://open/../../etc/passwd?start=0&end=1",
            "names no document",
            1,
        ),
        (
            "https://example.org/?start=0&end=1",
            "not a link into Lectern",
            1,
        ),
        ("file:///etc/passwd", "not a link into Lectern", 1),
        ("javascript:alert(1)", "not a link into Lectern", 1),
        (
            "lectern://open/%s%n%x\u{7}\u{1b}[31m",
            "names no document",
            1,
        ),
        ("", "not a link into Lectern", 1),
    ] {
        let output = home
            .lectern(["open", link])
            .env("LECTERN_DESKTOP", &program)
            .output()?;
        let run = lectern_tests::Run::of(output);
        run.assert_refused(fact);
        assert_eq!(run.code, Some(code), "{link}: {run:?}");
        ensure!(!run.said().contains('\u{1b}'), "{run:?}");
    }
    ensure!(!record.exists(), "a refused link started the window");
    assert_eq!(home.json(["list", "--json"])?, before);
    Ok(())
}
