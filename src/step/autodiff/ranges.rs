//! This analysis finds the values of a step that can be infinite or NaN although all parameters, inputs and draws are
//! finite.
//!
//! A state counts as finite at first. If its next value can be non-finite, the state can be too, and the analysis runs
//! again. Inside a branch of a choice the condition narrows the values that it compares: `select(x > 0, 1 / x, 0)` is
//! finite.

use crate::ir::range::{binary, unary, Range};
use crate::ir::{Binary, Graph, Op, Reduction, ResultKind, Unary, ValueId};
use std::collections::BTreeMap;

/// The analysis follows this many nested operations of a branch.
const DEPTH: usize = 12;

/// The range of each value of a graph.
pub(super) struct Ranges(Vec<Range>);

impl Ranges {
    /// The ranges of a whole step, whose results name the next values of its states.
    pub fn of_step(graph: &Graph) -> Ranges {
        let mut states: Vec<Range> = graph
            .states
            .iter()
            .map(|slot| Range::exactly(slot.init).or(Range::FINITE))
            .collect();
        loop {
            let mut ranges = Ranges(Vec::with_capacity(graph.len()));
            ranges.extend(graph, &states);
            let before = states.clone();
            for &(result, id) in graph.results() {
                if let ResultKind::Next(state) = result {
                    let range = &mut states[state.index()];
                    *range = range.or(ranges.of(id));
                }
            }
            if states == before {
                return ranges;
            }
        }
    }

    /// The range of a value.
    pub fn of(&self, id: ValueId) -> Range {
        self.0[id.index()]
    }

    /// Adds the ranges of values that the graph got since; none of them is a state.
    pub fn follow(&mut self, graph: &Graph) {
        self.extend(graph, &[]);
    }

    /// Declares a value finite, whatever computes it.
    pub fn assume_finite(&mut self, id: ValueId) {
        self.0[id.index()] = Range::FINITE;
    }

    fn extend(&mut self, graph: &Graph, states: &[Range]) {
        for id in graph.ids().skip(self.0.len()) {
            let range = self.computed(graph, id, states);
            self.0.push(range);
        }
    }

    fn computed(&self, graph: &Graph, id: ValueId, states: &[Range]) -> Range {
        let value = graph.value(id);
        let operand = |k: usize| self.of(value.operands[k]);
        let all = |ids: &[ValueId]| {
            let ranges = ids.iter().map(|id| self.of(*id));
            ranges.reduce(Range::or).unwrap_or(Range::exactly(0.0))
        };
        // A sum of products is finite where all factors are.
        let products = || match operand(0).is_finite() && operand(1).is_finite() {
            true => Range::FINITE,
            false => Range::ANY,
        };
        match &value.op {
            Op::Param(_) | Op::Input(_) | Op::Noise(_) | Op::Seed(_) | Op::AdjointIn(_) => {
                Range::FINITE
            }
            Op::State(state) => states.get(state.index()).copied().unwrap_or(Range::ANY),
            Op::Const(number) => Range::exactly(number.get()),
            Op::RangeMask { .. } | Op::ClipMask { .. } => Range::between(0.0, 1.0),
            Op::Unary(f) => unary(*f, operand(0)),
            Op::Binary(f) => element(*f, &value.operands, operand(0), operand(1)),
            Op::Select => self.choice(graph, &value.operands),
            Op::Clip { lo, hi, .. } => operand(0).within(lo.get(), hi.get()),
            Op::Broadcast { .. }
            | Op::Reshape { .. }
            | Op::Slice { .. }
            | Op::StopGradient
            | Op::Reduce {
                kind: Reduction::Max,
                ..
            } => operand(0),
            Op::Reduce {
                kind: Reduction::Sum,
                axes,
            } => {
                let dims = graph.dims(value.operands[0]);
                operand(0).sum(axes.iter().map(|axis| dims[*axis] as f64).product())
            }
            Op::Gather(_) => operand(0),
            Op::Scatter(indices) => operand(0)
                .sum(indices.at().len() as f64)
                .or(operand(0))
                .or(Range::exactly(0.0)),
            // The number of lanes is not known here.
            Op::LaneSum => operand(0).or(operand(0).sum(f64::INFINITY)),
            Op::Concat => all(&value.operands),
            Op::Pad { .. } => operand(0).or(Range::exactly(0.0)),
            Op::MatVec { .. } | Op::Outer => products(),
            Op::Softmax => Range {
                nan: !operand(0).is_finite(),
                ..Range::between(0.0, 1.0)
            },
        }
    }

    /// The range of a choice: that of either branch, each narrowed by the condition.
    fn choice(&self, graph: &Graph, operands: &[ValueId]) -> Range {
        let &[condition, a, b] = operands else {
            return Range::ANY;
        };
        let either = self.of(a).or(self.of(b));
        if either.is_finite() {
            return either;
        }
        let branch = |id: ValueId, holds: bool| {
            let mut known = self.learn(graph, condition, holds);
            self.given(graph, id, &mut known, DEPTH)
        };
        branch(a, true).or(branch(b, false))
    }

    /// The narrower ranges of values where a condition holds, or where it does not.
    fn learn(&self, graph: &Graph, condition: ValueId, holds: bool) -> Known {
        let mut known = Known::new();
        let mut waiting = vec![(condition, holds, Vec::new())];
        while let Some((id, holds, stretched)) = waiting.pop() {
            let value = graph.value(id);
            match (&value.op, value.operands.as_slice()) {
                (Op::Broadcast { .. }, &[inner]) => {
                    let stretched =
                        [std::slice::from_ref(&value.op), stretched.as_slice()].concat();
                    waiting.push((inner, holds, stretched));
                }
                (Op::Unary(Unary::Not), &[x]) => waiting.push((x, !holds, stretched)),
                (Op::Binary(Binary::And), &[a, b]) if holds => {
                    waiting.extend([(a, holds, stretched.clone()), (b, holds, stretched)]);
                }
                (Op::Binary(Binary::Or), &[a, b]) if !holds => {
                    waiting.extend([(a, holds, stretched.clone()), (b, holds, stretched)]);
                }
                _ => {
                    for (id, range) in self.said(graph, id, holds) {
                        // A condition on the elements of a vector holds for the elements of the same broadcast of that
                        // vector. It says nothing about another broadcast.
                        let place = stretched
                            .iter()
                            .try_fold(id, |id, op| graph.find(op, &[id]));
                        if let Some(place) = place {
                            let range = known.get(&place).map_or(range, |other| other.and(range));
                            known.insert(place, range);
                        }
                    }
                }
            }
        }
        known
    }

    /// The values that a comparison narrows where it holds, or where it does not. A condition that is no comparison narrows
    /// itself.
    fn said(&self, graph: &Graph, condition: ValueId, holds: bool) -> Vec<(ValueId, Range)> {
        let value = graph.value(condition);
        match (&value.op, value.operands.as_slice()) {
            (Op::Binary(f @ (Binary::Less | Binary::LessEqual)), &[a, b]) => {
                let (small, large) = if holds { (a, b) } else { (b, a) };
                let strict = (*f == Binary::Less) == holds;
                let (below, above) = (self.of(small), self.of(large));
                // A comparison with NaN fails and says nothing about the other operand.
                if !holds && (below.nan || above.nan) {
                    return Vec::new();
                }
                let (mut less, mut more) = (below.at_most(above.hi), above.at_least(below.lo));
                if strict && above.hi <= 0.0 {
                    less = less.without_zero();
                }
                if strict && below.lo >= 0.0 {
                    more = more.without_zero();
                }
                vec![(small, less), (large, more)]
            }
            (Op::Binary(Binary::Equal), &[a, b]) => {
                let both = self.of(a).and(self.of(b));
                let zero = Range::exactly(0.0);
                match holds {
                    true => vec![(a, both), (b, both)],
                    false if self.of(b) == zero => vec![(a, self.of(a).without_zero())],
                    false if self.of(a) == zero => vec![(b, self.of(b).without_zero())],
                    false => Vec::new(),
                }
            }
            _ if holds => vec![(condition, self.of(condition).without_zero())],
            _ => vec![(condition, Range::exactly(0.0))],
        }
    }

    /// The range of a value where `known` narrows others; what is found on the way joins `known`.
    fn given(&self, graph: &Graph, id: ValueId, known: &mut Known, depth: usize) -> Range {
        if let Some(range) = known.get(&id) {
            return *range;
        }
        let value = graph.value(id);
        let followed = matches!(
            value.op,
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Clip { .. } | Op::StopGradient
        );
        if depth == 0 || !followed {
            return self.of(id);
        }
        let operands: Vec<Range> = value
            .operands
            .iter()
            .map(|operand| self.given(graph, *operand, known, depth - 1))
            .collect();
        let range = match (&value.op, operands.as_slice()) {
            (Op::Unary(f), &[x]) => unary(*f, x),
            (Op::Binary(f), &[a, b]) => element(*f, &value.operands, a, b),
            (Op::Clip { lo, hi, .. }, &[x]) => x.within(lo.get(), hi.get()),
            (Op::Select, &[_, a, b]) => a.or(b),
            (_, &[x]) => x,
            _ => self.of(id),
        };
        known.insert(id, range);
        range
    }
}

/// Ranges inside a branch, narrower than [`Ranges::of`].
type Known = BTreeMap<ValueId, Range>;

/// The range of `f(a, b)`; a value times itself is a square.
fn element(f: Binary, operands: &[ValueId], a: Range, b: Range) -> Range {
    match (f, operands) {
        (Binary::Mul, [x, y]) if x == y => unary(Unary::Square, a),
        _ => binary(f, a, b),
    }
}
