//! The report as a picture: what a format loses against what it takes, a line a text and length.

use super::{LARGEST_DIVERGENCE, Measured, Report};
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// Nats at the lower and upper end of the picture, on a logarithmic scale.
const LEAST: f64 = 1e-4;
const MOST: f64 = 1.0;

/// Lines that can be told apart by colour (Okabe and Ito) and by dashes.
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00",
];

/// An SVG that needs nothing but itself.
pub(super) fn draw(report: &Report) -> String {
    let mut svg = String::new();
    let model = escaped(&report.model);
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\
         <title>Formats of the cache: {model}</title>\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{model}: divergence from half precision by size</text>"
    );
    for power in -4..=0 {
        let nats = 10f64.powi(power);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {y}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{nats}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y(nats) + 4.0,
            y = y(nats),
        );
    }
    for tenths in (0..=10).step_by(2) {
        let share = f64::from(tenths) / 10.0;
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{share}</text>",
            x(share),
            HEIGHT - BOTTOM + 18.0,
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">bytes a token, of half precision</text>\
         <text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">nats</text>\
         <path d=\"M{LEFT} {bound}H{}\" stroke=\"#a00\" stroke-dasharray=\"2 3\"/><text x=\"{}\" y=\"{}\" fill=\"#a00\">bound</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 12.0,
        HEIGHT / 2.0,
        WIDTH - RIGHT,
        WIDTH - RIGHT + 6.0,
        y(LARGEST_DIVERGENCE) + 4.0,
        bound = y(LARGEST_DIVERGENCE),
    );
    let lines = report
        .rows
        .chunk_by(|a, b| (a.kind, a.tokens) == (b.kind, b.tokens));
    for (nth, rows) in lines.enumerate() {
        line(&mut svg, nth, rows);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The formats of one text and length, largest first.
fn line(svg: &mut String, nth: usize, rows: &[Measured]) {
    let Some((exact, coded)) = rows.split_first() else {
        return;
    };
    let colour = COLOURS[nth % COLOURS.len()];
    let dashes = ["none", "6 3", "2 2"][nth / COLOURS.len() % 3];
    let place = |row: &Measured| {
        (
            x(row.bytes_a_token / exact.bytes_a_token),
            y(row.divergence),
        )
    };
    let points: Vec<String> = coded
        .iter()
        .map(|row| format!("{:.1},{:.1}", place(row).0, place(row).1))
        .collect();
    let _ = write!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" stroke-dasharray=\"{dashes}\"/>",
        points.join(" ")
    );
    for row in coded {
        let (x, y) = place(row);
        let _ = write!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\">{}</text>",
            x + 6.0,
            y - 5.0,
            row.format
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" fill=\"{colour}\">{}, {} tokens</text>",
        WIDTH - RIGHT + 6.0,
        TOP + 18.0 * nth as f64 + 10.0,
        escaped(exact.kind),
        exact.tokens
    );
}

fn x(share: f64) -> f64 {
    LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
}

fn y(nats: f64) -> f64 {
    let height = (nats.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    HEIGHT - BOTTOM - height * (HEIGHT - TOP - BOTTOM)
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::evaluation::score::Share;

    #[test]
    fn every_format_of_every_text_is_drawn_within_the_picture() {
        let row = |kind, format, bytes_a_token, divergence| Measured {
            kind,
            tokens: 1024,
            format,
            bytes_a_token,
            divergence,
            perplexity: 10.0,
            ratio: 1.0,
            copied: Share::default(),
            found: Share::default(),
        };
        let rows = vec![
            row("novel", "f16", 100.0, 0.0),
            row("novel", "8/8", 55.0, 0.0007),
            row("novel", "4/4", 27.0, 0.005),
            row("code", "f16", 100.0, 0.0),
            row("code", "4/4", 27.0, 7.0),
        ];
        let report = Report {
            model: "a<b & c".into(),
            rows,
            chosen: "4/4",
        };
        let svg = draw(&report);
        let mut reader = quick_xml::Reader::from_str(&svg);
        let (mut circles, mut lines) = (0, 0);
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Eof => break,
                quick_xml::events::Event::Empty(tag) => match tag.name().as_ref() {
                    "circle" => {
                        circles += 1;
                        let at = tag.try_get_attribute("cy").unwrap().unwrap();
                        let y: f64 = at.value.parse().unwrap();
                        assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{y}");
                    }
                    "polyline" => lines += 1,
                    _ => {}
                },
                _ => {}
            }
        }
        assert_eq!((circles, lines), (3, 2));
        assert!(svg.contains("a&lt;b &amp; c"));
        assert!(y(0.02) < y(0.01));
    }
}
