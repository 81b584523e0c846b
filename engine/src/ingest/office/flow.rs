//! Paragraphs on their way to blocks: tables become rows, notes wait for the end of what they hang on, lines of code
//! that follow each other become one block.

use crate::document::{BlockKind, MarkKind};
use crate::ingest::IngestFault;
use crate::ingest::builder::{DocumentBuilder, canonical};
use std::ops::Range;

/// Words of one paragraph, and what they are set in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ingest) struct Line {
    /// Canonical characters.
    pub text: String,
    /// Ranges of `text`, in order of their ends.
    pub marks: Vec<(MarkKind, Range<usize>)>,
}

impl Line {
    /// A line of plain words.
    pub fn plain(words: &str) -> Line {
        let mut line = Line::default();
        line.push(words, &[]);
        line
    }

    /// Adds words; a mark that goes on from the words before is one mark.
    pub fn push(&mut self, words: &str, marks: &[MarkKind]) {
        let start = self.text.len();
        self.text.extend(words.chars().filter_map(canonical));
        if self.text.len() == start {
            return;
        }
        for kind in marks {
            let last = self.marks.iter_mut().rev().find(|(other, _)| other == kind);
            match last {
                Some((_, range)) if range.end == start => range.end = self.text.len(),
                _ => self.marks.push((*kind, start..self.text.len())),
            }
        }
    }

    /// Adds another line after a blank.
    fn join(&mut self, other: &Line) {
        if other.is_blank() {
            return;
        }
        if !self.text.is_empty() && !self.text.ends_with('\t') {
            self.text.push(' ');
        }
        let start = self.text.len();
        // Tabs separate cells, and a cell is one line.
        self.text.push_str(&other.text.replace(['\t', '\n'], " "));
        let moved = other.marks.iter();
        self.marks
            .extend(moved.map(|(kind, range)| (*kind, start + range.start..start + range.end)));
    }

    /// Whether it holds nothing to read.
    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }
}

/// A row of a table while its cells are read.
#[derive(Default)]
struct Row {
    header: bool,
    cells: Vec<Vec<(BlockKind, Line)>>,
}

impl Row {
    /// The cells in one line, separated by tabs.
    fn line(&self) -> Line {
        let mut line = Line::default();
        for (nth, cell) in self.cells.iter().enumerate() {
            if nth > 0 {
                line.text.push('\t');
            }
            let mut joined = Line::default();
            cell.iter().for_each(|(_, piece)| joined.join(piece));
            let start = line.text.len();
            line.text.push_str(&joined.text);
            let moved = joined.marks.into_iter();
            line.marks
                .extend(moved.map(|(kind, r)| (kind, start + r.start..start + r.end)));
        }
        line
    }
}

/// Takes paragraphs, cells and notes in document order.
pub(in crate::ingest) struct Flow<'b> {
    builder: &'b mut DocumentBuilder,
    /// Open rows, outermost first: a table may stand in a cell.
    rows: Vec<Row>,
    /// Notes whose table is not over.
    notes: Vec<Line>,
    /// Lines of code that the next one may go on.
    code: Line,
}

impl<'b> Flow<'b> {
    /// A flow into `builder`.
    pub fn new(builder: &'b mut DocumentBuilder) -> Flow<'b> {
        Flow {
            builder,
            rows: Vec::new(),
            notes: Vec::new(),
            code: Line::default(),
        }
    }

    /// A paragraph.
    pub fn block(&mut self, kind: BlockKind, line: Line) -> Result<(), IngestFault> {
        if let Some(row) = self.rows.last_mut() {
            match row.cells.last_mut() {
                Some(cell) => cell.push((kind, line)),
                None => row.cells.push(vec![(kind, line)]),
            }
            return Ok(());
        }
        if matches!(kind, BlockKind::Preformatted { .. }) {
            if !self.code.text.is_empty() {
                self.code.text.push('\n');
            }
            self.code.text.push_str(&line.text);
            return Ok(());
        }
        if line.is_blank() {
            return Ok(());
        }
        self.end_code()?;
        self.builder.block(kind, &line.text, &line.marks)
    }

    /// A note or comment that hangs on what came last.
    pub fn note(&mut self, line: Line) -> Result<(), IngestFault> {
        if self.rows.is_empty() {
            return self.block(BlockKind::Note, line);
        }
        self.notes.push(line);
        Ok(())
    }

    /// A row begins.
    pub fn open_row(&mut self) {
        self.rows.push(Row::default());
    }

    /// The innermost row is the table's header.
    pub fn header_row(&mut self) {
        if let Some(row) = self.rows.last_mut() {
            row.header = true;
        }
    }

    /// A cell of the innermost row begins.
    pub fn open_cell(&mut self) {
        if let Some(row) = self.rows.last_mut() {
            row.cells.push(Vec::new());
        }
    }

    /// The innermost row ends. A row of one cell is a box around paragraphs, not a table.
    pub fn close_row(&mut self) -> Result<(), IngestFault> {
        let Some(row) = self.rows.pop() else {
            return Ok(());
        };
        let header = row.header;
        if row.cells.len() > 1 {
            let line = row.line();
            self.block(BlockKind::TableRow { header }, line)?;
        } else {
            for (kind, line) in row.cells.into_iter().flatten() {
                self.block(kind, line)?;
            }
        }
        if self.rows.is_empty() {
            for note in std::mem::take(&mut self.notes) {
                self.block(BlockKind::Note, note)?;
            }
        }
        Ok(())
    }

    /// The part is over.
    pub fn finish(mut self) -> Result<(), IngestFault> {
        while !self.rows.is_empty() {
            self.close_row()?;
        }
        self.end_code()
    }

    fn end_code(&mut self) -> Result<(), IngestFault> {
        let code = std::mem::take(&mut self.code);
        if code.is_blank() {
            return Ok(());
        }
        self.builder
            .block(BlockKind::Preformatted { first_line: 1 }, &code.text, &[])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::document::DocumentKind;

    #[test]
    fn cells_become_rows_boxes_become_paragraphs_and_notes_wait() {
        let mut builder = DocumentBuilder::new(1000);
        let mut flow = Flow::new(&mut builder);
        let paragraph = |flow: &mut Flow, words: &str| {
            flow.block(BlockKind::Paragraph, Line::plain(words))
                .unwrap();
        };
        flow.open_row();
        flow.header_row();
        flow.open_cell();
        paragraph(&mut flow, "Name");
        paragraph(&mut flow, "of\tship");
        flow.note(Line::plain("As painted.")).unwrap();
        flow.open_cell();
        flow.open_row(); // a table in a cell
        flow.open_cell();
        paragraph(&mut flow, "a");
        flow.open_cell();
        paragraph(&mut flow, "b");
        flow.close_row().unwrap();
        flow.close_row().unwrap();
        flow.open_row();
        flow.open_cell();
        paragraph(&mut flow, "A box.");
        paragraph(&mut flow, "Its second line.");
        flow.close_row().unwrap();
        for line in ["fn main() {", "", "}"] {
            let kind = BlockKind::Preformatted { first_line: 1 };
            flow.block(kind, Line::plain(line)).unwrap();
        }
        paragraph(&mut flow, "End.");
        flow.finish().unwrap();
        let document = builder
            .finish(DocumentKind::Word, "t".into(), None, vec![], vec![])
            .unwrap();
        document.check().unwrap();
        assert_eq!(
            document.text,
            "Name of ship\ta b\n\nAs painted.\n\nA box.\n\nIts second line.\n\nfn main() {\n\n}\n\nEnd.\n"
        );
        let kinds: Vec<BlockKind> = document.blocks.iter().map(|b| b.kind).collect();
        assert_eq!(kinds[0], BlockKind::TableRow { header: true });
        assert_eq!(kinds[1], BlockKind::Note);
        assert_eq!(kinds[4], BlockKind::Preformatted { first_line: 1 });
    }

    #[test]
    fn a_mark_over_several_runs_is_one_mark() {
        let mut line = Line::default();
        line.push("very ", &[MarkKind::Strong]);
        line.push("bold", &[MarkKind::Strong, MarkKind::Emphasis]);
        line.push(" plain", &[]);
        assert_eq!(
            line.marks,
            [(MarkKind::Strong, 0..9), (MarkKind::Emphasis, 5..9)]
        );
    }
}
