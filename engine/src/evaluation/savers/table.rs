//! The report as a table or as JSON.

use super::Measured;

/// Prints the report.
pub(super) fn print(model: &str, tokens: usize, rows: &[Measured], json: bool) {
    if json {
        match serde_json::to_string(&(model, tokens, rows)) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("the report cannot be written as JSON: {error}"),
        }
        return;
    }
    println!("{model}, {tokens} tokens\n");
    println!(
        "saver                share  of f16  text KL  answer KL  copied                         needles                        4 of 4                         \
         chains                         scoring s"
    );
    for row in rows {
        println!(
            "{:19}  {:5}  {:6.3}  {:7.4}  {:9.4}  {:29}  {:29}  {:29}  {:29}  {:9.1}",
            row.name,
            row.share,
            row.of_half_precision,
            row.scored.divergence,
            row.scored.answer_divergence,
            row.scored.copied.to_string(),
            row.scored.needles.to_string(),
            row.scored.four_needles.to_string(),
            row.scored.chains.to_string(),
            row.scoring_seconds,
        );
    }
}
