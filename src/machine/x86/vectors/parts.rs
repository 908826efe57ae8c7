//! Vector code as loops: operations on equally many elements run together, a vector of each at a time.

use crate::ir::{Binary, Unary};
use crate::machine::abi::{address, PARTIAL};
use crate::program::code::{Area, Element, Instr, Place};
use crate::program::layout::PANEL;

/// The most elements of code without a loop.
const STRAIGHT: usize = 256;
/// The most elements of a maximum, which is found element by element.
const COMPARED: usize = 64;

/// The numbers of a softmax in the scratch memory: the largest, the sum, the scale.
const NUMBERS: [usize; 3] = [PANEL, 2 * PANEL, 3 * PANEL];
/// The first element of the scratch memory for values that found no register.
pub const SLOTS: usize = 4 * PANEL;

/// A place by the number of its address in the table; a number for all elements if it is not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub base: usize,
    pub at: usize,
    pub row: bool,
}

impl Spot {
    fn of(place: Place) -> Spot {
        Spot {
            base: address::area(place.area),
            at: place.at,
            row: place.stride != 0,
        }
    }

    fn row(base: usize, at: usize) -> Spot {
        Spot {
            base,
            at,
            row: true,
        }
    }

    fn number(at: usize) -> Spot {
        Spot {
            base: PARTIAL,
            at,
            row: false,
        }
    }

    /// Returns true if whole vectors can be read there, past the end too: memories fill cache lines.
    pub fn is_aligned(self) -> bool {
        !self.row || self.at.is_multiple_of(8)
    }

    /// Returns true if two ranges share elements. The last vector of a loop is written whole, so a range ends with it.
    fn meets(self, n: usize, other: Spot, m: usize) -> bool {
        let size = |spot: Spot, n: usize| if spot.row { n.next_multiple_of(8) } else { 1 };
        self.base == other.base
            && self.at < other.at + size(other, m)
            && other.at < self.at + size(self, n)
    }
}

/// An operation on every element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statement {
    Element {
        f: Element,
        to: Spot,
        operands: [Spot; 3],
    },
    /// The sum `to += a`.
    Add { to: Spot, a: Spot },
}

impl Statement {
    fn to(&self) -> Spot {
        match *self {
            Statement::Element { to, .. } | Statement::Add { to, .. } => to,
        }
    }

    fn reads(&self) -> Vec<Spot> {
        match self {
            Statement::Element { f, operands, .. } => operands[..f.arity()].to_vec(),
            Statement::Add { to, a } => vec![*to, *a],
        }
    }
}

/// A part of vector code.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Operations on `n` elements each.
    Loop {
        n: usize,
        statements: Vec<Statement>,
    },
    /// A copy of exactly `n` elements, or zeros.
    Copy {
        to: Spot,
        a: Option<Spot>,
        n: usize,
    },
    Sum {
        to: Spot,
        a: Spot,
        n: usize,
    },
    Max {
        to: Spot,
        a: Spot,
        n: usize,
    },
}

impl Part {
    /// Returns true if something that reads and writes these ranges of `n` elements cannot change places with the part.
    fn holds_back(&self, reads: &[Spot], to: Spot, n: usize) -> bool {
        let meets = |own: &[Spot], own_to: Spot, m: usize| {
            own.iter().any(|spot| spot.meets(m, to, n))
                || own_to.meets(m, to, n)
                || reads.iter().any(|spot| own_to.meets(m, *spot, n))
        };
        match self {
            Part::Loop { n: m, statements } => {
                statements.iter().any(|s| meets(&s.reads(), s.to(), *m))
            }
            Part::Copy { to, a, n } => meets(a.as_slice(), *to, *n),
            Part::Sum { to, a, n } | Part::Max { to, a, n } => meets(&[*a], *to, *n),
        }
    }
}

/// Returns true if `later` can run after `earlier` vector by vector: they share the same elements or none.
fn goes_along(earlier: &Statement, later: &Statement, n: usize) -> bool {
    let same = |a: Spot, b: Spot| !a.meets(n, b, n) || (a.at == b.at && a.row == b.row);
    let (from, to) = (earlier.to(), later.to());
    same(from, to)
        && later.reads().iter().all(|spot| same(from, *spot))
        && earlier.reads().iter().all(|spot| same(*spot, to))
}

/// Vector code in parts.
#[derive(Debug, Default)]
pub struct Parts {
    pub all: Vec<Part>,
    /// The outer products whose vectors are kept, by their numbers; each has two addresses in the table.
    pub outers: Vec<usize>,
}

impl Parts {
    /// Adds an instruction; `None` if there is no machine code for it.
    pub fn push(&mut self, instr: &Instr) -> Option<()> {
        match *instr {
            Instr::Element { f, to, operands, n } => {
                let to = Spot::row(address::area(Area::Lane), to);
                let operands = operands.map(Spot::of);
                self.statement(n, Statement::Element { f, to, operands })
            }
            Instr::Copy { to, a, n } => self.copy(
                Spot::row(address::area(Area::Lane), to),
                Some(Spot::of(a)),
                n,
            ),
            Instr::Zero { to, n } => self.copy(Spot::row(address::area(Area::Lane), to), None, n),
            Instr::Sum { to, a, n } => {
                self.sum(Spot::row(address::area(Area::Lane), to), Spot::of(a), n)
            }
            Instr::Max { to, a, n } => {
                self.max(Spot::row(address::area(Area::Lane), to), Spot::of(a), n)
            }
            Instr::Softmax { to, a, n } => {
                self.softmax(Spot::row(address::area(Area::Lane), to), Spot::of(a), n)
            }
            Instr::AddTo { sum, a, n } => {
                let to = Spot::row(address::SUMS, sum);
                self.statement(n, Statement::Add { to, a: own(a) })
            }
            Instr::KeepOuter {
                index,
                a,
                b,
                rows,
                cols,
            } => {
                let base = PARTIAL + 1 + 2 * self.outers.len();
                for (k, (from, n)) in [(a, rows), (b, cols)].into_iter().enumerate() {
                    let statement = Statement::Element {
                        f: Element::Copy,
                        to: Spot::row(base + k, 0),
                        operands: [own(from); 3],
                    };
                    self.statement(n, statement)?;
                }
                self.outers.push(index);
                Some(())
            }
            Instr::MatVec { .. }
            | Instr::AddOuter { .. }
            | Instr::Gather { .. }
            | Instr::Scatter { .. }
            | Instr::Sweep(_) => None,
        }
    }

    /// Adds an operation to the last loop that it can join, or as a loop of its own.
    fn statement(&mut self, n: usize, mut statement: Statement) -> Option<()> {
        if !statement.to().is_aligned() || !statement.reads().iter().all(|s| s.is_aligned()) {
            // A number has no alignment, but is the first of a vector only if it is the whole.
            if n != 1 {
                return None;
            }
        }
        if n == 1 {
            match &mut statement {
                Statement::Element { to, operands, .. } => {
                    to.row = false;
                    for spot in operands {
                        spot.row = false;
                    }
                }
                Statement::Add { to, a } => (to.row, a.row) = (false, false),
            }
        }
        let (reads, to) = (statement.reads(), statement.to());
        for part in self.all.iter_mut().rev() {
            if let Part::Loop { n: m, statements } = part {
                if *m == n && statements.iter().all(|s| goes_along(s, &statement, n)) {
                    statements.push(statement);
                    return Some(());
                }
            }
            if part.holds_back(&reads, to, n) {
                break;
            }
        }
        let statements = vec![statement];
        self.all.push(Part::Loop { n, statements });
        Some(())
    }

    fn copy(&mut self, to: Spot, a: Option<Spot>, n: usize) -> Option<()> {
        let whole = to.at.is_multiple_of(8) && n.is_multiple_of(8);
        match a {
            Some(a) if n == 1 || (whole && a.is_aligned()) => {
                let (f, operands) = (Element::Copy, [a; 3]);
                self.statement(n, Statement::Element { f, to, operands })
            }
            _ if n <= STRAIGHT => {
                self.all.push(Part::Copy { to, a, n });
                Some(())
            }
            _ => None,
        }
    }

    fn sum(&mut self, to: Spot, a: Spot, n: usize) -> Option<()> {
        if !a.row && n == 1 {
            return self.copy(to, Some(a), 1);
        }
        if !a.row || !a.is_aligned() || n > STRAIGHT {
            return None;
        }
        self.all.push(Part::Sum { to, a, n });
        Some(())
    }

    fn max(&mut self, to: Spot, a: Spot, n: usize) -> Option<()> {
        if n > COMPARED {
            return None;
        }
        let n = if a.row { n } else { 1 };
        self.all.push(Part::Max { to, a, n });
        Some(())
    }

    fn softmax(&mut self, to: Spot, a: Spot, n: usize) -> Option<()> {
        if n > COMPARED || !a.is_aligned() || !to.is_aligned() {
            return None;
        }
        let [top, total, scale] = NUMBERS.map(Spot::number);
        let one = |f, to, operands| Statement::Element { f, to, operands };
        let (less, times) = (Element::Binary(Binary::Sub), Element::Binary(Binary::Mul));
        self.max(top, a, n)?;
        self.statement(n, one(less, to, [a, top, a]))?;
        self.statement(n, one(Element::Unary(Unary::Exp), to, [to; 3]))?;
        self.sum(total, to, n)?;
        self.statement(1, one(Element::Unary(Unary::Recip), scale, [total; 3]))?;
        self.statement(n, one(times, to, [to, scale, to]))
    }
}

/// The place of an operand of gradient sums, which are those of the step itself.
fn own(place: Place) -> Spot {
    let area = match place.area {
        Area::Before => Area::Lane,
        Area::RecordBefore => Area::Record,
        area => area,
    };
    Spot::of(Place { area, ..place })
}
