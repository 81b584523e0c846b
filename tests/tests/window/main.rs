//! The real window, as a person uses it: a file dropped by the system's own drag and drop, read, asked about, the
//! citation clicked, the highlight compared with the words that pdf.js drew under it.
#![allow(clippy::unwrap_used)]

mod driver;
mod links;
mod pages;
mod scrolling;

use anyhow::{Context, Result, ensure};
use driver::Window;
use fantoccini::key::Key;
use lectern_tests::{Home, model, program, texts};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// There is one screen and one mouse: tests take turns.
static SCREEN: Mutex<()> = Mutex::const_new(());

/// The words that the current highlights cover: every drawn character whose middle lies in one of the polygons, in
/// the order of the text layer, which pdf.js lays out without knowing of the engine.
const COVERED: &str = r#"
    const boxes = [...document.querySelectorAll('polygon[data-highlight="current"]')]
        .map((polygon) => polygon.getBoundingClientRect());
    let words = '';
    const walker = document.createTreeWalker(document.querySelector('.page').parentElement, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (!node.parentElement.closest('.textLayer')) continue;
        for (let at = 0; at < node.data.length; at += 1) {
            range.setStart(node, at);
            range.setEnd(node, at + 1);
            const box = range.getBoundingClientRect();
            const x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
            if (boxes.some((b) => x > b.left && x < b.right && y > b.top && y < b.bottom)) words += node.data[at];
        }
        words += ' ';
    }
    return words;
"#;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Rules of axe that are broken on the page as it stands, contrast of colours included.
async fn faults(window: &Window) -> Result<Vec<Value>> {
    let axe = program::repository().join("ui/node_modules/axe-core/axe.min.js");
    let source = std::fs::read_to_string(&axe)
        .with_context(|| format!("{}: run `npm ci` in ui/", axe.display()))?;
    window.run(&format!("{source}; window.axe = axe;")).await?;
    window
        .run(
            "window.faults = null; \
             window.axe.run(document, { rules: { region: { enabled: false } } }).then((found) => { \
                 window.faults = found.violations.map((fault) => \
                     fault.id + ': ' + fault.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | ')); \
             });",
        )
        .await?;
    window.until("window.faults !== null").await?;
    match window.run("return window.faults").await? {
        Value::Array(faults) => Ok(faults),
        other => anyhow::bail!("axe gave {other}"),
    }
}

async fn set_theme(window: &Window, theme: &str) -> Result<()> {
    let by_hand = format!(
        "const wanted = '{theme}'; \
         const button = document.querySelector('button[aria-label^=\"Appearance\"]'); \
         for (let click = 0; click < 3 && !button.ariaLabel.endsWith(wanted); click += 1) button.click(); \
         return null;"
    );
    for _ in 0..3 {
        window.run(&by_hand).await?;
        let at = format!("document.documentElement.dataset.theme === '{theme}'");
        if window.run(&format!("return {at}")).await? == json!(true) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the theme never became {theme}")
}

#[tokio::test]
async fn a_dropped_pdf_is_read_asked_and_its_citation_covers_the_very_words() -> Result<()> {
    let _turn = SCREEN.lock().await;
    let home = Home::with_model(model::DEFAULT);
    let book = home.write("The light on Skarn.pdf", texts::lighthouse_pdf());
    let mut window = Window::open(&home).await?;
    window
        .until("document.body.textContent.includes('Drop a book here')")
        .await?;
    set_theme(&window, "light").await?;
    window.photograph("empty-light").await?;
    assert_eq!(faults(&window).await?, Vec::<Value>::new());

    window.drop_file(&book)?;
    window.wait("[data-document]").await?;
    window.wait(".textLayer span").await?;
    window.click("button[aria-label^='Read ']").await?;
    window.photograph("reading-light").await?;
    window.wait("[data-state='read']").await?;

    let question = "Who was the first keeper of the lighthouse on Skarn rock?";
    let field = window.wait("textarea").await?;
    field.send_keys(question).await?;
    field.send_keys(&char::from(Key::Enter).to_string()).await?;
    window
        .until("document.querySelector('.answer')?.textContent.length > 8")
        .await?;
    window.photograph("answering-light").await?;
    window
        .until("document.querySelector('.send[type=submit]')")
        .await?;
    let answer = window.wait(".answer").await?.text().await?;
    ensure!(answer.contains("Marta Olsen"), "the answer is: {answer}");

    window.click("[data-citation='1']").await?;
    window.wait("polygon[data-highlight='current']").await?;
    window
        .until("document.querySelectorAll('.textLayer span').length > 3")
        .await?;
    window
        .run("document.querySelector('[data-citation=\"1\"]').dispatchEvent(new FocusEvent('focus'));")
        .await?;
    // On a busy machine it takes more than a frame or two.
    window
        .until("document.querySelector('[role=tooltip] .quote')")
        .await?;
    let quote = match window
        .run("return document.querySelector('[role=tooltip] .quote').textContent;")
        .await
    {
        Ok(Value::String(quote)) => quote,
        other => anyhow::bail!("no quotation on the chip: {other:?}"),
    };
    // The bar that says where evidence stands makes the page narrower, and its text is laid out anew a moment later.
    let begun = Instant::now();
    let covered = loop {
        let covered = window.run(COVERED).await?;
        let covered = words(covered.as_str().context("a string")?).concat();
        if covered == words(&quote).concat() || begun.elapsed() > Duration::from_secs(10) {
            break covered;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!("the highlight fits after {:.1?}", begun.elapsed());
    assert_eq!(
        covered,
        words(&quote).concat(),
        "the highlight covers other words than the citation names"
    );
    window
        .run("document.querySelector('[data-citation=\"1\"]').dispatchEvent(new FocusEvent('blur')); return null")
        .await?;
    window.wait("[aria-label='Evidence'] .where").await?;
    let place = "return document.querySelector('[aria-label=Evidence] .where').textContent";
    assert_eq!(window.run(place).await?, json!("The light on Skarn, p. 1"));
    window.photograph("citation-light").await?;
    assert_eq!(faults(&window).await?, Vec::<Value>::new());
    set_theme(&window, "dark").await?;
    window.photograph("citation-dark").await?;
    assert_eq!(faults(&window).await?, Vec::<Value>::new());

    // A mark beside the scroll bar says where the evidence stands; selected words can be asked about.
    window.wait("[data-strip='evidence']").await?;
    let selected = window
        .run(
            "const line = document.querySelector('.textLayer span'); \
             getSelection().selectAllChildren(line); return line.textContent.trim();",
        )
        .await?;
    let selected = selected.as_str().context("a string")?.to_owned();
    window.wait("[aria-label='Selected words']").await?;
    window.photograph("selection-dark").await?;
    window.click("[aria-label='Selected words'] button").await?;
    window
        .until("document.querySelector('textarea').value.startsWith('About “')")
        .await?;
    let draft = window
        .run("return document.querySelector('textarea').value")
        .await?;
    assert_eq!(draft, json!(format!("About “{selected}”: ")));
    window.close().await
}

#[tokio::test]
async fn the_window_outlives_its_engine_and_bad_files() -> Result<()> {
    let _turn = SCREEN.lock().await;
    let home = Home::new();
    let broken = home.write("broken.pdf", b"%PDF-1.7\nnothing follows");
    let text = home.write("keeper.txt", texts::lighthouse_text());
    let mut window = Window::open(&home).await?;
    window
        .until("document.body.textContent.includes('Drop a book here')")
        .await?;
    window.drop_file(&broken)?;
    let failure = window
        .wait("li.failed [role='alert']")
        .await?
        .text()
        .await?;
    ensure!(failure.contains("broken.pdf"), "it said: {failure}");
    set_theme(&window, "dark").await?;
    window.photograph("error-dark").await?;

    window.drop_file(&text)?;
    window.wait("[data-document]").await?;
    window
        .until("document.querySelector('[data-block=\"0\"]')")
        .await?;

    let engine = window.engine()?.to_string();
    std::process::Command::new("kill")
        .args(["-9", &engine])
        .status()?;
    window
        .until("document.querySelector('.notices')?.textContent.includes('The reading engine was killed')")
        .await?;
    // The next start has the same library.
    window.wait("[data-document]").await?;
    window
        .click("button[aria-label='Find in the document']")
        .await?;
    let field = window.wait("[data-find]").await?;
    field.send_keys("goats").await?;
    window.wait("mark[data-highlight='current']").await?;
    let marked = window
        .wait("mark[data-highlight='current']")
        .await?
        .text()
        .await?;
    assert_eq!(marked, "goats");
    window.close().await
}
