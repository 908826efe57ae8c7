//! The frame of a figure: where its axes lie, their ticks and labels, and its legend.

use super::number::{labels, ticks};
use super::paint::{width_of, Anchor, Paint};
use super::palette::{Color, GRID, INK, MUTED};

/// The width of every figure in pixels: one fits a phone, two fit side by side on a desktop screen.
pub const WIDTH: f64 = 460.0;
/// The font size of labels.
pub const TEXT: f64 = 13.0;
/// The font size of tick labels.
pub const SMALL: f64 = 12.0;
/// The height of one row of the legend.
const ROW: f64 = 19.0;
/// The margin to the right of the axes.
const RIGHT: f64 = 16.0;
/// The margin below the axes, for ticks and a label.
pub const BOTTOM: f64 = 44.0;

/// The area between the axes in pixels, and the data range that its sides stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// The left edge in pixels.
    pub left: f64,
    /// The upper edge in pixels.
    pub top: f64,
    /// The width in pixels.
    pub width: f64,
    /// The height in pixels.
    pub height: f64,
    /// The data range from left to right.
    pub x: (f64, f64),
    /// The data range from bottom to top.
    pub y: (f64, f64),
}

impl Frame {
    /// A frame with enough room on its left for the tick labels.
    pub fn new(top: f64, height: f64, x: (f64, f64), y: (f64, f64)) -> Frame {
        let names = labels(&ticks(y.0, y.1, steps(height)));
        let widest = names.iter().map(|name| width_of(name, SMALL));
        let left = widest.fold(16.0, f64::max) + 14.0;
        Frame {
            left,
            top,
            width: WIDTH - left - RIGHT,
            height,
            x,
            y,
        }
    }

    /// The pixel position of a data point.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let part = |value: f64, (lo, hi): (f64, f64)| {
            let span = if hi > lo { hi - lo } else { 1.0 };
            (value - lo) / span
        };
        (
            self.left + part(x, self.x) * self.width,
            self.top + self.height - part(y, self.y) * self.height,
        )
    }

    /// The lower edge in pixels.
    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// Draws the horizontal grid lines and their tick labels.
    pub fn draw_y(&self, paint: &mut dyn Paint) {
        let at = ticks(self.y.0, self.y.1, steps(self.height));
        for (value, name) in at.iter().zip(labels(&at)) {
            let (_, y) = self.at(self.x.0, *value);
            let color = if *value == 0.0 { MUTED } else { GRID };
            paint.line(&[(self.left, y), (self.left + self.width, y)], color, 0.75);
            paint.text((self.left - 7.0, y), &name, SMALL, Anchor::End, MUTED);
        }
    }

    /// Draws the x axis with its ticks, tick labels and label.
    pub fn draw_x(&self, paint: &mut dyn Paint, label: &str) {
        let y = self.bottom();
        paint.line(&[(self.left, y), (self.left + self.width, y)], MUTED, 1.0);
        let mut at = ticks(self.x.0, self.x.1, 6);
        let fits = |at: &[f64]| {
            let names = labels(at);
            let total: f64 = names.iter().map(|name| width_of(name, SMALL) + 14.0).sum();
            total < self.width
        };
        while at.len() > 3 && !fits(&at) {
            at = at.into_iter().step_by(2).collect();
        }
        for (value, name) in at.iter().zip(labels(&at)) {
            let (x, _) = self.at(*value, self.y.0);
            paint.line(&[(x, y), (x, y + 4.0)], MUTED, 1.0);
            // The last tick label may not leave the picture.
            let half = width_of(&name, SMALL) / 2.0;
            let x = x.min(WIDTH - half - 2.0);
            paint.text((x, y + 14.0), &name, SMALL, Anchor::Middle, MUTED);
        }
        let middle = self.left + self.width / 2.0;
        paint.text((middle, y + 33.0), label, TEXT, Anchor::Middle, INK);
    }
}

/// The number of ticks for an axis of this height; a low axis has them closer together.
fn steps(height: f64) -> usize {
    if height < 100.0 {
        (height / 21.0).round().max(1.0) as usize
    } else {
        (height / 44.0).round().min(6.0) as usize
    }
}

/// The range of an axis: that of `values`, with a small margin.
pub fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (lo, hi) = values
        .filter(|x| x.is_finite())
        .fold((f64::MAX, f64::MIN), |(lo, hi), x| (lo.min(x), hi.max(x)));
    if lo > hi {
        return (0.0, 1.0);
    }
    // A flat line gets a margin above and below.
    let room = if hi > lo {
        0.05 * (hi - lo)
    } else {
        0.1 * hi.abs().max(1.0)
    };
    // Values that are never negative need no margin below 0, and the axis begins at 0 if they are near it.
    let low = if lo < 0.0 {
        lo - room
    } else if lo < 0.35 * hi {
        0.0
    } else {
        (lo - room).max(0.0)
    };
    (low, hi + room)
}

/// Cuts the end of a name so that it fits into `width`.
pub fn shortened(name: &str, width: f64) -> String {
    let mut text = name.to_owned();
    while text.chars().count() > 4 && width_of(&text, TEXT) > width {
        text.truncate(text.trim_end_matches('…').len());
        text.pop();
        text.push('…');
    }
    text
}

/// One entry of a legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The label.
    pub name: String,
    /// The colour.
    pub color: Color,
}

/// The rows of a legend, each at most as wide as a figure.
pub struct Legend {
    rows: Vec<Vec<Entry>>,
}

impl Legend {
    /// A legend of `entries`; a single entry needs none.
    pub fn new(entries: Vec<Entry>) -> Legend {
        let mut rows: Vec<Vec<Entry>> = Vec::new();
        let mut used = f64::MAX;
        if entries.len() > 1 {
            for mut entry in entries {
                entry.name = shortened(&entry.name, WIDTH - 60.0);
                let width = width_of(&entry.name, TEXT) + 38.0;
                if used + width > WIDTH - 16.0 {
                    rows.push(Vec::new());
                    used = 0.0;
                }
                used += width;
                if let Some(row) = rows.last_mut() {
                    row.push(entry);
                }
            }
        }
        Legend { rows }
    }

    /// The height in pixels.
    pub fn height(&self) -> f64 {
        self.rows.len() as f64 * ROW
    }

    /// Draws the legend from `top` down.
    pub fn draw(&self, paint: &mut dyn Paint, top: f64) {
        for (k, row) in self.rows.iter().enumerate() {
            let y = top + (k as f64 + 0.5) * ROW;
            let mut x = 8.0;
            for entry in row {
                paint.line(&[(x, y), (x + 16.0, y)], entry.color, 3.0);
                paint.text((x + 21.0, y), &entry.name, TEXT, Anchor::Start, INK);
                x += width_of(&entry.name, TEXT) + 38.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::report::figures::palette::series;

    #[test]
    fn corners_are_corners() {
        let frame = Frame::new(20.0, 200.0, (0.0, 10.0), (-1.0, 1.0));
        assert_eq!(frame.at(0.0, -1.0), (frame.left, 220.0));
        assert_eq!(frame.at(10.0, 1.0), (frame.left + frame.width, 20.0));
        assert!(frame.left + frame.width <= WIDTH - RIGHT);
    }

    #[test]
    fn ranges_have_room() {
        assert_eq!(range([0.0, 10.0].into_iter()), (0.0, 10.5));
        assert_eq!(range([-1.0, 1.0].into_iter()), (-1.1, 1.1));
        assert_eq!(range([3.0].into_iter()), (2.7, 3.3));
        assert_eq!(range([f64::NAN].into_iter()), (0.0, 1.0));
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shortened("alpha=0", 200.0), "alpha=0");
        let cut = shortened("a very long name of an ablation", 80.0);
        assert!(cut.ends_with('…') && width_of(&cut, TEXT) <= 80.0, "{cut}");
    }

    #[test]
    fn legends_break_into_rows() {
        let entries = |count: usize| {
            let entry = |k| Entry {
                name: format!("a rather long name {k}"),
                color: series(k),
            };
            Legend::new((0..count).map(entry).collect())
        };
        assert_eq!(entries(1).height(), 0.0);
        assert!(entries(8).rows.len() >= 3);
        assert_eq!(entries(8).rows.iter().map(Vec::len).sum::<usize>(), 8);
    }
}
