//! Counting tests in what `cargo test` and vitest print.

/// Tests counted so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Left out by their own choice, with a word why: `#[ignore]`, or "skipped: ..." in the output.
    pub skipped: u64,
    /// Names of failed tests.
    pub failures: Vec<String>,
}

impl Tally {
    /// Takes one line of output.
    pub fn read(&mut self, line: &str) {
        let line = without_colour(line);
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("test result:") {
            // test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.3s
            self.passed += number_before(rest, "passed");
            self.failed += number_before(rest, "failed");
            self.skipped += number_before(rest, "ignored");
        } else if let Some(rest) = line.strip_prefix("Tests ") {
            // vitest:      Tests  1 failed | 12 passed | 1 skipped (14)
            self.passed += number_before(rest, "passed");
            self.failed += number_before(rest, "failed");
            self.skipped += number_before(rest, "skipped");
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix("... FAILED"))
        {
            self.failures.push(name.trim().to_owned());
        } else if line.starts_with("skipped: ") {
            self.skipped += 1;
        }
    }

    /// The closing line.
    pub fn summary(&self) -> String {
        let mut line = format!("{} passed, {} failed", self.passed, self.failed);
        if self.skipped > 0 {
            line += &format!(", {} skipped", self.skipped);
        }
        line
    }
}

/// The number that stands before `word`, 0 if there is none.
fn number_before(text: &str, word: &str) -> u64 {
    let words: Vec<&str> = text
        .split([' ', ';', ',', '|', '(', ')'])
        .filter(|w| !w.is_empty())
        .collect();
    words
        .windows(2)
        .find(|pair| pair[1] == word)
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or(0)
}

/// The line without terminal colour sequences.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // CSI sequences end with a letter; nothing else is used for colour.
            for next in characters.by_ref() {
                if next.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_and_vitest_lines_are_counted() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test kv::block::a_torn_block_is_dropped ... ok",
            "test kv::block::checksums_differ ... FAILED",
            "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.31s",
            "\u{1b}[2m      Tests \u{1b}[22m \u{1b}[1m\u{1b}[32m7 passed\u{1b}[39m\u{1b}[22m\u{1b}[90m (7)\u{1b}[39m",
            " Test Files  3 passed (3)",
            "skipped: LECTERN_TEST_DATA is not there",
        ] {
            tally.read(line);
        }
        assert_eq!(tally.summary(), "19 passed, 1 failed, 3 skipped");
        assert_eq!(tally.failures, ["kv::block::checksums_differ"]);
    }
}
