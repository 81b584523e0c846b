//! From characters to segments: pieces of a line without a gap wide enough for a column.
//!
//! Most files write a line's characters one after another, so runs of neighbours in content order come first; then
//! runs that stand in the same line are joined, whatever their order in the content. Blanks come from blank
//! characters and from gaps; neither alone is reliable.

use super::bidi::to_logical_order;
use super::glyph::Glyph;
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// A character of the text with its displayed box (all zeros if it is not drawn).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    /// Which.
    pub character: char,
    /// Points, as displayed.
    pub shown: [f32; 4],
}

impl Cell {
    /// A character that is not drawn.
    pub fn undrawn(character: char) -> Cell {
        Cell {
            character,
            shown: [0.0; 4],
        }
    }
}

/// A piece of a line. Coordinates are those of the page turned so that the text is upright.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// In reading order, blanks included.
    pub cells: Vec<Cell>,
    /// Left.
    pub x0: f32,
    /// Top.
    pub y0: f32,
    /// Right.
    pub x1: f32,
    /// Bottom.
    pub y1: f32,
    /// Baseline.
    pub baseline: f32,
    /// Em of most of its characters, in points.
    pub size: f32,
    /// Font of most of its characters.
    pub font: u16,
}

impl Segment {
    /// The words.
    pub fn text(&self) -> String {
        self.cells.iter().map(|c| c.character).collect()
    }
}

/// Gap that ends a run, in ems.
const BREAK: f32 = 1.0;

/// A run of characters: indices of `glyphs`.
struct Run {
    members: Vec<usize>,
    x0: f32,
    x1: f32,
    baseline: f32,
    size: f32,
}

/// The segments of characters that all run in the same direction.
pub(super) fn segments(glyphs: &[Glyph]) -> Vec<Segment> {
    let (drawn, after_blank) = without_blanks_and_shadows(glyphs);
    let runs = runs(&drawn);
    joined(runs)
        .into_iter()
        .map(|members| segment(&drawn, &after_blank, members))
        .filter(|segment| !segment.cells.is_empty())
        .collect()
}

/// Drops blanks, remembering which characters follow one, and characters drawn twice in nearly the same place (a
/// poor man's bold, or a shadow).
fn without_blanks_and_shadows(glyphs: &[Glyph]) -> (Vec<Glyph>, Vec<bool>) {
    let mut drawn: Vec<Glyph> = Vec::with_capacity(glyphs.len());
    let mut after_blank = Vec::with_capacity(glyphs.len());
    let mut places: HashMap<(char, i32, i32), (f32, f32)> = HashMap::new();
    let mut blank = false;
    for glyph in glyphs {
        if glyph.character.is_whitespace() {
            blank = true;
            continue;
        }
        let unit = glyph.size * 0.12;
        let (x, y) = (glyph.upright[0], glyph.baseline);
        let (column, row) = ((x / unit) as i32, (y / unit) as i32);
        let near = |dx: i32, dy: i32| {
            places
                .get(&(glyph.character, column + dx, row + dy))
                .is_some_and(|(px, py)| (px - x).abs() < unit && (py - y).abs() < unit)
        };
        let zero_width = glyph.upright[2] - glyph.upright[0] < unit;
        if !zero_width && (-1..=1).any(|dx| (-1..=1).any(|dy| near(dx, dy))) {
            continue;
        }
        places.insert((glyph.character, column, row), (x, y));
        drawn.push(*glyph);
        after_blank.push(std::mem::take(&mut blank));
    }
    (drawn, after_blank)
}

fn runs(glyphs: &[Glyph]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut previous: Option<&Glyph> = None;
    for (index, glyph) in glyphs.iter().enumerate() {
        let [x0, _, x1, _] = glyph.upright;
        let follows = previous.is_some_and(|p| {
            let em = p.size.max(glyph.size);
            let level = (p.baseline - glyph.baseline).abs() <= shift_allowed(p.size, glyph.size);
            let ahead = x0 - p.upright[2];
            let behind = p.upright[0] - x1; // right to left
            level
                && ((-0.6 * em..BREAK * em).contains(&ahead)
                    || (-0.2 * em..0.4 * em).contains(&behind))
        });
        match runs.last_mut() {
            Some(run) if follows => {
                run.members.push(index);
                run.x0 = run.x0.min(x0);
                run.x1 = run.x1.max(x1);
                if glyph.size > run.size * 1.05 {
                    run.size = glyph.size;
                    run.baseline = glyph.baseline;
                }
            }
            _ => runs.push(Run {
                members: vec![index],
                x0,
                x1,
                baseline: glyph.baseline,
                size: glyph.size,
            }),
        }
        previous = Some(glyph);
    }
    runs
}

/// How far apart the baselines of neighbours in one line may be: next to nothing, or the height of an exponent if
/// one of them is small.
fn shift_allowed(a: f32, b: f32) -> f32 {
    let (small, large) = (a.min(b), a.max(b));
    if small < large * 0.85 {
        large * 0.6
    } else {
        large * 0.2
    }
}

/// Joins runs that stand beside each other in one line; returns the members of each line piece.
fn joined(mut runs: Vec<Run>) -> Vec<Vec<usize>> {
    runs.sort_by(|a, b| a.baseline.total_cmp(&b.baseline));
    let most = runs.iter().map(|r| r.size).fold(0.0, f32::max);
    let mut parent: Vec<usize> = (0..runs.len()).collect();
    for i in 0..runs.len() {
        for j in i + 1..runs.len() {
            let (a, b) = (&runs[i], &runs[j]);
            let apart = b.baseline - a.baseline;
            if apart > most * 0.6 || j - i > 400 {
                break;
            }
            let em = a.size.max(b.size);
            let gap = (b.x0 - a.x1).max(a.x0 - b.x1);
            let overlap =
                (a.x1.min(b.x1) - a.x0.max(b.x0)).max(0.0) > 0.5 * (a.x1 - a.x0).min(b.x1 - b.x0);
            let limit = if a.size.min(b.size) < em * 0.85 {
                0.35
            } else {
                BREAK
            };
            if apart <= shift_allowed(a.size, b.size) && gap < limit * em && !overlap {
                let (a, b) = (root(&mut parent, i), root(&mut parent, j));
                parent[a.max(b)] = a.min(b);
            }
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); runs.len()];
    for (index, run) in runs.into_iter().enumerate() {
        let root = root(&mut parent, index);
        groups[root].extend(run.members);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn root(parent: &mut [usize], mut index: usize) -> usize {
    while parent[index] != index {
        parent[index] = parent[parent[index]];
        index = parent[index];
    }
    index
}

fn segment(glyphs: &[Glyph], after_blank: &[bool], mut members: Vec<usize>) -> Segment {
    members.sort_by(|&a, &b| glyphs[a].upright[0].total_cmp(&glyphs[b].upright[0]));
    let (size, font) = dominant(members.iter().map(|&m| &glyphs[m]));
    let tracking = tracking(glyphs, &members);
    let mut cells: Vec<Cell> = Vec::with_capacity(members.len() * 6 / 5);
    let mut sides = [
        f32::INFINITY,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NEG_INFINITY,
    ];
    let mut baseline = glyphs[members[0]].baseline;
    for (position, &member) in members.iter().enumerate() {
        let glyph = &glyphs[member];
        if position > 0 {
            let before = &glyphs[members[position - 1]];
            let gap = glyph.upright[0] - before.upright[2];
            let em = before.size.max(glyph.size);
            let wide = is_ideograph(before.character) && is_ideograph(glyph.character);
            let threshold = if wide { 0.7 } else { 0.12 } * em + tracking;
            // A blank that was written counts if the characters do not touch after all (they do where right-to-left
            // text was written in logical order).
            let written = after_blank[member] && gap > -0.05 * em && member > members[position - 1];
            if gap > threshold || (written && !wide) {
                cells.push(Cell::undrawn(' '));
            }
        }
        if (glyph.size - size).abs() < 0.02 * size {
            baseline = glyph.baseline;
        }
        let [x0, y0, x1, y1] = glyph.upright;
        sides = [
            sides[0].min(x0),
            sides[1].min(y0),
            sides[2].max(x1),
            sides[3].max(y1),
        ];
        cells.push(Cell {
            character: glyph.character,
            shown: glyph.shown,
        });
    }
    let cells = without_leaders(to_logical_order(with_accents(cells)));
    Segment {
        cells,
        x0: sides[0],
        y0: sides[1],
        x1: sides[2],
        y1: sides[3],
        baseline,
        size,
        font,
    }
}

/// Letters whose accent was drawn as a character of its own over them, as TeX's older fonts do: one character, with
/// the box of both.
fn with_accents(cells: Vec<Cell>) -> Vec<Cell> {
    let mut kept: Vec<Cell> = Vec::with_capacity(cells.len());
    for cell in cells {
        if let Some(last) = kept.last_mut()
            && let Some(one) = accented(last.character, cell.character)
                .or_else(|| accented(cell.character, last.character))
            && lies_over(last.shown, cell.shown)
        {
            let ([ax0, ay0, ax1, ay1], [bx0, by0, bx1, by1]) = (last.shown, cell.shown);
            *last = Cell {
                character: one,
                shown: [ax0.min(bx0), ay0.min(by0), ax1.max(bx1), ay1.max(by1)],
            };
        } else {
            kept.push(cell);
        }
    }
    kept
}

fn lies_over(a: [f32; 4], b: [f32; 4]) -> bool {
    let shared = |low: usize| a[low + 2].min(b[low + 2]) - a[low].max(b[low]);
    let least = |low: usize| (a[low + 2] - a[low]).min(b[low + 2] - b[low]);
    shared(0) > 0.5 * least(0) && shared(1) > 0.3 * least(1)
}

/// The one character for an accent that stands alone and a letter.
fn accented(accent: char, letter: char) -> Option<char> {
    let mark = match accent {
        '`' => '\u{300}',
        '\u{b4}' => '\u{301}',
        '\u{2c6}' | '^' => '\u{302}',
        '\u{2dc}' | '~' => '\u{303}',
        '\u{af}' => '\u{304}',
        '\u{2d8}' => '\u{306}',
        '\u{2d9}' => '\u{307}',
        '\u{a8}' => '\u{308}',
        '\u{2da}' => '\u{30a}',
        '\u{2dd}' => '\u{30b}',
        '\u{2c7}' => '\u{30c}',
        '\u{b8}' => '\u{327}',
        _ => return None,
    };
    let letter = match letter {
        '\u{131}' => 'i',
        '\u{237}' => 'j',
        letter => letter,
    };
    let mut composed = [letter, mark].into_iter().nfc();
    composed
        .next()
        .filter(|one| composed.next().is_none() && one.is_alphabetic())
}

/// The dots between a title and its page number in a table of contents become one tab.
pub(super) fn without_leaders(cells: Vec<Cell>) -> Vec<Cell> {
    const DOTS: usize = 4;
    let mut kept: Vec<Cell> = Vec::with_capacity(cells.len());
    let mut rest = cells.as_slice();
    while let Some((first, tail)) = rest.split_first() {
        let is_dot = |c: &Cell| matches!(c.character, '.' | '\u{b7}' | '\u{2024}' | '\u{2026}');
        let run = match is_dot(first) {
            true => rest
                .iter()
                .take_while(|c| is_dot(c) || c.character == ' ')
                .count(),
            false => 0,
        };
        if rest[..run].iter().filter(|c| is_dot(c)).count() >= DOTS {
            while kept.last().is_some_and(|c| c.character == ' ') {
                kept.pop();
            }
            kept.push(Cell::undrawn('\t'));
            rest = &rest[run..];
        } else {
            kept.push(*first);
            rest = tail;
        }
    }
    kept
}

/// The size and font of most characters.
fn dominant<'g>(glyphs: impl Iterator<Item = &'g Glyph>) -> (f32, u16) {
    let mut counts: HashMap<(i32, u16), usize> = HashMap::new();
    for glyph in glyphs {
        *counts
            .entry(((glyph.size * 10.0).round() as i32, glyph.font))
            .or_default() += 1;
    }
    let best = counts.into_iter().max_by_key(|&(key, count)| (count, key));
    best.map_or((10.0, 0), |((size, font), _)| (size as f32 / 10.0, font))
}

/// Space between letters set wide (a title, say): the lower quartile of the gaps, if it is more than nothing.
fn tracking(glyphs: &[Glyph], members: &[usize]) -> f32 {
    if members.len() < 4 {
        return 0.0;
    }
    let mut gaps: Vec<f32> = members
        .windows(2)
        .map(|pair| (&glyphs[pair[0]], &glyphs[pair[1]]))
        .filter(|(a, b)| a.character.is_alphabetic() && b.character.is_alphabetic())
        .map(|(a, b)| b.upright[0] - a.upright[2])
        .collect();
    if gaps.len() < 3 {
        return 0.0;
    }
    gaps.sort_by(f32::total_cmp);
    let quartile = gaps[gaps.len() / 4];
    if quartile > 0.06 * glyphs[members[0]].size {
        quartile
    } else {
        0.0
    }
}

/// Whether a character belongs to a script that is written without blanks.
pub(super) fn is_ideograph(character: char) -> bool {
    matches!(character,
        '\u{2e80}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}'
        | '\u{20000}'..='\u{3ffff}')
}
