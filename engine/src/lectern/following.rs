//! Following a link into a document.

use super::Lectern;
use crate::citing::{Link, LinkError};
use lectern_protocol::{Citation, Failure, FailureCode, TextSpan};

impl Lectern {
    /// The words that a link names, where they stand now. A link that names nothing here changes nothing.
    pub async fn follow(&self, link: &str) -> Result<Citation, Failure> {
        let link = Link::parse(link).map_err(refused)?;
        let stored = self.stored(&link.document).await.map_err(|failure| {
            if failure.code != FailureCode::NotFound {
                return failure;
            }
            Failure {
                code: FailureCode::NotFound,
                message: format!(
                    "the link names document {}, which is not in this library",
                    link.document
                ),
                advice: Some(
                    "Add the file that it was made of: the same content is the same document everywhere."
                        .to_owned(),
                ),
            }
        })?;
        let text = &stored.document.text;
        let title = &stored.row.title;
        let Some(span) = link.find_in(text) else {
            return Err(Failure {
                code: FailureCode::NotFound,
                message: match link.words {
                    Some(_) => format!(
                        "the words that the link names no longer stand in \u{201C}{title}\u{201D}"
                    ),
                    None => format!(
                        "the link names bytes {} to {} of \u{201C}{title}\u{201D}, which are no words of it: it has {}",
                        link.span.start,
                        link.span.end,
                        text.len()
                    ),
                },
                advice: None,
            });
        };
        let anchor = self.library.anchor(&stored, span).await?;
        let TextSpan { start, end } = span.into();
        Ok(Citation {
            document: link.document,
            start,
            end,
            quote: span.of(text).unwrap_or_default().to_owned(),
            anchor: anchor.into(),
            score: 1.0,
            gone: false,
        })
    }
}

fn refused(error: LinkError) -> Failure {
    Failure {
        code: FailureCode::Other,
        message: error.to_string(),
        advice: Some(
            "A link has the form lectern://open/DOCUMENT?start=BYTE&end=BYTE; `lectern export` writes them."
                .to_owned(),
        ),
    }
}
