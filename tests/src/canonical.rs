//! A document's canonical text, put together from what `lectern serve` shows of it.

use crate::Serve;
use anyhow::{Result, bail, ensure};
use lectern_protocol::{ContentBlock, DocumentSummary, Outcome, Outline, Request};

/// Blocks asked for in one call.
const BLOCKS_A_CALL: u32 = 200;

/// The text whose bytes every span counts. What lies between blocks is filled with line feeds.
pub fn text(serve: &mut Serve, document: &str) -> Result<String> {
    let mut bytes = vec![b'\n'; outline(serve, document)?.bytes as usize];
    for block in blocks(serve, document)? {
        let (start, end) = (block.span.start as usize, block.span.end as usize);
        ensure!(
            end - start == block.text.len() && end <= bytes.len(),
            "block {} says {start}..{end} and holds {} bytes",
            block.index,
            block.text.len()
        );
        bytes[start..end].copy_from_slice(block.text.as_bytes());
    }
    Ok(String::from_utf8(bytes)?)
}

/// All blocks of a document.
pub fn blocks(serve: &mut Serve, document: &str) -> Result<Vec<ContentBlock>> {
    let total = outline(serve, document)?.blocks;
    let mut all = Vec::new();
    while (all.len() as u32) < total {
        let request = Request::Content {
            document: document.to_owned(),
            first: all.len() as u32,
            count: BLOCKS_A_CALL,
        };
        match serve.call(request)?.outcome()? {
            Outcome::Content { blocks } => {
                ensure!(!blocks.is_empty(), "{} of {total} blocks came", all.len());
                all.extend(blocks);
            }
            other => bail!("content gave {other:?}"),
        }
    }
    Ok(all)
}

/// Structure and size of a document.
pub fn outline(serve: &mut Serve, document: &str) -> Result<Outline> {
    let document = document.to_owned();
    match serve.call(Request::Outline { document })?.outcome()? {
        Outcome::Outline { outline } => Ok(outline),
        other => bail!("outline gave {other:?}"),
    }
}

/// All documents of the library.
pub fn library(serve: &mut Serve) -> Result<Vec<DocumentSummary>> {
    match serve.call(Request::Library)?.outcome()? {
        Outcome::Library { documents } => Ok(documents),
        other => bail!("library gave {other:?}"),
    }
}
