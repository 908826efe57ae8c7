//! Curves with bands around them: metrics over iterations, averages around events.

use super::frame::{range, Entry, Frame, Legend, BOTTOM, TEXT, WIDTH};
use super::paint::{Anchor, Paint};
use super::palette::{Color, INK, MUTED};

/// The largest number of points in a drawn curve.
pub const MOST_POINTS: usize = 240;
/// The height between the axes.
const HEIGHT: f64 = 200.0;
/// The height of a row of marks.
const MARKS: f64 = 9.0;

/// One curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The label in the legend.
    pub name: String,
    /// The colour.
    pub color: Color,
    /// The points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// The band as (x, lower, upper), from left to right.
    pub band: Vec<(f64, f64, f64)>,
}

/// Marked x positions below the curves.
#[derive(Clone, Debug, PartialEq)]
pub struct Marks {
    /// The colour.
    pub color: Color,
    /// The x positions.
    pub places: Vec<f64>,
}

/// A figure of curves over one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// The label of the x axis.
    pub x: String,
    /// The label of the y axis.
    pub y: String,
    /// The curves.
    pub lines: Vec<Line>,
    /// The rows of marks.
    pub marks: Vec<Marks>,
    /// The x position of a vertical line.
    pub event: Option<f64>,
    /// True if the x axis begins at 0 even if the curves begin later.
    pub from_zero: bool,
}

impl Lines {
    fn legend(&self) -> Legend {
        let entries = self.lines.iter().map(|line| Entry {
            name: line.name.clone(),
            color: line.color,
        });
        Legend::new(entries.collect())
    }

    fn marked(&self) -> f64 {
        self.marks.len() as f64 * MARKS
    }

    /// The width and height in pixels.
    pub fn size(&self) -> (f64, f64) {
        let top = 8.0 + self.legend().height() + 22.0;
        (WIDTH, top + HEIGHT + self.marked() + BOTTOM)
    }

    /// Draws the curves.
    pub fn draw(&self, paint: &mut dyn Paint) {
        let legend = self.legend();
        legend.draw(paint, 4.0);
        let top = 8.0 + legend.height() + 22.0;
        paint.text((8.0, top - 15.0), &self.y, TEXT, Anchor::Start, INK);
        let points = self.lines.iter().flat_map(|line| &line.points);
        let bands = || self.lines.iter().flat_map(|line| &line.band);
        let xs = points.clone().map(|(x, _)| *x).filter(|x| x.is_finite());
        let x = xs.fold((f64::MAX, f64::MIN), |(lo, hi), x| (lo.min(x), hi.max(x)));
        let x = match x {
            (lo, hi) if lo > hi => (0.0, 1.0),
            // Training begins at 0, even if its first record is later.
            (lo, hi) if lo > 0.0 && self.from_zero => (0.0, hi),
            all => all,
        };
        let y = range(
            points
                .map(|(_, y)| *y)
                .chain(bands().flat_map(|(_, lo, hi)| [*lo, *hi])),
        );
        let frame = Frame::new(top, HEIGHT, x, y);
        frame.draw_y(paint);
        for line in &self.lines {
            let upper = line.band.iter().map(|(x, _, hi)| frame.at(*x, *hi));
            let lower = line.band.iter().rev().map(|(x, lo, _)| frame.at(*x, *lo));
            let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
            if line.band.len() > 1 {
                paint.fill(&outline, line.color, 0.18);
            }
        }
        if let Some(event) = self.event {
            let (x, _) = frame.at(event, y.0);
            paint.line(&[(x, frame.top), (x, frame.bottom())], MUTED, 1.0);
        }
        for line in &self.lines {
            let points: Vec<(f64, f64)> =
                line.points.iter().map(|(x, y)| frame.at(*x, *y)).collect();
            paint.line(&points, line.color, 1.75);
            if let [(x, y)] = points.as_slice() {
                paint.rectangle((x - 3.0, y - 3.0), (6.0, 6.0), line.color);
            }
        }
        for (row, marks) in self.marks.iter().enumerate() {
            let y = frame.bottom() + 3.0 + row as f64 * MARKS;
            for place in &marks.places {
                let (x, _) = frame.at(*place, frame.y.0);
                paint.rectangle((x - 1.5, y), (3.0, 6.0), marks.color);
            }
        }
        let below = Frame {
            height: HEIGHT + self.marked(),
            ..frame
        };
        below.draw_x(paint, &self.x);
    }
}

/// Averages neighbours so that at most `most` points remain.
pub fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let together = points.len().div_ceil(most.max(1)).max(1);
    points
        .chunks(together)
        .map(|some| {
            let count = some.len() as f64;
            let sum = some
                .iter()
                .fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
            (sum.0 / count, sum.1 / count)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::thinned;

    #[test]
    fn thinning_keeps_means() {
        let points: Vec<(f64, f64)> = (0..10).map(|k| (f64::from(k), f64::from(k * k))).collect();
        assert_eq!(thinned(&points, 10), points);
        assert_eq!(
            thinned(&points, 4),
            [
                (1.0, 5.0 / 3.0),
                (4.0, 50.0 / 3.0),
                (7.0, 149.0 / 3.0),
                (9.0, 81.0)
            ]
        );
        assert_eq!(thinned(&[], 4), []);
    }
}
