//! Recognised lines as segments, so that columns, paragraphs and headings are found on a scanned page as on any other.
//!
//! A scan is crooked, and the heights of recognised lines vary with the letters in them: lines are laid out as if the
//! page were straight, and those about as high as most of the book's are taken to be set in the size of its text. The
//! boxes of the characters stay where they are on the page.

use super::furniture::PageSegments;
use super::segment::{Cell, Segment, without_leaders};
use crate::ingest::builder::canonical;
use crate::ingest::recognition::{RecognisedLine, RecognisedPage};

/// An em by the height of a recognised line.
const EM: f32 = 0.93;
/// How far a line's height may be from that of the text and still be text.
const TEXT: std::ops::Range<f32> = 0.78..1.22;
/// Baseline below the middle of a line, in ems.
const BASELINE: f32 = 0.28;
/// Steepest slope that is a crooked scan: about 15 degrees.
const CROOKED: f32 = 0.27;

/// The sizes of the recognised text of a document.
pub(super) struct Sizes {
    /// Height of most of its lines.
    usual: f32,
}

impl Sizes {
    /// Of all its pages.
    pub fn of<'p>(pages: impl Iterator<Item = &'p RecognisedPage>) -> Sizes {
        let heights: Vec<(f32, f32)> = pages
            .flat_map(|page| &page.lines)
            .map(|line| (line.height, line.characters.len() as f32))
            .collect();
        Sizes {
            usual: median(heights),
        }
    }

    fn em(&self, height: f32) -> f32 {
        match TEXT.contains(&(height / self.usual.max(0.1))) {
            true => self.usual * EM,
            false => height * EM,
        }
    }
}

/// The segments of a page for each direction of text, the upright ones first.
pub(super) fn by_direction(
    page: &RecognisedPage,
    width: f32,
    height: f32,
    sizes: &Sizes,
) -> Vec<PageSegments> {
    (0..4)
        .map(|turns| {
            let layout = Layout::of(page, turns, [width, height]);
            PageSegments {
                segments: page
                    .lines
                    .iter()
                    .filter(|line| line.turns == turns && is_sound(line))
                    .map(|line| layout.segment(line, sizes))
                    .filter(|segment| !segment.cells.is_empty())
                    .collect(),
                height: if turns % 2 == 0 { height } else { width },
            }
        })
        .collect()
}

/// Numbers that can be a place on a page.
fn is_sound(line: &RecognisedLine) -> bool {
    let place = [line.begins, line.ends].concat();
    place.iter().all(|v| v.is_finite() && v.abs() < 1e6) && (0.1..1e5).contains(&line.height)
}

/// How a page's lines of one direction are turned to run straight to the right.
struct Layout {
    turns: u8,
    size: [f32; 2],
    /// Tangent of the angle by which the lines fall.
    slope: f32,
}

impl Layout {
    fn of(page: &RecognisedPage, turns: u8, size: [f32; 2]) -> Layout {
        let mut layout = Layout {
            turns,
            size,
            slope: 0.0,
        };
        let slopes = page
            .lines
            .iter()
            .filter(|line| line.turns == turns && is_sound(line))
            .filter_map(|line| {
                let [from, to] = [line.begins, line.ends].map(|point| layout.turned(point));
                let run = to[0] - from[0];
                let slope = (to[1] - from[1]) / run;
                (run > 3.0 * line.height && slope.abs() < CROOKED).then_some((slope, run))
            });
        layout.slope = median(slopes.collect());
        layout
    }

    /// Turns a displayed point so that the text runs to the right.
    fn turned(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [w, h] = self.size;
        match self.turns {
            0 => [x, y],
            1 => [y, w - x],
            2 => [w - x, h - y],
            _ => [h - y, x],
        }
    }

    /// The same, with the lines made level about the middle of the page.
    fn level(&self, point: [f32; 2]) -> [f32; 2] {
        let [x, y] = self.turned(point);
        let [mx, my] = self.turned(self.size.map(|side| side / 2.0));
        [x + self.slope * (y - my), y - self.slope * (x - mx)]
    }

    fn segment(&self, line: &RecognisedLine, sizes: &Sizes) -> Segment {
        let (from, to) = (self.level(line.begins), self.level(line.ends));
        let middle = (from[1] + to[1]) / 2.0;
        let size = sizes.em(line.height);
        Segment {
            cells: without_leaders(cells(line)),
            x0: from[0].min(to[0]),
            y0: middle - line.height / 2.0,
            x1: from[0].max(to[0]),
            y1: middle + line.height / 2.0,
            baseline: middle + BASELINE * size,
            size,
            font: u16::MAX,
        }
    }
}

/// The characters of a line with their boxes as displayed; runs of blanks are one, none at the ends.
fn cells(line: &RecognisedLine) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::with_capacity(line.characters.len());
    let at = |share: f32, axis: usize| {
        line.begins[axis] + (line.ends[axis] - line.begins[axis]) * share.clamp(0.0, 1.0)
    };
    let half = line.height / 2.0;
    for &(character, [from, to]) in &line.characters {
        let Some(character) = canonical(character) else {
            continue;
        };
        if character.is_whitespace() {
            if cells.last().is_some_and(|last| last.character != ' ') {
                cells.push(Cell::undrawn(' '));
            }
            continue;
        }
        let ([x0, x1], [y0, y1]) = (
            [0, 1].map(|end| at([from, to][end], 0)),
            [from, to].map(|s| at(s, 1)),
        );
        let shown = match line.turns % 2 {
            0 => {
                let middle = (y0 + y1) / 2.0;
                [x0.min(x1), middle - half, x0.max(x1), middle + half]
            }
            _ => {
                let middle = (x0 + x1) / 2.0;
                [middle - half, y0.min(y1), middle + half, y0.max(y1)]
            }
        };
        cells.push(Cell { character, shown });
    }
    if cells.last().is_some_and(|last| last.character == ' ') {
        cells.pop();
    }
    cells
}

/// The value in the middle of the weight; 0 of nothing.
fn median(mut weighted: Vec<(f32, f32)>) -> f32 {
    weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = weighted.iter().map(|(_, weight)| weight).sum::<f32>() / 2.0;
    let mut sum = 0.0;
    weighted
        .iter()
        .find(|(_, weight)| {
            sum += weight;
            sum >= half
        })
        .map_or(0.0, |(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(
        text: &str,
        begins: [f32; 2],
        ends: [f32; 2],
        height: f32,
        turns: u8,
    ) -> RecognisedLine {
        let count = text.chars().count() as f32;
        RecognisedLine {
            begins,
            ends,
            height,
            turns,
            characters: text
                .chars()
                .enumerate()
                .map(|(i, c)| (c, [i as f32 / count, (i + 1) as f32 / count]))
                .collect(),
        }
    }

    fn segments(lines: Vec<RecognisedLine>, turns: usize) -> Vec<Segment> {
        let page = RecognisedPage { lines };
        let sizes = Sizes::of(std::iter::once(&page));
        by_direction(&page, 600.0, 800.0, &sizes)
            .remove(turns)
            .segments
    }

    #[test]
    fn a_crooked_page_is_laid_out_straight_and_keeps_its_boxes() {
        // Two pieces of one line of a page that falls by one in fifty.
        let found = segments(
            vec![
                line("left piece", [50.0, 100.0], [250.0, 104.0], 12.0, 0),
                line("right", [350.0, 106.0], [550.0, 110.0], 12.0, 0),
            ],
            0,
        );
        assert!(
            (found[0].baseline - found[1].baseline).abs() < 0.5,
            "{found:?}"
        );
        let last = found[1].cells.last().map(|cell| cell.shown);
        assert_eq!(last, Some([510.0, 103.6, 550.0, 115.6]));
        assert_eq!(found[0].text(), "left piece");
        assert_eq!(found[0].cells[4].shown, [0.0; 4], "a blank is not drawn");
    }

    #[test]
    fn heights_near_the_usual_are_one_size_and_a_title_is_larger() {
        let found = segments(
            vec![
                line(
                    "text with ascenders and gaps",
                    [0.0, 10.0],
                    [200.0, 10.0],
                    12.0,
                    0,
                ),
                line(
                    "more text, as long as the first",
                    [0.0, 30.0],
                    [200.0, 30.0],
                    11.0,
                    0,
                ),
                line("a", [0.0, 40.0], [5.0, 40.0], 10.0, 0),
                line("A Title", [0.0, 60.0], [100.0, 60.0], 18.0, 0),
            ],
            0,
        );
        assert_eq!(found[0].size, found[1].size);
        assert_eq!(found[0].size, found[2].size);
        assert!(found[3].size > 1.4 * found[0].size);
    }

    #[test]
    fn text_up_the_page_runs_to_the_right_when_turned() {
        // Turned by three quarters clockwise: it begins below and runs up.
        let found = segments(vec![line("up", [100.0, 700.0], [100.0, 500.0], 10.0, 3)], 3);
        assert_eq!((found[0].x0, found[0].x1), (100.0, 300.0));
        assert_eq!(found[0].cells[0].shown, [95.0, 600.0, 105.0, 700.0]);
        assert_eq!(found[0].cells[1].shown, [95.0, 500.0, 105.0, 600.0]);
    }

    #[test]
    fn what_is_no_place_is_left_out() {
        let strange = line("x", [f32::NAN, 0.0], [1.0, 0.0], 10.0, 0);
        assert!(segments(vec![strange], 0).is_empty());
    }
}
