//! Gathers words until a block ends, and knows what kind of block it is from the elements that are open.

use super::element::Role;
use crate::document::{BlockKind, MarkKind};
use crate::ingest::IngestFault;
use crate::ingest::builder::{DocumentBuilder, canonical};
use scraper::node::Element;
use std::ops::Range;

/// Alternative texts up to so many characters stand for letters (initials drawn as pictures) and stay in the line.
const INITIAL: usize = 2;

/// The open elements and the words of the block that is being gathered.
pub(super) struct Flow<'b> {
    builder: &'b mut DocumentBuilder,
    /// Roles of the open elements, outermost first.
    open: Vec<Role>,
    /// Words of the current block, white space collapsed unless preformatted.
    line: String,
    /// Finished marks in `line`.
    marks: Vec<(MarkKind, Range<usize>)>,
    /// Open marks: kind and where in `line` it began.
    open_marks: Vec<(MarkKind, usize)>,
    /// Numbers of the next item of each open list; `None` if it is not numbered.
    lists: Vec<Option<u32>>,
    /// The item that has begun but has no block yet.
    item: Option<Option<u32>>,
    /// Alternative texts met inside the current block, to be set after it.
    captions: Vec<String>,
    lines: usize,
    quotes: usize,
    notes: usize,
    tables: usize,
    row: Option<Row>,
}

/// A row of a table while its cells are read.
#[derive(Default)]
struct Row {
    cells: usize,
    data_cells: usize,
}

impl<'b> Flow<'b> {
    pub fn new(builder: &'b mut DocumentBuilder) -> Flow<'b> {
        Flow {
            builder,
            open: Vec::new(),
            line: String::new(),
            marks: Vec::new(),
            open_marks: Vec::new(),
            lists: Vec::new(),
            item: None,
            captions: Vec::new(),
            lines: 0,
            quotes: 0,
            notes: 0,
            tables: 0,
            row: None,
        }
    }

    /// Where the block that is being gathered will begin.
    pub fn position(&self) -> usize {
        self.builder.next_start()
    }

    /// An element opens.
    pub fn enter(&mut self, role: Role, element: &Element) -> Result<(), IngestFault> {
        // Rows and cells outside of a table of data (a layout table, broken markup) only separate.
        let role = match role {
            Role::Row | Role::Cell { .. } if self.tables == 0 => Role::Container,
            role => role,
        };
        match role {
            Role::Marked(kind) => self.open_marks.push((kind, self.line.len())),
            Role::Quotation => self.line.push('\u{201c}'),
            Role::LineBreak if self.row.is_some() => self.blank(),
            Role::LineBreak => {
                self.trim_blank();
                self.line.push('\n');
            }
            Role::Picture => self.picture(element),
            Role::Inline => {}
            Role::Cell { header } => {
                if let Some(row) = &mut self.row {
                    row.cells += 1;
                    row.data_cells += usize::from(!header);
                    if row.cells > 1 {
                        self.trim_blank();
                        self.line.push('\t');
                    }
                }
            }
            _ => {
                self.separate()?;
                match role {
                    Role::List { ordered } => {
                        let first = element
                            .attr("start")
                            .and_then(|s| s.parse().ok())
                            .unwrap_or(1);
                        self.lists.push(ordered.then_some(first));
                    }
                    Role::Item => {
                        let own = element.attr("value").and_then(|v| v.parse().ok());
                        let number = self.lists.last_mut().and_then(|next| {
                            let number = own.or(*next)?;
                            *next = Some(number.saturating_add(1));
                            Some(number)
                        });
                        self.item = Some(number);
                    }
                    Role::Lines => self.lines += 1,
                    Role::Quote => self.quotes += 1,
                    Role::Note => self.notes += 1,
                    Role::Table => self.tables += 1,
                    Role::Row => self.row = Some(Row::default()),
                    Role::Term => self.open_marks.push((MarkKind::Strong, self.line.len())),
                    _ => {}
                }
            }
        }
        self.open.push(role);
        Ok(())
    }

    /// The innermost open element closes.
    pub fn leave(&mut self) -> Result<(), IngestFault> {
        let Some(role) = self.open.last().copied() else {
            return Ok(());
        };
        match role {
            Role::Marked(_) => self.close_mark(),
            Role::Quotation => self.line.push('\u{201d}'),
            Role::Inline | Role::LineBreak | Role::Picture | Role::Cell { .. } => {}
            Role::Row => {
                self.flush()?;
                self.row = None;
            }
            _ => {
                self.separate()?;
                match role {
                    Role::List { .. } => {
                        self.lists.pop();
                        self.item = None;
                    }
                    Role::Item => self.item = None,
                    Role::Lines => self.lines -= 1,
                    Role::Quote => self.quotes -= 1,
                    Role::Note => self.notes -= 1,
                    Role::Table => self.tables -= 1,
                    Role::Term => self.close_mark(),
                    _ => {}
                }
            }
        }
        self.open.pop();
        Ok(())
    }

    /// Words.
    pub fn text(&mut self, text: &str) {
        let keep_lines = self.lines > 0 && self.row.is_none();
        for character in text.chars().filter_map(canonical) {
            if keep_lines {
                self.line.push(character);
            } else if matches!(character, ' ' | '\t' | '\n') {
                self.blank();
            } else {
                self.line.push(character);
            }
        }
    }

    /// The page is over.
    pub fn finish(mut self) -> Result<(), IngestFault> {
        self.flush()
    }

    /// A blank, unless one stands there already.
    fn blank(&mut self) {
        if !self.line.is_empty() && !self.line.ends_with([' ', '\n', '\t']) {
            self.line.push(' ');
        }
    }

    fn trim_blank(&mut self) {
        if self.line.ends_with(' ') {
            self.line.pop();
        }
    }

    fn close_mark(&mut self) {
        if let Some((kind, start)) = self.open_marks.pop()
            && start < self.line.len()
        {
            self.marks.push((kind, start..self.line.len()));
        }
    }

    /// A block boundary: inside a row it is a blank, elsewhere the block is finished.
    fn separate(&mut self) -> Result<(), IngestFault> {
        if self.row.is_some() {
            self.blank();
            return Ok(());
        }
        self.flush()
    }

    fn picture(&mut self, element: &Element) {
        let words = super::one_line(element.attr("alt").unwrap_or_default());
        match words {
            Some(words) if words.chars().count() <= INITIAL => self.text(&words),
            Some(words) => self.captions.push(words),
            None => {}
        }
    }

    /// The kind of the block that has been gathered.
    fn kind(&mut self) -> BlockKind {
        for role in self.open.iter().rev() {
            match role {
                Role::Heading(level) => return BlockKind::Heading(*level),
                Role::Caption => return BlockKind::Caption,
                _ => {}
            }
        }
        if let Some(row) = &self.row {
            return BlockKind::TableRow {
                header: row.cells > 0 && row.data_cells == 0,
            };
        }
        if self.lines > 0 {
            return BlockKind::Preformatted { first_line: 1 };
        }
        if let Some(number) = self.item.take() {
            let depth = self.lists.len().saturating_sub(1).min(usize::from(u8::MAX)) as u8;
            return BlockKind::ListItem { depth, number };
        }
        if self.notes > 0 {
            BlockKind::Note
        } else if self.quotes > 0 {
            BlockKind::Quote
        } else {
            BlockKind::Paragraph
        }
    }

    fn flush(&mut self) -> Result<(), IngestFault> {
        if self.line.trim().is_empty() {
            self.line.clear();
            self.marks.clear();
            for (_, start) in &mut self.open_marks {
                *start = 0;
            }
        } else {
            let kind = self.kind();
            let mut marks = std::mem::take(&mut self.marks);
            for (mark, start) in &mut self.open_marks {
                marks.push((*mark, *start..self.line.len()));
                *start = 0; // goes on in the next block
            }
            self.builder.block(kind, &self.line, &marks)?;
            self.line.clear();
        }
        for caption in std::mem::take(&mut self.captions) {
            self.builder.block(BlockKind::Caption, &caption, &[])?;
        }
        Ok(())
    }
}
