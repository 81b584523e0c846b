//! Lines to paragraphs: line ends become blanks, hyphens at line ends go, and a paragraph that a column or a page cuts
//! in two is put together again.

use super::order::Line;
use super::segment::{Cell, is_ideograph};

/// A paragraph or row before it becomes a block; it may run over pages.
#[derive(Debug, Clone)]
pub(super) struct Paragraph {
    /// Its characters, by page: index of the page and the cells that stand on it.
    pub parts: Vec<(usize, Vec<Cell>)>,
    /// Em of its first line in points.
    pub size: f32,
    /// Fonts of its lines are all bold.
    pub bold: bool,
    /// Lines it was set in.
    pub lines: usize,
    /// A row of a table: tabs are kept.
    pub row: bool,
    /// Top of its first line on the page, as laid out.
    pub top: f32,
    /// Bottom of its last line, as a share of the page's height.
    pub bottom: f32,
}

impl Paragraph {
    /// The words.
    pub fn text(&self) -> String {
        self.parts
            .iter()
            .flat_map(|(_, cells)| cells.iter().map(|c| c.character))
            .collect()
    }

    fn last_character(&self) -> Option<char> {
        self.parts
            .last()
            .and_then(|(_, cells)| cells.last())
            .map(|c| c.character)
    }

    fn first_character(&self) -> Option<char> {
        self.parts
            .first()
            .and_then(|(_, cells)| cells.first())
            .map(|c| c.character)
    }
}

/// Characters that begin an item of a list.
const BULLETS: &str =
    "\u{2022}\u{25aa}\u{25cf}\u{25cb}\u{25e6}\u{25a0}\u{2023}\u{2043}\u{27a2}\u{2713}";

/// The paragraphs of one region. `page`: index of its page; `height`: of the page; `bold`: whether a font is.
pub(super) fn paragraphs(
    lines: &[Line],
    page: usize,
    height: f32,
    bold: &dyn Fn(u16) -> bool,
) -> Vec<Paragraph> {
    let measure = Measure::of(lines);
    let mut found: Vec<Paragraph> = Vec::new();
    let mut first = 0; // first line of the current paragraph
    for (index, line) in lines.iter().enumerate() {
        let row = line.tabs > 0 && is_table_line(lines, index);
        let begins = index == 0 || begins_paragraph(lines, first, index, &measure, bold);
        match found.last_mut() {
            Some(paragraph) if !begins => {
                let cells = flattened(line, false);
                if let Some((_, part)) = paragraph.parts.last_mut() {
                    append_line(part, cells);
                }
                paragraph.lines += 1;
                paragraph.bold &= bold(line.font);
                paragraph.bottom = line.sides[3] / height;
            }
            _ => {
                first = index;
                found.push(Paragraph {
                    parts: vec![(page, flattened(line, row))],
                    size: line.size,
                    bold: bold(line.font),
                    lines: 1,
                    row,
                    top: line.sides[1],
                    bottom: line.sides[3] / height,
                });
            }
        }
    }
    found
}

/// What is usual in a region.
struct Measure {
    /// Distance of baselines.
    pitch: f32,
    right: f32,
    width: f32,
}

impl Measure {
    fn of(lines: &[Line]) -> Measure {
        let mut pitches: Vec<f32> = lines
            .windows(2)
            .map(|pair| pair[1].baseline - pair[0].baseline)
            .zip(lines)
            .filter(|(pitch, line)| *pitch > 0.5 * line.size && *pitch < 3.0 * line.size)
            .map(|(pitch, _)| pitch)
            .collect();
        pitches.sort_by(f32::total_cmp);
        // The lower third: a region of short paragraphs has more gaps than lines.
        let pitch = pitches
            .get(pitches.len() / 3)
            .copied()
            .unwrap_or(f32::INFINITY);
        let left = lines
            .iter()
            .map(|l| l.sides[0])
            .fold(f32::INFINITY, f32::min);
        let right = lines
            .iter()
            .map(|l| l.sides[2])
            .fold(f32::NEG_INFINITY, f32::max);
        Measure {
            pitch,
            right,
            width: right - left,
        }
    }
}

/// A wide gap alone is a number before a heading or a line of a formula; two such lines are a table.
fn is_table_line(lines: &[Line], index: usize) -> bool {
    let near = |other: Option<&Line>| {
        other.is_some_and(|o| {
            o.tabs > 0
                && (o.baseline - lines[index].baseline).abs() < 3.5 * o.size.max(lines[index].size)
        })
    };
    near(index.checked_sub(1).and_then(|i| lines.get(i))) || near(lines.get(index + 1))
}

fn begins_paragraph(
    lines: &[Line],
    first: usize,
    index: usize,
    measure: &Measure,
    bold: &dyn Fn(u16) -> bool,
) -> bool {
    let (before, line) = (&lines[index - 1], &lines[index]);
    let em = line.size.max(before.size);
    let (row, row_before) = (is_row(lines, index), is_row(lines, index - 1));
    if row || row_before {
        return true;
    }
    let differs = line.size.min(before.size) < 0.88 * em || bold(line.font) != bold(before.font);
    let pitch = line.baseline - before.baseline;
    let usual = if measure.pitch.is_finite() {
        measure.pitch.max(0.9 * em)
    } else {
        1.25 * em
    };
    if differs || pitch > 1.32 * usual || pitch < 0.3 * em {
        return true;
    }
    if line
        .cells
        .first()
        .is_some_and(|c| BULLETS.contains(c.character))
    {
        return true;
    }
    let indent = |a: &Line, b: &Line| a.sides[0] - b.sides[0];
    let full = before.sides[2] > measure.right - 0.12 * measure.width;
    let ended = before
        .cells
        .last()
        .is_some_and(|c| ".!?:;\u{201d}\"\u{2019})\u{3002}".contains(c.character));
    // First line set in: against the line before and, if there is one, against the line after.
    let set_in = indent(line, before) > 0.7 * em
        && lines.get(index + 1).is_none_or(|next| {
            indent(line, next) > 0.7 * em || (next.baseline - line.baseline) > 1.32 * usual
        });
    if set_in && (ended || full) {
        return true;
    }
    // First line set out, as in lists of references.
    let hanging = index - first >= 2 && indent(&lines[first + 1], &lines[first]) > 0.7 * em;
    if (hanging || index - first == 1)
        && indent(before, line) > 0.7 * em
        && indent(line, &lines[first]).abs() < 0.3 * em
        && index - first >= 2
    {
        return true;
    }
    // The line before ends early, after the end of a sentence.
    let early = before.sides[2] < measure.right - 0.22 * measure.width;
    early
        && ended
        && lines.len() > 3
        && line
            .cells
            .first()
            .is_some_and(|c| !c.character.is_lowercase())
}

fn is_row(lines: &[Line], index: usize) -> bool {
    lines[index].tabs > 0 && is_table_line(lines, index)
}

/// A line's cells; outside of tables a wide gap is a blank.
fn flattened(line: &Line, row: bool) -> Vec<Cell> {
    let blank = |cell: &Cell| match cell.character {
        '\t' if !row => Cell::undrawn(' '),
        _ => *cell,
    };
    line.cells.iter().map(blank).collect()
}

/// Appends the next line of a paragraph: a hyphen that only divides a word goes, otherwise a blank comes between.
fn append_line(part: &mut Vec<Cell>, mut line: Vec<Cell>) {
    match junction(part, line.first()) {
        Junction::Divided => {
            part.pop();
        }
        Junction::Touching => {}
        Junction::Apart => part.push(Cell::undrawn(' ')),
    }
    part.append(&mut line);
}

enum Junction {
    /// A word was divided: its hyphen goes.
    Divided,
    /// The line was broken where no blank stands: at a dash, between ideographs.
    Touching,
    /// A blank stands between.
    Apart,
}

fn junction(part: &[Cell], next: Option<&Cell>) -> Junction {
    let (Some(last), Some(next)) = (part.last(), next) else {
        return Junction::Touching;
    };
    let before = part.len().checked_sub(2).map(|i| part[i].character);
    let hyphen = matches!(last.character, '-' | '\u{2010}' | '\u{ad}');
    if hyphen && before.is_some_and(char::is_alphabetic) {
        return if next.character.is_lowercase() {
            Junction::Divided
        } else {
            Junction::Touching
        };
    }
    if is_ideograph(last.character) && is_ideograph(next.character) {
        return Junction::Touching;
    }
    Junction::Apart
}

/// Puts paragraphs together that a column's or page's end cut in two.
pub(super) fn rejoined(paragraphs: Vec<Paragraph>) -> Vec<Paragraph> {
    let mut whole: Vec<Paragraph> = Vec::with_capacity(paragraphs.len());
    for mut next in paragraphs {
        match whole.last_mut() {
            Some(last) if continues(last, &next) => {
                let (page, cells) = next.parts.remove(0);
                match last.parts.last_mut() {
                    Some((same, part)) if *same == page => append_line(part, cells),
                    Some((_, part)) => {
                        // The blank between two pages stands on neither, so it goes to the one before.
                        match junction(part, cells.first()) {
                            Junction::Divided => drop(part.pop()),
                            Junction::Touching => {}
                            Junction::Apart => part.push(Cell::undrawn(' ')),
                        }
                        last.parts.push((page, cells));
                    }
                    None => last.parts.push((page, cells)),
                }
                last.parts.append(&mut next.parts);
                last.lines += next.lines;
                last.bottom = next.bottom;
            }
            _ => whole.push(next),
        }
    }
    whole
}

/// Whether `next` goes on where `last` stops: the same size, no end of a sentence before, a small letter after.
fn continues(last: &Paragraph, next: &Paragraph) -> bool {
    let alike = (last.size - next.size).abs() < 0.06 * last.size && last.bold == next.bold;
    let (Some(end), Some(start)) = (last.last_character(), next.first_character()) else {
        return false;
    };
    let open = !".!?:;\u{3002}".contains(end)
        && (end.is_alphanumeric() || ",-\u{2010}\u{2014}\u{2013}".contains(end));
    alike && open && !last.row && !next.row && last.lines > 1 && start.is_lowercase()
}
