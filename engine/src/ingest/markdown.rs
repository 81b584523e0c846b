//! Markdown to blocks: CommonMark with tables, footnotes and task lists, rendered to HTML in memory and read by
//! `html`.
//!
//! Why by way of HTML: Markdown may hold HTML anywhere, and only an HTML parser knows which words of it are shown.

use super::builder::DocumentBuilder;
use super::encoding::decode;
use super::html::{append_page, one_line};
use super::{Extraction, IngestFault};
use crate::document::{Document, DocumentKind};
use pulldown_cmark::{Event, MetadataBlockKind, Options, Parser, Tag, TagEnd, html};

/// Extracts a Markdown file. A `title` and `author` in front matter (YAML or TOML) are taken over.
pub(super) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let (text, _) = decode(&extraction.read_plain()?, None)?;
    extraction.progress(0.2);
    let mut front = FrontMatter::default();
    let mut page = String::with_capacity(text.len() * 5 / 4);
    html::push_html(
        &mut page,
        Parser::new_ext(&text, options()).inspect(|event| front.note(event)),
    );
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    append_page(&mut builder, &page)?;
    let title = front
        .value("title")
        .or_else(|| builder.first_heading())
        .unwrap_or_else(|| extraction.file_title());
    let sections = builder.sections_from_headings("");
    builder.finish(
        DocumentKind::Markdown,
        title,
        front.value("author"),
        sections,
        Vec::new(),
    )
}

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
}

/// The metadata block at the top of a file.
#[derive(Default)]
struct FrontMatter {
    inside: bool,
    text: String,
}

impl FrontMatter {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Start(Tag::MetadataBlock(
                MetadataBlockKind::YamlStyle | MetadataBlockKind::PlusesStyle,
            )) => self.inside = true,
            Event::End(TagEnd::MetadataBlock(_)) => self.inside = false,
            Event::Text(text) if self.inside => self.text.push_str(text),
            _ => {}
        }
    }

    /// A plain value of a top-level key; lists and blocks are left alone.
    fn value(&self, key: &str) -> Option<String> {
        self.text.lines().find_map(|line| {
            let (name, value) = line.split_once([':', '='])?;
            let value = value.trim().trim_matches(['"', '\'']);
            let plain = name.trim() == key && !value.starts_with(['[', '{', '|', '>']);
            plain.then(|| one_line(value)).flatten()
        })
    }
}
