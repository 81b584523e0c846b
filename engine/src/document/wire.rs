//! Document values as the protocol carries them.

use super::{Anchor, DocumentKind, Span};
use lectern_protocol::{AnchorView, DocumentFormat, PageMarks, TextSpan};

impl From<Span> for TextSpan {
    /// Texts are far below 4 GB (`ingest::Limits`).
    fn from(span: Span) -> TextSpan {
        TextSpan {
            start: span.start as u32,
            end: span.end as u32,
        }
    }
}

impl From<DocumentKind> for DocumentFormat {
    fn from(kind: DocumentKind) -> DocumentFormat {
        match kind {
            DocumentKind::Pdf => DocumentFormat::Pdf,
            DocumentKind::Epub => DocumentFormat::Epub,
            DocumentKind::Html => DocumentFormat::Html,
            DocumentKind::Markdown => DocumentFormat::Markdown,
            DocumentKind::Text => DocumentFormat::Text,
            DocumentKind::Code => DocumentFormat::Code,
            DocumentKind::Word => DocumentFormat::Word,
            DocumentKind::Slides => DocumentFormat::Slides,
            DocumentKind::Sheets => DocumentFormat::Sheets,
            DocumentKind::Mail => DocumentFormat::Mail,
        }
    }
}

impl From<Anchor> for AnchorView {
    fn from(anchor: Anchor) -> AnchorView {
        match anchor {
            Anchor::Pages(pages) => AnchorView::Pages {
                pages: pages
                    .into_iter()
                    .map(|page| PageMarks {
                        page: page.page,
                        label: page.label,
                        quads: page.quads.iter().map(|quad| quad.0).collect(),
                        recognised: page.recognised,
                    })
                    .collect(),
            },
            Anchor::Element {
                item,
                section,
                block,
            } => AnchorView::Element {
                item,
                section,
                block,
            },
            Anchor::Lines {
                file,
                symbol,
                lines,
                block,
            } => AnchorView::Lines {
                file,
                symbol,
                first_line: lines.first_line,
                first_column: lines.first_column,
                last_line: lines.last_line,
                last_column: lines.last_column,
                block,
            },
            Anchor::Flow {
                section,
                line,
                block,
            } => AnchorView::Flow {
                section,
                line,
                block,
            },
        }
    }
}
