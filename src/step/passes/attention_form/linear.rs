//! Matrices as sums of products, with a trace as a factor of some of them.

use super::reason::{Dense, Place};
use crate::ir::{Binary, Graph, Op, StateId, Unary, ValueId};
use crate::step::passes::factors::{Factor, Side, Sides};
use crate::step::passes::rewrite::fixed;
use std::cell::Cell;

/// The largest number of terms in a sum.
const TERMS: usize = 16;

/// The deepest nesting of operations that is followed.
const DEPTH: usize = 64;

/// The largest number of operations followed for one value; otherwise products of products would grow without
/// limit.
const VISITS: usize = 1024;

/// A product of factors, one of which may be the trace.
#[derive(Clone, Debug, Default)]
pub(super) struct Term {
    pub negative: bool,
    /// True if the trace is a factor.
    pub trace: bool,
    /// The factors that depend only on the row.
    pub pre: Vec<Factor>,
    /// The factors that depend only on the column.
    pub post: Vec<Factor>,
    /// The factors that depend on neither.
    pub scalar: Vec<Factor>,
    /// The factors that depend on both.
    pub both: Vec<Factor>,
}

impl Term {
    /// The product of two terms, at most one of which contains the trace.
    fn times(&self, other: &Term) -> Term {
        let joined = |a: &[Factor], b: &[Factor]| [a, b].concat();
        Term {
            negative: self.negative != other.negative,
            trace: self.trace || other.trace,
            pre: joined(&self.pre, &other.pre),
            post: joined(&self.post, &other.post),
            scalar: joined(&self.scalar, &other.scalar),
            both: joined(&self.both, &other.both),
        }
    }

    /// The reciprocal of a product without the trace.
    fn inverted(&self) -> Term {
        let flipped = |factors: &[Factor]| {
            let flip = |factor: &Factor| Factor {
                id: factor.id,
                inverse: !factor.inverse,
            };
            factors.iter().map(flip).collect()
        };
        Term {
            negative: self.negative,
            trace: self.trace,
            pre: flipped(&self.pre),
            post: flipped(&self.post),
            scalar: flipped(&self.scalar),
            both: flipped(&self.both),
        }
    }

    fn negated(mut self) -> Term {
        self.negative = !self.negative;
        self
    }
}

/// The dependence of a graph's values on one trace.
pub(super) struct Linear<'a> {
    pub graph: &'a Graph,
    pub trace: StateId,
    sides: Sides,
    fixed: Vec<bool>,
    /// True if a value depends on the trace, connection by connection.
    depends: Vec<bool>,
    visits: Cell<usize>,
}

impl<'a> Linear<'a> {
    pub fn new(graph: &'a Graph, trace: StateId) -> Linear<'a> {
        let mut depends = Vec::with_capacity(graph.len());
        for id in graph.ids() {
            let value = graph.value(id);
            let operands = || value.operands.iter().any(|o| depends[o.index()]);
            depends.push(match value.op {
                Op::State(state) => state == trace,
                Op::Reduce { .. } => false,
                _ => operands(),
            });
        }
        Linear {
            graph,
            trace,
            sides: Sides::new(graph),
            fixed: fixed(graph),
            depends,
            visits: Cell::new(0),
        }
    }

    /// Returns true if a value contains the trace, connection by connection. Sums over connections do not.
    pub fn depends(&self, id: ValueId) -> bool {
        self.depends[id.index()]
    }

    /// Returns true if a factor is the same at every step.
    pub fn is_fixed(&self, id: ValueId) -> bool {
        self.fixed[id.index()]
    }

    /// A matrix as a sum of products.
    ///
    /// # Errors
    /// Fails if it is not linear in the trace, or the sum is too long.
    pub fn terms(&self, id: ValueId, place: Place) -> Result<Vec<Term>, Dense> {
        self.visits.set(0);
        self.expand(id, place, 0)
    }

    fn expand(&self, id: ValueId, place: Place, depth: usize) -> Result<Vec<Term>, Dense> {
        self.visits.set(self.visits.get() + 1);
        if depth > DEPTH || self.visits.get() > VISITS {
            return Err(Dense::TooLong);
        }
        let atom = Factor { id, inverse: false };
        let mut term = Term::default();
        match self.sides.of(id) {
            Some(Side::Pre) => term.pre.push(atom),
            Some(Side::Post) => term.post.push(atom),
            Some(Side::None) => term.scalar.push(atom),
            None if self.depends(id) || !self.is_fixed(id) => {
                return self.expand_both(id, place, depth + 1);
            }
            None => term.both.push(atom),
        }
        Ok(vec![term])
    }

    /// Expands a matrix that depends on both sides and on the step.
    fn expand_both(&self, id: ValueId, place: Place, depth: usize) -> Result<Vec<Term>, Dense> {
        let value = self.graph.value(id);
        let whole = || Term {
            both: vec![Factor { id, inverse: false }],
            ..Term::default()
        };
        let name = value.op.mnemonic();
        let terms = match (&value.op, value.operands.as_slice()) {
            (Op::State(state), _) if *state == self.trace => vec![Term {
                trace: true,
                ..Term::default()
            }],
            (Op::Binary(Binary::Add), &[a, b]) => {
                let mut terms = self.expand(a, place, depth)?;
                terms.extend(self.expand(b, place, depth)?);
                terms
            }
            (Op::Binary(Binary::Sub), &[a, b]) => {
                let mut terms = self.expand(a, place, depth)?;
                let others = self.expand(b, place, depth)?;
                terms.extend(others.into_iter().map(Term::negated));
                terms
            }
            (Op::Binary(Binary::Mul), &[a, b]) => {
                let (a, b) = (self.expand(a, place, depth)?, self.expand(b, place, depth)?);
                let has = |terms: &[Term]| terms.iter().any(|term| term.trace);
                if has(&a) && has(&b) {
                    return Err(Dense::NotLinear(name, place));
                }
                a.iter()
                    .flat_map(|a| b.iter().map(move |b| a.times(b)))
                    .collect()
            }
            (Op::Binary(Binary::Div), &[a, b]) if !self.depends(b) => {
                let by = match self.expand(b, place, depth)?.as_slice() {
                    [single] => single.inverted(),
                    _ => Term {
                        both: vec![Factor {
                            id: b,
                            inverse: true,
                        }],
                        ..Term::default()
                    },
                };
                let terms = self.expand(a, place, depth)?;
                terms.iter().map(|a| a.times(&by)).collect()
            }
            (Op::Unary(Unary::Neg), &[x]) => {
                let terms = self.expand(x, place, depth)?;
                terms.into_iter().map(Term::negated).collect()
            }
            (Op::Clip { .. } | Op::ClipMask { .. }, _) if self.depends(id) => {
                return Err(Dense::Clipped(place));
            }
            _ if self.depends(id) => return Err(Dense::NotLinear(name, place)),
            _ => vec![whole()],
        };
        if terms.len() <= TERMS {
            Ok(terms)
        } else if self.depends(id) {
            Err(Dense::TooLong)
        } else {
            Ok(vec![whole()])
        }
    }

    /// The reason why a factor that depends on both sides is not possible.
    pub fn both(&self, factor: Factor, place: Place) -> Dense {
        let mut stack = vec![factor.id];
        let mut seen = vec![false; self.graph.len()];
        let mut parameter = None;
        while let Some(id) = stack.pop() {
            if std::mem::replace(&mut seen[id.index()], true) || self.sides.of(id).is_some() {
                continue;
            }
            let value = self.graph.value(id);
            match value.op {
                Op::Param(param) if value.shape.dims.len() == 2 => {
                    parameter.get_or_insert(param);
                }
                Op::Reduce { .. } => {}
                _ => stack.extend(value.operands.iter().rev()),
            }
        }
        match parameter {
            Some(param) if self.is_fixed(factor.id) => {
                let path = self.graph.params[param.index()].path.clone();
                Dense::PerConnection(path, place)
            }
            _ => Dense::Product(place),
        }
    }

    /// The path of another trace that a factor contains, connection by connection.
    pub fn other_trace(&self, factor: Factor) -> Option<&'a str> {
        let mut stack = vec![factor.id];
        let mut seen = vec![false; self.graph.len()];
        while let Some(id) = stack.pop() {
            if std::mem::replace(&mut seen[id.index()], true) {
                continue;
            }
            let value = self.graph.value(id);
            match value.op {
                Op::State(state) if value.shape.dims.len() == 2 => {
                    return Some(&self.graph.states[state.index()].path);
                }
                Op::Reduce { .. } => {}
                _ => stack.extend(value.operands.iter().rev()),
            }
        }
        None
    }
}
