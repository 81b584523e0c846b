//! The report as a table or as JSON.

use super::Measured;

/// Prints the report.
pub(super) fn print(model: &str, rows: &[Measured], json: bool) {
    if json {
        match serde_json::to_string(&(model, rows)) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("the report cannot be written as JSON: {error}"),
        }
        return;
    }
    println!("{model}\n");
    println!(
        "tokens  way            budget  text KL  answer KL  recall         copied                         needles                        \
         4 of 4                         chains                         index MB  first ms  token ms  reading s"
    );
    for row in rows {
        println!(
            "{:6}  {:13}  {:6}  {:7.4}  {:9.4}  {:13}  {:29}  {:29}  {:29}  {:29}  {:8.1}  {:8.0}  {:8.1}  {:9.1}",
            row.tokens,
            row.way,
            row.budget,
            row.scored.divergence,
            row.scored.answer_divergence,
            row.recall.map_or("-".to_owned(), |[whole, chosen]| format!(
                "{whole:.3} ({chosen:.3})"
            )),
            row.scored.copied.to_string(),
            row.scored.needles.to_string(),
            row.scored.four_needles.to_string(),
            row.scored.chains.to_string(),
            row.index_bytes as f64 / 1e6,
            row.first_token_ms,
            row.token_ms,
            row.reading_seconds,
        );
    }
}
