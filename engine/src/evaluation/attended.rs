//! How well the model's own retrieval heads find the passage that answers a question, from the keys that it kept when it read.
//!
//! A document is read in segments, each by itself. A question is then read behind the opening alone, and what its tokens ask
//! for, the queries of the retrieval heads, is compared with the keys of all segments as if each stood right before the question. It
//! is what these heads would look at if the question stood behind everything, but for what the question's own tokens would
//! have learned from the text. After QRHead (Zhang et al. 2025, arXiv 2506.09944), which reads the question behind every passage.
//!
//! Beside it: words, meaning, and the words of the question in the text's language where it was asked in another.

use super::ground::{Prepared, Seen};
use super::passages::Found;
use super::probe::turn;
use super::record::Scratch;
use super::xquad::exams;
use super::{AttendedArgs, EvaluationError, MeasuredModel};
use crate::asking::{in_both_languages, translated};
use crate::attention::{CancelFlag, DenseAttention};
use crate::document::{Document, Span};
use crate::kv::{BLOCK_TOKENS, BlockFormat, KvShape, KvView, Part};
use crate::reading::{SEGMENT_TOKENS, Segments, suffix};
use crate::retrieval::{self, Ranked, with_meaning};
use lectern_models::attention::{Attention, AttentionError, AttentionShape, Projected};
use lectern_models::{Logits, Model, Token};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// What is subtracted: where the heads look whatever is asked.
const NULL_QUESTION: &str = "N/A";

/// How passages are ranked.
const WAYS: [&str; 9] = [
    "words",
    "with meaning",
    "attention",
    "attention less null",
    ".. and words",
    ".. and meaning",
    "translated",
    ".. and attention",
    "as the product",
];

/// Ranks, prints.
pub(super) fn run(args: &AttendedArgs, measured: &MeasuredModel) -> Result<(), EvaluationError> {
    let model = measured.load()?;
    let transformer = measured.transformer(false)?;
    let length = |words: &str| Ok(model.tokenizer().encode(words)?.len());
    let read_in = exams(&args.data, &args.language, args.tokens, length)?;
    let asked_in = match &args.asked_in {
        Some(language) => exams(&args.data, language, usize::MAX, |words| Ok(words.len()))?,
        None => Vec::new(),
    };
    let asked_in = asked_in.iter().flat_map(|exam| &exam.questions);
    let asked_in: Vec<&str> = asked_in.map(|asked| asked.question.as_str()).collect();
    let (mut foreign, mut before) = (0, 0);
    let mut found: [Found; WAYS.len()] = Default::default();
    for exam in read_in.iter().take(args.documents) {
        let text = &exam.document.text;
        let folder = Scratch::new()?;
        let seen = Seen::Segments {
            size: SEGMENT_TOKENS,
            asked: SEGMENT_TOKENS,
        };
        // Keys in half precision can be had plainly.
        let (format, transformer) = (BlockFormat::F16, transformer.as_ref());
        let prepared = Prepared::new(&model, &exam.document, seen, &folder.0, format, transformer)?;
        let (Some(ranks), Some(sought)) = (
            &prepared.ranks,
            Sought::of(&prepared, &model, measured, &exam.document),
        ) else {
            continue;
        };
        let passages = &sought.passages;
        let null = sought.mass(&model, NULL_QUESTION)?;
        for nth in exam.spread(args.limit) {
            let gold = &exam.questions[nth];
            let question = asked_in.get(before + nth).copied();
            let question = question.unwrap_or(&gold.question);
            let mass = sought.mass(&model, question)?;
            let less_null = mass.iter().zip(&null).map(|(mass, null)| mass - null);
            let less_null: Vec<f64> = less_null.collect();
            let by = |mass: &[f64], others: &[Ranked]| {
                let mass = mass.iter().copied().map(Some);
                let near: Vec<_> = passages.iter().copied().zip(mass).collect();
                with_meaning(others, &near)
            };
            let said = translated(&model, &CancelFlag::new(), question, text)?;
            foreign += usize::from(said.is_some());
            let words = ranks.by_words(question)?;
            let meaning = ranks.rank(question)?;
            let alone = ranks.rank(said.as_deref().unwrap_or(question))?;
            let both = ranks.rank(&in_both_languages(question, said.as_deref()))?;
            let ranked = [
                &words,
                &meaning,
                &by(&mass, &[]),
                &by(&less_null, &[]),
                &by(&less_null, &words),
                &by(&less_null, &meaning),
                &alone,
                &by(&less_null, &alone),
                &both,
            ];
            for (found, ranked) in found.iter_mut().zip(ranked) {
                found.count(passages, &[gold.span], ranked);
            }
        }
        before += exam.questions.len();
        let tokens = prepared.tokens.len();
        eprintln!("{tokens} tokens, {} passages", passages.len());
    }
    println!("{foreign} questions are in another language than the text");
    Found::print_head();
    for (way, found) in WAYS.iter().zip(&found) {
        found.print("", way);
    }
    Ok(())
}

/// A document that was read, and the keys by which its tokens are found.
struct Sought<'p> {
    tokens: &'p [Token],
    view: &'p KvView,
    segments: &'p Segments,
    heads: &'p [(usize, usize)],
    passages: Vec<Span>,
    /// By layer and key/value head: `[tokens][head_dim]`, turned to where they would be looked at.
    keys: BTreeMap<(usize, usize), Vec<f32>>,
    /// By token of the keys: its number in the document.
    numbers: Vec<usize>,
}

impl<'p> Sought<'p> {
    /// `None` if it was not read in segments.
    fn of(
        prepared: &'p Prepared,
        model: &Model,
        measured: &'p MeasuredModel,
        document: &Document,
    ) -> Option<Sought<'p>> {
        let (view, segments) = (prepared.held.as_ref()?, prepared.segments.as_deref()?);
        // Of each key, its position in the cache, and that where it is looked at behind the opening alone.
        let mut places: Vec<(usize, usize)> = Vec::new();
        let mut numbers: Vec<usize> = Vec::new();
        let of_opening = segments.places(&[], segments.opening());
        let of_segments = (0..segments.count()).filter_map(|nth| {
            let positions = segments.positions(nth);
            let run = segments.places(&[nth], segments.opening() + positions.len());
            let (looked_at, held) = run.into_iter().next_back()?;
            Some((
                positions.start + looked_at - segments.opening(),
                looked_at,
                held,
            ))
        });
        let of_opening = of_opening.into_iter().map(|(at, held)| (at, at, held));
        for (position, looked_at, held) in of_opening.chain(of_segments) {
            places.extend((position..).zip(looked_at..).take(held.len()));
            numbers.extend(held);
        }
        let shape = model.shape();
        let kv_head = |&(layer, head): &(usize, usize)| (layer, head / shape.group_size());
        let keys = measured.retrieval_heads.iter().map(kv_head);
        let keys = keys.map(|of| (of, keys_of(view, shape, of, &places)));
        Some(Sought {
            tokens: &prepared.tokens,
            view,
            segments,
            heads: &measured.retrieval_heads,
            passages: retrieval::passages(document),
            keys: keys.collect(),
            numbers,
        })
    }

    /// Attention of the retrieval heads by passage, as a share of what all get.
    fn mass(&self, model: &Model, question: &str) -> Result<Vec<f64>, EvaluationError> {
        let shape = model.shape();
        let asked = suffix(model.chat_template(), model.tokenizer(), &[], question)?;
        let behind = self.segments.behind(self.view, &[]);
        let mut heard = Heard {
            inner: DenseAttention::over_view(behind, shape, CancelFlag::new())?,
            queries: Vec::new(),
        };
        model.forward(&asked.tokens, &mut heard, Logits::None)?;
        let first = self.segments.opening() + SEGMENT_TOKENS;
        let rows = asked.question.start..asked.tokens.len();
        let of_head =
            |&(layer, head): &(usize, usize)| rows.clone().map(move |row| (layer, head, row));
        let pairs: Vec<(usize, usize, usize)> = self.heads.iter().flat_map(of_head).collect();
        let weights = |&(layer, head, row): &(usize, usize, usize)| {
            let at = (row * shape.query_heads + head) * shape.head_dim;
            let mut query = heard.queries[layer][at..at + shape.head_dim].to_vec();
            turn(shape, &mut query, first + row);
            let keys = &self.keys[&(layer, head / shape.group_size())];
            softmax(keys, &query, shape.softmax_scale)
        };
        let nothing = || vec![0.0; self.numbers.len()];
        let summed = pairs
            .par_iter()
            .map(weights)
            .reduce(nothing, |mut all, one| {
                all.iter_mut().zip(&one).for_each(|(all, one)| *all += one);
                all
            });
        // What was read twice counts where it is looked at most.
        let mut by_token = vec![0.0f32; self.tokens.len()];
        for (number, mass) in self.numbers.iter().zip(&summed) {
            by_token[*number] = by_token[*number].max(*mass);
        }
        let starts = |byte: usize| move |token: &Token| (token.start as usize) < byte;
        let nth = |byte: usize| self.tokens.partition_point(starts(byte));
        let of = |span: &Span| by_token[nth(span.start)..nth(span.end)].iter().sum::<f32>();
        let share = |span: &Span| f64::from(of(span)) / pairs.len() as f64;
        Ok(self.passages.iter().map(share).collect())
    }
}

/// Keys of one head, where `places` say they stand and are looked at.
fn keys_of(
    view: &KvView,
    shape: &AttentionShape,
    (layer, kv_head): (usize, usize),
    places: &[(usize, usize)],
) -> Vec<f32> {
    let dim = shape.head_dim;
    let mut keys = vec![0.0; places.len() * dim];
    let each = keys.par_chunks_exact_mut(dim).zip(places);
    each.for_each(|(key, (position, looked_at))| {
        let Part::Halves(part) = view.part(position / BLOCK_TOKENS, layer) else {
            return;
        };
        let halves = part.head(&KvShape::from(shape), kv_head).keys;
        let at = position % BLOCK_TOKENS * dim;
        for (key, half) in key.iter_mut().zip(&halves[at..]) {
            *key = half.to_f32();
        }
        if let Some(bias) = &shape.key_bias[layer] {
            let biased = key.iter_mut().zip(&bias[kv_head * dim..]);
            biased.for_each(|(key, bias)| *key += bias);
        }
        turn(shape, key, *looked_at);
    });
    keys
}

/// What a query pays to each key.
fn softmax(keys: &[f32], query: &[f32], scale: f32) -> Vec<f32> {
    let dot = |key: &[f32]| key.iter().zip(query).map(|(k, q)| k * q).sum::<f32>() * scale;
    let mut weights: Vec<f32> = keys.chunks_exact(query.len()).map(dot).collect();
    let largest = weights.iter().copied().fold(f32::MIN, f32::max);
    weights
        .iter_mut()
        .for_each(|weight| *weight = (*weight - largest).exp());
    let sum: f32 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

/// Dense attention that keeps what is asked for.
struct Heard {
    inner: DenseAttention,
    /// By layer.
    queries: Vec<Vec<f32>>,
}

impl Attention for Heard {
    fn attend(
        &mut self,
        layer: usize,
        projected: &Projected,
        attended: &mut Vec<f32>,
    ) -> Result<(), AttentionError> {
        self.queries.push(projected.queries.clone());
        self.inner.attend(layer, projected, attended)
    }
}
