//! Running headers, footers and page numbers: what stands in the same place of many pages. It is no part of what the
//! author wrote there, and would cut sentences that run over a page.

use super::segment::Segment;
use std::collections::HashMap;

/// Share of the page's height, from the top and from the bottom, where they stand.
const MARGIN: f32 = 0.13;
/// Pages on which the same words must stand.
const REPEATS: usize = 3;
/// Distance in points within which two rows are in the same place.
const SAME_PLACE: f32 = 4.0;

/// The segments of one page.
pub(super) struct PageSegments {
    /// Upright text.
    pub segments: Vec<Segment>,
    /// Height of the page in points.
    pub height: f32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Edge {
    Top,
    Bottom,
}

/// A row near an edge.
struct Row {
    page: usize,
    edge: Edge,
    baseline: f32,
    words: String,
    members: Vec<usize>,
}

/// Takes running headers, footers and page numbers off the pages.
pub(super) fn remove(pages: &mut [PageSegments]) {
    let rows: Vec<Row> = pages
        .iter()
        .enumerate()
        .flat_map(|(index, page)| edge_rows(index, page))
        .collect();
    let mut by_words: HashMap<(Edge, &str), Vec<&Row>> = HashMap::new();
    for row in &rows {
        by_words
            .entry((row.edge, &row.words))
            .or_default()
            .push(row);
    }
    let neighbours = |row: &Row| {
        let same = &by_words[&(row.edge, row.words.as_str())];
        same.iter()
            .filter(|other| (other.baseline - row.baseline).abs() <= SAME_PLACE)
            .count()
    };
    let repeated: Vec<bool> = rows.iter().map(|row| neighbours(row) >= REPEATS).collect();
    // Where most pages have such a row, whatever else stands exactly there is one too (a chapter of two pages).
    let usual = |row: &Row| {
        let there = |(other, furniture): &(&Row, &bool)| {
            **furniture && other.edge == row.edge && (other.baseline - row.baseline).abs() <= 1.5
        };
        let count = rows.iter().zip(&repeated).filter(there).count();
        count >= REPEATS && count * 5 >= pages.len() * 2
    };
    let places: HashMap<(Edge, i32), bool> = rows
        .iter()
        .map(|row| ((row.edge, (row.baseline * 2.0) as i32), row))
        .collect::<HashMap<_, _>>()
        .into_iter()
        .map(|(place, row)| (place, usual(row)))
        .collect();
    let mut gone: Vec<Vec<usize>> = vec![Vec::new(); pages.len()];
    for (row, repeated) in rows.iter().zip(&repeated) {
        let by_place = places
            .get(&(row.edge, (row.baseline * 2.0) as i32))
            .copied()
            .unwrap_or(false);
        if *repeated || by_place {
            gone[row.page].extend(&row.members);
        }
    }
    for (page, gone) in pages.iter_mut().zip(gone) {
        let mut index = 0;
        page.segments.retain(|_| {
            index += 1;
            !gone.contains(&(index - 1))
        });
    }
}

/// The two outermost rows at each edge of a page.
fn edge_rows(index: usize, page: &PageSegments) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for edge in [Edge::Top, Edge::Bottom] {
        let mut members: Vec<usize> = (0..page.segments.len())
            .filter(|&i| match edge {
                Edge::Top => page.segments[i].y1 < page.height * MARGIN,
                Edge::Bottom => page.segments[i].y0 > page.height * (1.0 - MARGIN),
            })
            .collect();
        members.sort_by(|&a, &b| {
            page.segments[a]
                .baseline
                .total_cmp(&page.segments[b].baseline)
        });
        if edge == Edge::Bottom {
            members.reverse();
        }
        let mut found: Vec<Row> = Vec::new();
        for member in members {
            let segment = &page.segments[member];
            let full = found.len() == 2;
            match found.last_mut() {
                Some(row) if (row.baseline - segment.baseline).abs() < 2.0 => {
                    row.members.push(member)
                }
                _ if full => break,
                _ => found.push(Row {
                    page: index,
                    edge,
                    baseline: segment.baseline,
                    words: String::new(),
                    members: vec![member],
                }),
            }
        }
        rows.extend(found);
    }
    for row in &mut rows {
        row.members
            .sort_by(|&a, &b| page.segments[a].x0.total_cmp(&page.segments[b].x0));
        let text: Vec<String> = row
            .members
            .iter()
            .map(|&m| page.segments[m].text())
            .collect();
        row.words = without_numbers(&text.join(" "));
    }
    rows
}

/// The words with numbers, also Roman ones, made alike, and in one order whether the number stands left or right.
fn without_numbers(text: &str) -> String {
    let mut words: Vec<String> = text
        .split_whitespace()
        .map(|word| {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
            let number = bare.chars().any(|c| c.is_ascii_digit());
            let roman =
                !bare.is_empty() && bare.len() <= 7 && bare.chars().all(|c| "ivxlc".contains(c));
            if number || roman {
                "#".into()
            } else {
                word.to_lowercase()
            }
        })
        .collect();
    words.sort_unstable();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::segment::Cell;
    use super::*;

    fn segment(text: &str, x: f32, baseline: f32) -> Segment {
        Segment {
            cells: text.chars().map(Cell::undrawn).collect(),
            x0: x,
            y0: baseline - 9.0,
            x1: x + 5.0 * text.len() as f32,
            y1: baseline + 3.0,
            baseline,
            size: 10.0,
            font: 0,
        }
    }

    #[test]
    fn repeated_rows_at_the_edges_go_and_the_rest_stays() {
        let mut pages: Vec<PageSegments> = (1..=6)
            .map(|n| PageSegments {
                height: 800.0,
                segments: vec![
                    segment(
                        if n == 5 {
                            "Another chapter"
                        } else {
                            "The Book"
                        },
                        70.0,
                        40.0,
                    ),
                    segment(&format!("{n}"), 500.0, 40.0),
                    segment(
                        &format!(
                            "A first line that differs, number {}",
                            ["one", "two", "three", "four", "five", "six"][n - 1]
                        ),
                        70.0,
                        90.0,
                    ),
                    segment("Body", 70.0, 400.0),
                    segment("xiv", 300.0, 780.0),
                ],
            })
            .collect();
        remove(&mut pages);
        for page in &pages {
            let left: Vec<String> = page.segments.iter().map(Segment::text).collect();
            assert_eq!(left.len(), 2, "{left:?}");
            assert!(left[0].starts_with("A first line") && left[1] == "Body");
        }
    }
}
