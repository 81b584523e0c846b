//! XQuAD (Artetxe et al. 2020, arXiv 1910.11856): questions on Wikipedia articles, with the words that answer them.

use super::EvaluationError;
use super::data;
use crate::document::{Block, BlockKind, Document, DocumentKind, Span};
use serde::Deserialize;
use std::path::Path;

/// Articles joined to one document, with the questions on them.
pub(super) struct Exam {
    pub document: Document,
    pub questions: Vec<GoldQuestion>,
}

/// A question and where its answer stands.
#[derive(Debug, Clone)]
pub(super) struct GoldQuestion {
    pub question: String,
    pub answer: String,
    /// In the document's text.
    pub span: Span,
}

#[derive(Deserialize)]
struct File {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    question: String,
    answers: Vec<Gold>,
}

#[derive(Deserialize)]
struct Gold {
    /// In characters.
    answer_start: usize,
    text: String,
}

/// The articles of `xquad/xquad.LANGUAGE.json`, joined in order until each document is about `longest` long (a
/// document holds whole articles, one at least); `length` measures a paragraph.
pub(super) fn exams(
    folder: &Path,
    language: &str,
    longest: usize,
    length: impl Fn(&str) -> Result<usize, EvaluationError>,
) -> Result<Vec<Exam>, EvaluationError> {
    let name = format!("xquad/xquad.{language}.json");
    let file: File = data::json(&folder.join(name))?;
    let mut exams = Vec::new();
    let mut open = Exam::empty();
    let mut joined = 0;
    for article in file.data {
        let size: usize = article
            .paragraphs
            .iter()
            .map(|paragraph| length(&paragraph.context))
            .sum::<Result<usize, _>>()?;
        if joined > 0 && joined + size > longest {
            exams.push(std::mem::replace(&mut open, Exam::empty()));
            joined = 0;
        }
        joined += size;
        article
            .paragraphs
            .into_iter()
            .for_each(|paragraph| open.push(paragraph));
    }
    if !open.questions.is_empty() {
        exams.push(open);
    }
    Ok(exams)
}

impl Exam {
    fn empty() -> Exam {
        Exam {
            document: plain_document(""),
            questions: Vec::new(),
        }
    }

    fn push(&mut self, paragraph: Paragraph) {
        let start = push_paragraph(&mut self.document, &paragraph.context);
        for asked in paragraph.qas {
            let Some(gold) = asked.answers.into_iter().next() else {
                continue;
            };
            let byte = paragraph
                .context
                .char_indices()
                .nth(gold.answer_start)
                .map(|(byte, _)| byte);
            let Some(byte) = byte.filter(|&byte| paragraph.context[byte..].starts_with(&gold.text))
            else {
                continue;
            };
            let span = Span::new(start + byte, start + byte + gold.text.len());
            self.questions.push(GoldQuestion {
                question: asked.question,
                answer: gold.text,
                span,
            });
        }
    }

    /// `count` of its questions, evenly spread.
    pub fn sample(&self, count: usize) -> Vec<&GoldQuestion> {
        self.spread(count).map(|nth| &self.questions[nth]).collect()
    }

    /// The numbers of `count` of its questions, evenly spread.
    pub fn spread(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let questions = self.questions.len();
        let count = count.min(questions);
        (0..count).map(move |nth| nth * questions / count)
    }
}

/// A document of paragraphs, to be filled by [`push_paragraph`].
pub(super) fn plain_document(title: &str) -> Document {
    Document {
        kind: DocumentKind::Text,
        title: title.to_owned(),
        authors: None,
        text: String::new(),
        sections: Vec::new(),
        blocks: Vec::new(),
        pages: Vec::new(),
        notices: Vec::new(),
    }
}

/// Appends a paragraph; returns its first byte.
pub(super) fn push_paragraph(document: &mut Document, paragraph: &str) -> usize {
    if !document.text.is_empty() {
        document.text.push_str("\n\n");
    }
    let start = document.text.len();
    document.text.push_str(paragraph);
    let span = Span::new(start, document.text.len());
    document.blocks.push(Block {
        kind: BlockKind::Paragraph,
        span,
        marks: Vec::new(),
    });
    start
}
