//! Functions, classes and the like of a source file, found with tree-sitter.
//!
//! In: a file's name and text. Out: [`Symbol`]s in the order of the text, nested as they stand in it. A file whose
//! language has no grammar here has none. The grammars are C, so this runs in the extracting child only; a parse is
//! stopped when its time is over, and when a parser ends the child the parent extracts once more without symbols.
//!
//! Why tables of node kinds and not the grammars' own tag queries: those name references besides definitions, leave
//! out what a reader wants listed (`impl` blocks), and differ from grammar to grammar.

mod languages;
mod title;

use languages::{Language, Rule};
use std::ops::{ControlFlow, Range};
use std::time::Instant;
use tree_sitter::{Node, ParseOptions, Parser};

/// Files larger than this are data or generated, and their trees would not fit the child's memory.
const MOST_BYTES: usize = 4 << 20;
/// Symbols of a file that are kept: more is generated code, and an outline nobody reads.
const MOST_SYMBOLS: usize = 2000;
/// Lines of comments and attributes above a symbol that are taken to be part of it.
const MOST_LEADING: usize = 200;

/// A function, class, `impl` block or the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Symbol {
    /// With the language's own word where it has one: "fn open", "impl Drop for KvCache", "class Reader", "parse()".
    pub title: String,
    /// From the comments and attributes right above it to its last character.
    pub bytes: Range<usize>,
    /// 0 for what stands in no other symbol.
    pub depth: u16,
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// Its symbols; none if its language is unknown or it holds none.
    Symbols(Vec<Symbol>),
    /// Parsing took too long.
    TimedOut,
}

/// The symbols of a file. `path` tells the language; parsing gives up at `deadline`.
pub(super) fn symbols(path: &str, text: &str, deadline: Instant) -> Parsed {
    let Some(language) = Language::of(path, text).filter(|_| text.len() <= MOST_BYTES) else {
        return Parsed::Symbols(Vec::new());
    };
    let mut parser = Parser::new();
    // A grammar of another generation than the library would be refused; the tests parse with each.
    if parser.set_language(&language.grammar()).is_err() {
        return Parsed::Symbols(Vec::new());
    }
    let mut watch = |_: &tree_sitter::ParseState| match Instant::now() < deadline {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let mut bytes = |at: usize, _| text.as_bytes().get(at..).unwrap_or_default();
    let options = ParseOptions::new().progress_callback(&mut watch);
    match parser.parse_with_options(&mut bytes, None, Some(options)) {
        Some(tree) => Parsed::Symbols(collect(language, text, tree.root_node())),
        None => Parsed::TimedOut,
    }
}

/// Walks the tree without recursion: its depth is the file's to choose.
fn collect(language: Language, text: &str, root: Node<'_>) -> Vec<Symbol> {
    let mut found: Vec<Symbol> = Vec::new();
    // Ends of the symbols that the walk stands in.
    let mut open: Vec<usize> = Vec::new();
    // Nothing of the next symbol stands before this byte: the beginning of its parent or the end of its neighbour.
    let mut floor = 0;
    let mut cursor = root.walk();
    loop {
        let node = cursor.node();
        let inside = match language.rule(node.kind()) {
            Some(rule) => match symbol(language, rule, text, node, floor) {
                Some((title, bytes)) => {
                    while open.last().is_some_and(|end| *end <= bytes.start) {
                        open.pop();
                    }
                    let depth = open.len() as u16;
                    floor = match rule.holds_symbols {
                        true => node.start_byte(),
                        false => bytes.end,
                    };
                    open.push(bytes.end);
                    found.push(Symbol {
                        title,
                        bytes,
                        depth,
                    });
                    rule.holds_symbols
                }
                None => true,
            },
            None => !language.is_opaque(node.kind()),
        };
        if found.len() == MOST_SYMBOLS {
            return found;
        }
        if inside && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return found;
            }
            floor = floor.max(match language.rule(cursor.node().kind()) {
                Some(_) => cursor.node().end_byte(),
                None => 0,
            });
        }
    }
}

/// A node's title and bytes, if it is a definition.
fn symbol(
    language: Language,
    rule: &Rule,
    text: &str,
    node: Node<'_>,
    floor: usize,
) -> Option<(String, Range<usize>)> {
    let title = title::title(rule, text, node)?;
    let end = node.end_byte();
    let words = text.get(node.start_byte()..end)?;
    let end = node.start_byte() + words.trim_end().len();
    let start = first_byte(language, text, node.start_byte(), floor);
    (start < end).then_some((title, start..end))
}

/// Where a symbol that begins at `start` begins with what belongs to it: the words before it on its line ("export",
/// "pub"), and the lines of comments and attributes right above.
fn first_byte(language: Language, text: &str, start: usize, floor: usize) -> usize {
    let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |end| end + 1);
    let first_word = |line: usize| {
        let rest = &text[line..];
        line + (rest.len() - rest.trim_start_matches([' ', '\t']).len())
    };
    let mut line = line_start(start);
    if line < floor {
        // Something else stands on this line.
        return start;
    }
    let mut first = first_word(line).min(start);
    for _ in 0..MOST_LEADING {
        if line == 0 {
            break;
        }
        let above = line_start(line - 1);
        if above < floor || !language.leads(text[above..line].trim()) {
            break;
        }
        line = above;
        first = first_word(line);
    }
    first
}

#[cfg(test)]
mod tests;
