//! The invariants of a [`Document`], in one pass over each of its lists.

use super::{Document, DocumentFault, DocumentKind, Page, Section, Span};

/// Characters that never stand in canonical text: they would break line counting, terminals or C strings.
fn is_forbidden(character: char) -> bool {
    character.is_control() && character != '\n' && character != '\t'
}

impl Document {
    /// Checks every invariant named in the documentation of [`Document`]; the first violation is the error.
    ///
    /// Costs one pass over the text and over each list. Called on everything that leaves the sandbox, so that no
    /// later stage needs to doubt a span.
    pub fn check(&self) -> Result<(), DocumentFault> {
        if let Some((offset, character)) = self.text.char_indices().find(|&(_, c)| is_forbidden(c))
        {
            return Err(DocumentFault::ForbiddenCharacter { offset, character });
        }
        self.check_blocks()?;
        self.check_sections()?;
        self.check_pages()
    }

    fn check_span(
        &self,
        what: &'static str,
        index: usize,
        span: Span,
    ) -> Result<(), DocumentFault> {
        if span.of(&self.text).is_some() {
            return Ok(());
        }
        Err(DocumentFault::BadSpan {
            what,
            index,
            start: span.start,
            end: span.end,
            length: self.text.len(),
        })
    }

    fn check_blocks(&self) -> Result<(), DocumentFault> {
        let mut end = 0;
        for (index, block) in self.blocks.iter().enumerate() {
            self.check_span("block", index, block.span)?;
            if block.span.start < end {
                return Err(DocumentFault::Disorder {
                    what: "block",
                    index,
                });
            }
            self.check_covered(Span::new(end, block.span.start))?;
            end = block.span.end;
            let mut start = block.span.start;
            for mark in &block.marks {
                self.check_span("mark", index, mark.span)?;
                if !block.span.contains(mark.span) {
                    return Err(DocumentFault::Outside {
                        what: "mark",
                        index,
                    });
                }
                if mark.span.start < start {
                    return Err(DocumentFault::Disorder {
                        what: "mark",
                        index,
                    });
                }
                start = mark.span.start;
            }
        }
        self.check_covered(Span::new(end, self.text.len()))
    }

    /// Nothing but white space may stand between blocks.
    fn check_covered(&self, gap: Span) -> Result<(), DocumentFault> {
        match gap.of(&self.text) {
            Some(text) if text.trim().is_empty() => Ok(()),
            _ => Err(DocumentFault::Uncovered {
                start: gap.start,
                end: gap.end,
            }),
        }
    }

    fn check_sections(&self) -> Result<(), DocumentFault> {
        let mut open: Vec<&Section> = Vec::new();
        for (index, section) in self.sections.iter().enumerate() {
            self.check_span("section", index, section.span)?;
            while let Some(last) = open.last() {
                if last.depth < section.depth {
                    break;
                }
                if last.span.end > section.span.start {
                    return Err(DocumentFault::Disorder {
                        what: "section",
                        index,
                    });
                }
                open.pop();
            }
            if let Some(parent) = open.last()
                && !parent.span.contains(section.span)
            {
                return Err(DocumentFault::Outside {
                    what: "section",
                    index,
                });
            }
            open.push(section);
        }
        Ok(())
    }

    fn check_pages(&self) -> Result<(), DocumentFault> {
        if (self.kind == DocumentKind::Pdf) == self.pages.is_empty() {
            return Err(DocumentFault::Pages {
                kind: self.kind,
                pages: self.pages.len(),
            });
        }
        let (mut number, mut end) = (0, 0);
        for (index, page) in self.pages.iter().enumerate() {
            self.check_span("page", index, page.span)?;
            if page.number <= number || page.span.start < end {
                return Err(DocumentFault::Disorder {
                    what: "page",
                    index,
                });
            }
            number = page.number;
            end = page.span.end;
            self.check_boxes(page)?;
        }
        Ok(())
    }

    fn check_boxes(&self, page: &Page) -> Result<(), DocumentFault> {
        let characters = page
            .span
            .of(&self.text)
            .map_or(0, |text| text.chars().count());
        if characters != page.boxes.len() {
            return Err(DocumentFault::BoxCount {
                page: page.number,
                boxes: page.boxes.len(),
                characters,
            });
        }
        let upright =
            |b: &[f32; 4]| b.iter().all(|v| v.is_finite()) && b[0] <= b[2] && b[1] <= b[3];
        match page.boxes.iter().position(|b| !upright(b)) {
            Some(character) => Err(DocumentFault::BadBox {
                page: page.number,
                character,
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;

    fn sound() -> Document {
        Document {
            kind: DocumentKind::Markdown,
            title: "Ü".into(),
            authors: None,
            text: "Über\n\nalles\n".into(),
            sections: vec![
                Section {
                    kind: SectionKind::Heading,
                    title: "Über".into(),
                    depth: 0,
                    span: Span::new(0, 13),
                    item: String::new(),
                },
                Section {
                    kind: SectionKind::Heading,
                    title: "alles".into(),
                    depth: 1,
                    span: Span::new(7, 13),
                    item: String::new(),
                },
            ],
            blocks: vec![
                Block {
                    kind: BlockKind::Heading(1),
                    span: Span::new(0, 5),
                    marks: vec![],
                },
                Block {
                    kind: BlockKind::Paragraph,
                    span: Span::new(7, 12),
                    marks: vec![Mark {
                        kind: MarkKind::Strong,
                        span: Span::new(8, 10),
                    }],
                },
            ],
            pages: vec![],
            notices: vec![],
        }
    }

    #[test]
    fn each_violation_is_named() {
        assert_eq!(sound().check(), Ok(()));
        let broken = |change: fn(&mut Document)| {
            let mut document = sound();
            change(&mut document);
            document.check()
        };
        let bad = |what, index, start, end| {
            Err(DocumentFault::BadSpan {
                what,
                index,
                start,
                end,
                length: 13,
            })
        };
        assert_eq!(broken(|d| d.blocks[0].span.end = 1), bad("block", 0, 0, 1)); // inside "Ü"
        assert_eq!(
            broken(|d| d.blocks[1].span.end = 14),
            bad("block", 1, 7, 14)
        );
        assert_eq!(
            broken(|d| d.sections[1].span.end = 99),
            bad("section", 1, 7, 99)
        );
        assert_eq!(
            broken(|d| d.blocks.swap(0, 1)),
            Err(DocumentFault::Uncovered { start: 0, end: 7 })
        );
        assert_eq!(
            broken(|d| d.blocks[1].span.start = 4),
            Err(DocumentFault::Disorder {
                what: "block",
                index: 1
            })
        );
        assert_eq!(
            broken(|d| d.blocks[1].span.end = 10),
            Err(DocumentFault::Uncovered { start: 10, end: 13 })
        );
        assert_eq!(
            broken(|d| d.blocks[1].marks[0].span = Span::new(0, 2)),
            Err(DocumentFault::Outside {
                what: "mark",
                index: 1
            })
        );
        assert_eq!(
            broken(|d| d.sections[1].depth = 0),
            Err(DocumentFault::Disorder {
                what: "section",
                index: 1
            })
        );
        assert_eq!(
            broken(|d| d.sections[0].span.end = 9),
            Err(DocumentFault::Outside {
                what: "section",
                index: 1
            })
        );
        assert_eq!(
            broken(|d| d.text = d.text.replace('\n', "\r")),
            Err(DocumentFault::ForbiddenCharacter {
                offset: 5,
                character: '\r'
            })
        );
        assert_eq!(
            broken(|d| d.kind = DocumentKind::Pdf),
            Err(DocumentFault::Pages {
                kind: DocumentKind::Pdf,
                pages: 0
            })
        );
    }

    #[test]
    fn every_character_of_a_page_has_a_box() {
        let mut document = sound();
        document.kind = DocumentKind::Pdf;
        document.pages = vec![Page {
            number: 1,
            label: "i".into(),
            width: 100.0,
            height: 100.0,
            span: Span::new(0, 13),
            boxes: vec![[0.0; 4]; 12],
            recognised: false,
        }];
        assert_eq!(document.check(), Ok(()));
        document.pages[0].boxes[3] = [5.0, 0.0, 4.0, 1.0];
        assert_eq!(
            document.check(),
            Err(DocumentFault::BadBox {
                page: 1,
                character: 3
            })
        );
        document.pages[0].boxes.pop();
        assert_eq!(
            document.check(),
            Err(DocumentFault::BoxCount {
                page: 1,
                boxes: 11,
                characters: 12
            })
        );
    }
}
