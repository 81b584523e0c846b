//! How answers and shares are counted.

use crate::document::Span;

/// Whether an answer says the gold answer: all of it, letter case, punctuation, articles and spacing aside (SQuAD's
/// normalisation), as whole words.
pub(super) fn says(answer: &str, gold: &str) -> bool {
    let (answer, gold) = (normal(answer), normal(gold));
    if gold.chars().any(|c| ('\u{2E80}'..'\u{A000}').contains(&c)) {
        return answer.replace(' ', "").contains(&gold.replace(' ', ""));
    }
    format!(" {answer} ").contains(&format!(" {gold} "))
}

fn normal(text: &str) -> String {
    let lower = text.to_lowercase();
    let kept: String = lower
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '.' {
                c
            } else {
                ' '
            }
        })
        .collect();
    let words = kept.split_whitespace().map(|word| word.trim_matches('.'));
    let words: Vec<&str> = words
        .filter(|word| !matches!(*word, "a" | "an" | "the" | ""))
        .collect();
    words.join(" ")
}

/// The mean; 0 of none.
pub(super) fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len().max(1) as f64
}

/// How what is cited and what holds an answer touch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Touching {
    /// Citations that touch something of the latter.
    pub cited: Share,
    /// What of the latter a citation touches.
    pub gold: Share,
}

impl Touching {
    pub fn of(cited: &[Span], gold: &[Span]) -> Touching {
        let touching = |some: &[Span], others: &[Span]| {
            let mut share = Share::default();
            for one in some {
                share.count(others.iter().any(|o| o.intersection(*one).is_some()));
            }
            share
        };
        Touching {
            cited: touching(cited, gold),
            gold: touching(gold, cited),
        }
    }

    /// The harmonic mean of both shares.
    pub fn f1(self) -> f64 {
        let (precision, recall) = (self.cited.value(), self.gold.value());
        2.0 * precision * recall / (precision + recall).max(1e-9)
    }
}

/// A count of successes.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub(super) struct Share {
    pub hits: usize,
    pub of: usize,
}

impl Share {
    pub fn count(&mut self, hit: bool) {
        self.hits += usize::from(hit);
        self.of += 1;
    }

    pub fn add(&mut self, other: Share) {
        self.hits += other.hits;
        self.of += other.of;
    }

    pub fn value(self) -> f64 {
        self.hits as f64 / self.of.max(1) as f64
    }

    /// Wilson's 95% interval.
    pub fn interval(self) -> (f64, f64) {
        let (n, p, z) = (self.of.max(1) as f64, self.value(), 1.96f64);
        let centre = p + z * z / (2.0 * n);
        let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z * z / n;
        (
            ((centre - spread) / scale).max(0.0),
            ((centre + spread) / scale).min(1.0),
        )
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (low, high) = self.interval();
        write!(
            f,
            "{:.2} [{low:.2}, {high:.2}] ({}/{})",
            self.value(),
            self.hits,
            self.of
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_by_whole_words() {
        assert!(says("The team gave up 308 points.", "308"));
        assert!(says("It was the “Pro Bowl”.", "Pro bowl"));
        assert!(!says("It gave up 3081 points.", "308"));
        assert!(says("防守丢了 308 分。", "308分"));
        assert!(says("It weighs 3.5 kg.", "3.5"));
    }

    #[test]
    fn intervals_are_wilsons() {
        let (low, high) = Share { hits: 8, of: 10 }.interval();
        assert!(
            (low - 0.490).abs() < 0.001 && (high - 0.943).abs() < 0.001,
            "{low} {high}"
        );
    }

    #[test]
    fn citations_are_compared_with_what_holds_the_answer() {
        let spans = |of: &[(usize, usize)]| -> Vec<Span> {
            of.iter()
                .map(|(start, end)| Span::new(*start, *end))
                .collect()
        };
        let holding = spans(&[(0, 10), (50, 60)]);
        let f1 = |cited: &[Span]| Touching::of(cited, &holding).f1();
        assert!((f1(&spans(&[(2, 5), (52, 55)])) - 1.0).abs() < 1e-9);
        // Two in one source are two right citations and one source found: 1 and 1/2.
        assert!((f1(&spans(&[(2, 5), (6, 9)])) - 2.0 / 3.0).abs() < 1e-9);
        assert!((f1(&spans(&[(2, 5), (20, 25)])) - 0.5).abs() < 1e-9);
        assert_eq!(f1(&spans(&[(20, 25)])), 0.0);
        assert_eq!(f1(&[]), 0.0);
    }
}
