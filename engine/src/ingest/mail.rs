//! Messages (EML) and mailboxes (MBOX): each message a section with who wrote it, to whom and when, and its words.
//!
//! Of a message that comes both as text and as a page, the text is read. Attachments are named in a notice, not opened.

use super::builder::{DocumentBuilder, canonical};
use super::html::{append_page, one_line};
use super::{Extraction, IngestFault};
use crate::document::{BlockKind, Document, DocumentKind};
use mail_parser::mailbox::mbox::MessageIterator;
use mail_parser::{Address, Message, MessageParser, MimeHeaders};

/// How a mailbox begins.
const MAILBOX: &[u8] = b"From ";

/// Extracts a message or a mailbox.
pub(super) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let bytes = extraction.read_plain()?;
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let mut attached = Vec::new();
    let mut lost = 0;
    if bytes.starts_with(MAILBOX) {
        let mut done = 0;
        for raw in MessageIterator::new(bytes.as_slice()) {
            let Ok(raw) = raw else {
                lost += 1;
                continue;
            };
            done += raw.contents().len();
            extraction.progress(0.9 * done as f32 / bytes.len() as f32);
            match MessageParser::new().parse(raw.contents()) {
                Some(message) => append(&message, &mut builder, &mut attached)?,
                None => lost += 1,
            }
        }
    } else {
        match MessageParser::new().parse(&bytes) {
            Some(message) => append(&message, &mut builder, &mut attached)?,
            None => {
                return Err(IngestFault::Damaged {
                    format: "mail".into(),
                    reason: "it has no header".into(),
                });
            }
        }
    }
    let mut notices = Vec::new();
    if !attached.is_empty() {
        notices.push(format!(
            "Attachments are not read; save and add them if you need them: {}.",
            attached.join(", ")
        ));
    }
    if lost > 0 {
        notices.push(format!("{lost} messages could not be read."));
    }
    let alone = builder
        .blocks()
        .iter()
        .filter(|b| matches!(b.kind, BlockKind::Heading(1)))
        .count()
        == 1;
    let title = builder.first_heading().filter(|_| alone);
    let title = title.unwrap_or_else(|| extraction.file_title());
    let sections = builder.sections_from_headings("");
    builder.finish(DocumentKind::Mail, title, None, sections, notices)
}

fn append(
    message: &Message,
    builder: &mut DocumentBuilder,
    attached: &mut Vec<String>,
) -> Result<(), IngestFault> {
    let subject = message.subject().and_then(one_line);
    let subject = subject.unwrap_or_else(|| "(no subject)".to_owned());
    builder.block(BlockKind::Heading(1), &plain(&subject), &[])?;
    let people = [
        ("From", message.from()),
        ("To", message.to()),
        ("Cc", message.cc()),
    ];
    let mut head: Vec<String> = people
        .into_iter()
        .filter_map(|(name, address)| Some(format!("{name}: {}", names(address?))))
        .collect();
    if let Some(date) = message.date() {
        head.push(format!("Date: {}", date.to_rfc822()));
    }
    builder.block(BlockKind::Paragraph, &plain(&head.join("\n")), &[])?;

    let is_text = |part: &&mail_parser::MessagePart| {
        part.content_type()
            .is_none_or(|kind| kind.subtype() == Some("plain"))
    };
    let texts: Vec<_> = message.text_bodies().filter(is_text).collect();
    if texts.is_empty() {
        for nth in 0..message.html_body_count() {
            if let Some(page) = message.body_html(nth) {
                append_page(builder, &page)?;
            }
        }
    }
    for text in texts.iter().filter_map(|part| part.text_contents()) {
        append_text(text, builder)?;
    }
    for attachment in message.attachments() {
        let name = attachment.attachment_name().and_then(one_line);
        attached.push(name.unwrap_or_else(|| "one without a name".into()));
    }
    Ok(())
}

/// Paragraphs, and what the message quotes of others. Below `-- ` stands the signature, which is kept.
fn append_text(text: &str, builder: &mut DocumentBuilder) -> Result<(), IngestFault> {
    let mut block = String::new();
    let mut quoted = false;
    for line in text.lines().map(str::trim_end).chain([""]) {
        let bare = line.trim_start_matches(['>', ' ']);
        let is_quoted = line.starts_with('>');
        if bare.is_empty() || (is_quoted != quoted && !block.is_empty()) {
            let kind = match quoted {
                true => BlockKind::Quote,
                false => BlockKind::Paragraph,
            };
            builder.block(kind, &plain(&block), &[])?;
            block.clear();
        }
        quoted = is_quoted;
        if !bare.is_empty() {
            block.push_str(if is_quoted { bare } else { line });
            block.push('\n');
        }
    }
    Ok(())
}

fn plain(text: &str) -> String {
    text.chars().filter_map(canonical).collect()
}

/// "Ada Lovelace <ada@example.org>, Charles Babbage <...>".
fn names(address: &Address) -> String {
    let one = |person: &mail_parser::Addr| match (person.name(), person.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    };
    let names: Vec<String> = address.iter().map(one).collect();
    names.join(", ")
}
