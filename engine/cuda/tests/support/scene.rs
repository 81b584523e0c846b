//! A text of noise: its cache as the engine's own packer makes it, on the device and as plain numbers.

use super::Gpu;
use super::noise::Noise;
use super::reference::turned;
use half::f16;
use lectern_cuda::parameters::{Page, Queries, Rotation};
use lectern_cuda::{Buffer, PAGE_TOKENS, PageFormat, Shape};
use lectern_engine::kv::format::Grids;
use lectern_engine::kv::{BlockFormat, Codes, KvShape, OpenBlock, Part};
use lectern_models::attention::{AttentionShape, Rotary, RotaryPairing};

/// Shapes of models that exist, and of none.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    pub kv_heads: usize,
    pub group: usize,
    pub head_dim: usize,
    pub pairing: RotaryPairing,
    /// Channels that are not turned.
    pub unturned: usize,
}

/// Of the models in the catalogue and their like: (kv heads, group, head size).
pub const HEADS: [Heads; 6] = [
    // Qwen2.5 0.5B
    heads(2, 7, 64, RotaryPairing::Halves, 0),
    // SmolLM2 135M
    heads(3, 3, 64, RotaryPairing::Neighbours, 0),
    // Qwen2.5 1.5B
    heads(2, 6, 128, RotaryPairing::Halves, 0),
    // Llama 3 8B, fewer of its heads
    heads(2, 4, 128, RotaryPairing::Neighbours, 0),
    // one key/value head for many
    heads(1, 11, 64, RotaryPairing::Halves, 16),
    heads(1, 1, 128, RotaryPairing::Neighbours, 64),
];

const fn heads(
    kv_heads: usize,
    group: usize,
    head_dim: usize,
    pairing: RotaryPairing,
    unturned: usize,
) -> Heads {
    Heads {
        kv_heads,
        group,
        head_dim,
        pairing,
        unturned,
    }
}

/// One layer of a text.
pub struct Scene {
    pub shape: AttentionShape,
    pub kv: KvShape,
    pub tokens: usize,
    /// As the model gives them, `[token][kv_heads][head_dim]`.
    pub given_keys: Vec<f32>,
    pub given_values: Vec<f32>,
    /// `[token][query_heads][head_dim]`.
    pub queries: Vec<f32>,
    /// Each page's part, and its encoding.
    pub parts: Vec<(BlockFormat, Vec<u8>)>,
    /// Decoded, `[token][kv_heads][head_dim]`; keys with bias, turned.
    keys: Vec<f64>,
    values: Vec<f64>,
}

impl Scene {
    pub fn new(heads: Heads, format: BlockFormat, tokens: usize, seed: u64) -> Scene {
        let Heads {
            kv_heads,
            group,
            head_dim,
            ..
        } = heads;
        let mut noise = Noise::new(seed);
        let turned_pairs = (head_dim - heads.unturned) / 2;
        let shape = AttentionShape {
            layers: 1,
            query_heads: kv_heads * group,
            kv_heads,
            head_dim,
            softmax_scale: (head_dim as f32).sqrt().recip(),
            rotary: Rotary {
                pairing: heads.pairing,
                inverse_frequencies: (0..turned_pairs)
                    .map(|pair| 10_000f32.powf(-(pair as f32) / turned_pairs as f32))
                    .collect(),
            },
            key_bias: vec![Some(noise.numbers(kv_heads * head_dim, 2.0))],
        };
        let kv = KvShape::from(&shape);
        let row = kv_heads * head_dim;
        let given_keys = noise.numbers(tokens * row, 1.5);
        let given_values = noise.numbers(tokens * row, 3.0);
        let queries = noise.numbers(tokens * group * row, 1.5);
        let mut scene = Scene {
            shape,
            kv,
            tokens,
            given_keys,
            given_values,
            queries,
            parts: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
        };
        for first in (0..tokens).step_by(PAGE_TOKENS) {
            scene.add_page(format, first);
        }
        scene
    }

    fn add_page(&mut self, format: BlockFormat, first: usize) {
        let row = self.kv.kv_heads * self.kv.head_dim;
        let filled = (self.tokens - first).min(PAGE_TOKENS);
        let block = self.open_block(first);
        let format = format.of_block(first / PAGE_TOKENS, filled);
        // Aligned as in a mapped file.
        let mut aligned = vec![0u128; format.part_bytes(&self.kv).div_ceil(16) + 4];
        let offset = aligned.as_ptr().align_offset(64);
        let bytes: &mut [u8] = bytemuck(&mut aligned[offset..]);
        let bytes = &mut bytes[..format.part_bytes(&self.kv)];
        format.encode(&self.kv, &block, 0, filled, bytes);
        let part = format.part(&self.kv, bytes);
        let heads: Vec<(Vec<f64>, Vec<f64>)> = (0..self.kv.kv_heads)
            .map(|head| decode_head(&self.kv, &part, head))
            .collect();
        for token in 0..filled {
            for (head, (keys, values)) in heads.iter().enumerate() {
                let channels = token * self.kv.head_dim..(token + 1) * self.kv.head_dim;
                let bias = self.shape.key_bias[0].as_ref().unwrap();
                let key: Vec<f64> = keys[channels.clone()]
                    .iter()
                    .zip(&bias[head * self.kv.head_dim..])
                    .map(|(key, bias)| key + f64::from(*bias))
                    .collect();
                self.keys.extend(turned(&self.shape, &key, first + token));
                self.values.extend(&values[channels]);
            }
        }
        assert_eq!(self.keys.len(), (first + filled) * row);
        let mut bytes = bytes.to_vec();
        if format == BlockFormat::F16 {
            // What stands in slots that are not filled must not matter.
            let nan = f16::NAN.to_le_bytes();
            for (at, half) in bytes.chunks_exact_mut(2).enumerate() {
                if at / self.kv.head_dim % PAGE_TOKENS >= filled {
                    half.copy_from_slice(&nan);
                }
            }
        }
        self.parts.push((format, bytes));
    }

    /// The tokens from `first` on, as the engine keeps them while a page is open.
    pub fn open_block(&self, first: usize) -> OpenBlock {
        let row = self.kv.kv_heads * self.kv.head_dim;
        let mut block = OpenBlock::new(self.kv);
        for slot in 0..(self.tokens - first).min(PAGE_TOKENS) {
            let numbers = (first + slot) * row..(first + slot + 1) * row;
            let (keys, values) = (&self.given_keys, &self.given_values);
            block.put(0, slot, &keys[numbers.clone()], &values[numbers]);
        }
        block
    }

    pub fn query(&self, position: usize, head: usize) -> Vec<f64> {
        let d = self.shape.head_dim;
        let first = (position * self.shape.query_heads + head) * d;
        let query = &self.queries[first..first + d];
        query.iter().map(|number| f64::from(*number)).collect()
    }

    pub fn turned_key(&self, position: usize, kv_head: usize) -> &[f64] {
        let d = self.shape.head_dim;
        &self.keys[(position * self.kv.kv_heads + kv_head) * d..][..d]
    }

    pub fn value(&self, position: usize, kv_head: usize) -> &[f64] {
        let d = self.shape.head_dim;
        &self.values[(position * self.kv.kv_heads + kv_head) * d..][..d]
    }
}

/// A slice of 16-byte numbers as bytes.
fn bytemuck(numbers: &mut [u128]) -> &mut [u8] {
    // SAFETY: plain numbers, of which any bytes are valid, borrowed for as long as the result.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), 16 * numbers.len()) }
}

/// Keys and values of one head, each `[64][head_dim]`, from the table in `kv/format` of the engine.
fn decode_head(shape: &KvShape, part: &Part<'_>, kv_head: usize) -> (Vec<f64>, Vec<f64>) {
    let d = shape.head_dim;
    match part {
        Part::Halves(halves) => {
            let head = halves.head(shape, kv_head);
            let plain = |halves: &[f16]| halves.iter().map(|half| half.to_f64()).collect();
            (plain(head.keys), plain(head.values))
        }
        Part::Codes(codes) => {
            let (keys, values) = (codes.keys(shape, kv_head), codes.values(shape, kv_head));
            (0..PAGE_TOKENS * d)
                .map(|at| (at / d, at % d))
                .map(|(token, channel)| {
                    let group = token * d / 32 + channel / 32;
                    let key = number(&keys, channel, 2 * channel + token / 32, token % 32);
                    (key, number(&values, group, group, channel % 32))
                })
                .unzip()
        }
    }
}

/// Code `nth` of run `run`, on grid `grid`.
fn number(codes: &Codes<'_>, grid: usize, run: usize, nth: usize) -> f64 {
    let packed = &codes.packed[run * 4 * codes.bits..];
    let code = match codes.bits {
        8 => packed[nth],
        _ => packed[nth % 16] >> (4 * (nth / 16)) & 15,
    };
    let (step, least) = match codes.grids {
        Grids::Halves(grids) => {
            let [a, b, c, d] = grids[grid];
            let half = |bytes| f16::from_le_bytes(bytes).to_f64();
            (half([a, b]), half([c, d]))
        }
        Grids::Bytes(grids) => {
            let [offset, step] = grids[grid];
            let step = f16::from_bits(u16::from(step) << 7).to_f64();
            (step, f64::from(offset as i8) / 2.0 * step)
        }
    };
    least + f64::from(code) * step
}

/// The encoding by the device's name for it.
pub fn page_format(format: BlockFormat) -> PageFormat {
    match format {
        BlockFormat::F16 => PageFormat::HALVES,
        BlockFormat::K8V8 => PageFormat::codes(8, 8).unwrap(),
        BlockFormat::K8V4 => PageFormat::codes(8, 4).unwrap(),
        BlockFormat::K4V4 => PageFormat::codes(4, 4).unwrap(),
        other => panic!("{other:?} has no kernels"),
    }
}

/// A scene on the device.
pub struct OnDevice {
    pub shape: Shape,
    pub parts: Vec<Buffer<u8>>,
    pub pages: Buffer<Page>,
    pub bias: Buffer<f32>,
    channels: Buffer<i32>,
    places: Buffer<f32>,
    page_turns: Buffer<f32>,
    lane_turns: Buffer<f32>,
}

impl OnDevice {
    pub fn new(gpu: &Gpu, scene: &Scene) -> OnDevice {
        let device = &gpu.device;
        let shape = Shape::new(&scene.shape).unwrap();
        let parts: Vec<Buffer<u8>> = scene
            .parts
            .iter()
            .map(|(_, bytes)| device.upload(bytes).unwrap())
            .collect();
        let table: Vec<Page> = parts
            .iter()
            .zip(&scene.parts)
            .map(|(part, (format, _))| page_format(*format).page(device.address(part)))
            .collect();
        let flat = |turns: Vec<[f32; 2]>| -> Vec<f32> { turns.into_iter().flatten().collect() };
        // `[pairs][64]` of what is `[64][pairs]`.
        let by_place: Vec<Vec<[f32; 2]>> =
            (0..PAGE_TOKENS).map(|place| shape.turn(place)).collect();
        let places: Vec<f32> = (0..shape.pairs())
            .flat_map(|pair| by_place.iter().flat_map(move |turns| turns[pair]))
            .collect();
        let page_turns: Vec<f32> = (0..parts.len())
            .flat_map(|page| flat(shape.turn(page * PAGE_TOKENS)))
            .collect();
        let channels: Vec<i32> = shape.pair_channels().into_iter().flatten().collect();
        OnDevice {
            pages: device.upload(&table).unwrap(),
            bias: device.upload(&shape.bias(0)).unwrap(),
            channels: device.upload(&channels).unwrap(),
            places: device.upload(&places).unwrap(),
            page_turns: device.upload(&page_turns).unwrap(),
            lane_turns: device.upload(&flat(shape.turns_by_lane())).unwrap(),
            parts,
            shape,
        }
    }

    pub fn rotation(&self, gpu: &Gpu) -> Rotation {
        Rotation {
            channels: gpu.device.address(&self.channels),
            places: gpu.device.address(&self.places),
            pages: gpu.device.address(&self.page_turns),
            lanes: gpu.device.address(&self.lane_turns),
        }
    }
}

/// The queries of a pass, on the device.
pub struct Rows {
    numbers: Buffer<f32>,
    turns: Buffer<f32>,
    queries: Queries,
}

impl Rows {
    pub fn new(gpu: &Gpu, scene: &Scene, on: &OnDevice, start: usize, tokens: usize) -> Rows {
        let row = scene.shape.query_heads * scene.shape.head_dim;
        let numbers = gpu
            .device
            .upload(&scene.queries[start * row..(start + tokens) * row])
            .unwrap();
        let turns: Vec<f32> = (start..start + tokens)
            .flat_map(|position| on.shape.turn(position).into_iter().flatten())
            .collect();
        let turns = gpu.device.upload(&turns).unwrap();
        let queries = Queries {
            numbers: gpu.device.address(&numbers),
            turns: gpu.device.address(&turns),
            query_heads: scene.shape.query_heads as i32,
            kv_heads: scene.shape.kv_heads as i32,
            start: start as i32,
            scale: on.shape.scale(),
        };
        Rows {
            numbers,
            turns,
            queries,
        }
    }

    pub fn queries(&self) -> Queries {
        self.queries
    }
}
