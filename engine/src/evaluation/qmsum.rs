//! QMSum (Zhong et al. 2021, arXiv 2104.05938): questions on meetings, with the turns that an answer rests on.

use super::EvaluationError;
use super::data;
use super::sources::{Insight, Sourced};
use super::xquad::{plain_document, push_paragraph};
use crate::document::Span;
use serde::Deserialize;
use std::path::Path;

#[derive(Deserialize)]
struct Line {
    specific_query_list: Vec<Query>,
    meeting_transcripts: Vec<Turn>,
}

#[derive(Deserialize)]
struct Query {
    query: String,
    answer: String,
    /// First and last turn, as digits.
    relevant_text_span: Vec<[String; 2]>,
}

#[derive(Deserialize)]
struct Turn {
    speaker: String,
    content: String,
}

/// The meetings of `qmsum/val.jsonl`; on each the questions on something in particular, with the runs of turns that matter.
pub(super) fn meetings(folder: &Path) -> Result<Vec<Sourced>, EvaluationError> {
    let lines = data::json_lines(&folder.join("qmsum/val.jsonl"))?;
    Ok(lines.into_iter().map(meeting).collect())
}

fn meeting(line: Line) -> Sourced {
    let mut meeting = Sourced::of(plain_document(""));
    let turns: Vec<Span> = line
        .meeting_transcripts
        .iter()
        .map(|turn| {
            let said = format!("{}: {}", turn.speaker, turn.content);
            let start = push_paragraph(&mut meeting.exam.document, &said);
            Span::new(start, start + said.len())
        })
        .collect();
    let run = |[first, last]: &[String; 2]| {
        let first = turns.get(first.parse::<usize>().ok()?)?;
        let last = turns.get(last.parse::<usize>().ok()?)?;
        Some(Span::new(first.start, last.end.max(first.start)))
    };
    for query in line.specific_query_list {
        let spans: Vec<Span> = query.relevant_text_span.iter().filter_map(run).collect();
        let text = query.answer;
        meeting.push(query.query, vec![Insight { text, spans }]);
    }
    meeting
}
