//! The order in which the segments of a page are read: columns, and what runs across them.
//!
//! A gutter is a place that few segments cross while many end to its left and many begin to its right. What crosses
//! it (a title, a wide figure's caption) splits the page into bands; within a band the left column is read before
//! the right one, each by the same rule again. Short pieces on both sides are cells of a table and stay in rows.
//! This is the XY-cut of Nagy and Seth (1984) with its cuts chosen by counting, which holds for ragged columns.

use super::segment::{Cell, Segment};

/// Deepest nesting of columns.
const DEPTH: usize = 4;

/// A line of a region: segments side by side, a tab between them where the gap is wide.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// In reading order.
    pub cells: Vec<Cell>,
    /// Left, top, right, bottom.
    pub sides: [f32; 4],
    /// Baseline.
    pub baseline: f32,
    /// Em of most of its characters.
    pub size: f32,
    /// Font of most of its characters.
    pub font: u16,
    /// Wide gaps in it.
    pub tabs: usize,
}

/// The regions of a page in reading order, each with its lines from top to bottom.
pub(super) fn regions(segments: Vec<Segment>) -> Vec<Vec<Line>> {
    let mut regions = Vec::new();
    split(segments, DEPTH, &mut regions);
    regions
}

fn split(segments: Vec<Segment>, depth: usize, regions: &mut Vec<Vec<Line>>) {
    let Some(gutter) = gutter(&segments).filter(|_| depth > 0) else {
        if !segments.is_empty() {
            regions.push(lines(segments));
        }
        return;
    };
    let (crossing, mut beside): (Vec<Segment>, Vec<Segment>) =
        segments.into_iter().partition(|s| crosses(s, gutter));
    let mut crossing = lines_of_segments(crossing);
    crossing.reverse();
    beside.sort_by(|a, b| a.baseline.total_cmp(&b.baseline));
    let mut beside = beside.into_iter().peekable();
    loop {
        let next = crossing
            .last()
            .map_or(f32::INFINITY, |line| line[0].baseline);
        let mut left = Vec::new();
        let mut right = Vec::new();
        while let Some(segment) = beside.next_if(|s| s.baseline < next) {
            if segment.x1 <= gutter {
                left.push(segment)
            } else {
                right.push(segment)
            }
        }
        if is_band_of_columns(&left, &right) {
            split(left, depth - 1, regions);
            split(right, depth - 1, regions);
        } else {
            left.append(&mut right);
            if !left.is_empty() {
                regions.push(lines(left));
            }
        }
        // Lines across the gutter that follow each other make one region.
        let mut across = Vec::new();
        while let Some(line) =
            crossing.pop_if(|line| beside.peek().is_none_or(|s| line[0].baseline <= s.baseline))
        {
            across.extend(line);
        }
        if across.is_empty() && beside.peek().is_none() {
            break;
        }
        if !across.is_empty() {
            regions.push(lines(across));
        }
    }
}

fn crosses(segment: &Segment, x: f32) -> bool {
    segment.x0 < x && segment.x1 > x
}

/// The best place to divide the page into columns, if there is one.
fn gutter(segments: &[Segment]) -> Option<f32> {
    if segments.len() < 6 {
        return None;
    }
    let mut lefts: Vec<f32> = segments.iter().map(|s| s.x0).collect();
    let mut rights: Vec<f32> = segments.iter().map(|s| s.x1).collect();
    lefts.sort_by(f32::total_cmp);
    rights.sort_by(f32::total_cmp);
    let width = rights[rights.len() - 1] - lefts[0];
    let mut best: Option<(i64, f32)> = None;
    let mut tried = f32::NEG_INFINITY;
    for &left in &lefts {
        if left - tried < 1.0 {
            continue;
        }
        tried = left;
        let x = left - 0.5;
        let on_left = rights.partition_point(|&r| r <= x);
        let on_right = lefts.len() - lefts.partition_point(|&l| l < x);
        let crossing = segments.len() - on_left - on_right;
        let fewer = on_left.min(on_right);
        if fewer < 3 || crossing * 2 > segments.len() || crossing > fewer * 2 {
            continue;
        }
        let score = fewer as i64 * 2 - crossing as i64 * 3;
        if best.is_none_or(|(known, _)| score > known) {
            best = Some((score, x));
        }
    }
    let (_, x) = best?;
    let (left, right): (Vec<&Segment>, Vec<&Segment>) = segments
        .iter()
        .filter(|s| !crosses(s, x))
        .partition(|s| s.x1 <= x);
    let columns = is_text_column(&left, width) && is_text_column(&right, width);
    (columns && share_height(&left, &right)).then_some(x)
}

/// Whether pieces are lines of text rather than cells of a table.
fn is_text_column(pieces: &[&Segment], width: f32) -> bool {
    let mut widths: Vec<f32> = pieces.iter().map(|s| s.x1 - s.x0).collect();
    let mut lengths: Vec<usize> = pieces.iter().map(|s| s.cells.len()).collect();
    if widths.is_empty() {
        return false;
    }
    widths.sort_by(f32::total_cmp);
    lengths.sort_unstable();
    // Not the median: a column may be half code or formulas.
    let upper = pieces.len() * 7 / 10;
    widths[upper] >= 0.17 * width && lengths[upper] >= 12
}

fn share_height(left: &[&Segment], right: &[&Segment]) -> bool {
    let extent = |side: &[&Segment]| {
        let top = side.iter().map(|s| s.y0).fold(f32::INFINITY, f32::min);
        let bottom = side.iter().map(|s| s.y1).fold(f32::NEG_INFINITY, f32::max);
        (top, bottom)
    };
    let ((a0, a1), (b0, b1)) = (extent(left), extent(right));
    a1.min(b1) - a0.max(b0) > 0.3 * (a1 - a0).min(b1 - b0)
}

/// A band has columns if both sides have lines; one line on each side is a row.
fn is_band_of_columns(left: &[Segment], right: &[Segment]) -> bool {
    !left.is_empty() && !right.is_empty() && left.len() + right.len() > 2
}

/// Segments grouped into lines, top to bottom, each from left to right.
fn lines_of_segments(mut segments: Vec<Segment>) -> Vec<Vec<Segment>> {
    segments.sort_by(|a, b| a.baseline.total_cmp(&b.baseline));
    let mut lines: Vec<Vec<Segment>> = Vec::new();
    for segment in segments {
        match lines.last_mut() {
            Some(line)
                if same_line(&line[0], &segment) && !line.iter().any(|s| overlap(s, &segment)) =>
            {
                line.push(segment);
            }
            _ => lines.push(vec![segment]),
        }
    }
    for line in &mut lines {
        line.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    }
    lines
}

fn same_line(a: &Segment, b: &Segment) -> bool {
    (b.baseline - a.baseline).abs() <= 0.35 * a.size.min(b.size)
}

fn overlap(a: &Segment, b: &Segment) -> bool {
    a.x1.min(b.x1) - a.x0.max(b.x0) > 0.3 * a.size
}

fn lines(segments: Vec<Segment>) -> Vec<Line> {
    lines_of_segments(segments).into_iter().map(line).collect()
}

fn line(mut segments: Vec<Segment>) -> Line {
    // A line of right-to-left text is read from its right end.
    let rtl = |s: &Segment| {
        s.cells
            .iter()
            .any(|c| ('\u{590}'..'\u{8ff}').contains(&c.character))
    };
    if segments.iter().filter(|s| rtl(s)).count() * 2 > segments.len() {
        segments.reverse();
    }
    let longest = segments.iter().max_by_key(|s| s.cells.len());
    let (size, font, baseline) = longest.map_or((10.0, 0, 0.0), |s| (s.size, s.font, s.baseline));
    let mut line = Line {
        cells: Vec::new(),
        sides: [f32::INFINITY, f32::INFINITY, 0.0, 0.0],
        baseline,
        size,
        font,
        tabs: 0,
    };
    let mut last: Option<(f32, f32)> = None;
    for segment in segments {
        if let Some((x0, x1)) = last {
            let gap = (segment.x0 - x1).max(x0 - segment.x1);
            let wide = gap > 1.8 * size;
            line.tabs += usize::from(wide);
            line.cells
                .push(Cell::undrawn(if wide { '\t' } else { ' ' }));
        }
        line.tabs += segment.cells.iter().filter(|c| c.character == '\t').count();
        last = Some((segment.x0, segment.x1));
        let [x0, y0, x1, y1] = line.sides;
        line.sides = [
            x0.min(segment.x0),
            y0.min(segment.y0),
            x1.max(segment.x1),
            y1.max(segment.y1),
        ];
        line.cells.extend(segment.cells);
    }
    line
}
