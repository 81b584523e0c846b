//! Scans made of PDFs with a text layer, so that what should be recognised is known to the letter.

use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_syntax::Pdf;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings, render};
use std::io::Write;
use std::sync::Arc;

/// How a page is scanned.
#[derive(Clone, Copy)]
pub struct Scanner {
    /// Dots an inch.
    pub resolution: f32,
    /// How far a pixel is off at most, of 255.
    pub noise: u8,
    /// By how many degrees the paper lies crooked, clockwise.
    pub crooked: f32,
    /// Quarter turns, clockwise, by which it lies.
    pub turns: u8,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner {
            resolution: 200.0,
            noise: 40,
            crooked: 0.0,
            turns: 0,
        }
    }
}

/// A PDF of pictures of these pages (by index) of another PDF.
pub fn scan(pdf: &[u8], pages: &[usize], scanner: Scanner) -> Vec<u8> {
    let pdf = Pdf::new(Arc::new(pdf.to_vec())).unwrap();
    let scale = scanner.resolution / 72.0;
    let pictures: Vec<Grey> = pages
        .iter()
        .map(|&index| {
            let pixmap = render(
                &pdf.pages()[index],
                &RenderCache::new(),
                &InterpreterSettings::default(),
                &RenderSettings::default(),
                &PixmapSettings {
                    x_scale: scale,
                    y_scale: scale,
                    bg_color: WHITE,
                },
            );
            let grey = Grey {
                width: usize::from(pixmap.width()),
                height: usize::from(pixmap.height()),
                pixels: pixmap
                    .data_as_u8_slice()
                    .chunks_exact(4)
                    .map(|p| ((u32::from(p[0]) + u32::from(p[1]) + u32::from(p[2])) / 3) as u8)
                    .collect(),
            };
            grey.crooked(scanner.crooked)
                .turned(scanner.turns)
                .noisy(scanner.noise)
        })
        .collect();
    of_pictures(&pictures, scale)
}

/// A picture in shades of grey.
pub struct Grey {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

impl Grey {
    fn crooked(self, degrees: f32) -> Grey {
        if degrees == 0.0 {
            return self;
        }
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (mx, my) = (self.width as f32 / 2.0, self.height as f32 / 2.0);
        let at = |x: f32, y: f32| -> f32 {
            let inside = x >= 0.0 && y >= 0.0 && x < self.width as f32 && y < self.height as f32;
            match inside {
                true => f32::from(self.pixels[y as usize * self.width + x as usize]),
                false => 255.0,
            }
        };
        let pixels = (0..self.width * self.height)
            .map(|i| {
                let (x, y) = ((i % self.width) as f32 - mx, (i / self.width) as f32 - my);
                let (x, y) = (x * cos + y * sin + mx, y * cos - x * sin + my);
                let (fx, fy) = (x.fract().abs(), y.fract().abs());
                let upper = at(x, y) * (1.0 - fx) + at(x + 1.0, y) * fx;
                let lower = at(x, y + 1.0) * (1.0 - fx) + at(x + 1.0, y + 1.0) * fx;
                (upper * (1.0 - fy) + lower * fy) as u8
            })
            .collect();
        Grey { pixels, ..self }
    }

    fn turned(self, turns: u8) -> Grey {
        (0..turns).fold(self, |grey, _| Grey {
            width: grey.height,
            height: grey.width,
            pixels: (0..grey.width * grey.height)
                .map(|i| {
                    let (x, y) = (i % grey.height, i / grey.height);
                    grey.pixels[(grey.height - 1 - x) * grey.width + y]
                })
                .collect(),
        })
    }

    fn noisy(mut self, noise: u8) -> Grey {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for pixel in &mut self.pixels {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let off = (state % (2 * u64::from(noise) + 1)) as i16 - i16::from(noise);
            *pixel = (i16::from(*pixel) + off).clamp(0, 255) as u8;
        }
        self
    }
}

/// A PDF of one picture a page, so many pixels a point.
pub fn of_pictures(pictures: &[Grey], scale: f32) -> Vec<u8> {
    let mut out: Vec<u8> = b"%PDF-1.5\n".to_vec();
    let mut offsets = Vec::new();
    let mut object = |out: &mut Vec<u8>, body: &[u8]| {
        offsets.push(out.len());
        out.extend(format!("{} 0 obj\n", offsets.len()).bytes());
        out.extend(body);
        out.extend(b"\nendobj\n");
    };
    let kids: String = (0..pictures.len())
        .map(|i| format!("{} 0 R ", 3 + 3 * i))
        .collect();
    object(&mut out, b"<< /Type /Catalog /Pages 2 0 R >>");
    let count = pictures.len();
    object(
        &mut out,
        format!("<< /Type /Pages /Count {count} /Kids [{kids}] >>").as_bytes(),
    );
    for (index, picture) in pictures.iter().enumerate() {
        let (content, image) = (4 + 3 * index, 5 + 3 * index);
        let (w, h) = (picture.width as f32 / scale, picture.height as f32 / scale);
        object(
            &mut out,
            format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {w} {h}] /Contents {content} 0 R \
                 /Resources << /XObject << /I {image} 0 R >> >> >>"
            )
            .as_bytes(),
        );
        let draw = format!("q {w} 0 0 {h} 0 0 cm /I Do Q");
        let stream = format!("<< /Length {} >>\nstream\n{draw}\nendstream", draw.len());
        object(&mut out, stream.as_bytes());
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&picture.pixels).unwrap();
        let packed = packed.finish().unwrap();
        let mut body = format!(
            "<< /Type /XObject /Subtype /Image /Width {} /Height {} /BitsPerComponent 8 /ColorSpace /DeviceGray \
             /Filter /FlateDecode /Length {} >>\nstream\n",
            picture.width,
            picture.height,
            packed.len()
        )
        .into_bytes();
        body.extend(packed);
        body.extend(b"\nendstream");
        object(&mut out, &body);
    }
    let table = out.len();
    out.extend(format!("xref\n0 {}\n0000000000 65535 f \n", offsets.len() + 1).bytes());
    for offset in &offsets {
        out.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    out.extend(
        format!(
            "trailer << /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n",
            offsets.len() + 1
        )
        .bytes(),
    );
    out
}
