//! Which layers of a model lie on which GPU.
//!
//! In: what may be taken of each GPU ([`Room`]), and what is to lie there ([`Burden`]). Out: a [`Spread`]: consecutive layers
//! on each GPU, a layer's weights and its pages on the same one, so that only the hidden state goes from one to the next.
//!
//! | what fits | |
//! |---|---|
//! | all of it on one GPU | the first such GPU; none behind it is even opened |
//! | all of it on several together | as few as will do, of those with the most room |
//! | less | every GPU; how much of the document's cache comes along, each plans for itself |
//!
//! The GPUs of a spread are all filled to the same part of their rooms. How fast they are is not looked at.

use crate::decoder::LEFT_FREE;
use crate::error::CudaError;
use crate::matrix::GpuMatrix;
use crate::plan::{Demand, Plan};
use crate::probe::Room;
use lectern_models::packed::FileMatrix;
use lectern_models::{BlockWeights, DecoderWeights};
use std::cmp::Reverse;
use std::ops::Range;

/// In how many steps GPUs are filled.
const STEPS: usize = 256;

/// A GPU's share of the layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Which GPU, from 0.
    pub ordinal: usize,
    /// Which layers: at least one.
    pub layers: Range<usize>,
}

/// All layers, in the order of the GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread(Vec<Share>);

/// What is to lie on GPUs: weights, or a document's cache, or both.
#[derive(Debug, Clone)]
pub struct Burden {
    /// Bytes of each layer's weights; zeros where they lie elsewhere.
    pub layer_bytes: Vec<usize>,
    /// Bytes of the head, which lies with the last layer.
    pub head_bytes: usize,
    /// The document's, of all layers; `None` if there is none.
    pub demand: Option<Demand>,
}

impl Burden {
    /// Of a model's weights, and a document of `demand` beside them.
    pub fn of_model(weights: &DecoderWeights<FileMatrix<'_>>, demand: Option<Demand>) -> Burden {
        let of_block = |block: &BlockWeights<FileMatrix<'_>>| {
            let matrices = block.matrices();
            matrices.map(GpuMatrix::bytes_for).sum()
        };
        Burden {
            layer_bytes: weights.blocks.iter().map(of_block).collect(),
            head_bytes: GpuMatrix::bytes_for(&weights.head),
            demand,
        }
    }

    /// Of a document alone.
    pub fn of(demand: Demand) -> Burden {
        Burden {
            layer_bytes: vec![0; demand.shape.layers()],
            head_bytes: 0,
            demand: Some(demand),
        }
    }

    fn layers(&self) -> usize {
        self.layer_bytes.len()
    }

    /// Bytes that a GPU must have room for to take these layers with all of the document.
    pub fn whole(&self, layers: &Range<usize>) -> usize {
        self.needed(&self.document().0, layers)
    }

    fn weights(&self, layers: &Range<usize>) -> usize {
        let head = match layers.end == self.layers() {
            true => self.head_bytes,
            false => 0,
        };
        self.layer_bytes[layers.clone()].iter().sum::<usize>() + head
    }

    /// What is asked of the GPU that has these layers.
    fn demand_of(&self, layers: &Range<usize>) -> Option<Demand> {
        self.demand.as_ref().map(|demand| Demand {
            weight_bytes: self.weights(layers),
            ..demand.of_layers(layers)
        })
    }

    /// Bytes of some layers, where a document takes so many for so many layers.
    fn needed(&self, document: &[usize], layers: &Range<usize>) -> usize {
        let beside = match self.weights(layers) {
            0 => 0,
            weights => weights + LEFT_FREE,
        };
        beside + document[layers.len()]
    }

    /// Bytes of the document by number of layers: all of it, and the least that it can be attended to with. Beside weights
    /// the least is in what is left free anyway.
    fn document(&self) -> (Vec<usize>, Vec<usize>) {
        let has_weights = self.weights(&(0..self.layers())) > 0;
        let bytes = |layers: usize| match (&self.demand, layers) {
            (None, _) | (_, 0) => (0, 0),
            (Some(demand), _) => {
                let demand = demand.of_layers(&(0..layers));
                let least = match has_weights {
                    true => 0,
                    false => Plan::smallest(&demand).allocated(),
                };
                let whole = Plan::within(&demand, usize::MAX);
                (whole.map_or(0, |plan| plan.allocated()), least)
            }
        };
        (0..=self.layers()).map(bytes).unzip()
    }

    /// What would lie where under a spread, of rooms that are asked for by the GPU's number; `None` if one of them is too
    /// small for the smallest plan.
    ///
    /// # Errors
    /// Those of `room`.
    pub fn plans(
        &self,
        spread: &Spread,
        room: impl Fn(usize) -> Result<usize, CudaError>,
    ) -> Result<Option<Plans>, CudaError> {
        let mut plans = Vec::new();
        for share in spread.shares() {
            let room = room(share.ordinal)?;
            let plan = self
                .demand_of(&share.layers)
                .and_then(|demand| Plan::within(&demand, room));
            let Some(plan) = plan else { return Ok(None) };
            plans.push((share.clone(), plan));
        }
        Ok(Some(Plans(plans)))
    }
}

impl Spread {
    /// Everything on one GPU.
    pub fn on(ordinal: usize, layers: usize) -> Spread {
        Spread(vec![Share {
            ordinal,
            layers: 0..layers,
        }])
    }

    /// One GPU's layers after the other's.
    pub fn shares(&self) -> &[Share] {
        &self.0
    }

    /// Layers in all.
    pub fn layers(&self) -> usize {
        self.0.last().map_or(0, |share| share.layers.end)
    }

    /// Chooses GPUs, which are looked at one by one, and only as long as not everything fits on the last one.
    ///
    /// # Errors
    /// What is wrong with the first GPU if none can be used; [`CudaError::TooLittleMemory`].
    pub fn choose(
        rooms: impl IntoIterator<Item = Result<Room, CudaError>>,
        burden: &Burden,
    ) -> Result<Spread, CudaError> {
        let layers = burden.layers();
        let (whole, least) = burden.document();
        let mut usable: Vec<Room> = Vec::new();
        let mut missing = None;
        for room in rooms {
            match room {
                Ok(room) if burden.needed(&whole, &(0..layers)) <= room.bytes => {
                    return Ok(Spread::on(room.ordinal, layers));
                }
                Ok(room) => usable.push(room),
                Err(error) => missing = missing.or(Some(error)),
            }
        }
        if usable.is_empty() {
            return Err(missing.unwrap_or(CudaError::NoDevice));
        }
        let mut largest = usable.clone();
        largest.sort_by_key(|room| Reverse(room.bytes));
        let with_all = (2..=largest.len()).find_map(|count| {
            let mut some = largest[..count].to_vec();
            some.sort_by_key(|room| room.ordinal);
            Spread::filled(&some, burden, &whole)
        });
        with_all
            .or_else(|| Spread::filled(&usable, burden, &least))
            .ok_or_else(|| CudaError::TooLittleMemory {
                free: usable.iter().map(|room| room.bytes).sum(),
                needed: burden.needed(&least, &(0..layers)),
            })
    }

    /// The layers on these GPUs, each filled to the same part of its room, the smallest part that will do; `None` if they
    /// do not fit.
    fn filled(rooms: &[Room], burden: &Burden, document: &[usize]) -> Option<Spread> {
        let layers = burden.layers();
        (1..=STEPS).find_map(|step| {
            let mut shares = Vec::new();
            let mut first = 0;
            for room in rooms {
                let most = room.bytes / STEPS * step;
                let end = (first + 1..=layers)
                    .take_while(|end| burden.needed(document, &(first..*end)) <= most)
                    .last();
                if let Some(end) = end {
                    shares.push(Share {
                        ordinal: room.ordinal,
                        layers: first..end,
                    });
                    first = end;
                }
            }
            (first == layers).then_some(Spread(shares))
        })
    }
}

impl FromIterator<Share> for Spread {
    /// Of shares in the order of their layers.
    fn from_iter<T: IntoIterator<Item = Share>>(shares: T) -> Spread {
        Spread(shares.into_iter().collect())
    }
}

fn layers_of(share: &Share) -> String {
    match share.layers.len() {
        1 => format!("1 layer on GPU {}", share.ordinal),
        layers => format!("{layers} layers on GPU {}", share.ordinal),
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shares: Vec<String> = self.0.iter().map(layers_of).collect();
        write!(f, "{}", shares.join(", "))
    }
}

/// The plans of all GPUs of a spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plans(pub Vec<(Share, Plan)>);

impl Plans {
    /// Whether all of the document is on GPUs.
    pub fn are_everything(&self) -> bool {
        self.0.iter().all(|(_, plan)| plan.is_everything())
    }
}

impl std::fmt::Display for Plans {
    /// For the person who is about to read a document.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let [(_, plan)] = &self.0[..] {
            return plan.fmt(f);
        }
        let total = self.0.iter().map(|(_, plan)| plan.total()).sum();
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(share, plan)| format!("{} ({})", layers_of(share), plan.contents()))
            .collect();
        write!(
            f,
            "{} on {} GPUs: {}",
            crate::plan::amount(total),
            self.0.len(),
            parts.join(", ")
        )?;
        let elsewhere = self.0.iter().map(|(_, plan)| plan.elsewhere).sum();
        write!(f, "{}", crate::plan::stays_behind(elsewhere))
    }
}
