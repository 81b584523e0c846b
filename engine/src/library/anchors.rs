use super::{Library, LibraryError, StoredDocument, page_boxes};
use crate::document::{Anchor, Document, DocumentKind, Page, PageQuads, Span};

impl Library {
    /// Where `span` of a stored document lives in the original. Reads the boxes of the pages that the span touches
    /// and of no others: a page is anchored as if it were a document of its own.
    pub async fn anchor(
        &self,
        stored: &StoredDocument,
        span: Span,
    ) -> Result<Anchor, LibraryError> {
        let document = &stored.document;
        if document.kind != DocumentKind::Pdf {
            return Ok(document.anchor(span));
        }
        let first = document
            .pages
            .partition_point(|page| page.span.end <= span.start);
        let mut anchored: Vec<PageQuads> = Vec::new();
        for page in &document.pages[first..] {
            let Some(part) = page.span.intersection(span) else {
                break;
            };
            let alone = self.page_alone(stored, page).await?;
            let offset = page.span.start;
            if let Anchor::Pages(pages) =
                alone.anchor(Span::new(part.start - offset, part.end - offset))
            {
                anchored.extend(pages);
            }
        }
        // White space between pages, or an empty span: still name the page.
        if let Some(page) = document.page_at(span.start).filter(|_| anchored.is_empty()) {
            anchored.push(PageQuads {
                page: page.number,
                label: page.label.clone(),
                quads: Vec::new(),
                recognised: page.recognised,
            });
        }
        Ok(Anchor::Pages(anchored))
    }

    /// One page of a PDF, with its boxes, as a document whose text is that page's.
    async fn page_alone(
        &self,
        stored: &StoredDocument,
        page: &Page,
    ) -> Result<Document, LibraryError> {
        let id = &stored.row.id;
        let blob = sqlx::query_scalar!(
            "SELECT boxes FROM pages JOIN documents ON key = document WHERE id = ? AND number = ?",
            id,
            page.number
        )
        .fetch_one(&self.readers)
        .await?;
        let boxes = page_boxes::decode(&blob).map_err(|source| LibraryError::Undecodable {
            id: id.clone(),
            what: format!("boxes of page {}", page.number),
            source: Box::new(source),
        })?;
        Ok(Document {
            kind: DocumentKind::Pdf,
            title: String::new(),
            authors: None,
            text: page
                .span
                .of(&stored.document.text)
                .unwrap_or_default()
                .to_owned(),
            sections: Vec::new(),
            blocks: Vec::new(),
            pages: vec![Page {
                span: Span::new(0, page.span.len()),
                boxes,
                ..page.clone()
            }],
            notices: Vec::new(),
        })
    }
}
