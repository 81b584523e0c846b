//! What the viewer shows of a document: structure, blocks, places.

use super::{Lectern, blocking};
use crate::document::{Block, BlockKind, Document, MarkKind, SectionKind, Span};
use crate::retrieval;
use lectern_protocol::{
    AnchorView, AnswerSentence, BlockLayout, CitingAnswer, ContentBlock, ContentMark, Failure,
    MarkStyle, Outcome, Outline, OutlineSection, PageSize, TextSpan,
};

/// Places found at most.
const MOST_FOUND: usize = 1000;
/// Blocks given at most in one call.
const MOST_BLOCKS: u32 = 5000;

impl Lectern {
    /// The canonical text, whose bytes spans count.
    pub async fn text(&self, id: &str) -> Result<String, Failure> {
        Ok(self.stored(id).await?.document.text.clone())
    }

    /// Sections, pages and size of a document.
    pub async fn outline(&self, id: &str) -> Result<Outline, Failure> {
        let stored = self.stored(id).await?;
        let document = &stored.document;
        let is_pdf = !document.pages.is_empty();
        Ok(Outline {
            sections: document
                .sections
                .iter()
                .map(|section| OutlineSection {
                    title: section.title.clone(),
                    depth: u32::from(section.depth),
                    span: section.span.into(),
                    block: document.block_at(section.span.start) as u32,
                    page: is_pdf
                        .then(|| document.page_at(section.span.start))
                        .flatten()
                        .map(|page| page.number),
                })
                .collect(),
            pages: document
                .pages
                .iter()
                .map(|page| PageSize {
                    label: page.label.clone(),
                    width: page.width,
                    height: page.height,
                    span: page.span.into(),
                    recognised: page.recognised,
                })
                .collect(),
            blocks: document.blocks.len() as u32,
            bytes: document.text.len() as u32,
            notices: document.notices.clone(),
        })
    }

    /// A run of blocks.
    pub async fn content(
        &self,
        id: &str,
        first: u32,
        count: u32,
    ) -> Result<Vec<ContentBlock>, Failure> {
        let stored = self.stored(id).await?;
        let document = &stored.document;
        Ok(document
            .blocks
            .iter()
            .enumerate()
            .skip(first as usize)
            .take(count.min(MOST_BLOCKS) as usize)
            .map(|(index, block)| content_block(document, index, block))
            .collect())
    }

    /// Where spans live in the original, one entry a span.
    pub async fn locate(&self, id: &str, spans: &[TextSpan]) -> Result<Vec<AnchorView>, Failure> {
        let stored = self.stored(id).await?;
        let mut anchors = Vec::with_capacity(spans.len());
        for span in spans {
            // A client may send anything; a span that runs backwards is empty.
            let (start, end) = (span.start as usize, span.end.max(span.start) as usize);
            let anchor = self.library.anchor(&stored, Span::new(start, end)).await?;
            anchors.push(anchor.into());
        }
        Ok(anchors)
    }

    /// Every place where the words stand.
    pub async fn find(&self, id: &str, query: &str) -> Result<Outcome, Failure> {
        let stored = self.stored(id).await?;
        let query = query.to_owned();
        blocking(move || {
            let found = retrieval::find(&stored.document.text, &query, MOST_FOUND);
            Ok(Outcome::Found {
                spans: found.spans.into_iter().map(TextSpan::from).collect(),
                more: found.more,
            })
        })
        .await
    }

    /// Answers that cite words of a span, newest first.
    pub async fn cited_by(&self, id: &str, span: TextSpan) -> Result<Vec<CitingAnswer>, Failure> {
        let answers = self.library.answers(id).await?;
        Ok(answers
            .into_iter()
            .filter_map(|(conversation, turn, answer)| {
                let cites = |sentence: &&AnswerSentence| {
                    sentence.citations.iter().any(|citation| {
                        !citation.gone && citation.start < span.end && span.start < citation.end
                    })
                };
                let sentence = answer.sentences.iter().find(cites)?;
                Some(CitingAnswer {
                    conversation,
                    turn,
                    sentence: sentence.text.clone(),
                    question: answer.question.clone(),
                })
            })
            .collect())
    }

    /// Where the kept copy of the original is.
    pub async fn original(&self, id: &str) -> Result<Outcome, Failure> {
        let path = self.library.original(id).await?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let media_type = match extension.unwrap_or_default() {
            "pdf" => "application/pdf",
            "epub" => "application/epub+zip",
            "html" | "htm" | "xhtml" => "text/html",
            "md" | "markdown" => "text/markdown",
            _ => "text/plain",
        };
        Ok(Outcome::Original {
            path: path.display().to_string(),
            media_type: media_type.to_owned(),
        })
    }
}

fn content_block(document: &Document, index: usize, block: &Block) -> ContentBlock {
    ContentBlock {
        index: index as u32,
        layout: layout(document, block),
        span: block.span.into(),
        text: block.span.of(&document.text).unwrap_or_default().to_owned(),
        marks: block
            .marks
            .iter()
            .map(|mark| ContentMark {
                style: match mark.kind {
                    MarkKind::Emphasis => MarkStyle::Emphasis,
                    MarkKind::Strong => MarkStyle::Strong,
                    MarkKind::Code => MarkStyle::Code,
                },
                span: mark.span.into(),
            })
            .collect(),
    }
}

fn layout(document: &Document, block: &Block) -> BlockLayout {
    match block.kind {
        BlockKind::Paragraph => BlockLayout::Paragraph,
        BlockKind::Heading(level) => BlockLayout::Heading { level },
        BlockKind::ListItem { depth, number } => BlockLayout::ListItem { depth, number },
        BlockKind::Quote => BlockLayout::Quote,
        BlockKind::Preformatted { first_line } => BlockLayout::Preformatted {
            first_line,
            file: file_of(document, block.span.start),
        },
        BlockKind::TableRow { header } => BlockLayout::TableRow { header },
        BlockKind::Note => BlockLayout::Note,
        BlockKind::Caption => BlockLayout::Caption,
    }
}

/// The source file that a byte of a codebase belongs to. Files do not nest, so it is the last one that begins before.
fn file_of(document: &Document, offset: usize) -> Option<String> {
    let begun = document
        .sections
        .partition_point(|section| section.span.start <= offset);
    document.sections[..begun]
        .iter()
        .rev()
        .find(|section| section.kind == SectionKind::File)
        .filter(|section| offset < section.span.end)
        .map(|section| section.title.clone())
}
