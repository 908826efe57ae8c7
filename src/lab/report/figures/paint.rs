//! Drawing primitives: lines, areas, text and pictures, on either back end of plotters.
//!
//! Lengths are in CSS pixels. The back ends count in whole units, so one pixel is several units. A PNG is
//! drawn larger and then reduced, which smooths its edges.

use super::palette::{Color, SURFACE};
use super::raster::{base64, png, Raster};
use plotters::prelude::{
    BitMapBackend, DrawingBackend, FontStyle, IntoFont, RGBColor, SVGBackend, ShapeStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{register_font, Color as _, TextStyle};
use std::fmt::Write;
use std::sync::Once;

/// Back-end units per pixel.
const UNITS: f64 = 4.0;
/// Back-end units per pixel of a PNG file, which therefore has two pixels per CSS pixel.
const REDUCED: usize = 2;
/// The ratio of line height to font size: plotters takes the line height for the font size.
const LINE_HEIGHT: f64 = 1.24;
/// The name of the font; browsers substitute their own.
const FAMILY: &str = "sans-serif";
/// A subset of DejaVu Sans: letters, digits and signs. Its licence is in font/LICENSE.
const FONT: &[u8] = include_bytes!("../font/DejaVuSans-subset.ttf");

/// The horizontal anchor of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The left end.
    Start,
    /// The middle.
    Middle,
    /// The right end.
    End,
}

/// A surface to draw on, with its origin in the upper left corner.
pub trait Paint {
    /// Draws a line through points.
    fn line(&mut self, points: &[(f64, f64)], color: Color, width: f64);
    /// Fills an outline.
    fn fill(&mut self, outline: &[(f64, f64)], color: Color, opacity: f64);
    /// Fills a rectangle of size `(width, height)` from its upper left corner.
    fn rectangle(&mut self, corner: (f64, f64), size: (f64, f64), color: Color);
    /// Writes a text on one line; the point is at half its height.
    fn text(&mut self, at: (f64, f64), text: &str, size: f64, anchor: Anchor, color: Color);
    /// Draws a picture, stretched to `size`.
    fn image(&mut self, corner: (f64, f64), size: (f64, f64), raster: &Raster);
}

/// A back end, with the first error that occurred.
struct Painter<B> {
    backend: B,
    /// The elements of pictures, if the back end writes text.
    images: Option<Vec<String>>,
    fault: Option<String>,
}

fn units(at: (f64, f64)) -> (i32, i32) {
    ((at.0 * UNITS).round() as i32, (at.1 * UNITS).round() as i32)
}

fn rgb(color: Color) -> RGBColor {
    RGBColor(color.0, color.1, color.2)
}

fn font(size: f64, anchor: Anchor, color: Color) -> TextStyle<'static> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The bytes of the font are part of the program, and a test draws with them.
        let _ = register_font(FAMILY, FontStyle::Normal, FONT);
    });
    let horizontal = match anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    (FAMILY, size * LINE_HEIGHT * UNITS)
        .into_font()
        .color(&rgb(color))
        .pos(Pos::new(horizontal, VPos::Center))
}

/// The approximate width of a text in pixels.
pub fn width_of(text: &str, size: f64) -> f64 {
    let style = font(size, Anchor::Start, SURFACE);
    let layout = style.font.layout_box(text);
    layout.map_or(0.0, |((left, _), (right, _))| {
        f64::from(right - left) / UNITS
    })
}

impl<B: DrawingBackend> Painter<B> {
    fn check<T, E: std::fmt::Display>(&mut self, result: Result<T, E>) {
        if let (Err(error), None) = (result, &self.fault) {
            self.fault = Some(error.to_string());
        }
    }
}

impl<B: DrawingBackend> Paint for Painter<B> {
    fn line(&mut self, points: &[(f64, f64)], color: Color, width: f64) {
        let style = ShapeStyle {
            color: rgb(color).to_rgba(),
            filled: false,
            stroke_width: (width * UNITS).round().max(1.0) as u32,
        };
        let mut all: Vec<(i32, i32)> = points.iter().map(|at| units(*at)).collect();
        all.dedup();
        if all.len() > 1 {
            let drawn = self.backend.draw_path(all, &style);
            self.check(drawn);
        }
    }

    fn fill(&mut self, outline: &[(f64, f64)], color: Color, opacity: f64) {
        let style = rgb(color).mix(opacity);
        let all: Vec<(i32, i32)> = outline.iter().map(|at| units(*at)).collect();
        let drawn = self.backend.fill_polygon(all, &style);
        self.check(drawn);
    }

    fn rectangle(&mut self, corner: (f64, f64), size: (f64, f64), color: Color) {
        let (from, to) = (units(corner), units((corner.0 + size.0, corner.1 + size.1)));
        if from.0 < to.0 && from.1 < to.1 {
            let drawn = self.backend.draw_rect(from, to, &rgb(color), true);
            self.check(drawn);
        }
    }

    fn text(&mut self, at: (f64, f64), text: &str, size: f64, anchor: Anchor, color: Color) {
        // The bitmap back end puts the middle of small letters above the point, SVG puts it at the point.
        let lower = if self.images.is_some() {
            0.0
        } else {
            0.19 * size
        };
        let at = (at.0, at.1 + lower);
        let drawn = self
            .backend
            .draw_text(text, &font(size, anchor, color), units(at));
        self.check(drawn);
    }

    fn image(&mut self, corner: (f64, f64), size: (f64, f64), raster: &Raster) {
        if self.images.is_some() {
            let file = raster.to_png();
            let bytes = file.as_deref().unwrap_or_default();
            let ((x, y), (width, height)) = (units(corner), units(size));
            let element = format!(
                "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
                 image-rendering=\"pixelated\" href=\"data:image/png;base64,{}\"/>\n",
                base64(bytes)
            );
            self.images.get_or_insert_default().push(element);
            self.check(file);
            return;
        }
        let (wide, high) = (size.0 / raster.width as f64, size.1 / raster.height as f64);
        for (k, color) in raster.pixels.iter().enumerate() {
            let (column, row) = ((k % raster.width) as f64, (k / raster.width) as f64);
            let corner = (corner.0 + column * wide, corner.1 + row * high);
            self.rectangle(corner, (wide, high), *color);
        }
    }
}

/// Draws SVG elements; returns them with the size of their view box.
///
/// # Errors
/// The message of the back end.
pub fn svg(
    size: (f64, f64),
    draw: &dyn Fn(&mut dyn Paint),
) -> Result<(String, (i32, i32)), String> {
    let whole = units(size);
    let mut text = String::new();
    let images = {
        let mut painter = Painter {
            backend: SVGBackend::with_string(&mut text, (whole.0 as u32, whole.1 as u32)),
            images: Some(Vec::new()),
            fault: None,
        };
        draw(&mut painter);
        let ended = painter.backend.present();
        painter.check(ended);
        if let Some(fault) = painter.fault {
            return Err(fault);
        }
        painter.images
    };
    // The caller writes the root, which differs between a page and a file.
    let inside = text.split_once(">\n").map_or("", |(_, rest)| rest);
    let inside = inside.strip_suffix("</svg>\n").unwrap_or(inside);
    let mut body = inside
        .replace(" opacity=\"1\"", "")
        .replace(" \"/>", "\"/>");
    for image in images.unwrap_or_default() {
        body.push_str(&image);
    }
    Ok((body, whole))
}

/// Draws a PNG file.
///
/// # Errors
/// The message of the back end or the encoder.
pub fn bitmap(size: (f64, f64), draw: &dyn Fn(&mut dyn Paint)) -> Result<Vec<u8>, String> {
    let whole = units(size);
    let (width, height) = (whole.0 as usize, whole.1 as usize);
    let mut large = vec![0xFF; width * height * 3];
    {
        let mut painter = Painter {
            backend: BitMapBackend::with_buffer(&mut large, (width as u32, height as u32)),
            images: None,
            fault: None,
        };
        draw(&mut painter);
        if let Some(fault) = painter.fault {
            return Err(fault);
        }
    }
    let small = reduced(&large, width, height);
    png(&small, width / REDUCED, height / REDUCED).map_err(|error| error.to_string())
}

/// Averages squares of pixels.
fn reduced(large: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut small = Vec::with_capacity(large.len() / (REDUCED * REDUCED));
    for row in 0..height / REDUCED {
        for column in 0..width / REDUCED {
            for channel in 0..3 {
                let square = (0..REDUCED * REDUCED).map(|k| {
                    let (y, x) = (row * REDUCED + k / REDUCED, column * REDUCED + k % REDUCED);
                    u32::from(large[(y * width + x) * 3 + channel])
                });
                let count = (REDUCED * REDUCED) as u32;
                small.push(((square.sum::<u32>() + count / 2) / count) as u8);
            }
        }
    }
    small
}

/// A whole SVG file around elements of [`svg`].
pub fn svg_file(body: &str, view: (i32, i32), title: &str) -> String {
    let (width, height) = (f64::from(view.0) / UNITS, f64::from(view.1) / UNITS);
    let mut text = String::new();
    let _ = write!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {} {}\" \
         stroke-linejoin=\"round\">\n<title>{title}</title>\n\
         <rect x=\"0\" y=\"0\" width=\"{}\" height=\"{}\" fill=\"{SURFACE}\"/>\n{body}</svg>\n",
        view.0, view.1, view.0, view.1
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::report::figures::palette::INK;

    fn picture(paint: &mut dyn Paint) {
        paint.text((50.0, 20.0), "Trace −1 α ≥", 12.0, Anchor::Middle, INK);
        paint.line(&[(10.0, 40.0), (90.0, 40.0)], INK, 2.0);
        paint.image(
            (10.0, 50.0),
            (20.0, 20.0),
            &Raster::of(&[1.0, -1.0], 2, 1.0),
        );
    }

    #[test]
    fn the_same_picture_on_both_back_ends() {
        let (body, view) = svg((100.0, 80.0), &picture).unwrap();
        assert_eq!(view, (400, 320));
        for part in [
            ">\nTrace −1 α ≥\n</text>",
            "<polyline",
            "data:image/png;base64,",
        ] {
            assert!(body.contains(part), "{part}: {body}");
        }
        let file = bitmap((100.0, 80.0), &picture).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.width, info.height), (200, 160));
        let dark = |x: usize, y: usize| bytes[(y * 200 + x) * 3] < 0x80;
        assert!(dark(100, 80), "the line");
        assert!((60..140).any(|x| (30..50).any(|y| dark(x, y))), "the text");
        assert!(!dark(5, 5));
        assert!(
            bytes[(120 * 200 + 30) * 3] > bytes[(120 * 200 + 50) * 3],
            "orange, then blue"
        );
    }

    #[test]
    fn wider_texts_are_wider() {
        assert!(width_of("mmmm", 12.0) > 2.0 * width_of("ii", 12.0));
        assert!(width_of("m", 24.0) > 1.8 * width_of("m", 12.0));
    }
}
