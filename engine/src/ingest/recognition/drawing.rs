//! A page of a PDF to pixels, with hayro.
//!
//! Fonts are not embedded: pages come here because nothing but pictures stands on them.

use super::RecognitionFault;
use super::picture::Picture;
use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_syntax::Pdf;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings, render};
use std::sync::Arc;

/// Pixels a point: 216 dots an inch.
const SCALE: f32 = 3.0;
/// Longest side of a drawn page: A4 at [`SCALE`] has 2,526. Larger pages are drawn smaller.
const LONGEST: f32 = 4000.0;
/// Shortest long side: pages whose size is that of a stamp carry pictures that are larger.
const SHORTEST: f32 = 1500.0;

/// A PDF whose pages can be drawn.
pub(super) struct Drawable(Pdf);

impl Drawable {
    /// Opens the file; the empty password is tried without one.
    pub fn open(bytes: Vec<u8>, password: Option<&str>) -> Result<Drawable, RecognitionFault> {
        Pdf::new_with_password(Arc::new(bytes), password.unwrap_or_default())
            .map(Drawable)
            .map_err(|error| RecognitionFault::NotDrawn {
                reason: format!("{error:?}"),
            })
    }

    /// Draws a page, and says how many pixels a point is wide and high in the picture. `size`: what the page measures
    /// in points as displayed; a page that measures something else is another page.
    pub fn draw(
        &self,
        index: usize,
        count: usize,
        size: [f32; 2],
    ) -> Result<(Picture, [f32; 2]), RecognitionFault> {
        let pages = self.0.pages();
        let fault = |reason: &str| RecognitionFault::NotDrawn {
            reason: reason.to_owned(),
        };
        let page = pages
            .get(index)
            .ok_or_else(|| fault("there is no such page"))?;
        let (width, height) = page.render_dimensions();
        let same = pages.len() == count
            && (width - size[0]).abs() <= 1.5
            && (height - size[1]).abs() <= 1.5;
        if !same {
            return Err(fault("its pages are counted or measured in two ways"));
        }
        let longest = width.max(height);
        let scale = SCALE.max(SHORTEST / longest).min(LONGEST / longest);
        let pixmap = render(
            page,
            // Not kept from page to page: it would grow with the book.
            &RenderCache::new(),
            &InterpreterSettings::default(),
            &RenderSettings {
                force_image_interpolation: true,
                ..RenderSettings::default()
            },
            &PixmapSettings {
                x_scale: scale,
                y_scale: scale,
                bg_color: WHITE,
            },
        );
        let (columns, rows) = (usize::from(pixmap.width()), usize::from(pixmap.height()));
        // Drawn on white, so opaque: red, green and blue are what they are.
        let pixels = pixmap
            .data_as_u8_slice()
            .chunks_exact(4)
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect();
        let picture =
            Picture::new(columns, rows, pixels).ok_or_else(|| fault("the page has no size"))?;
        Ok((picture, [columns as f32 / width, rows as f32 / height]))
    }
}
