//! Long documents under the hand: how long frames take while a PDF of 2,000 pages and a text of 10 MB are scrolled, and how
//! soon what was jumped to is there. The figures are printed (`docs/window.md`); they depend on the machine and on what else
//! it does, so what is asserted is that the pages and words scrolled to come, and not how soon. `LECTERN_SLOW_TESTS=1` takes
//! enough frames for figures.

use crate::SCREEN;
use crate::driver::Window;
use anyhow::{Context, Result, ensure};
use lectern_tests::{Home, pdf, texts};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// What scrolls the document.
const SCROLLER: &str = "document.querySelector('[data-pane=viewer] .scroller')";

/// Scrolls some pixels a frame, and gives the milliseconds that each frame took, shortest first.
async fn frames(window: &Window, pixels: u32, count: u32) -> Result<Vec<f64>> {
    window
        .run(&format!(
            "const scroller = {SCROLLER}; window.frames_taken = null; \
             const taken = []; let last = performance.now(); \
             const frame = () => {{ \
                 const now = performance.now(); taken.push(now - last); last = now; \
                 scroller.scrollTop += {pixels}; \
                 if (taken.length < {count}) requestAnimationFrame(frame); \
                 else window.frames_taken = taken; \
             }}; \
             requestAnimationFrame(frame); return null;"
        ))
        .await?;
    window.until("window.frames_taken !== null").await?;
    let Value::Array(taken) = window.run("return window.frames_taken").await? else {
        anyhow::bail!("no frames");
    };
    let mut taken: Vec<f64> = taken.iter().filter_map(Value::as_f64).collect();
    taken.sort_by(f64::total_cmp);
    Ok(taken)
}

/// Prints how frames went: at rest, as fast as one reads (30 pixels a frame), and leafing (600).
async fn scroll(window: &Window, what: &str) -> Result<()> {
    for (speed, pixels) in [("still", 0), ("reading", 30), ("leafing", 600)] {
        let slow = std::env::var_os("LECTERN_SLOW_TESTS").is_some_and(|value| value == "1");
        let taken = frames(window, pixels, if slow { 240 } else { 40 }).await?;
        let at = |share: f64| taken[(share * (taken.len() - 1) as f64) as usize];
        let (median, most, worst) = (at(0.5), at(0.95), at(1.0));
        let late = taken.iter().filter(|ms| **ms > 50.0).count();
        println!(
            "{what}, {speed}: frames of {median:.0} ms (median), {most:.0} ms (95 of 100), {worst:.0} ms (worst); \
             {late} of {} above 50 ms",
            taken.len()
        );
    }
    Ok(())
}

/// Jumps to a share of the document, and gives how long it took until `there` was true.
async fn jump(window: &Window, share: f64, there: &str) -> Result<Duration> {
    let begun = Instant::now();
    window
        .run(&format!(
            "const scroller = {SCROLLER}; scroller.scrollTop = scroller.scrollHeight * {share}; return null"
        ))
        .await?;
    window.until(there).await?;
    Ok(begun.elapsed())
}

async fn opened(home: &Home, book: &Path, there: &str) -> Result<(Window, Duration)> {
    let added = home.run(["add", book.to_str().context("UTF-8")?]);
    ensure!(added.code == Some(0), "{added:?}");
    let begun = Instant::now();
    let mut window = Window::open(home).await?;
    window.wait(there).await?;
    Ok((window, begun.elapsed()))
}

#[tokio::test]
async fn a_pdf_of_2000_pages_scrolls() -> Result<()> {
    let _turn = SCREEN.lock().await;
    let home = Home::new();
    let numbers: Vec<String> = (1..=2000).map(|page| format!("Sheet {page}.")).collect();
    let pages: Vec<Vec<&str>> = numbers
        .iter()
        .enumerate()
        .map(|(page, number)| {
            let told = (0..36).map(|line| &texts::LIGHTHOUSE[(page + line) % 6][line..line + 55]);
            told.chain([number.as_str()]).collect()
        })
        .collect();
    let pages: Vec<&[&str]> = pages.iter().map(Vec::as_slice).collect();
    let book = home.write("long.pdf", pdf::with_text(&pages));
    let (mut window, opening) = opened(&home, &book, ".textLayer span").await?;
    println!("2,000 pages: the first page is there {opening:.1?} after the start");
    scroll(&window, "2,000 pages").await?;
    let drawn = "[...document.querySelectorAll('.page')].some((page) => { \
        const box = page.getBoundingClientRect(); \
        return Number(page.dataset.page) > 1300 && box.top < innerHeight && box.bottom > 0 \
            && page.querySelector('canvas') && page.querySelector('.textLayer span'); })";
    let there = jump(&window, 0.7, drawn).await?;
    println!("2,000 pages: a page jumped to is there after {there:.1?}");

    // With the thumbnails beside it.
    window.click("button[aria-label='Pages']").await?;
    window.wait("[data-thumbnail] canvas").await?;
    scroll(&window, "2,000 pages with thumbnails").await?;
    window.close().await
}

#[tokio::test]
async fn a_text_of_10_mb_scrolls() -> Result<()> {
    let _turn = SCREEN.lock().await;
    let home = Home::new();
    let once = texts::LIGHTHOUSE.join("\n\n");
    let mut text = String::with_capacity(10 << 20);
    let mut told = 0;
    while text.len() < 10 << 20 {
        told += 1;
        text += &format!("Telling {told}.\n\n{once}\n\n");
    }
    let book = home.write("long.txt", text);
    let (window, opening) = opened(&home, &book, "[data-block='0']").await?;
    println!("10 MB: the first words are there {opening:.1?} after the start");
    scroll(&window, "10 MB").await?;
    let drawn = "[...document.querySelectorAll('[data-block]')].some((block) => { \
        const box = block.getBoundingClientRect(); \
        return Number(block.dataset.block) > 1000 && box.top < innerHeight && box.bottom > 0; })";
    let there = jump(&window, 0.7, drawn).await?;
    println!("10 MB: words jumped to are there after {there:.1?}");
    window.close().await
}
