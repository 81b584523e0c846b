//! The result: rows, printed and as JSON.

use super::limits::Machine;
use crate::step::say;
use serde::Serialize;

/// What `--json` writes.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// In the order of measuring.
    pub rows: Vec<Row>,
}

/// One comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// `0.5B decode @ 4096` and the like.
    pub name: String,
    /// The model's full name.
    pub model: String,
    /// Unit of the three figures.
    pub unit: &'static str,
    /// Median of ours.
    pub ours: f64,
    /// Median of the peer's; none of what is measured of ours alone.
    pub peer: Option<f64>,
    /// What the hardware would allow, where it can be told.
    pub limit: Option<f64>,
    /// Above 1: ours is better.
    pub ratio: Option<f64>,
}

impl Row {
    /// A row whose figures are better when they are larger.
    pub fn speed(name: String, model: &str, ours: f64, peer: f64, limit: Option<f64>) -> Row {
        Row {
            name,
            model: model.to_owned(),
            unit: "tokens/s",
            ours,
            peer: Some(peer),
            limit,
            ratio: Some(ours / peer),
        }
    }

    /// A row whose figures are better when they are smaller.
    pub fn cost(
        name: String,
        model: &str,
        unit: &'static str,
        ours: f64,
        peer: f64,
        limit: Option<f64>,
    ) -> Row {
        Row {
            name,
            model: model.to_owned(),
            unit,
            ours,
            peer: Some(peer),
            limit,
            ratio: Some(peer / ours),
        }
    }

    /// A row of ours alone.
    pub fn alone(name: String, model: &str, unit: &'static str, ours: f64) -> Row {
        Row {
            name,
            model: model.to_owned(),
            unit,
            ours,
            peer: None,
            limit: None,
            ratio: None,
        }
    }
}

/// The middle of the figures; of an even number the mean of the two in the middle.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}

/// Prints the table, as Markdown, so that it can be pasted.
pub fn print(machine: &Machine, rows: &[Row]) {
    let giga = |value: f64| value / 1e9;
    say(&format!(
        "{}, {} logical processors, {} threads, {}; memory {:.1} GB/s, f32 {:.0} G MAC/s, int8 {} G MAC/s{}",
        machine.cpu,
        machine.cores,
        machine.threads,
        machine.date,
        giga(machine.memory_bandwidth),
        giga(machine.f32_macs),
        machine
            .int8_macs
            .map_or("?".to_owned(), |macs| format!("{:.0}", giga(macs))),
        machine.load.map_or(String::new(), |load| format!(
            "; load {load:.1} at the start"
        )),
    ));
    if let Some(build) = &machine.peer_build {
        say(&format!("peer: llama.cpp, {build}"));
    }
    say("");
    say("| | ours | peer | limit | unit | ratio |");
    say("|---|---|---|---|---|---|");
    for row in rows {
        say(&format!(
            "| {} | {} | {} | {} | {} | {} |",
            row.name,
            figure(row.ours),
            row.peer.map_or(String::new(), figure),
            row.limit.map_or(String::new(), figure),
            row.unit,
            row.ratio
                .map_or(String::new(), |ratio| format!("{ratio:.2}")),
        ));
    }
}

/// Three figures that mean something.
fn figure(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_means_ours_is_better() {
        let better = |row: Row| row.ratio.is_some_and(|ratio| ratio > 1.0);
        assert!(better(Row::speed("a".into(), "m", 20.0, 10.0, None)));
        assert!(better(Row::cost("a".into(), "m", "ms", 10.0, 20.0, None)));
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
