//! A page as pixels.

/// Red, green and blue of each pixel, row by row.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// A picture of rows of three bytes a pixel; `None` if they are not as many as its sides say.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Option<Picture> {
        (width > 0 && height > 0 && pixels.len() == width * height * 3).then_some(Picture {
            width,
            height,
            pixels,
        })
    }

    /// A pixel; those outside repeat the edge.
    fn at(&self, x: isize, y: isize) -> [u8; 3] {
        let x = x.clamp(0, self.width as isize - 1) as usize;
        let y = y.clamp(0, self.height as isize - 1) as usize;
        let start = (y * self.width + x) * 3;
        [
            self.pixels[start],
            self.pixels[start + 1],
            self.pixels[start + 2],
        ]
    }

    /// The colour at a point between pixels, whose centres lie at halves.
    fn between(&self, x: f32, y: f32) -> [f32; 3] {
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (right_share, lower_share) = (x - left, y - top);
        let (left, top) = (left as isize, top as isize);
        let corners = [
            (
                self.at(left, top),
                (1.0 - right_share) * (1.0 - lower_share),
            ),
            (self.at(left + 1, top), right_share * (1.0 - lower_share)),
            (self.at(left, top + 1), (1.0 - right_share) * lower_share),
            (self.at(left + 1, top + 1), right_share * lower_share),
        ];
        let mut colour = [0.0; 3];
        for (pixel, share) in corners {
            for (sum, value) in colour.iter_mut().zip(pixel) {
                *sum += f32::from(value) * share;
            }
        }
        colour
    }

    /// The parallelogram that begins at `origin` and is spanned by `along` and `down`, as planes of `width` by
    /// `height` values for blue, green and red, each -1 to 1: what the models were trained on. Where several pixels
    /// make one value, it is their mean.
    pub fn planes(
        &self,
        origin: [f32; 2],
        along: [f32; 2],
        down: [f32; 2],
        [width, height]: [usize; 2],
    ) -> Vec<f32> {
        let step = |side: [f32; 2], count: usize| side.map(|v| v / count as f32);
        let (right, below) = (step(along, width), step(down, height));
        // Samples a value: enough that no pixel is skipped.
        let samples = |step: [f32; 2]| (step[0].hypot(step[1]).ceil() as usize).clamp(1, 8);
        let (across, under) = (samples(right), samples(below));
        let share = 1.0 / (across * under) as f32;
        let plane = width * height;
        let mut planes = vec![0.0; plane * 3];
        for row in 0..height {
            for column in 0..width {
                let mut colour = [0.0; 3];
                for sub_row in 0..under {
                    let v = row as f32 + (sub_row as f32 + 0.5) / under as f32;
                    for sub_column in 0..across {
                        let u = column as f32 + (sub_column as f32 + 0.5) / across as f32;
                        let sample = self.between(
                            origin[0] + right[0] * u + below[0] * v,
                            origin[1] + right[1] * u + below[1] * v,
                        );
                        for (sum, value) in colour.iter_mut().zip(sample) {
                            *sum += value * share;
                        }
                    }
                }
                for (channel, value) in colour.into_iter().enumerate() {
                    planes[(2 - channel) * plane + row * width + column] = value / 127.5 - 1.0;
                }
            }
        }
        planes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn planes_are_the_pixels_when_one_value_is_one_pixel() {
        let pixels: Vec<u8> = (0..4 * 3 * 3).map(|v| v as u8 * 7).collect();
        let picture = Picture::new(4, 3, pixels.clone()).unwrap();
        let planes = picture.planes([0.0, 0.0], [4.0, 0.0], [0.0, 3.0], [4, 3]);
        for (pixel, rgb) in pixels.chunks(3).enumerate() {
            for channel in 0..3 {
                let value = planes[(2 - channel) * 12 + pixel];
                assert!((value - (f32::from(rgb[channel]) / 127.5 - 1.0)).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_turned_parallelogram_reads_the_picture_turned() {
        // Left half black, right half white; read from the top right downwards, white comes first in every row.
        let pixels = [[0u8; 3], [0; 3], [255; 3], [255; 3]].concat().repeat(4);
        let picture = Picture::new(4, 4, pixels).unwrap();
        let planes = picture.planes([4.0, 0.0], [0.0, 4.0], [-4.0, 0.0], [4, 4]);
        assert!(planes[..8].iter().all(|v| *v > 0.99), "{planes:?}");
        assert!(planes[8..16].iter().all(|v| *v < -0.99), "{planes:?}");
    }

    #[test]
    fn shrinking_means_over_all_pixels() {
        let pixels = (0..16 * 16)
            .flat_map(|i| [if i % 2 == 0 { 255u8 } else { 0 }; 3])
            .collect();
        let picture = Picture::new(16, 16, pixels).unwrap();
        let planes = picture.planes([0.0, 0.0], [16.0, 0.0], [0.0, 16.0], [4, 4]);
        assert!(planes.iter().all(|v| v.abs() < 0.1), "{planes:?}");
    }

    #[test]
    fn sides_that_do_not_fit_are_refused() {
        assert!(Picture::new(2, 2, vec![0; 11]).is_none());
        assert!(Picture::new(0, 2, Vec::new()).is_none());
    }
}
