//! HTML to blocks. HTML files, chapters of an EPUB and rendered Markdown all come through here.
//!
//! In: a page as text. Out: blocks with marks in a [`DocumentBuilder`]. Only words and their kind are taken over, so
//! nothing of the page can run, load or hide in what the viewer shows: it is sanitised by construction, and the
//! viewer needs no sanitiser. html5ever repairs broken markup the way browsers do; the tree is walked without
//! recursion, so depth costs no stack.

mod element;
mod flow;
mod tables;
mod xhtml;

pub(crate) use xhtml::expand_empty_elements;

use super::builder::DocumentBuilder;
use super::encoding::decode;
use super::{Extraction, IngestFault};
use crate::document::{Document, DocumentKind};
use ego_tree::iter::Edge;
use ego_tree::{NodeId, NodeRef};
use element::{Role, is_hidden, role_of};
use encoding_rs::Encoding;
use flow::Flow;
use scraper::node::Element;
use scraper::{Html, Node};

/// What a page says besides its words.
#[derive(Debug, Default)]
pub(crate) struct PageFacts {
    /// `<title>`.
    pub title: Option<String>,
    /// `<meta name="author">`.
    pub author: Option<String>,
    /// Where each element with an `id` (or `<a name>`) begins in the canonical text.
    pub targets: Vec<(String, usize)>,
}

/// Extracts an HTML file.
pub(crate) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let bytes = extraction.read_plain()?;
    let (text, _) = decode(&bytes, declared_encoding(&bytes))?;
    drop(bytes);
    extraction.progress(0.2);
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let facts = append_page(&mut builder, &text)?;
    let title = facts
        .title
        .or_else(|| builder.first_heading())
        .unwrap_or_else(|| extraction.file_title());
    let sections = builder.sections_from_headings("");
    builder.finish(
        DocumentKind::Html,
        title,
        facts.author,
        sections,
        Vec::new(),
    )
}

/// The encoding a page names in its first kilobyte: `<meta charset=...>`, `<meta content="...charset=...">` or an XML
/// declaration.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_ascii_lowercase();
    ["charset=", "encoding="].iter().find_map(|key| {
        let value = &head[head.find(key)? + key.len()..];
        let value = value.trim_start_matches(['"', '\'', ' ']);
        let end = value.find(|c: char| !c.is_ascii_alphanumeric() && !"-_:".contains(c))?;
        Encoding::for_label(&value.as_bytes()[..end])
    })
}

/// Appends a page's blocks.
pub(crate) fn append_page(
    builder: &mut DocumentBuilder,
    page: &str,
) -> Result<PageFacts, IngestFault> {
    let html = Html::parse_document(page);
    let layout_tables = tables::layout_tables(&html);
    let mut facts = PageFacts::default();
    let mut flow = Flow::new(builder);
    let mut skipped: Option<NodeId> = None;
    for edge in html.tree.root().traverse() {
        match edge {
            Edge::Open(_) if skipped.is_some() => {}
            Edge::Open(node) => match node.value() {
                Node::Text(text) => flow.text(text),
                Node::Element(element) => {
                    let role = match role_of(element) {
                        Role::Table if layout_tables.contains(&node.id()) => Role::Container,
                        role => role,
                    };
                    if matches!(role, Role::Title | Role::Meta) {
                        facts.note(role, &node, element);
                        skipped = Some(node.id());
                    } else if role == Role::Dropped || is_hidden(element) {
                        skipped = Some(node.id());
                    } else if role == Role::Formula {
                        flow.text(element.attr("alttext").unwrap_or_default());
                        skipped = Some(node.id());
                    } else {
                        if let Some(id) = target_name(element) {
                            facts.targets.push((id.to_owned(), flow.position()));
                        }
                        flow.enter(role, element)?;
                    }
                }
                _ => {}
            },
            Edge::Close(node) => match skipped {
                Some(id) if id == node.id() => skipped = None,
                Some(_) => {}
                None if node.value().is_element() => flow.leave()?,
                None => {}
            },
        }
    }
    flow.finish()?;
    Ok(facts)
}

fn target_name(element: &Element) -> Option<&str> {
    element
        .id()
        .or_else(|| element.attr("name").filter(|_| element.name() == "a"))
}

impl PageFacts {
    /// Takes note of a `<title>` or `<meta>`; the first of a kind counts.
    fn note(&mut self, role: Role, node: &NodeRef<Node>, element: &Element) {
        if role == Role::Title {
            let words: String = node
                .children()
                .filter_map(|c| c.value().as_text().map(|t| &*t.text))
                .collect();
            self.title = self.title.take().or(one_line(&words));
        } else if let Some(name) = element.attr("name")
            && ["author", "dc.creator", "citation_author"].contains(&&*name.to_ascii_lowercase())
        {
            self.author = self
                .author
                .take()
                .or(element.attr("content").and_then(one_line));
        }
    }
}

/// Words on one line, single blanks; `None` if there are none.
pub(crate) fn one_line(text: &str) -> Option<String> {
    let line: String = text.chars().filter_map(super::builder::canonical).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}
