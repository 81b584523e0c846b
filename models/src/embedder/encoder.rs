//! The encoder of a sentence transformer: BERT (Devlin et al. 2018, arXiv 1810.04805), in the sizes of all-MiniLM-L6-v2.
//!
//! In: tensors, once; then texts as tokens. Out: the last hidden state of each token; the vector of a text is their mean, of
//! length one.
//!
//! Weights are rounded to 8 bits a number (Q8_0) and packed as a language model's are, so are activations before each
//! product (`packed`); what is between products is F32 (`loops`). Rows of several texts are multiplied together, and
//! attention stays within each.
//!
//! Memory: 11 MB of weights; the table of words stays in the mapped file, of which only the rows that are used come to
//! memory. A token of a batch takes 20 KB while it is computed.

use super::EmbedderError;
use super::loops::Loops;
use super::strided::{Strided, StridedMut, multiply_strided};
use crate::level::Level;
use crate::packed::{Arena, Kernels, PackedMatrix, Quantized, multiply};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::ops::Range;

/// Channels of the hidden state.
pub(super) const WIDTH: usize = 384;
/// Channels of a head.
const HEAD: usize = 32;
const FEED_FORWARD: usize = 1536;
const LAYERS: usize = 6;
/// Tokens of a text at most.
const POSITIONS: usize = 512;

/// Rows that are not worth another thread's attention.
const FEW: usize = 16;

/// Queries of a text that a thread takes at a time.
const TOGETHER: usize = 64;

/// All-MiniLM-L6-v2.
pub(super) struct Encoder {
    map: Mmap,
    /// Where in the map the vectors of words lie, `[vocabulary][WIDTH]`.
    words: Range<usize>,
    /// Of each position, with that of the only kind of text, `[POSITIONS][WIDTH]`.
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    kernels: &'static Kernels,
    loops: &'static Loops,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    output_norm: Norm,
    up: Linear,
    down: Linear,
    down_norm: Norm,
}

/// A product and what is added to it.
struct Linear {
    matrix: PackedMatrix,
    bias: Vec<f32>,
}

/// Of a layer norm.
struct Norm {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Tensors of a file, by name.
struct Tensors<'a>(SafeTensors<'a>);

impl<'a> Tensors<'a> {
    fn bytes(&self, name: &str, shape: &[usize]) -> Result<&'a [u8], EmbedderError> {
        let tensor = self.0.tensor(name)?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
            return Err(EmbedderError::Shape {
                name: name.to_owned(),
                wanted: shape.to_vec(),
                found: tensor.shape().to_vec(),
            });
        }
        Ok(tensor.data())
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, EmbedderError> {
        let mut numbers = Vec::new();
        extend(&mut numbers, self.bytes(name, shape)?);
        Ok(numbers)
    }

    fn linear(
        &self,
        arena: &mut Arena,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Linear, EmbedderError> {
        let weights = self.numbers(&format!("{name}.weight"), &[rows, columns])?;
        let weights = Tensor::from_vec(weights, (rows, columns), &Device::Cpu)?;
        let rounded = QTensor::quantize(&weights, GgmlDType::Q8_0)?;
        let bytes = rounded.data()?;
        let matrix = PackedMatrix::pack_into(arena, GgmlDType::Q8_0, &bytes, rows, columns)
            .map_err(EmbedderError::Memory)?;
        Ok(Linear {
            matrix: matrix.unwrap_or_else(|| unreachable!("Q8_0 is packed")),
            bias: self.numbers(&format!("{name}.bias"), &[rows])?,
        })
    }

    fn norm(&self, name: &str) -> Result<Norm, EmbedderError> {
        Ok(Norm {
            scale: self.numbers(&format!("{name}.weight"), &[WIDTH])?,
            shift: self.numbers(&format!("{name}.bias"), &[WIDTH])?,
        })
    }
}

/// Little-endian numbers, wherever they lie.
fn extend(numbers: &mut Vec<f32>, bytes: &[u8]) {
    let (fours, _) = bytes.as_chunks::<4>();
    numbers.extend(fours.iter().map(|bytes| f32::from_le_bytes(*bytes)));
}

impl Encoder {
    /// From the tensors that stand in `map` from byte `tensors` on, with vectors for `vocabulary` tokens.
    pub fn load(map: Mmap, tensors: usize, vocabulary: usize) -> Result<Encoder, EmbedderError> {
        let found = Tensors(SafeTensors::deserialize(&map[tensors..])?);
        let table = found.bytes("embeddings.word_embeddings.weight", &[vocabulary, WIDTH])?;
        let first = table.as_ptr() as usize - map.as_ptr() as usize;
        let words = first..first + table.len();
        let mut positions =
            found.numbers("embeddings.position_embeddings.weight", &[POSITIONS, WIDTH])?;
        let kinds = found.numbers("embeddings.token_type_embeddings.weight", &[2, WIDTH])?;
        for row in positions.chunks_exact_mut(WIDTH) {
            add(row, &kinds[..WIDTH]);
        }
        let norm = found.norm("embeddings.LayerNorm")?;
        let mut arena = Arena::default();
        let mut layer = |nth: usize| -> Result<Layer, EmbedderError> {
            let name = |part: &str| format!("encoder.layer.{nth}.{part}");
            let mut linear =
                |part: &str, rows, columns| found.linear(&mut arena, &name(part), rows, columns);
            Ok(Layer {
                query: linear("attention.self.query", WIDTH, WIDTH)?,
                key: linear("attention.self.key", WIDTH, WIDTH)?,
                value: linear("attention.self.value", WIDTH, WIDTH)?,
                output: linear("attention.output.dense", WIDTH, WIDTH)?,
                up: linear("intermediate.dense", FEED_FORWARD, WIDTH)?,
                down: linear("output.dense", WIDTH, FEED_FORWARD)?,
                output_norm: found.norm(&name("attention.output.LayerNorm"))?,
                down_norm: found.norm(&name("output.LayerNorm"))?,
            })
        };
        let layers = (0..LAYERS).map(&mut layer).collect::<Result<_, _>>()?;
        Ok(Encoder {
            words,
            positions,
            norm,
            layers,
            kernels: Kernels::chosen(),
            loops: Loops::of(Level::chosen()),
            map,
        })
    }

    /// The last hidden states of texts, each of at least one token, `[tokens of all][WIDTH]`.
    pub fn hidden(&self, texts: &[&[u32]]) -> Vec<f32> {
        let mut hidden = self.embedded(texts);
        let mut parts = [const { Vec::new() }; 3];
        let mut more = Vec::new();
        for layer in &self.layers {
            let [queries, keys, values] = &mut parts;
            let mut rounded = Quantized::new(self.kernels, &hidden, WIDTH);
            let matrices = [&layer.query, &layer.key, &layer.value].map(|linear| &linear.matrix);
            multiply(&matrices, &mut rounded, &mut [&mut *queries, keys, values]);
            let linears = [&layer.query, &layer.key, &layer.value];
            for (rows, linear) in [&mut *queries, keys, values].into_iter().zip(linears) {
                let rows = rows.par_chunks_exact_mut(WIDTH).with_min_len(FEW);
                rows.for_each(|row| add(row, &linear.bias));
            }
            let attended = self.attended(texts, queries, keys, values);
            self.multiply(&layer.output, &attended, queries);
            self.add_and_norm(&mut hidden, queries, &layer.output, &layer.output_norm);
            self.multiply(&layer.up, &hidden, &mut more);
            more.par_chunks_mut(FEED_FORWARD).for_each(|row| {
                add(row, &layer.up.bias);
                (self.loops.gelu)(row);
            });
            self.multiply(&layer.down, &more, queries);
            self.add_and_norm(&mut hidden, queries, &layer.down, &layer.down_norm);
        }
        hidden
    }

    fn embedded(&self, texts: &[&[u32]]) -> Vec<f32> {
        let table = &self.map[self.words.clone()];
        let mut hidden =
            Vec::with_capacity(texts.iter().map(|text| text.len()).sum::<usize>() * WIDTH);
        for text in texts {
            for (token, position) in text.iter().zip(self.positions.chunks_exact(WIDTH)) {
                let row = hidden.len();
                extend(
                    &mut hidden,
                    &table[*token as usize * 4 * WIDTH..][..4 * WIDTH],
                );
                add(&mut hidden[row..], position);
                (self.loops.layer_norm)(&mut hidden[row..], &self.norm.scale, &self.norm.shift);
            }
        }
        hidden
    }

    fn multiply(&self, linear: &Linear, rows: &[f32], product: &mut Vec<f32>) {
        let mut rounded = Quantized::new(self.kernels, rows, linear.matrix.columns());
        multiply(&[&linear.matrix], &mut rounded, &mut [product]);
    }

    /// `hidden := norm(hidden + product + bias)`, row by row.
    fn add_and_norm(&self, hidden: &mut [f32], product: &[f32], linear: &Linear, norm: &Norm) {
        let rows = hidden.par_chunks_exact_mut(WIDTH);
        rows.zip(product.par_chunks_exact(WIDTH))
            .with_min_len(FEW)
            .for_each(|(row, product)| {
                add(row, product);
                add(row, &linear.bias);
                (self.loops.layer_norm)(row, &norm.scale, &norm.shift);
            });
    }

    /// What each token gets from those of its text, `[tokens][WIDTH]`.
    fn attended(
        &self,
        texts: &[&[u32]],
        queries: &[f32],
        keys: &[f32],
        values: &[f32],
    ) -> Vec<f32> {
        let mut attended = vec![0.0; queries.len()];
        let mut tasks = Vec::new();
        let mut rest = attended.as_mut_slice();
        let mut first = 0;
        for text in texts {
            let all = first..first + text.len();
            for begin in all.clone().step_by(TOGETHER) {
                let rows = begin..all.end.min(begin + TOGETHER);
                let (mine, others) = rest.split_at_mut(rows.len() * WIDTH);
                tasks.push((all.clone(), rows, mine));
                rest = others;
            }
            first = all.end;
        }
        tasks.into_par_iter().for_each_init(
            Vec::new,
            |weights: &mut Vec<f32>, (all, rows, attended)| {
                let of = |numbers, rows: &Range<usize>, head| {
                    let part: &[f32] = numbers;
                    Strided::new(
                        &part[rows.start * WIDTH + head..],
                        [rows.len(), HEAD],
                        WIDTH,
                    )
                };
                weights.resize(rows.len() * all.len(), 0.0);
                for head in (0..WIDTH).step_by(HEAD) {
                    multiply_strided(
                        of(queries, &rows, head),
                        of(keys, &all, head).transposed(),
                        StridedMut::new(weights, all.len()),
                    );
                    for weights in weights.chunks_exact_mut(all.len()) {
                        (self.loops.softmax)(weights, 1.0 / (HEAD as f32).sqrt());
                    }
                    multiply_strided(
                        Strided::new(weights, [rows.len(), all.len()], all.len()),
                        of(values, &all, head),
                        StridedMut::new(&mut attended[head..], WIDTH),
                    );
                }
            },
        );
        attended
    }
}

fn add(row: &mut [f32], other: &[f32]) {
    for (number, other) in row.iter_mut().zip(other) {
        *number += other;
    }
}

/// The mean of vectors, of length one.
pub(super) fn mean<'a>(rows: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let mut sum = vec![0.0; WIDTH];
    for row in rows {
        add(&mut sum, row);
    }
    let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
    for number in &mut sum {
        *number /= length;
    }
    sum
}
