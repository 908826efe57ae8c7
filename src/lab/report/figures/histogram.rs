//! Histograms.

use super::frame::{range, Frame, BOTTOM, TEXT, WIDTH};
use super::paint::{Anchor, Paint};
use super::palette::{INK, SERIES};

/// The height between the axes.
const HEIGHT: f64 = 160.0;
/// The margin above the axes.
const TOP: f64 = 32.0;

/// A histogram of shares in equally wide bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The label of the x axis.
    pub x: String,
    /// The lower end of the first bin and the upper end of the last.
    pub bounds: (f64, f64),
    /// The share of each bin, from 0 to 1.
    pub shares: Vec<f64>,
}

impl Histogram {
    /// The width and height in pixels.
    pub fn size(&self) -> (f64, f64) {
        (WIDTH, TOP + HEIGHT + BOTTOM)
    }

    /// Draws the histogram.
    pub fn draw(&self, paint: &mut dyn Paint) {
        let y = "share of the connections, %";
        paint.text((8.0, TOP - 15.0), y, TEXT, Anchor::Start, INK);
        let percent = |share: &f64| 100.0 * share;
        let (_, most) = range(self.shares.iter().map(percent));
        let frame = Frame::new(TOP, HEIGHT, self.bounds, (0.0, most));
        frame.draw_y(paint);
        let wide = frame.width / self.shares.len().max(1) as f64;
        for (k, share) in self.shares.iter().enumerate() {
            let (_, y) = frame.at(self.bounds.0, percent(share));
            let left = frame.left + k as f64 * wide;
            let size = ((wide - 1.0).max(0.5), frame.bottom() - y);
            paint.rectangle((left + 0.5, y), size, SERIES[0]);
        }
        frame.draw_x(paint, &self.x);
    }
}
