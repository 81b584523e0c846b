//! Pages read one after another with the networks loaded once.

use super::detection;
use super::direction::{self, upside_down};
use super::drawing::Drawable;
use super::network::Network;
use super::picture::Picture;
use super::regions::Region;
use super::transcription::{HEIGHT, Transcriber};
use super::{RecognisedLine, RecognisedPage, RecognitionFault};
use rten::ThreadPool;
use std::sync::Arc;

/// Mean probability from which a line is believed; below it is mostly pictures taken for text.
const BELIEVED: f32 = 0.5;
/// Height from which a line is a picture, as a share of the page's longer side.
const TALL: f32 = 0.25;
/// Lines that are asked which way up a page stands.
const ASKED: usize = 12;
/// How much longer than high a line is if it shows its direction.
const LONG: f32 = 2.0;

/// Reads the pages of one PDF.
pub(crate) struct PageReader {
    pdf: Drawable,
    detection: Network,
    direction: Network,
    transcriber: Transcriber,
}

/// A line on the picture: where its text begins, along it, and down from it, in pixels.
#[derive(Debug, Clone, Copy)]
struct Strip {
    corner: [f32; 2],
    along: [f32; 2],
    down: [f32; 2],
    turns: u8,
}

impl Strip {
    /// A region whose text is turned by so many quarters against the picture.
    fn of(region: &Region, turns: u8) -> Strip {
        let width = region.width().max(1.0);
        let u = region.across.map(|v| v / width);
        let (right, below) = (region.across, [-u[1] * region.height, u[0] * region.height]);
        let minus = |v: [f32; 2]| v.map(|v| -v);
        let (along, down) = match turns {
            0 => (right, below),
            1 => (below, minus(right)),
            2 => (minus(right), minus(below)),
            _ => (minus(below), right),
        };
        Strip {
            corner: [0, 1].map(|i| region.middle[i] - (along[i] + down[i]) / 2.0),
            along,
            down,
            turns,
        }
    }

    fn planes(&self, picture: &Picture, shown: [usize; 2]) -> Vec<f32> {
        picture.planes(self.corner, self.along, self.down, shown)
    }

    fn length(&self) -> f32 {
        self.along[0].hypot(self.along[1])
    }

    fn height(&self) -> f32 {
        self.down[0].hypot(self.down[1])
    }
}

impl PageReader {
    /// Opens the PDF. `networks`: the ONNX files of detection, direction and transcription; `threads`: how many
    /// compute.
    pub fn new(
        pdf: Vec<u8>,
        password: Option<&str>,
        networks: [&[u8]; 3],
        threads: usize,
    ) -> Result<PageReader, RecognitionFault> {
        let threads = Arc::new(ThreadPool::with_num_threads(threads));
        let [detection, direction, transcription] = networks;
        let transcription = Network::new(transcription, "transcription", &threads)?;
        Ok(PageReader {
            pdf: Drawable::open(pdf, password)?,
            detection: Network::new(detection, "detection", &threads)?,
            direction: Network::new(direction, "direction", &threads)?,
            transcriber: Transcriber::new(transcription)?,
        })
    }

    /// Reads a page; `count` and `size` say what is known of the file and of the page.
    pub fn read(
        &self,
        index: usize,
        count: usize,
        size: [f32; 2],
    ) -> Result<RecognisedPage, RecognitionFault> {
        let (picture, scale) = self.pdf.draw(index, count, size)?;
        let mut regions = detection::lines(&self.detection, &picture)?;
        let tallest = TALL * picture.width.max(picture.height) as f32;
        regions.retain(|region| region.height.min(region.width()) < tallest);
        let mut lines = Vec::with_capacity(regions.len());
        for strip in self.strips(&picture, &regions)? {
            let width = Transcriber::width(strip.length(), strip.height());
            let words = self
                .transcriber
                .read(strip.planes(&picture, [width, HEIGHT]), width)?;
            // What holds no letter and no digit is an ornament, or a picture taken for one.
            let says_something = words.characters.iter().any(|c| c.0.is_alphanumeric());
            if words.confidence >= BELIEVED && says_something {
                let on_page = |point: [f32; 2]| [point[0] / scale[0], point[1] / scale[1]];
                let half = |v: usize| strip.corner[v] + strip.down[v] / 2.0;
                let begins = [half(0), half(1)];
                let ends = [begins[0] + strip.along[0], begins[1] + strip.along[1]];
                lines.push(RecognisedLine {
                    begins: on_page(begins),
                    ends: on_page(ends),
                    height: strip.height() / scale[0].max(scale[1]),
                    turns: strip.turns,
                    characters: words.characters,
                });
            }
        }
        Ok(RecognisedPage { lines })
    }

    /// The regions with the way their text runs. A page's text stands one way up, so its long lines are asked
    /// together; long lines square to most (a title up the margin) are asked by themselves.
    fn strips(
        &self,
        picture: &Picture,
        regions: &[Region],
    ) -> Result<Vec<Strip>, RecognitionFault> {
        let lying = |r: &&Region| r.width() >= LONG * r.height;
        let standing = |r: &&Region| r.height >= LONG * r.width();
        let length = |regions: &mut dyn Iterator<Item = &Region>| -> f32 {
            regions.map(|r| r.width().max(r.height)).sum()
        };
        let upright = length(&mut regions.iter().filter(lying))
            >= length(&mut regions.iter().filter(standing));
        let (axis, other) = if upright { (0, 1) } else { (1, 0) };
        let is_other = |r: &&Region| if upright { standing(r) } else { lying(r) };

        let mut asked: Vec<&Region> = regions.iter().filter(|r| !is_other(r)).collect();
        asked.sort_by(|a, b| (b.width().max(b.height)).total_cmp(&a.width().max(a.height)));
        asked.truncate(ASKED);
        let mut odds = 0.0;
        for region in asked {
            odds += self.upside_down(picture, &Strip::of(region, axis))?;
        }
        let turns = if odds > 0.0 { axis + 2 } else { axis };
        regions
            .iter()
            .map(|region| {
                if !is_other(&region) {
                    return Ok(Strip::of(region, turns));
                }
                let strip = Strip::of(region, other);
                Ok(match self.upside_down(picture, &strip)? > 0.0 {
                    true => Strip::of(region, other + 2),
                    false => strip,
                })
            })
            .collect()
    }

    /// The odds that a strip stands upside down. The network sees the beginning of a line, as it was trained.
    fn upside_down(&self, picture: &Picture, strip: &Strip) -> Result<f32, RecognitionFault> {
        let [width, height] = direction::SHOWN;
        let share =
            (width as f32 * strip.height() / (height as f32 * strip.length().max(1.0))).min(1.0);
        let beginning = Strip {
            along: strip.along.map(|v| v * share),
            ..*strip
        };
        upside_down(&self.direction, beginning.planes(picture, direction::SHOWN))
    }
}
