//! Tables that hold data, and tables that only arrange the page.

use ego_tree::NodeId;
use ego_tree::iter::Edge;
use scraper::{Html, Node};
use std::collections::HashSet;

/// The tables that only arrange: they hold another table or a heading, or, without a header cell, a list or the like.
/// Their cells are read as flowing text, not as rows.
pub(super) fn layout_tables(html: &Html) -> HashSet<NodeId> {
    let mut layout = HashSet::new();
    let mut open: Option<OpenTable> = None; // the innermost table
    for edge in html.tree.root().traverse() {
        match edge {
            Edge::Open(node) => {
                let Node::Element(element) = node.value() else {
                    continue;
                };
                if element.name() == "table" {
                    let inner = OpenTable {
                        id: node.id(),
                        header: false,
                        blocks: false,
                    };
                    layout.extend(open.replace(inner).map(|outer| outer.id));
                } else if let Some(table) = &mut open {
                    match element.name() {
                        "th" => table.header = true,
                        "ul" | "ol" | "blockquote" | "pre" => table.blocks = true,
                        "h1" | "h2" | "h3" | "h4" => {
                            layout.insert(table.id);
                        }
                        _ => {}
                    }
                }
            }
            Edge::Close(node) => {
                if let Some(table) = open.take_if(|table| table.id == node.id())
                    && table.blocks
                    && !table.header
                {
                    layout.insert(table.id);
                }
            }
        }
    }
    layout
}

struct OpenTable {
    id: NodeId,
    header: bool,
    blocks: bool,
}
