//! Intervals: medians with their quartiles, one row each.

use super::frame::{range, shortened, Frame, BOTTOM, TEXT, WIDTH};
use super::paint::{width_of, Anchor, Paint};
use super::palette::{Color, GRID, INK};

/// The height of a row.
const ROW: f64 = 26.0;
/// The margin above the rows.
const TOP: f64 = 10.0;

/// One row of intervals.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The label.
    pub name: String,
    /// The colour.
    pub color: Color,
    /// The lower quartile, the median and the upper quartile.
    pub quartiles: [f64; 3],
}

/// Rows of intervals over one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Intervals {
    /// The label of the x axis.
    pub x: String,
    /// The rows, from the top.
    pub rows: Vec<Row>,
}

impl Intervals {
    /// The width and height in pixels.
    pub fn size(&self) -> (f64, f64) {
        (WIDTH, TOP + self.rows.len() as f64 * ROW + BOTTOM)
    }

    /// Draws the intervals.
    pub fn draw(&self, paint: &mut dyn Paint) {
        let widest = self.rows.iter().map(|row| width_of(&row.name, TEXT));
        let left = (widest.fold(0.0, f64::max) + 18.0).min(WIDTH / 2.0);
        let (lo, hi) = range(self.rows.iter().flat_map(|row| row.quartiles));
        let frame = Frame {
            left,
            top: TOP,
            width: WIDTH - left - 16.0,
            height: self.rows.len() as f64 * ROW,
            x: (lo, hi),
            y: (0.0, 1.0),
        };
        if lo <= 0.0 && hi >= 0.0 {
            let (zero, _) = frame.at(0.0, 0.0);
            paint.line(&[(zero, TOP), (zero, frame.bottom())], GRID, 1.0);
        }
        for (k, row) in self.rows.iter().enumerate() {
            let y = TOP + (k as f64 + 0.5) * ROW;
            paint.text(
                (8.0, y),
                &shortened(&row.name, left - 14.0),
                TEXT,
                Anchor::Start,
                INK,
            );
            let [lower, median, upper] = row.quartiles.map(|value| frame.at(value, 0.0).0);
            paint.line(&[(lower, y), (upper, y)], row.color, 3.0);
            paint.rectangle((median - 2.5, y - 7.0), (5.0, 14.0), row.color);
        }
        frame.draw_x(paint, &self.x);
    }
}
