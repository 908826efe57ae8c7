//! Products by the extents of their factors.

use crate::ir::Binary;
use crate::program::code::{Element, Source};
use crate::program::extent::Extent;
use crate::program::sweep::SweepBuilder;

/// The factors of a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Product {
    /// The scalars, in order.
    pub scalars: Vec<Source>,
    /// The factors of a column, in order.
    pub columns: Vec<Source>,
    /// The factors of a row, in order.
    pub rows: Vec<Source>,
    /// The factor of a connection.
    pub rest: Option<Source>,
    /// The two kinds of factors that were multiplied first, where there are all three.
    first: Pair,
}

/// The kinds of factors that are multiplied first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pair {
    #[default]
    ColumnRow,
    ColumnRest,
    RowRest,
}

impl Product {
    /// Returns true if both have the same factors.
    pub(super) fn has_factors_of(&self, other: &Product) -> bool {
        self.scalars == other.scalars
            && self.columns == other.columns
            && self.rows == other.rows
            && self.rest == other.rest
    }

    /// One factor alone.
    pub(super) fn of(source: Source, extent: Extent) -> Product {
        let mut product = Product::default();
        match extent {
            Extent::One => product.scalars.push(source),
            Extent::Column => product.columns.push(source),
            Extent::Row => product.rows.push(source),
            Extent::Connection => product.rest = Some(source),
        }
        product
    }

    /// The value of an operation on products.
    pub(super) fn of_op(out: &mut SweepBuilder, f: Element, operands: &[Product]) -> Product {
        match (f, operands) {
            (Element::Binary(Binary::Mul), [a, b]) => a.times(b, out),
            // A gate passes factors: it opens or not for their whole product.
            (Element::Gate, [x, gate]) if x.rest.is_some() => {
                let gate = gate.value(out);
                let rest = x.rest.map(|rest| out.add(f, [rest, gate, rest]));
                Product { rest, ..x.clone() }
            }
            _ => {
                let sources: Vec<Source> = operands.iter().map(|one| one.value(out)).collect();
                let get = |k: usize| sources.get(k).copied().unwrap_or(sources[0]);
                let value = out.add(f, [get(0), get(1), get(2)]);
                Product::of(value, Extent::of(value, &Extent::all(out.ops())))
            }
        }
    }

    fn times(&self, other: &Product, out: &mut SweepBuilder) -> Product {
        let both = |a: &[Source], b: &[Source]| {
            let mut all = [a, b].concat();
            all.sort_unstable();
            all
        };
        let rest = match (self.rest, other.rest) {
            (Some(a), Some(b)) => Some(multiply(out, a, b)),
            (rest, None) | (None, rest) => rest,
        };
        let first = match (self.pair(), other.pair()) {
            (Some(pair), _) | (None, Some(pair)) => pair,
            (None, None) => Pair::default(),
        };
        Product {
            scalars: both(&self.scalars, &other.scalars),
            columns: both(&self.columns, &other.columns),
            rows: both(&self.rows, &other.rows),
            rest,
            first,
        }
    }

    /// The kinds that the product has multiplied, from two on.
    fn pair(&self) -> Option<Pair> {
        let has = [
            !self.columns.is_empty(),
            !self.rows.is_empty(),
            self.rest.is_some(),
        ];
        match has {
            [true, true, true] => Some(self.first),
            [true, true, false] => Some(Pair::ColumnRow),
            [true, false, true] => Some(Pair::ColumnRest),
            [false, true, true] => Some(Pair::RowRest),
            _ => None,
        }
    }

    /// The kinds of factors, scalars counting with another kind where there is one.
    pub(super) fn kinds(&self) -> usize {
        let vectors = usize::from(!self.columns.is_empty()) + usize::from(!self.rows.is_empty());
        let scalar = usize::from(vectors == 0 && !self.scalars.is_empty());
        vectors + scalar + usize::from(self.rest.is_some())
    }

    /// The value, with its operations added to a sweep.
    pub(super) fn value(&self, out: &mut SweepBuilder) -> Source {
        let (value, times) = self.halves(out);
        match times {
            Some(times) => multiply(out, value, times),
            None => value,
        }
    }

    /// The value as a product of two, or alone.
    pub(super) fn halves(&self, out: &mut SweepBuilder) -> (Source, Option<Source>) {
        // Scalars are multiplied with what varies least.
        let [mut columns, mut rows] = [self.columns.clone(), self.rows.clone()];
        let mut scalars = self.scalars.clone();
        if !columns.is_empty() {
            columns.splice(0..0, scalars.drain(..));
        } else if !rows.is_empty() {
            rows.splice(0..0, scalars.drain(..));
        }
        let column = chain(out, &columns);
        let row = chain(out, &rows);
        let scalar = chain(out, &scalars);
        match (column, row, self.rest.or(scalar)) {
            (Some(c), Some(r), Some(e)) => match self.first {
                Pair::ColumnRow => (multiply(out, c, r), Some(e)),
                Pair::ColumnRest => (multiply(out, c, e), Some(r)),
                Pair::RowRest => (multiply(out, r, e), Some(c)),
            },
            (Some(a), Some(b), None) | (Some(a), None, Some(b)) | (None, Some(a), Some(b)) => {
                (a, Some(b))
            }
            (Some(a), None, None) | (None, Some(a), None) => (a, None),
            (None, None, Some(e)) => (e, scalar.filter(|scalar| *scalar != e)),
            (None, None, None) => (Source::Number(1.0f32.to_bits()), None),
        }
    }
}

fn multiply(out: &mut SweepBuilder, a: Source, b: Source) -> Source {
    out.add(Element::Binary(Binary::Mul), [a, b, a])
}

/// The product of factors from the first on.
fn chain(out: &mut SweepBuilder, factors: &[Source]) -> Option<Source> {
    let (first, rest) = factors.split_first()?;
    Some(
        rest.iter()
            .fold(*first, |all, one| multiply(out, all, *one)),
    )
}
