//! Where text stands: from the map that the detecting model draws to one turned rectangle a line.
//!
//! The model was trained to mark the inner part of each line, so that lines which touch stay apart (differentiable
//! binarization, Liao et al. 2020). A connected patch of the map is such an inner part; the smallest rectangle around
//! it, grown by what the training took away, is the line.

/// Probability from which a pixel of the map belongs to text.
const TEXT: f32 = 0.3;
/// Mean probability from which a patch is a line.
const LINE: f32 = 0.5;
/// How much a rectangle grows: its area by its circumference, times this.
const GROWTH: f32 = 1.6;
/// Shortest side of a patch, in pixels of the map.
const LEAST: f32 = 3.0;
/// Most lines of a page. A page of a newspaper has about a thousand.
const MOST: usize = 4000;

/// A rectangle around a line of text, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Region {
    /// Its middle.
    pub middle: [f32; 2],
    /// From its left side to its right one: the direction within 45 degrees of the picture's own, and the length.
    pub across: [f32; 2],
    /// Height, square to that.
    pub height: f32,
}

impl Region {
    /// Length from left to right.
    pub fn width(&self) -> f32 {
        self.across[0].hypot(self.across[1])
    }

    /// The same rectangle in a picture of another size.
    pub fn scaled(&self, [x, y]: [f32; 2]) -> Region {
        let height =
            [-self.across[1], self.across[0]].map(|v| v / self.width().max(1e-6) * self.height);
        Region {
            middle: [self.middle[0] * x, self.middle[1] * y],
            across: [self.across[0] * x, self.across[1] * y],
            height: (height[0] * x).hypot(height[1] * y),
        }
    }
}

/// The lines of a map of probabilities, `width` values a row.
pub(super) fn regions(map: &[f32], width: usize) -> Vec<Region> {
    let mut seen = vec![false; map.len()];
    let mut found = Vec::new();
    for start in 0..map.len() {
        // What is no number is no text.
        let text = map[start] > TEXT;
        if seen[start] || !text || found.len() >= MOST {
            continue;
        }
        let patch = patch(map, width, start, &mut seen);
        if patch.mean >= LINE
            && let Some(region) = smallest_rectangle(hull(patch.edge))
            && region.width().min(region.height) >= LEAST
        {
            found.push(grown(region));
        }
    }
    found
}

struct Patch {
    mean: f32,
    /// Corners of its first and last pixel of each row: enough for its hull.
    edge: Vec<[f32; 2]>,
}

/// The pixels that hang together with `start`, also by their corners.
fn patch(map: &[f32], width: usize, start: usize, seen: &mut [bool]) -> Patch {
    let height = map.len() / width;
    let mut stack = vec![start];
    seen[start] = true;
    let (mut sum, mut count) = (0.0f64, 0usize);
    let mut rows: std::collections::BTreeMap<usize, [usize; 2]> = std::collections::BTreeMap::new();
    while let Some(index) = stack.pop() {
        sum += f64::from(map[index]);
        count += 1;
        let (x, y) = (index % width, index / width);
        let ends = rows.entry(y).or_insert([x, x]);
        *ends = [ends[0].min(x), ends[1].max(x)];
        for ny in y.saturating_sub(1)..=(y + 1).min(height - 1) {
            for nx in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                let next = ny * width + nx;
                if !seen[next] && map[next] > TEXT {
                    seen[next] = true;
                    stack.push(next);
                }
            }
        }
    }
    let edge = rows
        .into_iter()
        .flat_map(|(y, [left, right])| {
            let (y, left, right) = (y as f32, left as f32, right as f32 + 1.0);
            [[left, y], [right, y], [left, y + 1.0], [right, y + 1.0]]
        })
        .collect();
    Patch {
        mean: (sum / count as f64) as f32,
        edge,
    }
}

fn turn(a: [f32; 2], b: [f32; 2], c: [f32; 2]) -> f32 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

/// The convex hull, in order (Andrew's monotone chain).
fn hull(mut points: Vec<[f32; 2]>) -> Vec<[f32; 2]> {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    points.dedup();
    let mut hull: Vec<[f32; 2]> = Vec::new();
    for half in 0..2 {
        let base = hull.len();
        let side: &mut dyn Iterator<Item = &[f32; 2]> = match half {
            0 => &mut points.iter(),
            _ => &mut points.iter().rev(),
        };
        for &point in side {
            while hull.len() >= base + 2
                && turn(hull[hull.len() - 2], hull[hull.len() - 1], point) <= 0.0
            {
                hull.pop();
            }
            hull.push(point);
        }
        hull.pop();
    }
    hull
}

/// The rectangle of least area around a hull: one of its sides lies on one of the hull's.
fn smallest_rectangle(hull: Vec<[f32; 2]>) -> Option<Region> {
    let mut best: Option<(f32, Region)> = None;
    for (index, &from) in hull.iter().enumerate() {
        let to = hull[(index + 1) % hull.len()];
        let length = (to[0] - from[0]).hypot(to[1] - from[1]);
        if length <= 0.0 {
            continue;
        }
        // Of the four directions of a side, the one nearest to the picture's own left to right.
        let mut u = [(to[0] - from[0]) / length, (to[1] - from[1]) / length];
        if u[0].abs() < u[1].abs() {
            u = [-u[1], u[0]];
        }
        if u[0] < 0.0 {
            u = u.map(|v| -v);
        }
        let extent = |axis: [f32; 2]| {
            hull.iter()
                .map(|p| p[0] * axis[0] + p[1] * axis[1])
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| {
                    (low.min(v), high.max(v))
                })
        };
        let v = [-u[1], u[0]];
        let ((u0, u1), (v0, v1)) = (extent(u), extent(v));
        let area = (u1 - u0) * (v1 - v0);
        if best.is_none_or(|(least, _)| area < least) {
            let (mu, mv) = ((u0 + u1) / 2.0, (v0 + v1) / 2.0);
            let region = Region {
                middle: [u[0] * mu + v[0] * mv, u[1] * mu + v[1] * mv],
                across: [u[0] * (u1 - u0), u[1] * (u1 - u0)],
                height: v1 - v0,
            };
            best = Some((area, region));
        }
    }
    best.map(|(_, region)| region)
}

fn grown(region: Region) -> Region {
    let (width, height) = (region.width(), region.height);
    let by = width * height * GROWTH / (2.0 * (width + height));
    Region {
        across: region.across.map(|v| v * (width + 2.0 * by) / width),
        height: height + 2.0 * by,
        ..region
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A map in which a turned bar is marked.
    fn bar(width: usize, height: usize, middle: [f32; 2], sides: [f32; 2], angle: f32) -> Vec<f32> {
        let (sin, cos) = angle.sin_cos();
        (0..width * height)
            .map(|i| {
                let (x, y) = (
                    (i % width) as f32 + 0.5 - middle[0],
                    (i / width) as f32 + 0.5 - middle[1],
                );
                let (u, v) = (x * cos + y * sin, y * cos - x * sin);
                if u.abs() <= sides[0] / 2.0 && v.abs() <= sides[1] / 2.0 {
                    0.9
                } else {
                    0.0
                }
            })
            .collect()
    }

    #[test]
    fn a_bar_is_found_with_its_angle_and_grown() {
        for degrees in [-12.0f32, -3.0, 0.0, 1.5, 7.0, 30.0] {
            let angle = degrees.to_radians();
            let map = bar(200, 150, [100.0, 75.0], [120.0, 12.0], angle);
            let found = regions(&map, 200);
            assert_eq!(found.len(), 1);
            let region = found[0];
            assert!(
                (region.middle[0] - 100.0).abs() < 1.5 && (region.middle[1] - 75.0).abs() < 1.5
            );
            let found = region.across[1].atan2(region.across[0]);
            assert!((found - angle).abs() < 0.02, "{degrees}: {found}");
            let by = 120.0 * 12.0 * GROWTH / (2.0 * 132.0);
            assert!(
                (region.width() - 120.0 - 2.0 * by).abs() < 4.0,
                "{}",
                region.width()
            );
            assert!(
                (region.height - 12.0 - 2.0 * by).abs() < 4.0,
                "{}",
                region.height
            );
        }
    }

    #[test]
    fn upright_bars_are_higher_than_wide() {
        let map = bar(100, 200, [50.0, 100.0], [10.0, 150.0], 0.05);
        let region = regions(&map, 100)[0];
        assert!(region.height > 4.0 * region.width(), "{region:?}");
    }

    #[test]
    fn two_bars_are_two_and_faint_or_tiny_ones_none() {
        let mut map = bar(100, 100, [50.0, 20.0], [60.0, 8.0], 0.0);
        for (sum, other) in map
            .iter_mut()
            .zip(bar(100, 100, [50.0, 40.0], [60.0, 8.0], 0.0))
        {
            *sum += other;
        }
        for (sum, other) in map
            .iter_mut()
            .zip(bar(100, 100, [50.0, 60.0], [60.0, 8.0], 0.0))
        {
            *sum += other * 0.4; // 0.36: text, but no line
        }
        for (sum, other) in map
            .iter_mut()
            .zip(bar(100, 100, [50.0, 80.0], [60.0, 2.0], 0.0))
        {
            *sum += other;
        }
        assert_eq!(regions(&map, 100).len(), 2);
    }

    #[test]
    fn a_map_of_no_numbers_holds_nothing() {
        assert!(regions(&vec![f32::NAN; 400], 20).is_empty());
        assert!(regions(&vec![0.0; 400], 20).is_empty());
    }

    #[test]
    fn scaling_follows_both_sides() {
        let region = Region {
            middle: [10.0, 20.0],
            across: [8.0, 0.0],
            height: 4.0,
        };
        let scaled = region.scaled([2.0, 3.0]);
        assert_eq!(
            scaled,
            Region {
                middle: [20.0, 60.0],
                across: [16.0, 0.0],
                height: 12.0
            }
        );
    }
}
