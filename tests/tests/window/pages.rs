//! Pages of a long PDF: their thumbnails, by mouse and by keyboard.

use crate::driver::Window;
use crate::{SCREEN, faults, set_theme};
use anyhow::{Result, ensure};
use fantoccini::key::Key;
use lectern_tests::{Home, pdf, texts};
use serde_json::{Value, json};

#[tokio::test]
async fn thumbnails_of_a_long_pdf_are_few_drawn_and_lead_to_their_pages() -> Result<()> {
    let _turn = SCREEN.lock().await;
    let home = Home::new();
    let lines: Vec<String> = (1..=2000)
        .map(|page| format!("This is page {page} of a very long book."))
        .collect();
    let pages: Vec<[&str; 3]> = lines
        .iter()
        .zip(texts::LIGHTHOUSE.iter().cycle())
        .map(|(line, told)| [&told[..60], line, &told[20..80]])
        .collect();
    let pages: Vec<&[&str]> = pages.iter().map(|page| &page[..]).collect();
    let book = home.write("long.pdf", pdf::with_text(&pages));
    let added = home.run(["add", book.to_str().unwrap_or_default()]);
    ensure!(added.code == Some(0), "{added:?}");
    let mut window = Window::open(&home).await?;
    window.wait(".textLayer span").await?;
    set_theme(&window, "light").await?;
    // Beside the pages, not over them.
    window
        .click("button[aria-label='Show the conversation']")
        .await?;
    window.click("button[aria-label='Pages']").await?;
    window.wait("[data-thumbnail='0'] canvas").await?;
    let listed = "return document.querySelectorAll('[data-thumbnail]').length";
    let count = window.run(listed).await?.as_u64().unwrap_or(u64::MAX);
    ensure!(
        (4..40).contains(&count),
        "{count} thumbnails of 2,000 pages are in the list"
    );
    assert_eq!(
        window
            .run(
                "const item = document.querySelector('[data-thumbnail=\"1\"]').closest('li'); \
                  return [item.ariaSetSize, item.ariaPosInSet]"
            )
            .await?,
        json!(["2000", "2"])
    );
    assert_eq!(faults(&window).await?, Vec::<Value>::new());

    // A click goes to the page; the end of the list is one key away.
    window.click("[data-thumbnail='3']").await?;
    window
        .until("document.querySelector('[data-thumbnail=\"3\"]')?.getAttribute('aria-current') === 'page'")
        .await?;
    let field = window.wait("[data-thumbnail='3']").await?;
    field.send_keys(&char::from(Key::End).to_string()).await?;
    window
        .until("document.activeElement?.dataset.thumbnail === '1999'")
        .await?;
    window.wait("[data-thumbnail='1999'] canvas").await?;
    let last = window.wait("[data-thumbnail='1999']").await?;
    last.send_keys(&char::from(Key::Enter).to_string()).await?;
    window
        .until(
            "[...document.querySelectorAll('.page')].some((page) => page.dataset.page === '2000' \
                && page.textContent.includes('This is page 2000') \
                && page.getBoundingClientRect().top < innerHeight)",
        )
        .await?;
    window
        .until("document.querySelector('[data-thumbnail=\"1999\"]')?.getAttribute('aria-current') === 'page'")
        .await?;
    let count = window.run(listed).await?.as_u64().unwrap_or(u64::MAX);
    ensure!(count < 40, "{count} thumbnails are in the list at its end");
    window.photograph("pages-light").await?;
    set_theme(&window, "dark").await?;
    window.photograph("pages-dark").await?;
    assert_eq!(faults(&window).await?, Vec::<Value>::new());
    window.close().await
}
