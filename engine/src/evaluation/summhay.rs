//! SummHay (Laban et al. 2024, arXiv 2407.01370): a hundred documents on one topic, questions on its parts, and for each the
//! insights that an answer should hold, with the documents that hold them.

use super::EvaluationError;
use super::data;
use super::sources::{Insight, Sourced};
use super::xquad::{plain_document, push_paragraph};
use crate::document::Span;
use serde::Deserialize;
use std::path::Path;

#[derive(Deserialize)]
struct Topic {
    topic: String,
    subtopics: Vec<Subtopic>,
    documents: Vec<Text>,
}

#[derive(Deserialize)]
struct Subtopic {
    query: String,
    insights: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    insight_id: String,
    insight: String,
}

#[derive(Deserialize)]
struct Text {
    document_text: String,
    insights_included: Vec<String>,
}

/// All documents of `summhay/topic_news1.json` one after the other, and the questions on them.
pub(super) fn haystack(folder: &Path) -> Result<Sourced, EvaluationError> {
    let topic = data::json(&folder.join("summhay/topic_news1.json"))?;
    Ok(joined(topic))
}

fn joined(topic: Topic) -> Sourced {
    let mut sourced = Sourced::of(plain_document(&topic.topic));
    let spans: Vec<Span> = topic
        .documents
        .iter()
        .map(|text| {
            let document = &mut sourced.exam.document;
            let paragraphs = text.document_text.split('\n').map(str::trim);
            let mut begins = paragraphs
                .filter(|paragraph| !paragraph.is_empty())
                .map(|paragraph| push_paragraph(document, paragraph));
            let start = begins.next();
            begins.for_each(drop);
            let end = document.text.len();
            Span::new(start.unwrap_or(end), end)
        })
        .collect();
    let holding = |id: &String| {
        let texts = topic.documents.iter().zip(&spans);
        let held = texts.filter(|(text, _)| text.insights_included.contains(id));
        held.map(|(_, span)| *span).collect::<Vec<Span>>()
    };
    for part in topic.subtopics {
        let insights: Vec<Insight> = part
            .insights
            .into_iter()
            .map(|said| Insight {
                spans: holding(&said.insight_id),
                text: said.insight,
            })
            .collect();
        sourced.push(part.query, insights);
    }
    sourced
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_insight_stands_in_the_documents_that_name_it() {
        let topic: Topic = serde_json::from_value(serde_json::json!({
            "topic": "Engines",
            "subtopics": [{ "query": "Power?", "insights": [{ "insight_id": "a", "insight": "It has 900 hp." }] }],
            "documents": [
                { "document_text": "\nOne.\n\nTwo.\n", "insights_included": [] },
                { "document_text": "Three.\nFour.", "insights_included": ["b", "a"] },
            ],
        }))
        .unwrap();
        let sourced = joined(topic);
        let text = &sourced.exam.document.text;
        let insight = &sourced.gold[0][0];
        assert_eq!(sourced.exam.questions[0].question, "Power?");
        assert_eq!(insight.text, "It has 900 hp.");
        assert_eq!(insight.spans.len(), 1);
        assert_eq!(insight.spans[0].of(text).unwrap(), "Three.\n\nFour.");
    }
}
