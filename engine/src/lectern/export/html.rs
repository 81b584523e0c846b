//! A conversation as a web page: one file, without script or anything from elsewhere, that also prints well.
//!
//! Its policy forbids it to load anything, so that a fault in the escaping could show wrong letters and nothing worse.

use super::{Conversation, NEAREST, Note, Piece, Source, note, one_line, pieces, remarks};
use lectern_protocol::{Answer, Citation, SupportState};
use std::fmt::Write;

/// Its one style sheet.
const STYLE: &str = include_str!("page.css");

pub(super) fn written(source: &Source, conversation: &Conversation) -> String {
    let title = escaped(&one_line(&source.title));
    let authors = source
        .authors
        .as_deref()
        .map(|authors| format!("<p class=\"authors\">{}</p>\n", escaped(&one_line(authors))))
        .unwrap_or_default();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"Lectern\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main lang=\"\">\n\
         <header>\n<h1>{title}</h1>\n{authors}</header>\n"
    );
    let mut notes = 0;
    for turn in &conversation.turns {
        section(&mut page, turn, &mut notes);
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// A question, its answer, and the words that it rests on. `before` counts the notes of the turns before, and goes on.
fn section(page: &mut String, turn: &Answer, before: &mut usize) {
    let mut notes: Vec<Note> = Vec::new();
    // Writing to a String never fails.
    let _ = write!(
        page,
        "<section>\n<h2>{}</h2>\n<div class=\"answer\">",
        escaped(&one_line(&turn.question))
    );
    for piece in pieces(turn) {
        let (words, sentence) = match piece {
            Piece::Between(words) => {
                page.push_str(&escaped(words));
                continue;
            }
            Piece::Sentence { words, sentence } => (words, sentence),
        };
        let (class, remark) = match sentence.state {
            SupportState::Supported => ("supported", ""),
            SupportState::Partly => ("partly", "partly supported"),
            SupportState::NoClaim => ("no-claim", ""),
            SupportState::Unsupported => ("unsupported", "not supported by the document"),
        };
        let _ = write!(page, "<span class=\"{class}\">{}</span>", escaped(words));
        push_marks(page, &sentence.citations, &mut notes, *before);
        if !remark.is_empty() {
            let _ = write!(
                page,
                " <span class=\"remark\" lang=\"en\">({remark})</span>"
            );
        }
    }
    page.push_str("</div>\n");
    for remark in remarks(turn) {
        let remark = escaped(&remark);
        let _ = writeln!(page, "<p class=\"remark\" lang=\"en\">({remark})</p>");
    }
    if !turn.nearest.is_empty() {
        let _ = write!(page, "<p class=\"remark\" lang=\"en\">{NEAREST}");
        push_marks(page, &turn.nearest, &mut notes, *before);
        page.push_str("</p>\n");
    }
    if !notes.is_empty() {
        let _ = writeln!(page, "<ol start=\"{}\">", *before + 1);
        for (index, note) in notes.iter().enumerate() {
            let number = *before + index + 1;
            let _ = writeln!(
                page,
                "<li id=\"note-{number}\">{}</li>",
                evidence(note, number)
            );
        }
        page.push_str("</ol>\n");
    }
    page.push_str("</section>\n");
    *before += notes.len();
}

/// Marks that lead to notes, which are numbered behind `before` others.
fn push_marks(page: &mut String, citations: &[Citation], notes: &mut Vec<Note>, before: usize) {
    for citation in citations {
        notes.push(note(citation));
        let number = before + notes.len();
        let _ = write!(
            page,
            "<sup><a href=\"#note-{number}\" id=\"mark-{number}\" aria-label=\"Note {number}\">{number}</a></sup>"
        );
    }
}

fn evidence(note: &Note, number: usize) -> String {
    let quote = format!("<q>{}</q>", escaped(&note.quote));
    let place = escaped(&note.place);
    let there = match (&note.link, place.as_str()) {
        (Some(link), "") => format!(" <a class=\"place\" href=\"{}\">open</a>", escaped(link)),
        (Some(link), place) => {
            format!(" <a class=\"place\" href=\"{}\">{place}</a>", escaped(link))
        }
        (None, "") => String::new(),
        (None, place) => format!(" <span class=\"place\">{place}</span>"),
    };
    format!(
        "{quote}{there} <a class=\"back\" href=\"#mark-{number}\" aria-label=\"Back to mark {number}\">\u{21A9}\u{FE0E}</a>"
    )
}

/// Text as it may stand between tags and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What no page may hold; a NUL would also become another character.
            c if c.is_control() && !c.is_whitespace() => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{conversation, links};
    use super::*;
    use scraper::{Html, Selector};

    fn texts(page: &Html, selector: &str) -> Vec<String> {
        page.select(&Selector::parse(selector).unwrap())
            .map(|element| element.text().collect::<String>())
            .collect()
    }

    #[test]
    fn a_page_says_what_the_conversation_says_and_nothing_of_it_becomes_markup() {
        let (source, conversation) = conversation();
        let written = written(&source, &conversation);
        let page = Html::parse_document(&written);
        assert_eq!(texts(&page, "title"), ["A [Title] & more"]);
        assert_eq!(texts(&page, "h1"), ["A [Title] & more"]);
        assert_eq!(
            texts(&page, "h2"),
            ["Who came?", "<script>alert(1)</script>", "Where?"]
        );
        assert_eq!(
            texts(&page, ".answer"),
            [
                "A *king* <b>came</b>.12 He wept. (not supported by the document)",
                "It was so.3 (partly supported)",
                "The document does not say."
            ]
        );
        assert_eq!(
            texts(&page, "p.remark"),
            [
                "(answered by m<2> at gpu:8000)",
                "(The document may not answer this: little in it comes near the question.)",
                "(stopped here)",
                "Nearest in the document:4"
            ]
        );
        assert_eq!(
            texts(&page, "q"),
            ["the \"king\"", "came", "gone", "<i>near</i>"]
        );
        assert_eq!(
            texts(&page, ".place"),
            [
                "I. Scandal, line 7",
                "I. Scandal, line 7",
                "I. Scandal, line 7 (no longer in the document)",
                "I. Scandal, line 7"
            ]
        );
        let hrefs: Vec<&str> = page
            .select(&Selector::parse("a.place").unwrap())
            .map(|link| link.attr("href").unwrap())
            .collect();
        assert_eq!(hrefs, links());
    }

    #[test]
    fn a_page_needs_nothing_but_itself() {
        let (source, conversation) = conversation();
        let page = Html::parse_document(&written(&source, &conversation));
        let foreign = "script, link, img, iframe, object, embed, video, audio, base, form, [src], [onclick], [onload]";
        assert_eq!(page.select(&Selector::parse(foreign).unwrap()).count(), 0);
        assert!(
            !STYLE.contains("url(") && !STYLE.contains("@import"),
            "{STYLE}"
        );
        // Every mark leads to its note, and back.
        let ids: Vec<&str> = page
            .select(&Selector::parse("[id]").unwrap())
            .map(|element| element.attr("id").unwrap())
            .collect();
        let inner: Vec<&str> = page
            .select(&Selector::parse("a[href^='#']").unwrap())
            .map(|link| &link.attr("href").unwrap()[1..])
            .collect();
        assert_eq!(inner.len(), 8);
        assert!(inner.iter().all(|id| ids.contains(id)), "{inner:?} {ids:?}");
    }

    #[test]
    fn no_character_ends_a_text_or_an_attribute() {
        let all: String = (0u8..=127).map(char::from).collect();
        let page = Html::parse_fragment(&format!("<p title=\"{0}\">{0}</p>", escaped(&all)));
        let p = page.select(&Selector::parse("p").unwrap()).next().unwrap();
        let shown: String = p.text().collect();
        let kept = |c: &char| !c.is_control();
        assert_eq!(
            shown
                .chars()
                .filter(kept)
                .filter(|c| *c != '\u{FFFD}')
                .collect::<String>(),
            all.chars().filter(kept).collect::<String>()
        );
        assert_eq!(
            p.attr("title").unwrap().chars().filter(kept).count(),
            shown.chars().filter(kept).count()
        );
    }
}
