//! From the order on the page to the order of reading, for lines with right-to-left script.
//!
//! A line's characters come sorted from left to right. Hebrew and Arabic letters are read the other way, numbers and
//! Latin words among them are not. This is the inverse of what a typesetter does with UAX 9, reduced to one level of
//! embedding, which is what lines of books hold.

use super::segment::Cell;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Right, // left to right: Latin letters, digits
    Left,  // right to left
    Neutral,
}

fn direction(character: char) -> Direction {
    match character {
        '\u{590}'..='\u{65f}'
        | '\u{66a}'..='\u{6ef}'
        | '\u{6fa}'..='\u{8ff}'
        | '\u{fb1d}'..='\u{fdff}'
        | '\u{fe70}'..='\u{feff}' => Direction::Left,
        c if c.is_alphanumeric() => Direction::Right,
        _ => Direction::Neutral,
    }
}

/// Turns right-to-left runs around. Cells without such script come back as they are.
pub(super) fn to_logical_order(cells: Vec<Cell>) -> Vec<Cell> {
    let mut directions: Vec<Direction> = cells.iter().map(|c| direction(c.character)).collect();
    let lefts = directions.iter().filter(|&&d| d == Direction::Left).count();
    if lefts == 0 {
        return cells;
    }
    let letters = cells.iter().filter(|c| c.character.is_alphabetic()).count();
    let base = if lefts * 2 >= letters {
        Direction::Left
    } else {
        Direction::Right
    };
    resolve_neutrals(&mut directions, base);
    let mut runs: Vec<Vec<Cell>> = Vec::new();
    let mut last = None;
    for (cell, direction) in cells.into_iter().zip(directions) {
        if last != Some(direction) {
            runs.push(Vec::new());
            last = Some(direction);
        }
        if let Some(run) = runs.last_mut() {
            run.push(cell);
        }
    }
    for run in &mut runs {
        if run
            .iter()
            .any(|c| direction(c.character) == Direction::Left)
        {
            run.reverse();
        }
    }
    if base == Direction::Left {
        runs.reverse();
    }
    runs.concat()
}

/// What stands between two runs of one direction belongs to them, the rest to the line.
fn resolve_neutrals(directions: &mut [Direction], base: Direction) {
    let mut at = 0;
    while at < directions.len() {
        if directions[at] != Direction::Neutral {
            at += 1;
            continue;
        }
        let end = directions[at..]
            .iter()
            .position(|&d| d != Direction::Neutral)
            .map_or(directions.len(), |n| at + n);
        let before = at.checked_sub(1).map_or(base, |i| directions[i]);
        let after = directions.get(end).copied().unwrap_or(base);
        let resolved = if before == after { before } else { base };
        directions[at..end].fill(resolved);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_their_own_direction() {
        let cases = [
            ("plain text", "plain text"),
            ("םלוע םולש", "שלום עולם"),
            ("2024 תנשב", "בשנת 2024"),
            ("the word םולש is", "the word שלום is"),
        ];
        for (seen, read) in cases {
            let cells = seen.chars().map(Cell::undrawn).collect();
            let out: String = to_logical_order(cells)
                .iter()
                .map(|c| c.character)
                .collect();
            assert_eq!(out, read);
        }
    }
}
