//! Runs pdf-extract over one page after another, and survives it.
//!
//! The document is given a page tree of one page whose content and fonts are the reduced ones; that page is exchanged
//! for each page in turn. A font is tried on a page of its own when it is first met: if the parser panics, the font is
//! stripped step by step.

use super::content::{Fonts, Reduced, font_name, reduced};
use super::font::{FontFacts, Trim, facts, normalised};
use super::glyph::{Glyph, GlyphCollector};
use super::open::PageFacts;
use pdf_extract::{
    Dictionary, Document as Pdf, Object, ObjectId, OutputError, Stream, output_doc_page,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a page holds.
pub(super) struct PageGlyphs {
    /// Its characters in the order of the content.
    pub glyphs: Vec<Glyph>,
    /// Width and height in points, as displayed.
    pub size: [f32; 2],
    /// Whether it could be read to its end.
    pub whole: bool,
    /// Whether it shows a picture.
    pub picture: bool,
}

/// Reads the pages of one document.
pub(super) struct Reader {
    pdf: Pdf,
    fonts: Fonts,
    facts: Vec<FontFacts>,
    /// The one page: its object, its content, its fonts.
    page: ObjectId,
    content: ObjectId,
    font_table: Dictionary,
    catalog: ObjectId,
    /// Characters that may still be read.
    budget: usize,
}

impl Reader {
    /// Takes the document; at most `budget` characters will be read from it.
    pub fn new(mut pdf: Pdf, budget: usize) -> Reader {
        let content = pdf.add_object(Object::Null);
        let page = pdf.add_object(Object::Null);
        let mut root = Dictionary::new();
        root.set("Type", Object::Name(b"Pages".to_vec()));
        root.set("Kids", Object::Array(vec![Object::Reference(page)]));
        root.set("Count", Object::Integer(1));
        let root = pdf.add_object(Object::Dictionary(root));
        let mut catalog = Dictionary::new();
        catalog.set("Type", Object::Name(b"Catalog".to_vec()));
        catalog.set("Pages", Object::Reference(root));
        let catalog = pdf.add_object(Object::Dictionary(catalog));
        Reader {
            pdf,
            fonts: Fonts::default(),
            facts: Vec::new(),
            page,
            content,
            font_table: Dictionary::new(),
            catalog,
            budget,
        }
    }

    /// Whether a font is bold.
    pub fn is_bold(&self, font: u16) -> bool {
        self.facts.get(usize::from(font)).is_some_and(|f| f.bold)
    }

    /// Reads a page.
    pub fn read(&mut self, page: &PageFacts) -> PageGlyphs {
        let first = self.fonts.list.len();
        let content = catch_unwind(AssertUnwindSafe(|| {
            reduced(&self.pdf, page.id, &mut self.fonts)
        }));
        for number in first..self.fonts.list.len() {
            self.prepare_font(number);
        }
        let facts = std::mem::take(&mut self.facts);
        let mut collector = GlyphCollector::new(page, &facts, self.budget);
        let (whole, picture) = match content {
            Ok(Some(Reduced { content, picture })) => (self.run(content, &mut collector), picture),
            Ok(None) => (true, false),
            Err(_) => (false, false),
        };
        let GlyphCollector { glyphs, size, .. } = collector;
        self.facts = facts;
        self.budget -= glyphs.len().min(self.budget);
        PageGlyphs {
            glyphs,
            size,
            whole,
            picture,
        }
    }

    fn prepare_font(&mut self, number: usize) {
        let font = self.fonts.list[number].clone();
        // An embedded font may be broken in any way; its characters are then simply not known.
        let known = catch_unwind(AssertUnwindSafe(|| facts(&self.pdf, &font)));
        self.facts.push(known.unwrap_or_default());
        let id = self.pdf.add_object(Object::Null);
        self.font_table
            .set(font_name(number), Object::Reference(id));
        for trim in Trim::STEPS {
            let copy = catch_unwind(AssertUnwindSafe(|| {
                normalised(&self.pdf, &font, self.facts[number].codes.as_ref(), trim)
            }));
            let Ok(Some(copy)) = copy else { continue };
            self.pdf.objects.insert(id, Object::Dictionary(copy));
            if self.shows_every_code(number) {
                return;
            }
        }
        tracing::debug!(number, "a font cannot be read");
        // Its text is lost, the page is not.
        self.pdf
            .objects
            .insert(id, Object::Dictionary(plain_font()));
    }

    /// Tries a font on a page of its own.
    fn shows_every_code(&mut self, number: usize) -> bool {
        let codes: String = (0..=255u8).map(|code| format!("{code:02x}")).collect();
        let content = format!("BT /{} 1 Tf <{codes}> Tj ET", font_name(number));
        let blank = PageFacts {
            id: self.page,
            crop: [0.0, 0.0, 612.0, 792.0],
            turns: 0,
        };
        self.run(
            content.into_bytes(),
            &mut GlyphCollector::new(&blank, &[], 0),
        )
    }

    fn run(&mut self, content: Vec<u8>, collector: &mut GlyphCollector) -> bool {
        let mut resources = Dictionary::new();
        resources.set("Font", Object::Dictionary(self.font_table.clone()));
        let mut page = Dictionary::new();
        page.set("Type", Object::Name(b"Page".to_vec()));
        page.set(
            "MediaBox",
            Object::Array([0, 0, 612, 792].map(Object::Integer).to_vec()),
        );
        page.set("Resources", Object::Dictionary(resources));
        page.set("Contents", Object::Reference(self.content));
        self.pdf.objects.insert(self.page, Object::Dictionary(page));
        self.pdf.objects.insert(
            self.content,
            Object::Stream(Stream::new(Dictionary::new(), content)),
        );
        let root = self.pdf.trailer.get(b"Root").ok().cloned();
        self.pdf
            .trailer
            .set("Root", Object::Reference(self.catalog));
        let outcome: Result<Result<(), OutputError>, _> = catch_unwind(AssertUnwindSafe(|| {
            output_doc_page(&self.pdf, collector, 1)
        }));
        if let Some(root) = root {
            self.pdf.trailer.set("Root", root);
        }
        matches!(outcome, Ok(Ok(())))
    }
}

/// A font that can always be shown.
fn plain_font() -> Dictionary {
    let mut font = Dictionary::new();
    font.set("Type", Object::Name(b"Font".to_vec()));
    font.set("Subtype", Object::Name(b"Type1".to_vec()));
    font.set("BaseFont", Object::Name(b"Helvetica".to_vec()));
    font.set("Encoding", Object::Name(b"WinAnsiEncoding".to_vec()));
    font
}
