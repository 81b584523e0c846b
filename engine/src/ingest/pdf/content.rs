//! A page's content reduced to what sets text, in the form that pdf-extract reads without failing.
//!
//! pdf-extract stops on colour spaces, graphics states and operands that it does not know, reads pictures as if they
//! were content, and forgets the matrix of forms. None of that matters for text: only the operators that place
//! characters are kept, forms are written out in place, and every change of font is announced by a rectangle whose
//! `x` is the font's number (the only value that reaches an `OutputDev` unchanged).

use super::comments;
use super::open::{dictionary, get, inherited, number, numbers};
use pdf_extract::content::{Content, Operation};
use pdf_extract::{Dictionary, Document as Pdf, Object, ObjectId};
use std::collections::HashMap;

/// Deepest nesting of forms.
const FORMS: usize = 12;
/// Most operators of a page with its forms; the largest honest pages (maps) have some hundred thousand.
const OPERATORS: usize = 2_000_000;

/// The fonts of a document, each met once.
#[derive(Default)]
pub(super) struct Fonts {
    /// Font dictionaries as the file has them, by number.
    pub list: Vec<Dictionary>,
    by_id: HashMap<ObjectId, usize>,
}

impl Fonts {
    fn number_of(&mut self, pdf: &Pdf, font: &Object) -> Option<usize> {
        let id = font.as_reference().ok();
        if let Some(&known) = id.and_then(|id| self.by_id.get(&id)) {
            return Some(known);
        }
        let font = dictionary(pdf, font)?.clone();
        if id.is_none()
            && let Some(known) = self.list.iter().position(|f| *f == font)
        {
            return Some(known);
        }
        self.list.push(font);
        let index = self.list.len() - 1;
        if let Some(id) = id {
            self.by_id.insert(id, index);
        }
        Some(index)
    }
}

/// What is left of a page.
pub(super) struct Reduced {
    /// Operators that set text; fonts are named `F0`, `F1`, ... by their numbers.
    pub content: Vec<u8>,
    /// Whether the page shows a picture.
    pub picture: bool,
}

/// The content of a page, reduced. `None` if there is nothing.
pub(super) fn reduced(pdf: &Pdf, page: ObjectId, fonts: &mut Fonts) -> Option<Reduced> {
    let dictionary_of_page = pdf.get_dictionary(page).ok()?;
    let none = Dictionary::new();
    let resources = inherited(pdf, dictionary_of_page, b"Resources")
        .and_then(|r| dictionary(pdf, r))
        .unwrap_or(&none);
    let content = pdf.get_page_content(page).ok()?;
    let mut reduction = Reduction {
        pdf,
        fonts,
        kept: Vec::new(),
        budget: OPERATORS,
        font: None,
        saved: Vec::new(),
        picture: false,
    };
    reduction.append(&content, resources, 0);
    let picture = reduction.picture;
    let content = Content {
        operations: reduction.kept,
    }
    .encode()
    .ok()?;
    Some(Reduced { content, picture })
}

struct Reduction<'p> {
    pdf: &'p Pdf,
    fonts: &'p mut Fonts,
    kept: Vec<Operation>,
    budget: usize,
    /// Number of the current font: without one, no text may be shown.
    font: Option<usize>,
    saved: Vec<Option<usize>>,
    picture: bool,
}

impl Reduction<'_> {
    fn append(&mut self, content: &[u8], resources: &Dictionary, depth: usize) {
        let Some(content) = comments::decode(content) else {
            return;
        };
        let saved = self.saved.len();
        for operation in content.operations {
            if self.budget == 0 {
                break;
            }
            self.budget -= 1;
            self.operation(operation, resources, depth);
        }
        while self.saved.len() > saved {
            self.restore(); // what the content forgot to restore
        }
    }

    fn operation(&mut self, operation: Operation, resources: &Dictionary, depth: usize) {
        let Operation { operator, operands } = operation;
        match operator.as_str() {
            "BT" | "ET" | "T*" => self.push(&operator, Vec::new()),
            "cm" | "Tm" => self.push_numbers(&operator, &operands, 6),
            "Td" | "TD" => self.push_numbers(&operator, &operands, 2),
            "Tc" | "Tw" | "Tz" | "TL" | "Ts" => self.push_numbers(&operator, &operands, 1),
            "q" => {
                self.saved.push(self.font);
                self.push("q", Vec::new());
            }
            "Q" if !self.saved.is_empty() => self.restore(),
            "Tf" => self.set_font(&operands, resources),
            "Tj" => self.show(operands.into_iter().next()),
            "'" => {
                self.push("T*", Vec::new());
                self.show(operands.into_iter().next());
            }
            "\"" => {
                let mut operands = operands.into_iter();
                for operator in ["Tw", "Tc"] {
                    let operand: Vec<Object> = operands.next().into_iter().collect();
                    self.push_numbers(operator, &operand, 1);
                }
                self.push("T*", Vec::new());
                self.show(operands.next());
            }
            "TJ" if self.font.is_some() => {
                if let Some(Object::Array(parts)) = operands.into_iter().next() {
                    let parts = parts
                        .into_iter()
                        .filter(|p| matches!(p, Object::String(..)) || number(p).is_some())
                        .collect();
                    self.push("TJ", vec![Object::Array(parts)]);
                }
            }
            "BI" | "EI" => self.picture = true,
            "Do" if depth < FORMS => self.form(&operands, resources, depth),
            _ => {}
        }
    }

    fn push(&mut self, operator: &str, operands: Vec<Object>) {
        self.kept.push(Operation::new(operator, operands));
    }

    fn push_numbers(&mut self, operator: &str, operands: &[Object], count: usize) {
        let all: Vec<Object> = operands
            .iter()
            .filter(|o| number(o).is_some())
            .cloned()
            .collect();
        if all.len() == count {
            self.push(operator, all);
        }
    }

    fn show(&mut self, text: Option<Object>) {
        if let (Some(Object::String(..)), Some(_)) = (&text, self.font) {
            self.push("Tj", text.into_iter().collect());
        }
    }

    fn set_font(&mut self, operands: &[Object], resources: &Dictionary) {
        let [Object::Name(name), size] = operands else {
            return;
        };
        let font = get(self.pdf, resources, b"Font")
            .and_then(|fonts| dictionary(self.pdf, fonts))
            .and_then(|fonts| fonts.get(name).ok())
            .and_then(|font| self.fonts.number_of(self.pdf, font));
        let (Some(font), Some(_)) = (font, number(size)) else {
            return;
        };
        self.font = Some(font);
        self.announce(font);
        self.push(
            "Tf",
            vec![Object::Name(font_name(font).into_bytes()), size.clone()],
        );
    }

    fn announce(&mut self, font: usize) {
        let rectangle = [font as i64, 0, 1, 1].map(Object::Integer).to_vec();
        self.push("re", rectangle);
        self.push("f", Vec::new());
    }

    fn restore(&mut self) {
        self.push("Q", Vec::new());
        self.font = self.saved.pop().flatten();
        if let Some(font) = self.font {
            self.announce(font);
        }
    }

    fn form(&mut self, operands: &[Object], resources: &Dictionary, depth: usize) {
        let pdf = self.pdf;
        let Some(Object::Name(name)) = operands.first() else {
            return;
        };
        let form = get(pdf, resources, b"XObject")
            .and_then(|forms| dictionary(pdf, forms))
            .and_then(|forms| get(pdf, forms, name));
        let Some(Object::Stream(form)) = form else {
            return;
        };
        let subtype = get(pdf, &form.dict, b"Subtype").and_then(|s| s.as_name().ok());
        self.picture |= subtype == Some(b"Image");
        if subtype != Some(b"Form") {
            return;
        }
        let Ok(content) = form.get_plain_content() else {
            return;
        };
        self.saved.push(self.font);
        self.push("q", Vec::new());
        if let Some(matrix) = numbers(pdf, &form.dict, b"Matrix").filter(|m| m.len() == 6) {
            self.push(
                "cm",
                matrix.into_iter().map(|n| Object::Real(n as f32)).collect(),
            );
        }
        let own = get(pdf, &form.dict, b"Resources").and_then(|r| dictionary(pdf, r));
        self.append(&content, own.unwrap_or(resources), depth + 1);
        self.restore();
    }
}

/// The resource name of a font in reduced content.
pub(super) fn font_name(number: usize) -> String {
    format!("F{number}")
}
