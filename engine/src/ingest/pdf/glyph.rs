//! Characters and where they stand, as pdf-extract reports them.

use super::font::FontFacts;
use super::open::PageFacts;
use crate::ingest::builder::canonical;
use pdf_extract::{ColorSpace, MediaBox, OutputDev, OutputError, Path, PathOp, Transform};
use unicode_normalization::UnicodeNormalization;

/// A character on a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glyph {
    /// Which.
    pub character: char,
    /// Box as displayed: points, origin top left, y downwards.
    pub shown: [f32; 4],
    /// The same box turned so that its text runs to the right; layout works on these.
    pub upright: [f32; 4],
    /// Baseline in the turned page.
    pub baseline: f32,
    /// Height of an em in points.
    pub size: f32,
    /// Quarter turns, clockwise, of its text against the displayed page.
    pub turns: u8,
    /// Number of its font.
    pub font: u16,
}

/// Collects the glyphs of one page.
pub(super) struct GlyphCollector<'f> {
    facts: &'f [FontFacts],
    to_display: [f64; 6],
    /// Width and height as displayed.
    pub size: [f32; 2],
    font: usize,
    /// In the order of the content.
    pub glyphs: Vec<Glyph>,
    limit: usize,
}

impl<'f> GlyphCollector<'f> {
    /// For a page; at most `limit` characters are collected.
    pub fn new(page: &PageFacts, facts: &'f [FontFacts], limit: usize) -> GlyphCollector<'f> {
        let [x0, y0, x1, y1] = page.crop;
        let (w, h) = (x1 - x0, y1 - y0);
        // (x, y) -> (a x + c y + e, b x + d y + f): to the crop box, turned clockwise, y downwards.
        let (to_display, size) = match page.turns {
            0 => ([1.0, 0.0, 0.0, -1.0, -x0, y1], [w, h]),
            1 => ([0.0, 1.0, 1.0, 0.0, -y0, -x0], [h, w]),
            2 => ([-1.0, 0.0, 0.0, 1.0, x1, -y0], [w, h]),
            _ => ([0.0, -1.0, -1.0, 0.0, y1, x1], [h, w]),
        };
        GlyphCollector {
            facts,
            to_display,
            size: size.map(|s| s as f32),
            font: 0,
            glyphs: Vec::new(),
            limit,
        }
    }

    fn display(&self, x: f64, y: f64) -> [f64; 2] {
        let [a, b, c, d, e, f] = self.to_display;
        [a * x + c * y + e, b * x + d * y + f]
    }

    /// Turns a displayed point by so many quarters counter-clockwise, so that the text that ran along runs to the right.
    fn turned(&self, [x, y]: [f64; 2], turns: u8) -> [f64; 2] {
        let [w, h] = self.size.map(f64::from);
        match turns {
            0 => [x, y],
            1 => [y, w - x],
            2 => [w - x, h - y],
            _ => [h - y, x],
        }
    }
}

fn bounds(points: &[[f64; 2]; 4]) -> [f32; 4] {
    let x = points.map(|p| p[0]);
    let y = points.map(|p| p[1]);
    let least = |v: [f64; 4]| v.into_iter().fold(f64::INFINITY, f64::min) as f32;
    let most = |v: [f64; 4]| v.into_iter().fold(f64::NEG_INFINITY, f64::max) as f32;
    [least(x), least(y), most(x), most(y)]
}

impl OutputDev for GlyphCollector<'_> {
    fn begin_page(
        &mut self,
        _: u32,
        _: &MediaBox,
        _: Option<(f64, f64, f64, f64)>,
    ) -> Result<(), OutputError> {
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn output_character(
        &mut self,
        trm: &Transform,
        width: f64,
        _spacing: f64,
        font_size: f64,
        text: &str,
    ) -> Result<(), OutputError> {
        let unknown = FontFacts::default();
        let facts = self.facts.get(self.font).unwrap_or(&unknown);
        let (ascent, descent) = (f64::from(facts.ascent), f64::from(facts.descent));
        let place = |x: f64, y: f64| {
            self.display(
                trm.m11 * x + trm.m21 * y + trm.m31,
                trm.m12 * x + trm.m22 * y + trm.m32,
            )
        };
        let across = width * font_size;
        let corners = [
            place(0.0, descent * font_size),
            place(across, descent * font_size),
            place(across, ascent * font_size),
            place(0.0, ascent * font_size),
        ];
        let (origin, ahead, above) = (
            place(0.0, 0.0),
            place(font_size, 0.0),
            place(0.0, font_size),
        );
        let size = (above[0] - origin[0]).hypot(above[1] - origin[1]);
        let finite = corners
            .iter()
            .flatten()
            .all(|v| v.is_finite() && v.abs() < 1e6);
        if !finite || !(0.5..2000.0).contains(&size) || self.glyphs.len() >= self.limit {
            return Ok(());
        }
        let (dx, dy) = (ahead[0] - origin[0], ahead[1] - origin[1]);
        let turns = match dx.abs() >= dy.abs() {
            true if dx >= 0.0 => 0,
            true => 2,
            false if dy >= 0.0 => 1,
            false => 3,
        };
        let [w, h] = self.size;
        let shown = bounds(&corners);
        // Outside of the visible page: printers' marks, text hidden by the crop box.
        if shown[2] < 0.0 || shown[3] < 0.0 || shown[0] > w || shown[1] > h {
            return Ok(());
        }
        let upright = bounds(&corners.map(|p| self.turned(p, turns)));
        let baseline = self.turned(origin, turns)[1] as f32;
        let characters = match &facts.codes {
            Some(codes) => {
                let text: String = text
                    .chars()
                    .filter_map(|code| codes.character(code))
                    .collect();
                spelled_out(&text)
            }
            None => spelled_out(text),
        };
        let count = characters.len() as f32;
        for (index, character) in characters.into_iter().enumerate() {
            // A ligature's box is shared out among its letters.
            let share = |sides: [f32; 4], along_y: bool, backwards: bool| {
                let index = index as f32;
                let (from, to) = match backwards {
                    false => (index / count, (index + 1.0) / count),
                    true => (1.0 - (index + 1.0) / count, 1.0 - index / count),
                };
                let [x0, y0, x1, y1] = sides;
                match along_y {
                    false => [x0 + (x1 - x0) * from, y0, x0 + (x1 - x0) * to, y1],
                    true => [x0, y0 + (y1 - y0) * from, x1, y0 + (y1 - y0) * to],
                }
            };
            self.glyphs.push(Glyph {
                character,
                shown: share(shown, turns % 2 == 1, turns >= 2),
                upright: share(upright, false, false),
                baseline,
                size: size as f32,
                turns,
                font: self.font as u16,
            });
        }
        Ok(())
    }

    fn begin_word(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn end_word(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    /// A rectangle announces a font; see `content`.
    fn fill(
        &mut self,
        _: &Transform,
        _: &ColorSpace,
        _: &[f64],
        path: &Path,
    ) -> Result<(), OutputError> {
        if let Some(PathOp::Rect(number, ..)) = path.ops.last() {
            self.font = *number as usize;
        }
        Ok(())
    }
}

/// Characters as a reader would type them: ligatures and Arabic presentation forms spelled out, white space as a
/// blank, nothing that is not a character.
fn spelled_out(text: &str) -> Vec<char> {
    let mut out = Vec::with_capacity(2);
    for character in text.chars() {
        match character {
            '\u{fb00}'..='\u{fb06}' | '\u{fb13}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' => {
                out.extend(std::iter::once(character).nfkc());
            }
            // Adobe's corporate use: small capitals and old-style figures of expert fonts.
            '\u{f730}'..='\u{f739}' => out.extend(char::from_u32(character as u32 - 0xf700)),
            '\u{f761}'..='\u{f77a}' => out.extend(char::from_u32(character as u32 - 0xf720)),
            '\u{f6be}' => out.push('j'),
            '\u{f0b7}' | '\u{f0a7}' => out.push('\u{2022}'),
            '\t' | '\n' => out.push(' '),
            '\u{ad}' => out.push('-'), // drawn, so it is a hyphen at a line's end
            c => out.extend(canonical(c)),
        }
    }
    out
}
