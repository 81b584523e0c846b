//! A file's lines in runs: the blocks of a codebase.

use super::symbols::Symbol;
use std::ops::Range;

/// Most lines of a block.
const RUN: usize = 100;
/// Fewest lines of a block that is not the last: from here on a blank line is a good place to end it.
const SHORT_RUN: usize = 60;
/// Lines that make a run, or a symbol, long enough for a run to end where the symbol begins.
const LONG_SYMBOL: usize = 10;
/// Lines that a run has even before a long symbol: the line that opens a class stays with its first method.
const FEWEST: usize = 3;

/// Lines of a file that make a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// 1-based.
    pub first_line: u32,
    /// From the beginning of its first line that is not blank to the end of its last word.
    pub bytes: Range<usize>,
}

/// Cuts a file into runs: where a symbol begins, so that a passage holds a function and not the end of one and the
/// beginning of the next; else where a blank line precedes an unindented one, else at any blank line, else after
/// [`RUN`] lines.
pub(super) fn runs(text: &str, symbols: &[Symbol]) -> Vec<Run> {
    let mut starts = vec![0];
    starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
    starts.retain(|&start| start < text.len());
    let line =
        |index: usize| &text[starts[index]..starts.get(index + 1).copied().unwrap_or(text.len())];
    let blank = |index: usize| line(index).trim().is_empty();
    let line_of = |byte: usize| starts.partition_point(|&start| start <= byte) - 1;
    // First lines of symbols, ascending, with their lengths.
    let begins: Vec<(usize, usize)> = symbols
        .iter()
        .map(|symbol| {
            let first = line_of(symbol.bytes.start);
            (first, line_of(symbol.bytes.end - 1) + 1 - first)
        })
        .collect();
    let mut runs = Vec::new();
    let mut first = 0;
    while first < starts.len() {
        if blank(first) {
            first += 1;
            continue;
        }
        let most = (first + RUN).min(starts.len());
        let next_symbol = begins[begins.partition_point(|&(line, _)| line < first + FEWEST)..]
            .iter()
            .take_while(|&&(line, _)| line < most)
            .find(|&&(line, length)| length >= LONG_SYMBOL || line - first >= LONG_SYMBOL)
            .map(|&(line, _)| line);
        let cut = if let Some(line) = next_symbol {
            line
        } else if most == starts.len() {
            most
        } else {
            let candidates = || {
                (first + SHORT_RUN..most)
                    .rev()
                    .filter(|&index| blank(index))
            };
            candidates()
                .find(|&index| !blank(index + 1) && !line(index + 1).starts_with([' ', '\t']))
                .or_else(|| candidates().next())
                .unwrap_or(most)
        };
        let until = starts.get(cut).copied().unwrap_or(text.len());
        let end = starts[first] + text[starts[first]..until].trim_end().len();
        runs.push(Run {
            first_line: first as u32 + 1,
            bytes: starts[first]..end,
        });
        first = cut;
    }
    runs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn runs_end_at_blank_lines_and_keep_line_numbers() {
        assert_eq!(runs("", &[]), []);
        assert_eq!(runs("\n\n", &[]), []);
        assert_eq!(
            runs("\n\n  a\nb \n\n", &[]),
            [Run {
                first_line: 3,
                bytes: 2..7
            }]
        );
        let text: String = (1..=250)
            .map(|n| {
                if n == 81 || n == 90 {
                    "\n".into()
                } else if n == 91 {
                    "    indented\n".into()
                } else {
                    format!("line {n}\n")
                }
            })
            .collect();
        let found = runs(&text, &[]);
        let firsts: Vec<u32> = found.iter().map(|r| r.first_line).collect();
        assert_eq!(firsts, [1, 82, 182]);
        assert!(text[found[1].bytes.clone()].starts_with("line 82\n"));
        assert!(text[found[2].bytes.clone()].ends_with("line 250"));
    }

    #[test]
    fn runs_begin_where_symbols_do() {
        let text: String = (1..=60).map(|n| format!("line {n}\n")).collect();
        let at = |line: usize| text.find(&format!("line {line}\n")).unwrap();
        let symbol = |first: usize, last: usize| Symbol {
            title: String::new(),
            bytes: at(first)..at(last) + 6,
            depth: 0,
        };
        let symbols = [
            symbol(2, 30), // a class: its first line stays with its first method
            symbol(3, 20),
            symbol(21, 25), // far enough from where the run began
            symbol(26, 28), // too close and too short
            symbol(40, 41),
        ];
        let firsts: Vec<u32> = runs(&text, &symbols).iter().map(|r| r.first_line).collect();
        assert_eq!(firsts, [1, 21, 40]);
    }
}
