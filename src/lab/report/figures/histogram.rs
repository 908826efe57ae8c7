//! How numbers are spread.

use super::frame::{range, Frame, BOTTOM, TEXT, WIDTH};
use super::paint::{Anchor, Paint};
use super::palette::{INK, SERIES};

/// Height between the axes.
const HEIGHT: f64 = 160.0;
/// Space above the axes.
const TOP: f64 = 32.0;

/// Shares of equally wide bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// What is counted.
    pub x: String,
    /// Lower end of the first bin and upper end of the last.
    pub bounds: (f64, f64),
    /// Share of each bin, from 0 to 1.
    pub shares: Vec<f64>,
}

impl Histogram {
    /// Its width and height.
    pub fn size(&self) -> (f64, f64) {
        (WIDTH, TOP + HEIGHT + BOTTOM)
    }

    /// Draws it.
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
