//! From a span of the canonical text to its place in the original.

use super::{
    Anchor, BlockKind, Document, DocumentKind, LineRange, Page, PageQuads, Quad, Section,
    SectionKind, Span,
};

impl Document {
    /// Where a span lives in the original. A span that reaches beyond the text, or into the middle of a character,
    /// is narrowed to what is there.
    ///
    /// Cost: a binary search, and the characters of the pages or lines the span touches; for HTML, Markdown and
    /// text also one count of line ends before it (about a millisecond for 10 MB).
    pub fn anchor(&self, span: Span) -> Anchor {
        let span = self.narrowed(span);
        match self.kind {
            DocumentKind::Pdf => Anchor::Pages(self.page_quads(span)),
            DocumentKind::Epub => {
                let section = self.innermost(span.start, |_| true);
                Anchor::Element {
                    item: section.map(|s| s.item.clone()).unwrap_or_default(),
                    section: section.map(|s| s.title.clone()).unwrap_or_default(),
                    block: self.block_at(span.start) as u32,
                }
            }
            DocumentKind::Code => {
                let block = self.block_at(span.start) as u32;
                match self.innermost(span.start, |s| s.kind != SectionKind::Symbol) {
                    // Our own words: they have no lines in a file.
                    Some(map) if map.kind == SectionKind::Map => Anchor::Element {
                        item: String::new(),
                        section: map.title.clone(),
                        block,
                    },
                    file => Anchor::Lines {
                        file: file.map(|s| s.title.clone()).unwrap_or_default(),
                        symbol: self.symbol_path(span),
                        lines: self.line_range(span),
                        block,
                    },
                }
            }
            DocumentKind::Html
            | DocumentKind::Markdown
            | DocumentKind::Text
            | DocumentKind::Word
            | DocumentKind::Slides
            | DocumentKind::Sheets
            | DocumentKind::Mail => Anchor::Flow {
                section: self
                    .innermost(span.start, |_| true)
                    .map(|s| s.title.clone())
                    .unwrap_or_default(),
                line: 1 + line_ends(&self.text[..span.start]),
                block: self.block_at(span.start) as u32,
            },
        }
    }

    /// Index of the block that holds a byte, or of the last one that begins before it. 0 if there is none.
    pub fn block_at(&self, offset: usize) -> usize {
        self.blocks
            .partition_point(|b| b.span.start <= offset)
            .saturating_sub(1)
    }

    /// The innermost section that holds a byte.
    pub fn section_at(&self, offset: usize) -> Option<&Section> {
        self.innermost(offset, |_| true)
    }

    /// The sections that hold a byte, innermost first.
    pub fn sections_at(&self, offset: usize) -> impl Iterator<Item = &Section> {
        let begun = self.sections.partition_point(|s| s.span.start <= offset);
        self.sections[..begun]
            .iter()
            .rev()
            .filter(move |s| offset < s.span.end.max(s.span.start + 1))
    }

    /// The symbols that hold all of `span`, outermost first: "impl Cache › fn open"; empty outside of code.
    pub fn symbol_path(&self, span: Span) -> String {
        let begun = self
            .sections
            .partition_point(|s| s.span.start <= span.start);
        let mut path = Vec::new();
        let mut depth = u16::MAX;
        for section in self.sections[..begun].iter().rev() {
            if section.kind != SectionKind::Symbol {
                break;
            }
            if section.depth < depth && section.span.contains(span) {
                depth = section.depth;
                path.push(section.title.as_str());
            }
        }
        path.reverse();
        path.join(" \u{203A} ")
    }

    /// Where a piece of a codebase that is shown without what stands before it belongs: "src/kv.rs › impl Cache".
    /// `None` outside of code, and where the piece begins with its file's path or stands in no file.
    pub fn belongs_to(&self, span: Span) -> Option<String> {
        if self.kind != DocumentKind::Code {
            return None;
        }
        let file = self.innermost(span.start, |s| s.kind != SectionKind::Symbol)?;
        if file.kind != SectionKind::File || file.span.start == span.start {
            return None;
        }
        let first = Span::new(span.start, (span.start + 1).min(self.text.len()));
        Some(match self.symbol_path(first).as_str() {
            "" => file.title.clone(),
            symbol => format!("{} \u{203A} {symbol}", file.title),
        })
    }

    /// The page on which a byte stands, or after which it stands.
    pub fn page_at(&self, offset: usize) -> Option<&Page> {
        self.pages.get(self.page_index(offset))
    }

    fn page_index(&self, offset: usize) -> usize {
        self.pages
            .partition_point(|p| p.span.start <= offset)
            .saturating_sub(1)
    }

    fn innermost(&self, offset: usize, wanted: impl Fn(&Section) -> bool) -> Option<&Section> {
        self.sections_at(offset).find(|s| wanted(s))
    }

    fn narrowed(&self, span: Span) -> Span {
        let floor = |mut offset: usize| {
            offset = offset.min(self.text.len());
            while !self.text.is_char_boundary(offset) {
                offset -= 1;
            }
            offset
        };
        let start = floor(span.start);
        Span::new(start, floor(span.end).max(start))
    }

    fn page_quads(&self, span: Span) -> Vec<PageQuads> {
        let mut found: Vec<PageQuads> = self.pages
            [self.page_index(span.start).min(self.pages.len())..]
            .iter()
            .take_while(|page| page.span.start < span.end)
            .filter_map(|page| {
                let on_page = page.span.intersection(span)?;
                Some((page, self.line_quads(page, on_page)))
            })
            .filter(|(_, quads)| !quads.is_empty())
            .map(|(page, quads)| PageQuads {
                page: page.number,
                label: page.label.clone(),
                quads,
                recognised: page.recognised,
            })
            .collect();
        // White space between pages, or an empty span: still name the page.
        if let Some(page) = self.page_at(span.start).filter(|_| found.is_empty()) {
            found.push(PageQuads {
                page: page.number,
                label: page.label.clone(),
                quads: vec![],
                recognised: page.recognised,
            });
        }
        found
    }

    /// One upright quad for each line of text: characters go on in the same quad while they share most of its
    /// height and follow within a couple of character heights (a wider gap is the next column).
    fn line_quads(&self, page: &Page, span: Span) -> Vec<Quad> {
        let before = self.text[page.span.start..span.start].chars().count();
        let count = self.text[span.start..span.end].chars().count();
        let mut lines: Vec<[f32; 4]> = Vec::new();
        for &[x0, y0, x1, y1] in page.boxes.iter().skip(before).take(count) {
            if x0 == x1 && y0 == y1 {
                continue; // not drawn
            }
            if let Some(line) = lines.last_mut() {
                let shared = line[3].min(y1) - line[1].max(y0);
                let height = (line[3] - line[1]).min(y1 - y0);
                let gap = (x0 - line[2]).max(line[0] - x1);
                if shared >= height * 0.5 && gap <= 2.5 * height.max(1.0) {
                    *line = [
                        line[0].min(x0),
                        line[1].min(y0),
                        line[2].max(x1),
                        line[3].max(y1),
                    ];
                    continue;
                }
            }
            lines.push([x0, y0, x1, y1]);
        }
        lines
            .into_iter()
            .map(|[x0, y0, x1, y1]| Quad::from_rect(x0, y0, x1, y1))
            .collect()
    }

    fn line_range(&self, span: Span) -> LineRange {
        let last = self.text[span.start..span.end]
            .char_indices()
            .next_back()
            .map_or(span.start, |(offset, _)| span.start + offset);
        let (first_line, first_column) = self.line_and_column(span.start);
        let (last_line, last_column) = self.line_and_column(last);
        LineRange {
            first_line,
            first_column,
            last_line,
            last_column,
        }
    }

    /// Line in the source file and column of a byte, both 1-based. The blank lines between two blocks of a file
    /// are counted on from the block before them.
    fn line_and_column(&self, offset: usize) -> (u32, u32) {
        let Some(block) = self.blocks.get(self.block_at(offset)) else {
            return (1, 1);
        };
        let first_line = match block.kind {
            BlockKind::Preformatted { first_line } => first_line,
            _ => 1,
        };
        let before = &self.text[block.span.start.min(offset)..offset];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        (
            first_line + line_ends(before),
            1 + before[line_start..].chars().count() as u32,
        )
    }
}

fn line_ends(text: &str) -> u32 {
    text.bytes().filter(|&b| b == b'\n').count() as u32
}

#[cfg(test)]
mod tests {
    use super::super::*;

    fn document(
        kind: DocumentKind,
        text: &str,
        blocks: Vec<Block>,
        sections: Vec<Section>,
    ) -> Document {
        let document = Document {
            kind,
            title: String::new(),
            authors: None,
            text: text.into(),
            sections,
            blocks,
            pages: vec![],
            notices: vec![],
        };
        document.check().unwrap();
        document
    }

    fn block(kind: BlockKind, start: usize, end: usize) -> Block {
        Block {
            kind,
            span: Span::new(start, end),
            marks: vec![],
        }
    }

    fn section(kind: SectionKind, title: &str, depth: u16, start: usize, end: usize) -> Section {
        Section {
            kind,
            title: title.into(),
            depth,
            span: Span::new(start, end),
            item: format!("{title}.xhtml"),
        }
    }

    #[test]
    fn code_names_file_lines_and_columns() {
        let text = "a.rs\n\nfn é() {\n}\n\nfn b() {}\n\nb.rs\n\nx\n";
        let code = document(
            DocumentKind::Code,
            text,
            vec![
                block(BlockKind::Heading(1), 0, 4),
                block(BlockKind::Preformatted { first_line: 1 }, 6, 17),
                block(BlockKind::Preformatted { first_line: 4 }, 19, 28),
                block(BlockKind::Heading(1), 30, 34),
                block(BlockKind::Preformatted { first_line: 7 }, 36, 37),
            ],
            vec![
                section(SectionKind::File, "a.rs", 0, 0, 30),
                section(SectionKind::File, "b.rs", 0, 30, 38),
            ],
        );
        let lines = |span: &str, after: usize| {
            let start = after + text[after..].find(span).unwrap();
            match code.anchor(Span::new(start, start + span.len())) {
                Anchor::Lines {
                    file,
                    lines: l,
                    block,
                    ..
                } => (
                    file,
                    (l.first_line, l.first_column),
                    (l.last_line, l.last_column),
                    block,
                ),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(lines("é() {\n}", 6), ("a.rs".into(), (1, 4), (2, 1), 1));
        assert_eq!(lines("b()", 19), ("a.rs".into(), (4, 4), (4, 6), 2));
        assert_eq!(lines("x", 35), ("b.rs".into(), (7, 1), (7, 1), 4));
        assert_eq!(lines("b.rs", 0), ("b.rs".into(), (1, 1), (1, 4), 3));
    }

    #[test]
    fn flow_and_element_name_the_innermost_section() {
        let text = "One\n\nalpha\n\nTwo\n\nbeta\n";
        let blocks = vec![
            block(BlockKind::Heading(1), 0, 3),
            block(BlockKind::Paragraph, 5, 10),
            block(BlockKind::Heading(2), 12, 15),
            block(BlockKind::Paragraph, 17, 21),
        ];
        let sections = vec![
            section(SectionKind::Heading, "One", 0, 0, 22),
            section(SectionKind::Heading, "Two", 1, 12, 22),
        ];
        let html = document(DocumentKind::Html, text, blocks.clone(), sections.clone());
        assert_eq!(
            html.anchor(Span::new(17, 21)),
            Anchor::Flow {
                section: "Two".into(),
                line: 7,
                block: 3
            }
        );
        assert_eq!(
            html.anchor(Span::new(5, 10)),
            Anchor::Flow {
                section: "One".into(),
                line: 3,
                block: 1
            }
        );
        let epub = document(DocumentKind::Epub, text, blocks, sections);
        assert_eq!(
            epub.anchor(Span::new(18, 999)),
            Anchor::Element {
                item: "Two.xhtml".into(),
                section: "Two".into(),
                block: 3
            }
        );
    }

    #[test]
    fn pages_get_one_quad_a_line() {
        // "ab c" on one line, "d" on the next, "e" in the next column, "f" on the next page.
        let text = "ab c d e\n\nf";
        let at = |x: f32, y: f32| [x, y, x + 5.0, y + 10.0];
        let mut pdf = document(
            DocumentKind::Text,
            text,
            vec![
                block(BlockKind::Paragraph, 0, 8),
                block(BlockKind::Paragraph, 10, 11),
            ],
            vec![],
        );
        pdf.kind = DocumentKind::Pdf;
        let page = |number: u32, span: Span, boxes: Vec<[f32; 4]>| Page {
            number,
            label: format!("A-{number}"),
            width: 300.0,
            height: 300.0,
            span,
            boxes,
            recognised: number == 2,
        };
        let none = [0.0; 4];
        pdf.pages = vec![
            page(
                1,
                Span::new(0, 9),
                vec![
                    at(10.0, 20.0),
                    at(15.0, 20.5),
                    none,
                    at(25.0, 20.0),
                    none,
                    at(10.0, 32.0),
                    none,
                    at(200.0, 32.0),
                    none,
                ],
            ),
            page(2, Span::new(10, 11), vec![at(10.0, 20.0)]),
        ];
        pdf.check().unwrap();
        let Anchor::Pages(pages) = pdf.anchor(Span::new(1, 11)) else {
            panic!()
        };
        assert_eq!(pages.len(), 2);
        assert_eq!(
            pages[0].quads,
            vec![
                Quad::from_rect(15.0, 20.0, 30.0, 30.5),
                Quad::from_rect(10.0, 32.0, 15.0, 42.0),
                Quad::from_rect(200.0, 32.0, 205.0, 42.0),
            ]
        );
        assert_eq!((pages[1].page, pages[1].label.as_str()), (2, "A-2"));
        let Anchor::Pages(pages) = pdf.anchor(Span::new(9, 9)) else {
            panic!()
        };
        assert_eq!((pages[0].page, pages[0].quads.len()), (1, 0));
    }
}
