//! Heat maps: a matrix in colours, with its colour scale.

use super::frame::{SMALL, TEXT, WIDTH};
use super::number::short;
use super::paint::{Anchor, Paint};
use super::palette::{diverging, INK, MUTED};
use super::raster::Raster;

/// The longest side of the picture in pixels.
const SIDE: f64 = 300.0;
/// The margin above the picture.
const TOP: f64 = 30.0;
/// The left edge of the picture.
const LEFT: f64 = 46.0;
/// The number of steps in the colour scale.
const STEPS: usize = 101;

/// A heat map of a matrix `[pre, post]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// The number of presynaptic neurons.
    pub pre: usize,
    /// The number of postsynaptic neurons.
    pub post: usize,
    /// The rows and columns of the picture; fewer than neurons if each stands for the mean of several.
    pub shape: (usize, usize),
    /// The values, row by row.
    pub values: Vec<f64>,
    /// The absolute value that gets the darkest colour.
    pub range: f64,
}

impl Heat {
    fn picture(&self) -> (f64, f64) {
        let most = self.pre.max(self.post).max(1) as f64;
        // A thin matrix must still be visible.
        let side = |count: usize| (SIDE * count as f64 / most).max(24.0);
        (side(self.post), side(self.pre))
    }

    /// The width and height in pixels.
    pub fn size(&self) -> (f64, f64) {
        (WIDTH, TOP + self.picture().1.max(120.0) + 44.0)
    }

    /// Draws the heat map.
    pub fn draw(&self, paint: &mut dyn Paint) {
        let (wide, high) = self.picture();
        paint.text(
            (8.0, TOP - 15.0),
            "presynaptic neuron i",
            TEXT,
            Anchor::Start,
            INK,
        );
        let raster = Raster::of(&self.values, self.shape.1, self.range);
        paint.image((LEFT, TOP), (wide, high), &raster);
        let corners = [
            (LEFT, TOP),
            (LEFT + wide, TOP),
            (LEFT + wide, TOP + high),
            (LEFT, TOP + high),
            (LEFT, TOP),
        ];
        paint.line(&corners, MUTED, 1.0);
        let (first, last) = ("1".to_owned(), |count: usize| count.to_string());
        let x = LEFT - 6.0;
        paint.text((x, TOP + 6.0), &first, SMALL, Anchor::End, MUTED);
        if self.pre > 1 {
            let y = TOP + high - 6.0;
            paint.text((x, y), &last(self.pre), SMALL, Anchor::End, MUTED);
        }
        let y = TOP + high + 13.0;
        paint.text((LEFT, y), &first, SMALL, Anchor::Start, MUTED);
        if self.post > 1 {
            let at = (LEFT + wide, y);
            paint.text(at, &last(self.post), SMALL, Anchor::End, MUTED);
        }
        let middle = (LEFT + wide / 2.0, y + 17.0);
        let anchor = if wide < 150.0 {
            Anchor::Start
        } else {
            Anchor::Middle
        };
        paint.text(middle, "postsynaptic neuron j", TEXT, anchor, INK);
        self.scale(paint, high.max(120.0));
    }

    /// Draws the colour scale at the right.
    fn scale(&self, paint: &mut dyn Paint, high: f64) {
        let left = LEFT + SIDE + 22.0;
        let values: Vec<f64> = (0..STEPS)
            .map(|k| 1.0 - 2.0 * k as f64 / (STEPS - 1) as f64)
            .collect();
        let raster = Raster {
            width: 1,
            height: STEPS,
            pixels: values.iter().map(|x| diverging(*x)).collect(),
        };
        paint.image((left, TOP), (14.0, high), &raster);
        let corners = [
            (left, TOP),
            (left + 14.0, TOP),
            (left + 14.0, TOP + high),
            (left, TOP + high),
            (left, TOP),
        ];
        paint.line(&corners, MUTED, 1.0);
        for (part, value) in [(0.0, self.range), (0.5, 0.0), (1.0, -self.range)] {
            let y = TOP + part * high;
            paint.line(&[(left + 14.0, y), (left + 18.0, y)], MUTED, 1.0);
            let at = (left + 22.0, y.clamp(TOP + 5.0, TOP + high - 5.0));
            paint.text(at, &short(value), SMALL, Anchor::Start, MUTED);
        }
    }
}

/// Averages neighbours so that the matrix has at most `most` rows and columns; returns it with its shape.
pub fn reduced(values: &[f64], pre: usize, post: usize, most: usize) -> (Vec<f64>, (usize, usize)) {
    let together = |count: usize| count.div_ceil(most.max(1)).max(1);
    let (down, across) = (together(pre), together(post));
    let shape = (pre.div_ceil(down), post.div_ceil(across));
    let mut out = Vec::with_capacity(shape.0 * shape.1);
    for row in 0..shape.0 {
        for column in 0..shape.1 {
            let rows = row * down..((row + 1) * down).min(pre);
            let (mut sum, mut count) = (0.0, 0.0);
            for i in rows {
                for j in column * across..((column + 1) * across).min(post) {
                    sum += values[i * post + j];
                    count += 1.0;
                }
            }
            out.push(sum / count);
        }
    }
    (out, shape)
}

#[cfg(test)]
mod tests {
    use super::reduced;

    #[test]
    fn large_matrices_become_means() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        assert_eq!(reduced(&values, 3, 4, 4), (values.clone(), (3, 4)));
        let (small, shape) = reduced(&values, 3, 4, 2);
        assert_eq!(shape, (2, 2));
        assert_eq!(small, [2.5, 4.5, 8.5, 10.5]);
    }
}
