//! How well the model's own retrieval heads find the passage that answers a question, from the keys that it kept when it read.
//!
//! A document is read in segments, each by itself. A question is then read behind the opening alone, and what its tokens ask
//! for, the queries of the retrieval heads, is compared with the keys of all segments as if each stood right before the question. It
//! is what these heads would look at if the question stood behind everything, but for what the question's own tokens would
//! have learned from the text. After QRHead (Zhang et al. 2025, arXiv 2506.09944), which reads the question behind every passage.
//!
//! Beside it: words, meaning, and the words of the question in the text's language where it was asked in another.

use super::ground::Ranks;
use super::passages::Found;
use super::probe::turn;
use super::record::Scratch;
use super::xquad::{Exam, exams};
use super::{AttendedArgs, EvaluationError, MeasuredModel};
use crate::asking::translate;
use crate::attention::{CancelFlag, DenseAttention};
use crate::document::Span;
use crate::kv::{BLOCK_TOKENS, BlockFormat, CacheIdentity, KvCache, KvView, Part};
use crate::reading::{Followers, ReadingInput, SEGMENT_TOKENS, Segments, prefix, read, suffix};
use crate::retrieval::{self, Ranked};
use lectern_models::attention::{Attention, AttentionError, AttentionShape, Projected};
use lectern_models::{Logits, Model, Token};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is subtracted: where the heads look whatever is asked.
const NULL_QUESTION: &str = "N/A";

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
    let asked_in: Vec<&str> = asked_in
        .iter()
        .flat_map(|exam| exam.questions.iter().map(|asked| asked.question.as_str()))
        .collect();
    let ways = [
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
    let mut foreign = 0;
    let mut found: [Found; 9] = Default::default();
    let mut before = 0;
    for exam in read_in.iter().take(args.documents) {
        let sought = Sought::read(&model, measured, exam)?;
        let ranks = Ranks::new(&exam.document, transformer.as_ref(), false)?;
        let passages = retrieval::passages(&exam.document);
        let null = sought.mass(&model, NULL_QUESTION, &passages)?;
        for nth in exam.spread(args.limit) {
            let gold = &exam.questions[nth];
            let question = match asked_in.get(before + nth) {
                Some(question) => question,
                None => gold.question.as_str(),
            };
            let by_words = ranks.by_words(question)?;
            let product = ranks.rank(question)?;
            let mass = sought.mass(&model, question, &passages)?;
            let less_null: Vec<f64> = mass.iter().zip(&null).map(|(a, b)| a - b).collect();
            let language = retrieval::language_to_ask_in(question, &exam.document.text);
            foreign += usize::from(language.is_some());
            let translated = match language {
                Some(language) => translate(&model, &CancelFlag::new(), question, language)?,
                None => question.to_owned(),
            };
            let in_its_language = ranks.rank(&translated)?;
            let in_both = ranks.rank(&format!("{question} {translated}"))?;
            let all = [
                by_words.clone(),
                product.clone(),
                ranked(&passages, &mass, &[]),
                ranked(&passages, &less_null, &[]),
                ranked(&passages, &less_null, &by_words),
                ranked(&passages, &less_null, &product),
                in_its_language.clone(),
                ranked(&passages, &less_null, &in_its_language),
                in_both,
            ];
            for (found, ranked) in found.iter_mut().zip(&all) {
                found.count(&passages, &[gold.span], ranked);
            }
        }
        before += exam.questions.len();
        eprintln!(
            "{} tokens, {} passages",
            sought.tokens.len(),
            passages.len()
        );
    }
    println!("{foreign} questions are in another language than the text");
    Found::print_head();
    for (way, found) in ways.iter().zip(&found) {
        found.print("", way);
    }
    Ok(())
}

/// Passages by `scores`, and what `others` give them beside, best first.
fn ranked(passages: &[Span], scores: &[f64], others: &[Ranked]) -> Vec<Ranked> {
    let beside: BTreeMap<Span, f64> = others.iter().map(|r| (r.span, r.score)).collect();
    let mut ranked: Vec<Ranked> = passages
        .iter()
        .zip(scores)
        .map(|(span, score)| Ranked {
            span: *span,
            score: score + beside.get(span).copied().unwrap_or(0.0),
        })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranked
}

/// A document that was read, and the keys by which its tokens are found.
struct Sought {
    tokens: Vec<Token>,
    view: KvView,
    segments: Arc<Segments>,
    heads: Vec<(usize, usize)>,
    /// By layer and key/value head: `[tokens][head_dim]`, turned to where they would be looked at.
    keys: BTreeMap<(usize, usize), Vec<f32>>,
    /// By token of the keys: its number in the document.
    numbers: Vec<usize>,
    _cache: (KvCache, Scratch),
}

impl Sought {
    fn read(
        model: &Model,
        measured: &MeasuredModel,
        exam: &Exam,
    ) -> Result<Sought, EvaluationError> {
        let document = &exam.document;
        let prefix = prefix(model.chat_template(), model.tokenizer())?;
        let tokens = model.tokenizer().encode_with_offsets(&document.text)?;
        let cut = Segments::of_passages(
            document,
            model.tokenizer(),
            &prefix,
            &tokens,
            SEGMENT_TOKENS,
        )?;
        let segments = Arc::new(cut);
        let before = prefix.len();
        let input = ReadingInput {
            tokens: tokens.clone(),
            identity: CacheIdentity {
                text: [0; 32],
                model: model.fingerprint().to_owned(),
                prompt: CacheIdentity::prompt_hash(&prefix),
                // Its keys can be had plainly.
                format: BlockFormat::F16.number(),
                scope: segments.number(),
            },
            prefix,
            segments: Some(Arc::clone(&segments)),
        };
        let folder = Scratch::new()?;
        let cache = KvCache::open(&folder.0, &input.identity, model.shape())?;
        read(model, &input, &cache, Followers::none(&CancelFlag::new()))?;
        let mut sought = Sought {
            tokens,
            view: cache.view(),
            segments,
            heads: measured.retrieval_heads.clone(),
            keys: BTreeMap::new(),
            numbers: Vec::new(),
            _cache: (cache, folder),
        };
        let mut places: Vec<(usize, usize)> = Vec::new();
        let opened = sought.segments.opening().min(sought.segments.ids().len());
        for at in before..opened {
            places.push((at, at));
            sought.numbers.push(at - before);
        }
        for nth in 0..sought.segments.count() {
            let positions = sought.segments.positions(nth);
            let (looked_at, held) = sought
                .segments
                .places(&[nth], usize::MAX / 2)
                .pop()
                .unwrap_or_default();
            let gap = looked_at - sought.segments.opening();
            for (offset, number) in held.enumerate() {
                places.push((positions.start + gap + offset, looked_at + offset));
                sought.numbers.push(number);
            }
        }
        let shape = model.shape();
        let group = shape.group_size();
        let wanted: std::collections::BTreeSet<(usize, usize)> = sought
            .heads
            .iter()
            .map(|(layer, head)| (*layer, head / group))
            .collect();
        for of in wanted {
            let keys = sought.keys_of(shape, of, &places);
            sought.keys.insert(of, keys);
        }
        Ok(sought)
    }

    /// Keys of one head, where `places` say they stand and are looked at.
    fn keys_of(
        &self,
        shape: &AttentionShape,
        (layer, kv_head): (usize, usize),
        places: &[(usize, usize)],
    ) -> Vec<f32> {
        let dim = shape.head_dim;
        let kv = crate::kv::KvShape::from(shape);
        let mut keys = vec![0.0; places.len() * dim];
        keys.par_chunks_exact_mut(dim)
            .zip(places)
            .for_each(|(key, (position, looked_at))| {
                let Part::Halves(part) = self.view.part(position / BLOCK_TOKENS, layer) else {
                    return;
                };
                let head = part.head(&kv, kv_head);
                let at = position % BLOCK_TOKENS * dim;
                let bias = shape.key_bias[layer].as_ref();
                for channel in 0..dim {
                    let bias = bias.map_or(0.0, |bias| bias[kv_head * dim + channel]);
                    key[channel] = head.keys[at + channel].to_f32() + bias;
                }
                turn(shape, key, *looked_at);
            });
        keys
    }

    /// Attention of the retrieval heads by passage, as a share of what all get.
    fn mass(
        &self,
        model: &Model,
        question: &str,
        passages: &[Span],
    ) -> Result<Vec<f64>, EvaluationError> {
        let shape = model.shape();
        let asked = suffix(model.chat_template(), model.tokenizer(), &[], question)?;
        let behind = self.segments.behind(&self.view, &[]);
        let mut heard = Heard {
            inner: DenseAttention::over_view(behind, shape, CancelFlag::new())?,
            queries: BTreeMap::new(),
        };
        model.forward(&asked.tokens, &mut heard, Logits::None)?;
        let first = self.segments.opening() + SEGMENT_TOKENS;
        let rows = asked.question.start..asked.tokens.len();
        let pairs: Vec<(usize, usize, usize)> = self
            .heads
            .iter()
            .flat_map(|&(layer, head)| rows.clone().map(move |row| (layer, head, row)))
            .collect();
        let dim = shape.head_dim;
        let summed = pairs
            .par_iter()
            .map(|&(layer, head, row)| {
                let at = (row * shape.query_heads + head) * dim;
                let mut query = heard.queries[&layer][at..at + dim].to_vec();
                turn(shape, &mut query, first + row);
                let keys = &self.keys[&(layer, head / shape.group_size())];
                let mut scores: Vec<f32> = keys
                    .chunks_exact(dim)
                    .map(|key| key.iter().zip(&query).map(|(k, q)| k * q).sum::<f32>())
                    .map(|score| score * shape.softmax_scale)
                    .collect();
                let largest = scores.iter().copied().fold(f32::MIN, f32::max);
                scores
                    .iter_mut()
                    .for_each(|score| *score = (*score - largest).exp());
                let sum: f32 = scores.iter().sum();
                scores.iter_mut().for_each(|score| *score /= sum);
                scores
            })
            .reduce(
                || vec![0.0; self.numbers.len()],
                |mut all, one| {
                    all.iter_mut().zip(&one).for_each(|(all, one)| *all += one);
                    all
                },
            );
        let mut by_token = vec![0.0f32; self.tokens.len()];
        for (number, mass) in self.numbers.iter().zip(&summed) {
            by_token[*number] = by_token[*number].max(*mass);
        }
        let nth = |byte: usize| {
            self.tokens
                .partition_point(|token| (token.start as usize) < byte)
        };
        let of = |span: &Span| by_token[nth(span.start)..nth(span.end)].iter().sum::<f32>();
        Ok(passages
            .iter()
            .map(|span| f64::from(of(span)) / pairs.len() as f64)
            .collect())
    }
}

/// Dense attention that keeps what is asked for.
struct Heard {
    inner: DenseAttention,
    /// By layer.
    queries: BTreeMap<usize, Vec<f32>>,
}

impl Attention for Heard {
    fn attend(
        &mut self,
        layer: usize,
        projected: &Projected,
        attended: &mut Vec<f32>,
    ) -> Result<(), AttentionError> {
        self.queries.insert(layer, projected.queries.clone());
        self.inner.attend(layer, projected, attended)
    }
}
