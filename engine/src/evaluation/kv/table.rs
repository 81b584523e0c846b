//! The report as a table or as JSON.

use super::Report;

/// Prints the report.
pub(super) fn print(report: &Report, json: bool) {
    if json {
        match serde_json::to_string(report) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("the report cannot be written as JSON: {error}"),
        }
        return;
    }
    println!("{}\n", report.model);
    println!(
        "text   tokens  keys/values  bytes/token  share  KL divergence  perplexity   ratio  \
         copied                         needles"
    );
    let mut exact_bytes = 0.0;
    for row in &report.rows {
        if row.format == "f16" {
            exact_bytes = row.bytes_a_token;
        }
        println!(
            "{:6} {:6}  {:11}  {:11.0}  {:.3}  {:13.5}  {:10.3}  {:.4}  {:29}  {}",
            row.kind,
            row.tokens,
            row.format,
            row.bytes_a_token,
            row.bytes_a_token / exact_bytes,
            row.divergence,
            row.perplexity,
            row.ratio,
            row.copied.to_string(),
            row.found,
        );
    }
    println!("\nsmallest format within the bounds: {}", report.chosen);
}
