//! Links that open the window at the cited words, the open window that goes to them, and a conversation taken along as a
//! PDF.

use crate::driver::Window;
use crate::{COVERED, SCREEN, faults, words};
use anyhow::{Context, Result, ensure};
use lectern_tests::{Home, Run, links, model, program, texts};
use serde_json::{Value, json};

/// Adds a file and gives its document's id.
fn add(home: &Home, path: &std::path::Path) -> Result<String> {
    let added = home.json(["add", path.to_str().context("UTF-8")?, "--json"])?;
    let id = added["document"]["id"].as_str();
    Ok(id.with_context(|| added.to_string())?.to_owned())
}

/// The link to the first place where `phrase` stands.
fn link_to(home: &Home, id: &str, phrase: &str) -> Result<String> {
    let found = home
        .run(["search", phrase, "--in", id, "--json"])
        .json_lines()?;
    let first = found.first().context("the phrase stands there")?;
    Ok(format!(
        "lectern://open/{id}?start={}&end={}",
        first["start"], first["end"]
    ))
}

/// A second start of the program, as a system does it that was handed a link.
fn start_again(home: &Home, link: &str) -> Result<Run> {
    let mut command = std::process::Command::new(program::desktop());
    command.arg(link).env("LECTERN_BIN", program::lectern());
    home.dress(&mut command);
    Ok(Run::of(command.output()?))
}

#[tokio::test]
async fn a_link_opens_the_window_at_the_words_and_brings_an_open_one_to_others() -> Result<()> {
    let _turn = SCREEN.lock().await;
    let home = Home::new();
    let book = add(&home, &home.write("skarn.pdf", texts::lighthouse_pdf()))?;
    let notes = "Gulls nest on the ledge below the lamp.";
    let text = add(
        &home,
        &home.write(
            "notes.txt",
            format!("{}\n\n{notes}\n", "Some days are long.\n\n".repeat(300)),
        ),
    )?;

    // The last page of a PDF, at the first start.
    let phrase = "the goats are back";
    let mut window = Window::open_with(&home, &[&link_to(&home, &book, phrase)?]).await?;
    window.wait("polygon[data-highlight='current']").await?;
    window
        .until("document.querySelector('polygon[data-highlight=\"current\"]').closest('.page').querySelector('.textLayer span')")
        .await?;
    let covered = window.run(COVERED).await?;
    let covered = words(covered.as_str().context("a string")?).concat();
    assert_eq!(covered, words(phrase).concat());
    window
        .until(
            "document.querySelector('[aria-label=Evidence] .where').textContent === 'skarn, p. 3'",
        )
        .await?;

    // Another document, through the command line, in the window that is open.
    let opened = home
        .lectern(["open", &link_to(&home, &text, notes)?])
        .env("LECTERN_DESKTOP", program::desktop())
        .env("LECTERN_BIN", program::lectern())
        .output()?;
    let opened = Run::of(opened);
    ensure!(opened.code == Some(0), "{opened:?}");
    window.wait("mark[data-highlight='current']").await?;
    let marked = "document.querySelector('mark[data-highlight=\"current\"]')";
    window
        .until(&format!("{marked}?.textContent === {notes:?}"))
        .await?;
    let seen = format!(
        "const box = {marked}.getBoundingClientRect(); return box.top > 0 && box.bottom < innerHeight;"
    );
    assert_eq!(window.run(&seen).await?, json!(true));

    // What leads nowhere is said, and nothing else happens.
    let before = home.json(["list", "--json"])?;
    for (link, fact) in [
        (
            format!("lectern://open/{}?start=0&end=5", "0".repeat(16)),
            "not in this library",
        ),
        (
            format!("lectern://open/{book}?start=0&end=99999999999999"),
            "not a number of bytes",
        ),
        (
            format!("lectern://open/{book}?start=50000&end=50009"),
            "are no words of it",
        ),
        (
            "https://example.org/book.pdf".to_owned(),
            "not a link into Lectern",
        ),
        (
            "lectern://delete/everything".to_owned(),
            "not a link into Lectern",
        ),
    ] {
        let again = start_again(&home, &link)?;
        ensure!(again.code == Some(0), "{again:?}");
        window
            .until(&format!(
                "document.querySelector('.notices')?.textContent.includes({fact:?})"
            ))
            .await?;
        window.click(".notices button").await?;
    }
    assert_eq!(
        window.run(&format!("return {marked}.textContent")).await?,
        json!(notes)
    );
    assert_eq!(home.json(["list", "--json"])?, before);
    window.close().await
}

#[tokio::test]
async fn a_conversation_is_printed_to_a_pdf_that_holds_its_words_and_links() -> Result<()> {
    let _turn = SCREEN.lock().await;
    let home = Home::with_model(model::DEFAULT);
    let book = home.write("The light on Skarn.pdf", texts::lighthouse_pdf());
    let question = "Who was the first keeper of the lighthouse on Skarn rock?";
    let answer = home.json(["ask", book.to_str().context("UTF-8")?, question, "--json"])?;
    let quote = answer["sentences"][0]["citations"][0]["quote"]
        .as_str()
        .context("a citation")?;
    let conversation = answer["conversation"].as_str().context("kept")?;
    let link = links::links_in(&home.run(["export", conversation]).stdout).swap_remove(0);

    let mut window = Window::open(&home).await?;
    window
        .click("button[aria-label='Conversations about this document']")
        .await?;
    window
        .click("ul[aria-label^='Conversations'] li button")
        .await?;
    window
        .click("button[aria-label='Export this conversation']")
        .await?;
    window.photograph("export-light").await?;
    assert_eq!(faults(&window).await?, Vec::<Value>::new());
    window.click("[role=menuitem][data-format=pdf]").await?;
    let file = home.desk().join("talk.pdf");
    window.save_as("Export the conversation", file.to_str().context("UTF-8")?)?;
    window
        .until("document.querySelector('.notices')?.textContent.includes('Exported to')")
        .await?;

    // It is read like any other PDF.
    let id = add(&home, &file)?;
    let text = home.run(["show", &id, "--text"]).stdout;
    let flat = |text: &str| words(text).concat();
    let said = answer["answer"].as_str().context("text")?;
    for wanted in [question, said, quote, "p. 1", &link] {
        ensure!(
            flat(&text).contains(&flat(wanted)),
            "{wanted:?} is not in: {text}"
        );
    }
    window.close().await
}
