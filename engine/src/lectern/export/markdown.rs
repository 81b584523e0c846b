//! A conversation as CommonMark, its citations as footnotes.

use super::{Conversation, NEAREST, Note, Piece, Source, note, one_line, pieces, remarks};
use lectern_protocol::{Answer, Citation, SupportState};
use std::fmt::Write;

pub(super) fn written(source: &Source, conversation: &Conversation) -> String {
    let mut text = format!("# {}\n", escaped(&one_line(&source.title)));
    let mut notes = Vec::new();
    for turn in &conversation.turns {
        // Writing to a String never fails.
        let _ = write!(text, "\n## {}\n\n", escaped(&one_line(&turn.question)));
        text.push_str(&with_marks(turn, &mut notes));
        text.push('\n');
        for remark in remarks(turn) {
            let _ = write!(text, "\n*({})*\n", escaped(&remark));
        }
        if !turn.nearest.is_empty() {
            let _ = write!(text, "\n*{NEAREST}*");
            push_marks(&mut text, &turn.nearest, &mut notes);
            text.push('\n');
        }
    }
    if !notes.is_empty() {
        text.push('\n');
        for (number, note) in notes.iter().enumerate() {
            let _ = writeln!(text, "[^{}]: {}", number + 1, footnote(note));
        }
    }
    text
}

/// The answer with a footnote mark behind each sentence for each of its citations.
fn with_marks(turn: &Answer, notes: &mut Vec<Note>) -> String {
    let mut text = String::new();
    for piece in pieces(turn) {
        let (words, sentence) = match piece {
            Piece::Between(words) => (words, None),
            Piece::Sentence { words, sentence } => (words, Some(sentence)),
        };
        text.push_str(&escaped(words));
        let Some(sentence) = sentence else {
            continue;
        };
        push_marks(&mut text, &sentence.citations, notes);
        match sentence.state {
            SupportState::Supported | SupportState::NoClaim => {}
            SupportState::Partly => text.push_str(" *(partly supported)*"),
            SupportState::Unsupported => text.push_str(" *(not supported by the document)*"),
        }
    }
    text
}

fn push_marks(text: &mut String, citations: &[Citation], notes: &mut Vec<Note>) {
    for citation in citations {
        notes.push(note(citation));
        let _ = write!(text, "[^{}]", notes.len());
    }
}

fn footnote(note: &Note) -> String {
    let quote = format!("\u{201C}{}\u{201D}", escaped(&note.quote));
    let place = escaped(&note.place);
    match (&note.link, place.as_str()) {
        (Some(link), "") => format!("[{quote}]({link})"),
        (Some(link), place) => format!("{quote} \u{2014} [{place}]({link})"),
        (None, "") => quote,
        (None, place) => format!("{quote} \u{2014} {place}"),
    }
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

#[cfg(test)]
mod tests {
    use super::super::tests::{conversation, links};
    use super::*;

    #[test]
    fn answers_carry_their_quotations_links_and_what_is_unsupported() {
        let (source, conversation) = conversation();
        let [king, came, near] = links();
        assert_eq!(
            written(&source, &conversation),
            format!(
                "# A \\[Title\\] \\& more\n\n## Who came?\n\n\
                 A \\*king\\* \\<b\\>came\\</b\\>.[^1][^2] He wept. *(not supported by the document)*\n\n\
                 ## \\<script\\>alert(1)\\</script\\>\n\n\
                 It was so.[^3] *(partly supported)*\n\n*(answered by m\\<2\\> at gpu:8000)*\n\n\
                 *(The document may not answer this: little in it comes near the question.)*\n\n*(stopped here)*\n\n\
                 ## Where?\n\nThe document does not say.\n\n*Nearest in the document:*[^4]\n\n\
                 [^1]: \u{201C}the \"king\"\u{201D} \u{2014} [I. Scandal, line 7]({king})\n\
                 [^2]: \u{201C}came\u{201D} \u{2014} [I. Scandal, line 7]({came})\n\
                 [^3]: \u{201C}gone\u{201D} \u{2014} I. Scandal, line 7 (no longer in the document)\n\
                 [^4]: \u{201C}\\<i\\>near\\</i\\>\u{201D} \u{2014} [I. Scandal, line 7]({near})\n"
            )
        );
    }
}
