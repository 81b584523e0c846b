//! Which attention heads look things up: the detection suite for retrieval heads.
//!
//! Retrieval heads (Wu et al. 2024, arXiv 2404.15574) are the few that, while an answer is said, look at the words it
//! comes from. As in QRHead (arXiv 2506.09944) a head's score is the attention it pays to the gold evidence, here the
//! gold sentence: while the model is made to say the right answer, and while it reads the question. Half of the
//! documents choose the heads, the other half tells how often their summed attention is highest on the gold sentence.

use super::probe::HeadProbe;
use super::score::Share;
use super::xquad::{Exam, GoldQuestion, exams, plain_document, push_paragraph};
use super::{EvaluationError, HeadsArgs, MeasuredModel};
use crate::attention::{CancelFlag, DenseAttention};
use crate::citing::{AttentionEvidence, SentenceIndex, sentence_mass};
use crate::document::{Span, sentences};
use crate::reading::{prefix, suffix};
use lectern_models::{Logits, Model, Token};

/// Questions asked on one document.
const QUESTIONS_A_DOCUMENT: usize = 5;

/// Tokens read at a time.
const CHUNK_TOKENS: usize = 256;

/// What one question showed: by head, mass by sentence.
struct Sample {
    /// Chooses heads, rather than judges them.
    chooses: bool,
    gold: usize,
    answer: Vec<Vec<f32>>,
    question: Vec<Vec<f32>>,
    null: Vec<Vec<f32>>,
}

/// Runs the suite and prints the best heads.
pub(super) fn run(args: &HeadsArgs, model: &MeasuredModel) -> Result<(), EvaluationError> {
    let model = model.load()?;
    let book = std::fs::read(&args.book).map_err(|source| EvaluationError::Unreadable {
        path: args.book.clone(),
        source,
    })?;
    let book = String::from_utf8_lossy(&book).replace("\r\n", "\n");
    let documents = args.limit.div_ceil(QUESTIONS_A_DOCUMENT);
    let mut all = exams(&args.data, "en", args.tokens, |words| {
        Ok(model.tokenizer().encode(words)?.len())
    })?;
    let step = (all.len() / documents.max(1)).max(1);
    all = all.into_iter().step_by(step).take(documents).collect();
    for nth in 0..documents {
        all.push(needles(&book, args.tokens, args.seed * 1000 + nth as u64));
    }
    let mut samples = Vec::new();
    let count = all.len();
    for (nth, exam) in all.iter().enumerate() {
        samples.extend(samples_of(&model, exam, nth.is_multiple_of(2))?);
        eprintln!(
            "document {} of {count}: {} questions so far",
            nth + 1,
            samples.len()
        );
    }
    report(&model, args, &samples);
    Ok(())
}

/// Reads one document and asks its questions, right answers given.
fn samples_of(model: &Model, exam: &Exam, chooses: bool) -> Result<Vec<Sample>, EvaluationError> {
    let index = SentenceIndex::new(&exam.document);
    let before = prefix(model.chat_template(), model.tokenizer())?;
    let tokens = model.tokenizer().encode_with_offsets(&exam.document.text)?;
    let dense = DenseAttention::without_cache(model.shape(), CancelFlag::new())?;
    let mut probe = HeadProbe::new(dense, model.shape());
    let ids: Vec<u32> = before
        .iter()
        .copied()
        .chain(tokens.iter().map(|token| token.id))
        .collect();
    for chunk in ids.chunks(CHUNK_TOKENS) {
        model.forward(chunk, &mut probe, Logits::None)?;
    }
    let read = probe.tokens();
    let by_sentence = |heads: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
        heads
            .iter()
            .map(|mass| sentences_of(&index, &tokens, &mass[before.len()..]))
            .collect()
    };
    let mut samples = Vec::new();
    for gold in exam.sample(QUESTIONS_A_DOCUMENT) {
        let Some(sentence) = index
            .spans()
            .iter()
            .position(|span| span.contains(gold.span))
        else {
            continue;
        };
        let question = suffix(
            model.chat_template(),
            model.tokenizer(),
            &[],
            &gold.question,
        )?;
        let said = model.tokenizer().encode(&gold.answer)?;
        let (opening, rest) = question.tokens.split_at(question.question.start);
        let (asking, last) = rest.split_at(rest.len() - 1);
        // the row of a token says where the next one comes from
        let saying: Vec<u32> = last
            .iter()
            .chain(&said[..said.len() - 1])
            .copied()
            .collect();
        let mut pass = |rows: &[u32]| -> Result<Vec<Vec<f32>>, EvaluationError> {
            probe.record();
            model.forward(rows, &mut probe, Logits::None)?;
            Ok(by_sentence(probe.take()))
        };
        let (null, question, answer) = (pass(opening)?, pass(asking)?, pass(&saying)?);
        probe.rewind(read);
        samples.push(Sample {
            chooses,
            gold: sentence,
            answer,
            question,
            null,
        });
    }
    Ok(samples)
}

fn sentences_of(index: &SentenceIndex, tokens: &[Token], mass: &[f32]) -> Vec<f32> {
    let starts = tokens.iter().map(|token| token.start as usize);
    sentence_mass(index, starts.zip(mass.iter().copied()))
}

/// Prints the heads by score, and how well the best of them point together.
fn report(model: &Model, args: &HeadsArgs, samples: &[Sample]) {
    let shape = model.shape();
    let chosen: Vec<&Sample> = samples.iter().filter(|sample| sample.chooses).collect();
    let mean = |head: usize, of: fn(&Sample) -> &Vec<Vec<f32>>| {
        let sum: f32 = chosen
            .iter()
            .map(|sample| of(sample)[head][sample.gold])
            .sum();
        sum / chosen.len().max(1) as f32
    };
    let mut scored: Vec<(f32, f32, usize)> = (0..shape.layers * shape.query_heads)
        .map(|head| (mean(head, |s| &s.answer), mean(head, |s| &s.question), head))
        .collect();
    scored.sort_by(|a, b| (b.0 + b.1).total_cmp(&(a.0 + a.1)));
    println!(
        "{}: {} questions choose, {} judge",
        model.name(),
        chosen.len(),
        samples.len() - chosen.len()
    );
    println!("layer-head  answer  question");
    for (answer, question, head) in scored.iter().take(args.top) {
        let name = format!("{}-{}", head / shape.query_heads, head % shape.query_heads);
        println!("{name:>10}  {answer:>6.3}  {question:>8.3}");
    }
    let name = |head: usize| {
        format!(
            "[{}, {}]",
            head / shape.query_heads,
            head % shape.query_heads
        )
    };
    let listed: Vec<String> = scored.iter().take(args.top).map(|s| name(s.2)).collect();
    println!("retrieval_heads = [{}]", listed.join(", "));
    println!(
        "\nheads  gold sentence first: answer, question, both; without the null taken off: both"
    );
    for count in [1, 4, 8, 16, 32, 64] {
        let heads: Vec<usize> = scored.iter().take(count).map(|s| s.2).collect();
        let shares = first_on_gold(samples, &heads);
        println!(
            "{count:>5}  {}  {}  {}  {}",
            shares[0], shares[1], shares[2], shares[3]
        );
    }
}

/// How often the summed attention of `heads` is highest on the gold sentence, on the questions that judge.
fn first_on_gold(samples: &[Sample], heads: &[usize]) -> [Share; 4] {
    let mut shares = [Share::default(); 4];
    for sample in samples.iter().filter(|sample| !sample.chooses) {
        let sum = |by_head: &Vec<Vec<f32>>| {
            let mut total = vec![0.0f32; by_head[0].len()];
            for &head in heads {
                total
                    .iter_mut()
                    .zip(&by_head[head])
                    .for_each(|(total, mass)| *total += mass);
            }
            total
        };
        let (answer, question, null) = (
            sum(&sample.answer),
            sum(&sample.question),
            sum(&sample.null),
        );
        let above = AttentionEvidence::new(&answer, &question, &null);
        let raw = AttentionEvidence::new(&answer, &question, &[]);
        let both = |e: &AttentionEvidence| -> Vec<f32> {
            e.answer
                .iter()
                .zip(&e.question)
                .map(|(a, q)| a + q)
                .collect()
        };
        let first = |values: &[f32]| {
            let best = (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]));
            best == Some(sample.gold)
        };
        let values = [
            above.answer.clone(),
            above.question.clone(),
            both(&above),
            both(&raw),
        ];
        shares
            .iter_mut()
            .zip(&values)
            .for_each(|(share, values)| share.count(first(values)));
    }
    shares
}

/// A passage of `book` with invented facts between its sentences, and a question on each.
fn needles(book: &str, tokens: usize, seed: u64) -> Exam {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut below = move |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound.max(1) as u64) as usize
    };
    // English prose has about four bytes a token
    let bytes = tokens * 4;
    let start = book.floor_char_boundary(below(book.len().saturating_sub(bytes)));
    let end = book.floor_char_boundary((start + bytes).min(book.len()));
    let passage = &book[start..end];
    let mut lines: Vec<String> = sentences(passage, Span::new(0, passage.len()))
        .into_iter()
        .filter_map(|span| {
            span.of(passage)
                .map(|words| words.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect();
    let mut hidden = Vec::new();
    for _ in 0..QUESTIONS_A_DOCUMENT {
        let (fact, question, answer) = fact(&mut below);
        let at = below(lines.len());
        lines.insert(at, fact.clone());
        hidden.push((fact, question, answer));
    }
    let mut document = plain_document("needles");
    for paragraph in lines.chunks(6) {
        push_paragraph(&mut document, &paragraph.join(" "));
    }
    let questions = hidden
        .into_iter()
        .filter_map(|(fact, question, answer)| {
            let at = document.text.find(&fact)?;
            let inner = fact.find(&answer)?;
            let span = Span::new(at + inner, at + inner + answer.len());
            Some(GoldQuestion {
                question,
                answer,
                span,
            })
        })
        .collect();
    Exam {
        document,
        questions,
    }
}

/// An invented fact, a question on it in other words, and its answer.
fn fact(below: &mut impl FnMut(usize) -> usize) -> (String, String, String) {
    const NAMES: &[&str] = &[
        "Odalys",
        "Fenwick",
        "Marisol",
        "Thaddeus",
        "Ingrid",
        "Bartholomew",
        "Yevgenia",
        "Lucian",
        "Perpetua",
        "Rosalind",
        "Cormac",
        "Anneliese",
        "Dmitri",
        "Solveig",
        "Horatio",
        "Wilhelmina",
    ];
    const PLACES: &[&str] = &[
        "Valparaiso",
        "Tromso",
        "Samarkand",
        "Antwerp",
        "Zanzibar",
        "Reykjavik",
        "Lisbon",
        "Bukhara",
        "Odessa",
        "Trieste",
        "Galway",
        "Kyoto",
        "Cusco",
        "Bergen",
        "Malacca",
        "Aleppo",
    ];
    const THINGS: &[&str] = &[
        "lighthouse",
        "orchard",
        "printing press",
        "observatory",
        "glass workshop",
        "ferry",
        "tea house",
        "vineyard",
        "clock tower",
        "bell foundry",
        "windmill",
        "paper mill",
        "salt works",
        "music school",
        "bakery",
        "museum",
    ];
    let mut pick = |from: &[&str]| from[below(from.len())].to_owned();
    let (name, place, thing) = (pick(NAMES), pick(PLACES), pick(THINGS));
    match below(3) {
        0 => {
            let number = (100 + below(9000)).to_string();
            (
                format!("The {thing} of {name} in {place} employs {number} people."),
                format!("How many people work at {name}'s {thing}?"),
                number,
            )
        }
        1 => (
            format!("Every spring {name} travels to {place} to repair the old {thing}."),
            format!("Where does {name} go to mend the {thing}?"),
            place,
        ),
        _ => (
            format!("It was {name} who sold the {thing} near {place} to a stranger."),
            format!("Who gave up the {thing} close to {place} for money?"),
            name,
        ),
    }
}
