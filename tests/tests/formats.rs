//! Every format, from the file to a cited answer, through the command line with the default model.
//!
//! The text is one that no model has seen, so an answer with its facts was read, not remembered.
#![allow(clippy::unwrap_used)]

use anyhow::{Context, Result, ensure};
use lectern_protocol::{AnchorView, Answer, Outcome, Request, SupportState, TextSpan};
use lectern_tests::{Home, Serve, canonical, model, texts};
use std::path::Path;

const QUESTION: &str = "Who was the first keeper of the lighthouse on Skarn rock?";
const FACT: &str = "Marta Olsen";

/// Asks with `--json` and checks everything that is true of any answer.
fn ask(home: &Home, target: &Path, question: &str) -> Result<Answer> {
    let target = target.to_str().context("a path in UTF-8")?;
    let json = home.json([
        "ask",
        target,
        question,
        "--json",
        "--greedy",
        "--max-tokens",
        "48",
    ])?;
    let answer: Answer = serde_json::from_value(json)?;
    ensure!(answer.question == question);
    ensure!(!answer.answer.trim().is_empty(), "no answer");
    ensure!(answer.timings.tokens > 0 && answer.timings.tokens <= 48);
    ensure!(answer.timings.first_token_ms > 0.0 && answer.timings.decode_tokens_per_s > 0.0);
    ensure!(!answer.sentences.is_empty(), "an answer without sentences");
    check_evidence(home, &answer)?;
    Ok(answer)
}

/// Every quotation stands in the document where it says, and nothing unsupported is linked.
fn check_evidence(home: &Home, answer: &Answer) -> Result<()> {
    let mut serve = Serve::start(home)?;
    for sentence in &answer.sentences {
        let (start, end) = (sentence.span.start as usize, sentence.span.end as usize);
        ensure!(answer.answer.get(start..end) == Some(sentence.text.as_str()));
        let borne_out = matches!(
            sentence.state,
            SupportState::Supported | SupportState::Partly
        );
        ensure!(borne_out != sentence.citations.is_empty(), "{sentence:?}");
        for citation in &sentence.citations {
            let text = canonical::text(&mut serve, &citation.document)?;
            let quoted = text.get(citation.start as usize..citation.end as usize);
            ensure!(
                quoted == Some(citation.quote.as_str()),
                "{:?} stands at {}..{}, not {:?}",
                quoted,
                citation.start,
                citation.end,
                citation.quote
            );
            ensure!((0.0..=1.0).contains(&citation.score));
        }
    }
    for pair in answer.coverage.windows(2) {
        ensure!(pair[0].end <= pair[1].start, "coverage out of order");
    }
    ensure!(!answer.coverage.is_empty(), "an answer that saw nothing");
    Ok(())
}

/// The anchors of all citations; an error if the answer lacks the fact or does not cite it.
fn anchors_of_fact(answer: &Answer) -> Result<Vec<&AnchorView>> {
    ensure!(answer.answer.contains(FACT), "{:?}", answer.answer);
    let citations = || answer.sentences.iter().flat_map(|s| &s.citations);
    ensure!(
        citations().any(|citation| citation.quote.contains(FACT)),
        "no citation of {FACT}: {:?}",
        answer.sentences
    );
    Ok(citations().map(|citation| &citation.anchor).collect())
}

#[test]
fn plain_text() -> Result<()> {
    let home = Home::with_model(model::DEFAULT);
    let file = home.write("skarn.txt", texts::lighthouse_text());
    let answer = ask(&home, &file, QUESTION)?;
    ensure!(answer.timings.read_tokens > 100, "{:?}", answer.timings);
    for anchor in anchors_of_fact(&answer)? {
        ensure!(matches!(anchor, AnchorView::Flow { .. }), "{anchor:?}");
    }
    Ok(())
}

#[test]
fn plain_text_in_an_old_encoding() -> Result<()> {
    let home = Home::with_model(model::DEFAULT);
    // UTF-16 with a byte order mark, as old Windows editors wrote it.
    let text = texts::lighthouse_text().replace("Marta Olsen", "Märta Olsén");
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    let file = home.write("skarn.txt", bytes);
    let answer = ask(&home, &file, QUESTION)?;
    let quotes = || answer.sentences.iter().flat_map(|s| &s.citations);
    ensure!(
        quotes().any(|citation| citation.quote.contains("Märta Olsén")),
        "{answer:?}"
    );
    Ok(())
}

#[test]
fn markdown() -> Result<()> {
    let home = Home::with_model(model::DEFAULT);
    let file = home.write("skarn.md", texts::lighthouse_markdown());
    let answer = ask(&home, &file, QUESTION)?;
    for citation in answer.sentences.iter().flat_map(|s| &s.citations) {
        let AnchorView::Flow { section, .. } = &citation.anchor else {
            anyhow::bail!("{citation:?}");
        };
        let headings = ["The light on Skarn", "The keeper", "Supplies"];
        ensure!(headings.contains(&section.as_str()), "{citation:?}");
    }
    // Whatever was cited: each place is named by the heading it stands under.
    let mut serve = Serve::start(&home)?;
    let document = canonical::library(&mut serve)?.remove(0).id;
    let text = canonical::text(&mut serve, &document)?;
    for (words, heading) in [
        ("built of grey granite", "The light on Skarn"),
        ("Its first keeper was Marta Olsen", "The keeper"),
        ("one barometer", "The keeper"),
        ("supply boat Petrel", "Supplies"),
    ] {
        let start = text.find(words).context("the words are part of the text")? as u32;
        let end = start + words.len() as u32;
        let located = serve.call(Request::Locate {
            document: document.clone(),
            spans: vec![TextSpan { start, end }],
        })?;
        let Outcome::Located { anchors } = located.outcome()? else {
            anyhow::bail!("no anchors");
        };
        ensure!(
            matches!(&anchors[..], [AnchorView::Flow { section, .. }] if section == heading),
            "{words:?} stands at {anchors:?}"
        );
    }
    Ok(())
}

#[test]
fn html() -> Result<()> {
    let home = Home::with_model(model::DEFAULT);
    let file = home.write("skarn.html", texts::lighthouse_html());
    let answer = ask(&home, &file, QUESTION)?;
    anchors_of_fact(&answer)?;
    let mut serve = Serve::start(&home)?;
    let document = canonical::library(&mut serve)?.remove(0);
    ensure!(document.title == "The light on Skarn", "{document:?}");
    let text = canonical::text(&mut serve, &document.id)?;
    ensure!(!text.contains("alert"), "a script is part of the text");
    Ok(())
}

#[test]
fn pdf() -> Result<()> {
    let home = Home::with_model(model::DEFAULT);
    let file = home.write("skarn.pdf", texts::lighthouse_pdf());
    let answer = ask(&home, &file, QUESTION)?;
    for anchor in anchors_of_fact(&answer)? {
        let AnchorView::Pages { pages } = anchor else {
            anyhow::bail!("{anchor:?}");
        };
        for marks in pages {
            ensure!((1..=3).contains(&marks.page), "{marks:?}");
            for quad in &marks.quads {
                // Letter paper, measured in points from its top left corner.
                let inside = quad.chunks(2).all(|corner| {
                    (0.0..=612.0).contains(&corner[0]) && (0.0..=792.0).contains(&corner[1])
                });
                ensure!(inside, "{quad:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn epub() -> Result<()> {
    // The small model: this is about anchors in chapters, and the sample book is long.
    let home = Home::new();
    let sample = lectern_tests::program::sample_book();
    let added = home.run(["add", sample.to_str().unwrap()]);
    ensure!(added.code == Some(0), "{added:?}");
    let mut serve = Serve::start(&home)?;
    let document = canonical::library(&mut serve)?.remove(0);
    ensure!(document.authors.as_deref() == Some("Lewis Carroll"));
    let outline = canonical::outline(&mut serve, &document.id)?;
    let titles: Vec<&str> = outline.sections.iter().map(|s| s.title.as_str()).collect();
    for chapter in ["Down the Rabbit-Hole", "The Pool of Tears", "A Caucus-Race"] {
        ensure!(
            titles.iter().any(|title| title.contains(chapter)),
            "{titles:?}"
        );
    }
    let text = canonical::text(&mut serve, &document.id)?;
    ensure!(text.contains("took a watch out of its waistcoat-pocket"));
    ensure!(text.contains("‘I wish I hadn’t cried so much!’ said Alice"));
    Ok(())
}

#[test]
fn source_code() -> Result<()> {
    let home = Home::with_model(model::DEFAULT);
    for (name, content) in texts::code_folder() {
        home.write(&format!("tides/{name}"), content);
    }
    let folder = home.desk().join("tides");
    let answer = ask(
        &home,
        &folder,
        "How many harmonics are there? Answer in a sentence.",
    )?;
    let mut serve = Serve::start(&home)?;
    let document = canonical::library(&mut serve)?.remove(0);
    let outline = canonical::outline(&mut serve, &document.id)?;
    let files: Vec<&str> = outline
        .sections
        .iter()
        .filter(|section| section.depth == 0)
        .map(|section| section.title.as_str())
        .collect();
    ensure!(files.contains(&"tide/table.py") && files.contains(&"tide/port.py"));
    let text = canonical::text(&mut serve, &document.id)?;
    ensure!(!text.contains("swordfish"), "an ignored file was read");
    for anchor in answer.sentences.iter().flat_map(|s| &s.citations) {
        let AnchorView::Lines {
            file, first_line, ..
        } = &anchor.anchor
        else {
            anyhow::bail!("{anchor:?}");
        };
        let source = std::fs::read_to_string(folder.join(file))?;
        let line = source.lines().nth(*first_line as usize - 1).unwrap_or("");
        let quoted = anchor.quote.lines().next().unwrap_or("");
        ensure!(line.contains(quoted.trim()), "{line:?} is not {quoted:?}");
    }
    Ok(())
}

#[test]
fn a_second_question_reads_nothing_even_after_a_restart() -> Result<()> {
    let home = Home::new();
    let file = home.write("skarn.txt", texts::lighthouse_text());
    let first = ask(&home, &file, QUESTION)?;
    ensure!(first.timings.read_tokens > 100);
    // Every `lectern ask` is a process of its own: a restart.
    let second = ask(&home, &file, "When was the lamp first lit?")?;
    ensure!(second.timings.read_tokens == 0, "{:?}", second.timings);
    // And the same question gets the same answer.
    let again = ask(&home, &file, QUESTION)?;
    ensure!(again.timings.read_tokens == 0);
    ensure!(again.answer == first.answer, "{again:?} after {first:?}");
    Ok(())
}

#[test]
fn the_same_content_twice_is_one_document() -> Result<()> {
    let home = Home::new();
    let one = home.write("one.txt", texts::lighthouse_text());
    let two = home.write("two.txt", texts::lighthouse_text());
    for path in [&one, &two, &one] {
        let added = home.run(["add", path.to_str().unwrap()]);
        ensure!(added.code == Some(0), "{added:?}");
    }
    let mut serve = Serve::start(&home)?;
    ensure!(canonical::library(&mut serve)?.len() == 1);
    Ok(())
}
