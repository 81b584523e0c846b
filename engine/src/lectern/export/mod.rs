//! A conversation to take along: what was asked, what was answered, and the words it rests on.
//!
//! In: a kept conversation. Out: CommonMark or a web page as one string, and a name for its file. Each citation carries its
//! quotation, its page or line, and a [`Link`] that opens Lectern at the words. A page needs nothing but itself: no script,
//! no font, no picture, so that it can be kept, mailed and printed, and asks nobody for anything when it is opened.

mod html;
mod markdown;
mod place;

pub use place::place;

use super::Lectern;
use crate::citing::Link;
use crate::document::Span;
use lectern_protocol::{
    Answer, AnswerSentence, Citation, Conversation, ExportFormat, Failure, Strategy,
};

/// What [`Answer::far`] says.
pub const FAR: &str = "The document may not answer this: little in it comes near the question.";
/// Before what [`Answer::nearest`] holds.
pub const NEAREST: &str = "Nearest in the document:";

/// What an export says about its document.
struct Source {
    title: String,
    authors: Option<String>,
}

/// A piece of an answer's text, in order; together they are the whole of it.
enum Piece<'a> {
    /// What stands between sentences.
    Between(&'a str),
    /// A sentence, as it stands in the text.
    Sentence {
        words: &'a str,
        sentence: &'a AnswerSentence,
    },
}

/// A citation as it is shown: on one line each.
struct Note {
    quote: String,
    place: String,
    /// None if the words are no longer in the document.
    link: Option<String>,
}

impl Lectern {
    /// The conversation in that format, and a file name for it.
    pub async fn export(
        &self,
        id: &str,
        format: ExportFormat,
    ) -> Result<(String, String), Failure> {
        let conversation = self.library.conversation(id).await?;
        let row = self.library.row(&conversation.document).await?;
        let source = Source {
            title: row.title,
            authors: row.authors,
        };
        let (extension, written) = match format {
            ExportFormat::Markdown => ("md", markdown::written(&source, &conversation)),
            ExportFormat::Html => ("html", html::written(&source, &conversation)),
        };
        Ok((file_name(&source.title, extension), written))
    }
}

/// An answer's text, taken apart at its sentences.
fn pieces(turn: &Answer) -> Vec<Piece<'_>> {
    let mut pieces = Vec::with_capacity(turn.sentences.len() * 2 + 1);
    let mut end = 0;
    for sentence in &turn.sentences {
        let span = (sentence.span.start as usize).max(end)..sentence.span.end as usize;
        let (Some(between), Some(words)) = (
            turn.answer.get(end..span.start),
            turn.answer.get(span.clone()),
        ) else {
            continue;
        };
        pieces.push(Piece::Between(between));
        pieces.push(Piece::Sentence { words, sentence });
        end = span.end;
    }
    pieces.push(Piece::Between(turn.answer.get(end..).unwrap_or_default()));
    pieces
}

/// What is said of a whole answer.
fn remarks(turn: &Answer) -> Vec<String> {
    let mut remarks = Vec::new();
    // Whoever is given the export should know where its question and its passages went.
    if turn.strategy == Strategy::Endpoint {
        remarks.push(format!("answered by {}", turn.model));
    }
    if turn.far {
        remarks.push(FAR.to_owned());
    }
    if turn.stopped {
        remarks.push("stopped here".into());
    }
    remarks
}

fn note(citation: &Citation) -> Note {
    let mut place = place(&citation.anchor);
    if citation.gone {
        place.push_str(" (no longer in the document)");
    }
    let span = (citation.start as usize, citation.end as usize);
    let linked = !citation.gone && span.0 < span.1;
    Note {
        quote: one_line(&citation.quote),
        place: place.trim_start().to_owned(),
        link: linked.then(|| {
            let span = Span::new(span.0, span.1);
            Link::to(&citation.document, span, &citation.quote).to_string()
        }),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A file name that every system takes.
fn file_name(title: &str, extension: &str) -> String {
    let clean: String = title
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .take(60)
        .collect();
    match one_line(&clean).replace(' ', "-") {
        name if name.is_empty() => format!("conversation.{extension}"),
        name => format!("{name}.{extension}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lectern_protocol::{AnchorView, SupportState, TextSpan, Timings};

    fn sentence(answer: &str, text: &str, state: SupportState, quote: &[&str]) -> AnswerSentence {
        let start = answer.find(text).unwrap_or_default() as u32;
        AnswerSentence {
            text: text.to_owned(),
            span: TextSpan {
                start,
                end: start + text.len() as u32,
            },
            state,
            citations: quote
                .iter()
                .map(|quote| Citation {
                    document: "3fa9c2d1e0b48776".to_owned(),
                    start: 7,
                    end: 7 + quote.len() as u32,
                    quote: (*quote).to_owned(),
                    anchor: AnchorView::Flow {
                        section: "I. Scandal".to_owned(),
                        line: 7,
                        block: 0,
                    },
                    score: 1.0,
                    gone: *quote == "gone",
                })
                .collect(),
        }
    }

    /// Three questions: one whose answer is hostile to every markup, one whose words are gone, and one without an answer.
    pub(super) fn conversation() -> (Source, Conversation) {
        let turn = |question: &str, answer: &str, sentences| Answer {
            question: question.to_owned(),
            answer: answer.to_owned(),
            sentences,
            coverage: Vec::new(),
            timings: Timings::default(),
            model: "m".to_owned(),
            strategy: Strategy::WholeDocument,
            conversation: None,
            stopped: false,
            far: false,
            nearest: Vec::new(),
            looked_for: None,
        };
        let first = "A *king* <b>came</b>. He wept.";
        let second = "It was so.";
        let third = "The document does not say.";
        let turns = vec![
            turn(
                "Who\ncame?",
                first,
                vec![
                    sentence(
                        first,
                        "A *king* <b>came</b>.",
                        SupportState::Supported,
                        &["the\n \"king\"", "came"],
                    ),
                    sentence(first, "He wept.", SupportState::Unsupported, &[]),
                ],
            ),
            Answer {
                stopped: true,
                far: true,
                model: "m<2> at gpu:8000".to_owned(),
                strategy: Strategy::Endpoint,
                ..turn(
                    "<script>alert(1)</script>",
                    second,
                    vec![sentence(
                        second,
                        "It was so.",
                        SupportState::Partly,
                        &["gone"],
                    )],
                )
            },
            Answer {
                nearest: sentence(third, third, SupportState::NoClaim, &["<i>near</i>"]).citations,
                ..turn("Where?", third, Vec::new())
            },
        ];
        let source = Source {
            title: "A [Title] & more".to_owned(),
            authors: Some("A. C. Doyle".to_owned()),
        };
        let conversation = Conversation {
            id: "c".to_owned(),
            document: "3fa9c2d1e0b48776".to_owned(),
            turns,
        };
        (source, conversation)
    }

    /// The links to the three places that are not gone.
    pub(super) fn links() -> [String; 3] {
        ["the\n \"king\"", "came", "<i>near</i>"].map(|quote| {
            Link::to("3fa9c2d1e0b48776", Span::new(7, 7 + quote.len()), quote).to_string()
        })
    }

    #[test]
    fn an_answers_pieces_are_the_whole_of_it() {
        let (_, conversation) = conversation();
        for turn in &conversation.turns {
            let whole: String = pieces(turn)
                .iter()
                .map(|piece| match piece {
                    Piece::Between(words) | Piece::Sentence { words, .. } => *words,
                })
                .collect();
            assert_eq!(whole, turn.answer);
        }
    }

    #[test]
    fn file_names_are_safe() {
        assert_eq!(file_name("../Ça va? (2)", "md"), "Ça-va-2.md");
        assert_eq!(file_name("///", "html"), "conversation.html");
    }
}
