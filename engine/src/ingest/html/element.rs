//! What each element is to a reader.

use crate::document::MarkKind;
use scraper::node::Element;

/// What an element is to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Not for reading: scripts, styles, forms, media.
    Dropped,
    /// `<title>`.
    Title,
    /// `<meta>`.
    Meta,
    /// Stands in a line of text and adds nothing.
    Inline,
    /// Stands in a line of text and sets it in something.
    Marked(MarkKind),
    /// `<q>`: the quotation marks come from the style sheet.
    Quotation,
    /// A block without a kind of its own.
    Container,
    /// h1 to h6.
    Heading(u8),
    /// A list; whether it is numbered.
    List { ordered: bool },
    /// A list item.
    Item,
    /// Term of a description list.
    Term,
    /// A quoted passage.
    Quote,
    /// Preformatted.
    Lines,
    /// Footnote or endnote.
    Note,
    /// Caption of a figure or table.
    Caption,
    /// Table of data.
    Table,
    /// Row of a table.
    Row,
    /// Cell of a row.
    Cell { header: bool },
    /// `<br>`.
    LineBreak,
    /// `<hr>`.
    Rule,
    /// A picture, of which the alternative text is kept.
    Picture,
    /// A formula that carries a text of its own to stand for it.
    Formula,
}

/// The role of an element by its name and, for notes, its class or type.
pub(super) fn role_of(element: &Element) -> Role {
    match element.name() {
        "script" | "style" | "noscript" | "template" | "iframe" | "object" | "embed" | "applet"
        | "audio" | "video" | "canvas" | "svg" | "map" | "input" | "select" | "button"
        | "textarea" | "datalist" | "dialog" | "link" | "base" | "noframes" | "frameset" | "rp"
        // Readings of ruby text: a pronunciation aid that would cut words in two.
        | "rt" | "rtc"
        // The source of a formula beside its rendering.
        | "annotation" | "annotation-xml" => Role::Dropped,
        "title" => Role::Title,
        "meta" => Role::Meta,
        "em" | "i" | "cite" | "var" | "dfn" => Role::Marked(MarkKind::Emphasis),
        "strong" | "b" => Role::Marked(MarkKind::Strong),
        "code" | "tt" | "kbd" | "samp" => Role::Marked(MarkKind::Code),
        "q" => Role::Quotation,
        "h1" => Role::Heading(1),
        "h2" => Role::Heading(2),
        "h3" => Role::Heading(3),
        "h4" => Role::Heading(4),
        "h5" => Role::Heading(5),
        "h6" => Role::Heading(6),
        "ul" | "menu" | "dir" => Role::List { ordered: false },
        "ol" => Role::List { ordered: true },
        "li" => Role::Item,
        "dt" => Role::Term,
        "blockquote" => Role::Quote,
        "pre" | "listing" | "xmp" | "plaintext" => Role::Lines,
        "figcaption" | "caption" => Role::Caption,
        "table" => Role::Table,
        "tr" => Role::Row,
        "td" => Role::Cell { header: false },
        "th" => Role::Cell { header: true },
        "br" => Role::LineBreak,
        "hr" => Role::Rule,
        "img" | "image" => Role::Picture,
        "math" if element.attr("alttext").is_some() => Role::Formula,
        "div" | "p" | "section" | "aside" | "dd" | "footer" if is_note(element) => Role::Note,
        "html" | "head" | "body" | "div" | "p" | "section" | "article" | "aside" | "main" | "header"
        | "footer" | "nav" | "address" | "figure" | "details" | "summary" | "dl" | "dd" | "form"
        | "fieldset" | "legend" | "center" | "hgroup" | "thead" | "tbody" | "tfoot" | "colgroup"
        | "search" | "optgroup" | "option" => Role::Container,
        _ => Role::Inline,
    }
}

/// By the vocabulary of EPUB and DPUB-ARIA, or the class that Project Gutenberg, Pandoc and others give notes.
fn is_note(element: &Element) -> bool {
    let has = |attribute: &str, words: &[&str]| {
        element.attr(attribute).is_some_and(|value| {
            value
                .split_ascii_whitespace()
                .any(|word| words.contains(&word))
        })
    };
    has("epub:type", &["footnote", "endnote", "rearnote"])
        || has("role", &["doc-footnote", "doc-endnote"])
        || has("class", &["footnote", "endnote", "footnote-definition"])
}

/// Whether the page says that it is not shown.
pub(super) fn is_hidden(element: &Element) -> bool {
    if element.attr("hidden").is_some() || element.attr("aria-hidden") == Some("true") {
        return true;
    }
    element.attr("style").is_some_and(|style| {
        let style: String = style.chars().filter(|c| !c.is_whitespace()).collect();
        let style = style.to_ascii_lowercase();
        style.contains("display:none") || style.contains("visibility:hidden")
    })
}
