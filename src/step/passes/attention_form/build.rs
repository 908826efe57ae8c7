//! The construction of the step with stored vectors in place of a trace.

use super::linear::Term;
use super::{Product, Read, Stored};
use crate::ir::{Binary, Graph, Op, ResultKind, ShapeError, StateId, StateSlot, Unary, ValueId};
use crate::step::passes::factors::{multiply, Factor};
use crate::step::passes::rewrite::Rewriter;

/// A step without the trace.
///
/// # Errors
/// Fails only if the rewrite itself is wrong.
pub(super) fn build(graph: &Graph, stored: &Stored) -> Result<Graph, ShapeError> {
    let mut builder = Builder::new(graph, stored)?;
    for id in graph.ids() {
        match stored.reads.binary_search_by_key(&id, |read| read.sum) {
            Ok(k) => {
                let by = builder.read(&stored.reads[k])?;
                builder.rewriter.replace(id, by);
            }
            Err(_) => builder.rewriter.keep(id)?,
        }
    }
    let next = builder.next()?;
    let mut step = builder.rewriter.finish();
    for (state, value) in next {
        step.set_result(ResultKind::Next(state), value);
    }
    without(&step, stored.trace)
}

/// A state and its value on entry to the step.
#[derive(Clone, Copy)]
struct Entered {
    state: StateId,
    value: ValueId,
}

struct Builder<'a> {
    rewriter: Rewriter<'a>,
    stored: &'a Stored,
    /// The numbers of pre and post neurons.
    dims: [usize; 2],
    /// The vectors over pre and over post of each product of the update, one row per step.
    vectors: Vec<[Entered; 2]>,
    /// The remaining decay factor of each step, if the trace decays.
    weights: Option<Entered>,
    /// Ones at the steps before this one.
    started: Entered,
}

impl<'a> Builder<'a> {
    fn new(graph: &'a Graph, stored: &'a Stored) -> Result<Builder<'a>, ShapeError> {
        let slot = &graph.states[stored.trace.index()];
        let dims = [slot.dims[0], slot.dims[1]];
        let steps = stored.steps;
        let mut rewriter = Rewriter::new(graph);
        let mut state = |what: &str, dims: &[usize]| -> Result<Entered, ShapeError> {
            let state = rewriter.to.add_state(StateSlot {
                trace: dims.len() == 2,
                span: slot.span,
                ..StateSlot::new(format!("{}.{what}", slot.path), dims, 0.0)
            });
            let value = rewriter.to.add(Op::State(state), &[])?;
            Ok(Entered { state, value })
        };
        let mut vectors = Vec::with_capacity(stored.products.len());
        for k in 0..stored.products.len() {
            // Names are numbered from the second on, as paths of layers are.
            let number = match k {
                0 => String::new(),
                k => (k + 1).to_string(),
            };
            vectors.push([
                state(&format!("pre{number}"), &[steps, dims[0]])?,
                state(&format!("post{number}"), &[steps, dims[1]])?,
            ]);
        }
        let weights = match stored.decay {
            Some(_) => Some(state("weights", &[steps])?),
            None => None,
        };
        let started = state("started", &[steps])?;
        Ok(Builder {
            rewriter,
            stored,
            dims,
            vectors,
            weights,
            started,
        })
    }

    /// The result of a sum over connections, as a sum of its terms.
    fn read(&mut self, read: &Read) -> Result<ValueId, ShapeError> {
        let mut sum = None;
        let gone = read.gone;
        for term in &read.terms {
            let product = if term.trace {
                let seen = self.attend(term, gone)?;
                self.scaled(term, gone, seen)?
            } else if term.both.is_empty() {
                let vector = multiply(&mut self.rewriter, side(term, gone), &[self.dims[gone]])?;
                let total = self.rewriter.to.sum(vector, &[0])?;
                let left = [self.dims[1 - gone]];
                let stretched = self.rewriter.to.broadcast_to(total, &left, &[])?;
                self.scaled(term, gone, stretched)?
            } else {
                self.dense(term, gone)?
            };
            sum = Some(self.plus(sum, term.negative, product)?);
        }
        sum.map_or_else(|| self.rewriter.to.fill(0.0, &[self.dims[1 - gone]]), Ok)
    }

    /// Builds `Σ_i x_i H_ij = Σ_s (A x)_s c_s B_sj`, or the same with the sides exchanged.
    fn attend(&mut self, term: &Term, gone: usize) -> Result<ValueId, ShapeError> {
        let steps = self.stored.steps;
        let (wide, narrow) = ([steps, self.dims[gone]], [steps, self.dims[1 - gone]]);
        let x = multiply(&mut self.rewriter, side(term, gone), &wide[1..])?;
        let graph = &mut self.rewriter.to;
        let x = graph.broadcast_to(x, &wide, &[1])?;
        let mut sum: Option<ValueId> = None;
        for vectors in &self.vectors {
            let matches = graph.binary(Binary::Mul, vectors[gone].value, x)?;
            let mut matches = graph.sum(matches, &[1])?;
            if let Some(weights) = self.weights {
                matches = graph.binary(Binary::Mul, matches, weights.value)?;
            }
            let matches = graph.broadcast_to(matches, &narrow, &[0])?;
            let seen = graph.binary(Binary::Mul, matches, vectors[1 - gone].value)?;
            let seen = graph.sum(seen, &[0])?;
            sum = Some(match sum {
                None => seen,
                Some(sum) => graph.binary(Binary::Add, sum, seen)?,
            });
        }
        // A trace whose update adds nothing is not replaced, so there is a sum.
        sum.map_or_else(|| graph.fill(0.0, &narrow[1..]), Ok)
    }

    /// A vector times the factors of a term that depend on its side or on none.
    fn scaled(&mut self, term: &Term, gone: usize, x: ValueId) -> Result<ValueId, ShapeError> {
        let factors = [side(term, 1 - gone), &term.scalar].concat();
        if factors.is_empty() {
            return Ok(x);
        }
        let by = multiply(&mut self.rewriter, &factors, &[self.dims[1 - gone]])?;
        self.rewriter.to.binary(Binary::Mul, x, by)
    }

    /// The sum of a term without the trace, as a value per connection.
    fn dense(&mut self, term: &Term, gone: usize) -> Result<ValueId, ShapeError> {
        let mut factors = [term.both.as_slice(), &term.pre, &term.post, &term.scalar].concat();
        factors.sort_by_key(|factor| factor.inverse);
        let mut product: Option<ValueId> = None;
        for factor in factors {
            let value = self.rewriter.moved(factor.id);
            let graph = &mut self.rewriter.to;
            product = Some(match (product, factor.inverse) {
                (None, false) => value,
                (None, true) => graph.unary(Unary::Recip, value)?,
                (Some(product), false) => graph.binary(Binary::Mul, product, value)?,
                (Some(product), true) => graph.binary(Binary::Div, product, value)?,
            });
        }
        let product = product.map_or_else(|| self.rewriter.to.fill(1.0, &self.dims), Ok)?;
        self.rewriter.to.sum(product, &[gone])
    }

    fn plus(
        &mut self,
        sum: Option<ValueId>,
        negative: bool,
        by: ValueId,
    ) -> Result<ValueId, ShapeError> {
        let graph = &mut self.rewriter.to;
        match (sum, negative) {
            (None, false) => Ok(by),
            (None, true) => graph.unary(Unary::Neg, by),
            (Some(sum), false) => graph.binary(Binary::Add, sum, by),
            (Some(sum), true) => graph.binary(Binary::Sub, sum, by),
        }
    }

    /// The next values of the new states.
    fn next(&mut self) -> Result<Vec<(StateId, ValueId)>, ShapeError> {
        let steps = self.stored.steps;
        let graph = &mut self.rewriter.to;
        let (size, start, end) = (steps, 0, 1);
        let first = graph.add(Op::RangeMask { size, start, end }, &[])?;
        let started = if steps > 1 {
            let before = graph.slice(self.started.value, 0, steps - 1)?;
            let later = graph.pad(before, 1, 0)?;
            graph.binary(Binary::Add, later, first)?
        } else {
            first
        };
        let now = graph.binary(Binary::Sub, started, self.started.value)?;
        // The number of the step has no adjoint.
        let now = graph.add(Op::StopGradient, &[now])?;
        let mut next = vec![(self.started.state, started)];
        let stored = self.stored;
        if let (Some(weights), Some(decay)) = (self.weights, &stored.decay) {
            let mut factor = None;
            for term in decay {
                let product = multiply(&mut self.rewriter, &term.scalar, &[])?;
                factor = Some(self.plus(factor, term.negative, product)?);
            }
            let graph = &mut self.rewriter.to;
            let kept = match factor {
                // Without a factor nothing remains of earlier steps.
                None => now,
                Some(factor) => {
                    let factor = graph.broadcast_to(factor, &[steps], &[])?;
                    let kept = graph.binary(Binary::Mul, factor, weights.value)?;
                    graph.binary(Binary::Add, kept, now)?
                }
            };
            next.push((weights.state, kept));
        }
        for (k, product) in stored.products.iter().enumerate() {
            let both = self.added(product)?;
            for (axis, vector) in both.into_iter().enumerate() {
                let Entered { state, value } = self.vectors[k][axis];
                let dims = [steps, self.dims[axis]];
                let graph = &mut self.rewriter.to;
                let row = graph.broadcast_to(now, &dims, &[0])?;
                let vector = graph.broadcast_to(vector, &dims, &[1])?;
                let row = graph.binary(Binary::Mul, row, vector)?;
                next.push((state, graph.binary(Binary::Add, value, row)?));
            }
        }
        Ok(next)
    }

    /// The vectors of a product that an update adds.
    fn added(&mut self, product: &Product) -> Result<[ValueId; 2], ShapeError> {
        let a = multiply(&mut self.rewriter, &product.pre, &self.dims[..1])?;
        let mut sum = None;
        for (negative, factors) in &product.post {
            let b = multiply(&mut self.rewriter, factors, &self.dims[1..])?;
            sum = Some(self.plus(sum, *negative, b)?);
        }
        let b = sum.map_or_else(|| self.rewriter.to.fill(0.0, &self.dims[1..]), Ok)?;
        Ok([a, b])
    }
}

/// The factors of a term that depend on one side.
fn side(term: &Term, axis: usize) -> &[Factor] {
    match axis {
        0 => &term.pre,
        _ => &term.post,
    }
}

/// Removes a state that only its own next value still reads.
fn without(step: &Graph, gone: StateId) -> Result<Graph, ShapeError> {
    let renumbered = |state: StateId| StateId(state.0 - u32::from(state > gone));
    let mut kept = step.clone();
    kept.clear_results();
    for &(result, id) in step.results() {
        if result != ResultKind::Next(gone) {
            kept.set_result(result, id);
        }
    }
    let mut to = step.without_values();
    to.states.remove(gone.index());
    let mut moved: Vec<Option<ValueId>> = vec![None; step.len()];
    let now = |moved: &[Option<ValueId>], id: ValueId| {
        moved[id.index()].expect("values are visited after their operands")
    };
    for id in kept.live_order() {
        let value = step.value(id);
        let op = match value.op {
            Op::State(state) if state == gone => {
                return Err(ShapeError {
                    op: value.op.mnemonic(),
                    reason: "the trace that was replaced is still read".to_owned(),
                });
            }
            Op::State(state) => Op::State(renumbered(state)),
            _ => value.op.clone(),
        };
        let operands: Vec<ValueId> = value.operands.iter().map(|o| now(&moved, *o)).collect();
        let copy = to.add_at(op, &operands, value.name.as_deref(), value.span)?;
        moved[id.index()] = Some(copy);
    }
    for &(result, id) in kept.results() {
        let result = match result {
            ResultKind::Next(state) => ResultKind::Next(renumbered(state)),
            other => other,
        };
        to.set_result(result, now(&moved, id));
    }
    Ok(to)
}
