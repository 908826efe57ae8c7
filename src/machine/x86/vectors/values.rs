//! The operations of a loop on vectors: element functions written out, values known already taken from registers.
//!
//! The formulas and the order of their operations are those of [`crate::ir::element`], so machine code and compiled code give
//! the same bits. `series` has the functions that need a series.

use super::parts::{Spot, Statement};
use crate::ir::{Binary, Boundary, Unary};
use crate::machine::x86::assembler::{Compare, Op};
use crate::machine::x86::values::{HALF, ONE, SIGN, SIZE, ZERO};
use crate::program::code::Element;
use std::collections::BTreeMap;

/// A vector, by its number.
pub type Id = usize;

/// How a vector comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Read(Spot),
    Constant(u32),
    Two(Two, Id, Id),
    /// A fused `a b + c`, `a b - c` or `c - a b`.
    Fused(Signs, [Id; 3]),
    /// All bits of an element set where the comparison holds.
    Compare(How, Id, Id),
    /// The second where the first is set, else the third.
    Blend([Id; 3]),
    Sqrt(Id),
    /// The nearest whole number.
    Whole(Id),
    /// A whole number as an exponent.
    Exponent(Id),
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident as $of:ident { $($variant:ident => $value:ident),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($variant),* }

        impl From<$name> for $of {
            fn from(name: $name) -> $of {
                match name { $($name::$variant => $of::$value),* }
            }
        }
    };
}

named! {
    /// The operations on two vectors.
    Two as Op {
        Add => Add, Sub => Sub, Mul => Mul, Div => Div, Min => Min, Max => Max, And => And, Xor => Xor,
        AddWhole => AddWhole
    }
}

named! {
    /// The signs of a fused product and sum.
    Signs as Op { MulAdd => MulAddTo, MulSub => MulSubTo, NegMulAdd => NegMulAddTo }
}

named! {
    /// The comparisons.
    How as Compare {
        Equal => Equal, NotEqual => NotEqual, Less => Less, LessEqual => LessEqual,
        GreaterEqual => GreaterEqual, Greater => Greater
    }
}

impl Node {
    /// The vectors that it needs.
    pub fn operands(self) -> Vec<Id> {
        match self {
            Node::Read(_) | Node::Constant(_) => Vec::new(),
            Node::Two(_, a, b) | Node::Compare(_, a, b) => vec![a, b],
            Node::Fused(_, all) | Node::Blend(all) => all.to_vec(),
            Node::Sqrt(a) | Node::Whole(a) | Node::Exponent(a) => vec![a],
        }
    }
}

/// What a loop does with one vector of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Compute(Id),
    Store(Spot, Id),
    /// Adds a vector to a memory.
    Add(Spot, Id),
}

/// The operations of a loop.
#[derive(Debug, Default)]
pub struct Values {
    pub nodes: Vec<Node>,
    pub actions: Vec<Action>,
    known: BTreeMap<Node, Id>,
    /// What the memories hold that were written.
    written: BTreeMap<Spot, Id>,
}

impl Values {
    /// The operations of some statements; `None` if a function has no machine code.
    pub fn of(statements: &[Statement]) -> Option<Values> {
        let mut values = Values::default();
        for statement in statements {
            match *statement {
                Statement::Element { f, to, operands } => {
                    let operands = operands.map(|spot| values.read(spot));
                    let value = values.element(f, operands)?;
                    values.actions.push(Action::Store(to, value));
                    values.written.insert(to, value);
                    // What was read there before is known by its number, but is read no more.
                    values.known.remove(&Node::Read(to));
                }
                Statement::Add { to, a } => {
                    let value = values.read(a);
                    values.actions.push(Action::Add(to, value));
                }
            }
        }
        Some(values)
    }

    /// The places that are read and written.
    pub fn spots(&self) -> impl Iterator<Item = Spot> + '_ {
        let reads = self.nodes.iter().filter_map(|node| match node {
            Node::Read(spot) => Some(*spot),
            _ => None,
        });
        let writes = self.actions.iter().filter_map(|action| match action {
            Action::Store(spot, _) | Action::Add(spot, _) => Some(*spot),
            Action::Compute(_) => None,
        });
        reads.chain(writes)
    }

    /// The constants in use.
    pub fn constants(&self) -> impl Iterator<Item = u32> + '_ {
        self.nodes.iter().filter_map(|node| match node {
            Node::Constant(bits) => Some(*bits),
            _ => None,
        })
    }

    pub(super) fn node(&mut self, node: Node) -> Id {
        if let Some(id) = self.known.get(&node) {
            return *id;
        }
        let id = self.nodes.len();
        self.nodes.push(node);
        self.known.insert(node, id);
        self.actions.push(Action::Compute(id));
        id
    }

    fn read(&mut self, spot: Spot) -> Id {
        match self.written.get(&spot) {
            Some(id) => *id,
            None => self.node(Node::Read(spot)),
        }
    }

    pub(super) fn bits(&mut self, bits: u32) -> Id {
        self.node(Node::Constant(bits))
    }

    pub(super) fn number(&mut self, x: f32) -> Id {
        self.bits(x.to_bits())
    }

    pub(super) fn two(&mut self, op: Two, a: Id, b: Id) -> Id {
        self.node(Node::Two(op, a, b))
    }

    pub(super) fn compare(&mut self, how: How, a: Id, b: Id) -> Id {
        self.node(Node::Compare(how, a, b))
    }

    /// One where all bits are set, else 0.
    fn truth(&mut self, mask: Id) -> Id {
        let one = self.bits(ONE);
        self.two(Two::And, mask, one)
    }

    fn true_where(&mut self, how: How, a: Id, b: Id) -> Id {
        let mask = self.compare(how, a, b);
        self.truth(mask)
    }

    fn element(&mut self, f: Element, [a, b, c]: [Id; 3]) -> Option<Id> {
        let bits = |x: crate::ir::Bits| (x.get() as f32).to_bits();
        Some(match f {
            Element::Unary(f) => return self.unary(f, a),
            Element::Binary(f) => return self.binary(f, a, b),
            Element::Copy => a,
            Element::Select => {
                let zero = self.bits(ZERO);
                let off = self.compare(How::Equal, a, zero);
                self.node(Node::Blend([off, c, b]))
            }
            Element::Gate => {
                let zero = self.bits(ZERO);
                let on = self.compare(How::NotEqual, b, zero);
                self.two(Two::And, on, a)
            }
            Element::MulAdd => self.node(Node::Fused(Signs::MulAdd, [a, b, c])),
            Element::MulSub => self.node(Node::Fused(Signs::MulSub, [a, b, c])),
            Element::NegMulAdd => self.node(Node::Fused(Signs::NegMulAdd, [a, b, c])),
            Element::Clip(lo, hi) => {
                let (lo, hi) = (self.bits(bits(lo)), self.bits(bits(hi)));
                self.clip(a, lo, hi)
            }
            Element::ClipMask(_, _, Boundary::StraightThrough) => self.bits(ONE),
            Element::ClipMask(lo, hi, boundary) => {
                let (lo, hi) = (self.bits(bits(lo)), self.bits(bits(hi)));
                let mut inside = |above, below| {
                    let above = self.compare(above, a, lo);
                    let below = self.compare(below, a, hi);
                    let both = self.two(Two::And, above, below);
                    self.truth(both)
                };
                match boundary {
                    Boundary::Exclusive => inside(How::Greater, How::Less),
                    Boundary::Half => {
                        let closed = inside(How::GreaterEqual, How::LessEqual);
                        let open = inside(How::Greater, How::Less);
                        let sum = self.two(Two::Add, closed, open);
                        let half = self.bits(HALF);
                        self.two(Two::Mul, sum, half)
                    }
                    _ => inside(How::GreaterEqual, How::LessEqual),
                }
            }
            Element::PowerOfTwo => return None,
        })
    }

    /// The clip; NaN passes, as the second operand of both operations.
    pub(super) fn clip(&mut self, x: Id, lo: Id, hi: Id) -> Id {
        let x = self.two(Two::Max, lo, x);
        self.two(Two::Min, hi, x)
    }

    fn unary(&mut self, f: Unary, x: Id) -> Option<Id> {
        Some(match f {
            Unary::Neg => {
                let sign = self.bits(SIGN);
                self.two(Two::Xor, x, sign)
            }
            Unary::Abs => {
                let size = self.bits(SIZE);
                self.two(Two::And, x, size)
            }
            Unary::Relu => {
                let zero = self.bits(ZERO);
                self.two(Two::Max, zero, x)
            }
            Unary::Square => self.two(Two::Mul, x, x),
            Unary::Sqrt => self.node(Node::Sqrt(x)),
            Unary::Recip => {
                let one = self.bits(ONE);
                self.two(Two::Div, one, x)
            }
            Unary::Not => {
                let zero = self.bits(ZERO);
                self.true_where(How::Equal, x, zero)
            }
            Unary::Sign => {
                let zero = self.bits(ZERO);
                let above = self.true_where(How::Greater, x, zero);
                let below = self.true_where(How::Less, x, zero);
                self.two(Two::Sub, above, below)
            }
            Unary::Tanh => self.tanh(x),
            Unary::Exp => self.exp(x),
            Unary::Sigmoid => self.sigmoid(x),
            Unary::Softplus | Unary::Log | Unary::Sin | Unary::Cos => return None,
        })
    }

    fn binary(&mut self, f: Binary, a: Id, b: Id) -> Option<Id> {
        Some(match f {
            Binary::Add => self.two(Two::Add, a, b),
            Binary::Sub => self.two(Two::Sub, a, b),
            Binary::Mul => self.two(Two::Mul, a, b),
            Binary::Div => self.two(Two::Div, a, b),
            // The result is `b` if it is smaller or larger, else `a`, also if one is NaN.
            Binary::Min => self.two(Two::Min, b, a),
            Binary::Max => self.two(Two::Max, b, a),
            Binary::Less => self.true_where(How::Less, a, b),
            Binary::LessEqual => self.true_where(How::LessEqual, a, b),
            Binary::Equal => self.true_where(How::Equal, a, b),
            Binary::And => {
                let zero = self.bits(ZERO);
                let a = self.compare(How::NotEqual, a, zero);
                let b = self.compare(How::NotEqual, b, zero);
                let both = self.two(Two::And, a, b);
                self.truth(both)
            }
            Binary::Or => {
                let (zero, one) = (self.bits(ZERO), self.bits(ONE));
                let b = self.true_where(How::NotEqual, b, zero);
                let a = self.compare(How::NotEqual, a, zero);
                self.node(Node::Blend([a, one, b]))
            }
            Binary::Pow => return None,
        })
    }
}
