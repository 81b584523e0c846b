//! A conversation as Markdown: what was asked, what was answered, and the words it rests on with where they stand.

use super::Lectern;
use lectern_protocol::{AnchorView, Answer, Conversation, Failure, SupportState};
use std::fmt::Write;

impl Lectern {
    /// The conversation as CommonMark, and a file name for it.
    pub async fn export(&self, id: &str) -> Result<(String, String), Failure> {
        let conversation = self.library.conversation(id).await?;
        let title = self.library.row(&conversation.document).await?.title;
        Ok((file_name(&title), markdown(&title, &conversation)))
    }
}

/// In words, where an anchor points: "p. 12", "Chapter One", "src/main.rs › fn main, lines 3–7".
pub fn place(anchor: &AnchorView) -> String {
    match anchor {
        AnchorView::Pages { pages } => match pages.as_slice() {
            [] => String::new(),
            [page] => format!("p. {}", page.label),
            [first, .., last] => format!("pp. {}\u{2013}{}", first.label, last.label),
        },
        AnchorView::Element { item, section, .. } => match section.as_str() {
            "" => item.clone(),
            section => section.to_owned(),
        },
        AnchorView::Lines {
            file,
            symbol,
            first_line,
            last_line,
            ..
        } => {
            let lines = match first_line == last_line {
                true => format!("line {first_line}"),
                false => format!("lines {first_line}\u{2013}{last_line}"),
            };
            match symbol.as_str() {
                "" => format!("{file}, {lines}"),
                symbol => format!("{file} \u{203A} {symbol}, {lines}"),
            }
        }
        AnchorView::Flow { section, line, .. } => match section.as_str() {
            "" => format!("line {line}"),
            section => format!("{section}, line {line}"),
        },
    }
}

fn markdown(title: &str, conversation: &Conversation) -> String {
    let mut text = format!("# {}\n", escaped(title));
    let mut notes = Vec::new();
    for turn in &conversation.turns {
        // Writing to a String never fails.
        let _ = write!(text, "\n## {}\n\n", escaped(&one_line(&turn.question)));
        text.push_str(&with_marks(turn, &mut notes));
        text.push('\n');
        if turn.stopped {
            text.push_str("\n*(stopped here)*\n");
        }
    }
    if !notes.is_empty() {
        text.push('\n');
        for (number, note) in notes.iter().enumerate() {
            let _ = writeln!(text, "[^{}]: {note}", number + 1);
        }
    }
    text
}

/// The answer with a footnote mark behind each sentence for each of its citations.
fn with_marks(turn: &Answer, notes: &mut Vec<String>) -> String {
    let mut text = String::new();
    let mut end = 0;
    for sentence in &turn.sentences {
        let span = (sentence.span.start as usize).max(end)..sentence.span.end as usize;
        let (Some(between), Some(words)) = (
            turn.answer.get(end..span.start),
            turn.answer.get(span.clone()),
        ) else {
            continue;
        };
        text.push_str(&escaped(between));
        text.push_str(&escaped(words));
        for citation in &sentence.citations {
            let quote = one_line(&citation.quote);
            let mut place = place(&citation.anchor);
            if citation.gone {
                place.push_str(" (no longer in the document)");
            }
            let place = place.trim_start().to_owned();
            let _ = write!(text, "[^{}]", notes.len() + 1);
            notes.push(match place.as_str() {
                "" => format!("\u{201C}{}\u{201D}", escaped(&quote)),
                place => format!(
                    "\u{201C}{}\u{201D} \u{2014} {}",
                    escaped(&quote),
                    escaped(place)
                ),
            });
        }
        match sentence.state {
            SupportState::Supported => {}
            SupportState::Partly => text.push_str(" *(partly supported)*"),
            SupportState::Unsupported => text.push_str(" *(not supported by the document)*"),
        }
        end = span.end;
    }
    text.push_str(&escaped(turn.answer.get(end..).unwrap_or_default()));
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text whose characters mean nothing to Markdown.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut line_start = true;
    for c in text.chars() {
        let special = match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '|' | '~' => true,
            '#' | '+' | '-' | '=' => line_start,
            _ => false,
        };
        if special {
            out.push('\\');
        }
        out.push(c);
        line_start = c == '\n';
    }
    out
}

/// A file name that every system takes.
fn file_name(title: &str) -> String {
    let clean: String = title
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .take(60)
        .collect();
    match one_line(&clean).replace(' ', "-") {
        name if name.is_empty() => "conversation.md".to_owned(),
        name => format!("{name}.md"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lectern_protocol::{AnswerSentence, Citation, Strategy, TextSpan, Timings};

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
                    document: "d".to_owned(),
                    start: 0,
                    end: 1,
                    quote: (*quote).to_owned(),
                    anchor: AnchorView::Flow {
                        section: "I. Scandal".to_owned(),
                        line: 7,
                        block: 0,
                    },
                    score: 1.0,
                    gone: false,
                })
                .collect(),
        }
    }

    #[test]
    fn answers_carry_their_quotations_and_what_is_unsupported() {
        let answer = "A *king* came. He wept.";
        let turn = Answer {
            question: "Who\ncame?".to_owned(),
            answer: answer.to_owned(),
            sentences: vec![
                sentence(
                    answer,
                    "A *king* came.",
                    SupportState::Supported,
                    &["the\n king", "came"],
                ),
                sentence(answer, "He wept.", SupportState::Unsupported, &[]),
            ],
            coverage: Vec::new(),
            timings: Timings::default(),
            model: "m".to_owned(),
            strategy: Strategy::WholeDocument,
            conversation: None,
            stopped: false,
        };
        let conversation = Conversation {
            id: "c".to_owned(),
            document: "d".to_owned(),
            turns: vec![turn],
        };
        assert_eq!(
            markdown("A [Title]", &conversation),
            "# A \\[Title\\]\n\n## Who came?\n\nA \\*king\\* came.[^1][^2] He wept. *(not supported by the document)*\n\n\
             [^1]: \u{201C}the king\u{201D} \u{2014} I. Scandal, line 7\n\
             [^2]: \u{201C}came\u{201D} \u{2014} I. Scandal, line 7\n"
        );
    }

    #[test]
    fn file_names_are_safe() {
        assert_eq!(file_name("../Ça va? (2)"), "Ça-va-2.md");
        assert_eq!(file_name("///"), "conversation.md");
    }
}
