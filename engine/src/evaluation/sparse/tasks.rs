//! Documents with planted facts, and what is asked about them.
//!
//! After RULER (Hsieh et al. 2024, arXiv 2404.06654): needles with one value a key, asked for one by one and four at a
//! time, and chains of variables that take each other's value. Keys, values and places are drawn anew for each seed.

use crate::evaluation::EvaluationError;
use crate::reading::{prefix, suffix};
use lectern_models::{Model, Token};

/// Needles of a document; asked one by one, and four at a time.
const NEEDLES: usize = 16;
const TOGETHER: usize = 4;

/// Chains of variables, and variables of a chain.
const CHAINS: usize = 4;
const CHAIN: usize = 5;

/// Passages that are to be said again: tokens of each, and how many of them are only a cue.
const COPIES: usize = 4;
const COPY_TOKENS: usize = 80;
const CUE_TOKENS: usize = 16;

/// Tokens of the text after the document.
const CONTINUATION: usize = 128;

const ADJECTIVES: [&str; 16] = [
    "amber", "brittle", "crimson", "distant", "elegant", "frozen", "gentle", "hollow", "ivory",
    "jagged", "keen", "lonely", "mellow", "narrow", "olive", "patient",
];
const NOUNS: [&str; 16] = [
    "anchor", "bridge", "candle", "drawer", "engine", "feather", "garden", "hammer", "island",
    "jacket", "kettle", "ladder", "mirror", "needle", "orchard", "pillow",
];

/// What is asked: tokens to put behind the document, of which those in `judged` are to be predicted.
pub(in crate::evaluation) struct Task {
    pub kind: Kind,
    pub ids: Vec<u32>,
    /// Places in `ids`, one list an item: an item is right if all its tokens are predicted.
    pub judged: Vec<usize>,
}

/// Kinds of tasks, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(in crate::evaluation) enum Kind {
    /// The text goes on.
    Continuation,
    /// A passage is said again.
    Copy,
    /// One needle.
    Needle,
    /// Four needles at once.
    Needles,
    /// All variables of a chain.
    Chain,
}

/// A document and its tasks.
pub(in crate::evaluation) struct Document {
    /// The prompt's prefix and the document.
    pub prefix: Vec<u32>,
    pub tokens: Vec<Token>,
    pub tasks: Vec<Task>,
}

/// Numbers without a pattern (xorshift*, Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    fn number(&mut self) -> String {
        (1_000_000 + self.below(9_000_000)).to_string()
    }

    fn name(&mut self) -> String {
        (0..5)
            .map(|_| char::from(b'A' + self.below(26) as u8))
            .collect()
    }
}

impl Document {
    /// About `length` tokens of `text`, from a place that depends on the seed.
    pub fn new(
        model: &Model,
        text: &str,
        length: usize,
        seed: u64,
    ) -> Result<Document, EvaluationError> {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let keys: Vec<String> = (0..NEEDLES)
            .map(|nth| {
                format!(
                    "{}-{}",
                    ADJECTIVES[(nth * 5 + seed as usize) % 16],
                    NOUNS[(nth * 3 + random.below(16) / 8) % 16]
                )
            })
            .collect();
        let values: Vec<String> = keys.iter().map(|_| random.number()).collect();
        let chains: Vec<(String, Vec<String>)> = (0..CHAINS)
            .map(|_| (random.number(), (0..CHAIN).map(|_| random.name()).collect()))
            .collect();
        // Facts with the places where they go, in parts of the whole.
        let mut facts: Vec<(usize, String)> = Vec::new();
        for (key, value) in keys.iter().zip(&values) {
            let fact = format!("One of the special magic numbers for {key} is: {value}.\n");
            facts.push((random.below(10_000), fact));
        }
        for (value, names) in &chains {
            let mut places: Vec<usize> = names.iter().map(|_| random.below(10_000)).collect();
            places.sort_unstable();
            for (nth, name) in names.iter().enumerate() {
                let source = nth
                    .checked_sub(1)
                    .map_or(value.clone(), |before| format!("VAR {}", names[before]));
                facts.push((places[nth], format!("VAR {name} = {source}\n")));
            }
        }
        // Stable, so that equal places keep a chain in order.
        facts.sort_by_key(|(place, _)| *place);

        let from = text.floor_char_boundary(text.len() / 2 * (seed as usize % 7) / 7);
        // No text has more than about eight bytes a token over such lengths.
        let text = &text[from..text.floor_char_boundary(from + 8 * length)];
        let planted: usize = facts.iter().map(|(_, fact)| fact.len() / 3).sum();
        let plain = model.tokenizer().encode_with_offsets(text)?;
        let kept = length
            .saturating_sub(planted)
            .min(plain.len().saturating_sub(CONTINUATION + 1));
        let end = plain[kept].start as usize;
        let mut document = String::new();
        let mut done = 0;
        for (place, fact) in &facts {
            let wanted = text.floor_char_boundary(end / 10_000 * place);
            let line = text[wanted..end]
                .find('\n')
                .map_or(end, |at| wanted + at + 1)
                .max(done);
            document.push_str(&text[done..line]);
            document.push_str(fact);
            done = line;
        }
        document.push_str(&text[done..end]);
        let tokens = model.tokenizer().encode_with_offsets(&document)?;

        let mut tasks = Vec::new();
        let goes_on: Vec<u32> = plain[kept..kept + CONTINUATION]
            .iter()
            .map(|token| token.id)
            .collect();
        tasks.push(Task {
            kind: Kind::Continuation,
            judged: (1..goes_on.len()).collect(),
            ids: goes_on,
        });
        let between = model.tokenizer().encode("\n\n")?;
        for nth in 0..COPIES {
            let first = tokens.len().saturating_sub(COPY_TOKENS) * (2 * nth + 1) / (2 * COPIES);
            let passage = tokens[first..]
                .iter()
                .take(COPY_TOKENS)
                .map(|token| token.id);
            let ids: Vec<u32> = between.iter().copied().chain(passage).collect();
            tasks.push(Task {
                kind: Kind::Copy,
                judged: (between.len() + CUE_TOKENS..ids.len()).collect(),
                ids,
            });
        }
        let ask =
            |kind, question: &str, answer: &[(&str, bool)]| ask(model, kind, question, answer);
        for (key, value) in keys.iter().zip(&values) {
            let question =
                format!("What is the special magic number for {key} mentioned in the text?");
            let lead = format!("The special magic number for {key} mentioned in the text is ");
            tasks.push(ask(
                Kind::Needle,
                &question,
                &[(&lead, false), (value, true), (".", false)],
            )?);
        }
        for nth in 0..NEEDLES / TOGETHER {
            // Those that were planted next to each other are not asked for together.
            let of: Vec<usize> = (0..TOGETHER)
                .map(|other| nth + other * (NEEDLES / TOGETHER))
                .collect();
            let [a, b, c, d] =
                [0, 1, 2, 3].map(|at| (keys[of[at]].as_str(), values[of[at]].as_str()));
            let question = format!(
                "What are the special magic numbers for {}, {}, {} and {} mentioned in the text?",
                a.0, b.0, c.0, d.0
            );
            let leads = [a, b, c, d].map(|(key, _)| format!("The number for {key} is "));
            let mut answer = Vec::new();
            for (lead, (_, value)) in leads.iter().zip([a, b, c, d]) {
                answer.extend([(lead.as_str(), false), (value, true), (". ", false)]);
            }
            tasks.push(ask(Kind::Needles, &question, &answer)?);
        }
        for (value, names) in &chains {
            let question = format!(
                "Find all variables (VAR) that are assigned the value {value} in the text, directly or through other variables."
            );
            let lead = format!("{CHAIN} variables are assigned the value {value}: ");
            let names = names.join(", ");
            tasks.push(ask(
                Kind::Chain,
                &question,
                &[(&lead, false), (&names, true)],
            )?);
        }
        Ok(Document {
            prefix: prefix(model.chat_template(), model.tokenizer())?,
            tokens,
            tasks,
        })
    }
}

/// A question in the model's chat template with its answer, of which some pieces are judged.
fn ask(
    model: &Model,
    kind: Kind,
    question: &str,
    answer: &[(&str, bool)],
) -> Result<Task, EvaluationError> {
    let mut ids = suffix(model.chat_template(), model.tokenizer(), &[], question)?.tokens;
    let whole: String = answer.iter().map(|(piece, _)| *piece).collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    for (piece, judged) in answer {
        if *judged {
            ranges.push(at..at + piece.len());
        }
        at += piece.len();
    }
    let mut judged = Vec::new();
    for token in model.tokenizer().encode_with_offsets(&whole)? {
        if ranges
            .iter()
            .any(|range| range.contains(&(token.start as usize)))
        {
            judged.push(ids.len());
        }
        ids.push(token.id);
    }
    Ok(Task { kind, ids, judged })
}
