//! Tables that hold data, and tables that only arrange the page.

use ego_tree::NodeId;
use ego_tree::iter::Edge;
use scraper::{Html, Node};
use std::collections::HashSet;

/// The tables that only arrange: they hold another table, a heading, a list or the like. Their cells are read as
/// flowing text, not as rows.
pub(super) fn layout_tables(html: &Html) -> HashSet<NodeId> {
    let mut layout = HashSet::new();
    let mut open: Option<NodeId> = None; // the innermost table not yet known to arrange
    for edge in html.tree.root().traverse() {
        match edge {
            Edge::Open(node) => match node.value() {
                Node::Element(element) if element.name() == "table" => {
                    layout.extend(open.replace(node.id()));
                }
                Node::Element(element) => {
                    let arranged = matches!(
                        element.name(),
                        "h1" | "h2" | "h3" | "h4" | "ul" | "ol" | "blockquote" | "pre"
                    );
                    if arranged {
                        layout.extend(open.take());
                    }
                }
                _ => {}
            },
            Edge::Close(node) if open == Some(node.id()) => open = None,
            Edge::Close(_) => {}
        }
    }
    layout
}
