//! The layout of boxes in rows, with lines pointing down. The row of a box is its longest path. The order
//! within a row follows the average position of neighbours, and horizontal positions are the least-squares
//! solution for that order. A line across rows gets a bend in each, which is placed like a box of width 0.

/// The number of passes, down and up, that improve order and positions.
const SWEEPS: usize = 12;
/// The gap between boxes of a row.
const GAP: f64 = 18.0;
/// The gap between the bottom of a row and the top of the next.
const ROW_GAP: f64 = 34.0;

/// A point in the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
}

pub(super) struct Layout {
    /// The centre of each box.
    pub centres: Vec<Point>,
    /// The path of each line, from the bottom of its first box over its bends to the top of its last box. A
    /// bend is two points: where the line enters the row and where it leaves.
    pub paths: Vec<Vec<Point>>,
    pub width: f64,
    pub height: f64,
}

/// Lays out boxes of the given widths and heights; each line leads from an earlier box to a later one.
pub(super) fn lay_out(sizes: &[(f64, f64)], lines: &[(usize, usize)]) -> Layout {
    let mut rows = Rows::new(sizes, lines);
    rows.order();
    rows.place();
    rows.finish(sizes)
}

/// A box or a bend.
struct Item {
    row: usize,
    width: f64,
    /// The neighbours in the row above and in the row below.
    above: Vec<usize>,
    below: Vec<usize>,
    x: f64,
}

struct Rows {
    /// The boxes, then the bends.
    items: Vec<Item>,
    /// The items of each row, from left to right.
    rows: Vec<Vec<usize>>,
    /// The items that each line goes through.
    chains: Vec<Vec<usize>>,
}

impl Rows {
    fn new(sizes: &[(f64, f64)], lines: &[(usize, usize)]) -> Rows {
        let row_of = longest_paths(sizes.len(), lines);
        let count = row_of.iter().max().map_or(0, |last| last + 1);
        let mut rows = Rows {
            items: Vec::new(),
            rows: vec![Vec::new(); count],
            chains: Vec::new(),
        };
        for (&(width, _), &row) in sizes.iter().zip(&row_of) {
            rows.add(row, width);
        }
        for &(from, to) in lines {
            let mut chain = vec![from];
            for row in row_of[from] + 1..row_of[to] {
                chain.push(rows.add(row, 0.0));
            }
            chain.push(to);
            for pair in chain.windows(2) {
                rows.items[pair[0]].below.push(pair[1]);
                rows.items[pair[1]].above.push(pair[0]);
            }
            rows.chains.push(chain);
        }
        rows
    }

    fn add(&mut self, row: usize, width: f64) -> usize {
        let item = self.items.len();
        self.items.push(Item {
            row,
            width,
            above: Vec::new(),
            below: Vec::new(),
            x: 0.0,
        });
        self.rows[row].push(item);
        item
    }

    /// Sorts each row by the average index of the neighbours, downwards and upwards in turn.
    fn order(&mut self) {
        let mut index = vec![0.0; self.items.len()];
        for sweep in 0..2 * SWEEPS {
            let down = sweep % 2 == 0;
            for k in 0..self.rows.len() {
                let row = if down { k } else { self.rows.len() - 1 - k };
                let items = &self.items;
                let wanted = |item: usize| {
                    let item = &items[item];
                    let neighbours = if down { &item.above } else { &item.below };
                    average(neighbours.iter().map(|n| index[*n]))
                };
                let mut keyed: Vec<(f64, usize)> = self.rows[row]
                    .iter()
                    .map(|&item| (wanted(item).unwrap_or(index[item]), item))
                    .collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                let last = keyed.len().max(2) as f64 - 1.0;
                for (place, &(_, item)) in keyed.iter().enumerate() {
                    // Positions are relative, because rows have different numbers of items.
                    index[item] = place as f64 / last;
                }
                self.rows[row] = keyed.into_iter().map(|(_, item)| item).collect();
            }
        }
    }

    /// Moves items towards their neighbours, downwards and upwards in turn.
    fn place(&mut self) {
        for row in 0..self.rows.len() {
            let wanted = vec![0.0; self.rows[row].len()];
            self.place_row(row, &wanted);
        }
        for sweep in 0..2 * SWEEPS {
            let down = sweep % 2 == 0;
            for k in 0..self.rows.len() {
                let row = if down { k } else { self.rows.len() - 1 - k };
                let wanted: Vec<f64> = self.rows[row]
                    .iter()
                    .map(|&item| {
                        let item = &self.items[item];
                        let near = item.above.iter().chain(&item.below);
                        average(near.map(|n| self.items[*n].x)).unwrap_or(item.x)
                    })
                    .collect();
                self.place_row(row, &wanted);
            }
        }
    }

    /// The positions nearest to the wanted ones, by least squares, that keep the order and the gaps.
    ///
    /// After subtracting the room that the items before need, positions only have to be non-decreasing: this
    /// is isotonic regression, solved by pooling neighbours that violate the order.
    fn place_row(&mut self, row: usize, wanted: &[f64]) {
        let mut room = Vec::with_capacity(wanted.len());
        let mut end = 0.0;
        for &item in &self.rows[row] {
            let width = self.items[item].width;
            room.push(end + width / 2.0);
            end += width + GAP;
        }
        // The sum and number of the members of each pool.
        let mut pools: Vec<(f64, usize)> = Vec::new();
        for (wanted, room) in wanted.iter().zip(&room) {
            let mut pool = (wanted - room, 1);
            while let Some(&(sum, count)) = pools.last() {
                if sum / count as f64 <= pool.0 / pool.1 as f64 {
                    break;
                }
                pool = (pool.0 + sum, pool.1 + count);
                pools.pop();
            }
            pools.push(pool);
        }
        let starts = pools
            .iter()
            .flat_map(|&(sum, count)| std::iter::repeat_n(sum / count as f64, count));
        for ((start, room), &item) in starts.zip(room).zip(&self.rows[row]) {
            self.items[item].x = start + room;
        }
    }

    fn finish(self, sizes: &[(f64, f64)]) -> Layout {
        let left = self.items.iter().map(|item| item.x - item.width / 2.0);
        let left = left.fold(f64::INFINITY, f64::min);
        let right = self.items.iter().map(|item| item.x + item.width / 2.0);
        let right = right.fold(f64::NEG_INFINITY, f64::max);
        // The middle and half height of each row.
        let mut middles = Vec::with_capacity(self.rows.len());
        let mut bottom = GAP;
        for row in &self.rows {
            let boxes = row.iter().filter_map(|item| sizes.get(*item));
            let height = boxes.map(|(_, height)| *height).fold(0.0, f64::max);
            middles.push((bottom + height / 2.0, height / 2.0));
            bottom += height + ROW_GAP;
        }
        let x = |item: usize| self.items[item].x - left + GAP;
        let middle = |item: usize| middles[self.items[item].row];
        let centres = (0..sizes.len()).map(|item| Point {
            x: x(item),
            y: middle(item).0,
        });
        let paths = self.chains.iter().map(|chain| {
            let mut path = Vec::with_capacity(2 * chain.len() - 2);
            for (k, &item) in chain.iter().enumerate() {
                let (y, half_row) = middle(item);
                // A bend spans its row; a line starts and ends at the edge of its box.
                let half = sizes.get(item).map_or(half_row, |(_, height)| height / 2.0);
                if k > 0 {
                    path.push(Point {
                        x: x(item),
                        y: y - half,
                    });
                }
                if k + 1 < chain.len() {
                    path.push(Point {
                        x: x(item),
                        y: y + half,
                    });
                }
            }
            path
        });
        Layout {
            centres: centres.collect(),
            paths: paths.collect(),
            width: if sizes.is_empty() { 0.0 } else { right - left } + 2.0 * GAP,
            height: (bottom - ROW_GAP).max(0.0) + GAP,
        }
    }
}

/// The row of each box: one below the lowest box it reads, or just above its first user if it reads none.
fn longest_paths(count: usize, lines: &[(usize, usize)]) -> Vec<usize> {
    let mut rows = vec![0; count];
    let mut reads = vec![false; count];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); count];
    for &(from, to) in lines {
        users[from].push(to);
        reads[to] = true;
    }
    for from in 0..count {
        for &to in &users[from] {
            rows[to] = rows[to].max(rows[from] + 1);
        }
    }
    for item in 0..count {
        let first = users[item].iter().map(|user| rows[*user]).min();
        if let (false, Some(first)) = (reads[item], first) {
            rows[item] = first - 1;
        }
    }
    rows
}

fn average(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0), |(sum, count), x| (sum + x, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ladder in which each box reads the one before it and some far above.
    fn ladder(count: usize) -> Vec<(usize, usize)> {
        let mut lines = Vec::new();
        for k in 1..count {
            for from in [k / 2, k.saturating_sub(3), k - 1] {
                if from % 4 != 3 || from == k - 1 {
                    lines.push((from, k));
                }
            }
        }
        lines.sort_unstable();
        lines.dedup();
        lines
    }

    #[test]
    fn boxes_never_overlap_and_lines_go_down() {
        for count in [1, 2, 40, 200] {
            let lines = ladder(count);
            let sizes: Vec<(f64, f64)> = (0..count)
                .map(|k| (40.0 + (k % 7) as f64 * 10.0, 40.0))
                .collect();
            let layout = lay_out(&sizes, &lines);
            for (k, (a, (width, height))) in layout.centres.iter().zip(&sizes).enumerate() {
                assert!(a.x - width / 2.0 >= 0.0 && a.x + width / 2.0 <= layout.width);
                assert!(a.y - height / 2.0 >= 0.0 && a.y + height / 2.0 <= layout.height);
                for (b, (other, _)) in layout.centres[..k].iter().zip(&sizes) {
                    let apart = (a.x - b.x).abs() >= (width + other) / 2.0 - 1e-6;
                    assert!(apart || (a.y - b.y).abs() >= 40.0);
                }
            }
            for path in &layout.paths {
                assert!(path.windows(2).all(|pair| pair[0].y <= pair[1].y));
            }
        }
    }

    #[test]
    fn nothing_and_a_deep_chain_are_laid_out() {
        let empty = lay_out(&[], &[]);
        assert!(empty.centres.is_empty() && empty.width.is_finite());
        let sizes = vec![(50.0, 20.0); 30_000];
        let lines: Vec<(usize, usize)> = (1..sizes.len()).map(|k| (k - 1, k)).collect();
        let layout = lay_out(&sizes, &lines);
        assert_eq!(layout.centres[29_999].x, layout.centres[0].x);
    }
}
