//! How much of a difference rounding explains.

use crate::gradients::run::{candle, reference, run, Numbers, Outcome};
use crate::properties::case::Compiled;
use crate::properties::chance::Chance;
use crate::properties::tensors::{tensors, wrong};
use bpmc::engine::candle::Precision;
use bpmc::ir::{Binary, Graph, Op, Reduction, ResultKind, Unary, ValueId};

/// Relative changes of numbers that stand for rounding: a few units in the last place.
pub const DOUBLE: f64 = 8.0 * f64::EPSILON;
pub const SINGLE: f64 = 4.0 * f32::EPSILON as f64;

/// How much more than the numbers of a case its steps may round, each of them anew.
pub const STEPS: f64 = 16.0;

/// By how much rounding can move each tensor of a case.
pub fn explained(compiled: &Compiled, expected: &Outcome, ulp: f64) -> Vec<f64> {
    let mut most = vec![0.0; tensors(&compiled.graph, expected).len()];
    for draw in 0..8 {
        let changed = changed(&compiled.numbers, ulp, draw);
        let reordered = reordered(&compiled.graph, ulp, draw);
        for (graph, numbers) in [(&compiled.graph, &changed), (&reordered, &compiled.numbers)] {
            let mut oracle = reference(graph, compiled.lanes);
            let outcome = run(&mut oracle, numbers, compiled.interval);
            moved(&mut most, &compiled.graph, outcome, expected);
        }
    }
    if ulp == SINGLE {
        let mut single = candle(&compiled.graph, compiled.lanes, Precision::Single);
        let outcome = run(&mut single, &compiled.numbers, compiled.interval);
        moved(&mut most, &compiled.graph, outcome, expected);
    }
    most
}

fn moved(most: &mut [f64], graph: &Graph, mut outcome: Outcome, expected: &Outcome) {
    if expected.inputs.is_empty() {
        outcome.inputs.clear();
    }
    for wrong in wrong(graph, &outcome, expected, 0.0) {
        most[wrong.index] = most[wrong.index].max(wrong.error);
    }
}

/// The step with sums that err by a few units in the last place of their largest part, as sums in another order do, and
/// with products that are added to something off by a part of their own rounding, as in a fused multiply-add. A sum of
/// zeros does not err, and neither does a product that needs no rounding. In every other draw numbers that are nearly
/// equal are equal.
fn reordered(graph: &Graph, ulp: f64, draw: u64) -> Graph {
    let mut chance = Chance::new(draw);
    let mut out = Graph::new();
    for slot in &graph.params {
        out.add_param(slot.clone());
    }
    for slot in &graph.inputs {
        out.add_input(slot.clone());
    }
    for slot in &graph.states {
        out.add_state(slot.clone());
    }
    for slot in &graph.noises {
        out.add_noise(slot.clone());
    }
    for slot in &graph.outputs {
        out.add_output(slot.clone());
    }
    let mut map: Vec<ValueId> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let value = graph.value(id);
        let operands: Vec<ValueId> = value.operands.iter().map(|o| map[o.index()]).collect();
        let mut copy = out.add(value.op.clone(), &operands).unwrap();
        if matches!(value.op, Op::Binary(Binary::Add | Binary::Sub)) {
            for (operand, original) in operands.iter().zip(&value.operands) {
                let factors = graph.value(*original);
                if factors.op == Op::Binary(Binary::Mul) {
                    let [a, b] = [0, 1].map(|k| map[factors.operands[k].index()]);
                    let mut rounding = Rounding {
                        out: &mut out,
                        dims: &value.shape.dims,
                    };
                    let error = rounding.of_product([a, b, *operand], ulp);
                    copy = rounding.moved(copy, error, chance.unit());
                }
            }
        }
        if let Op::Unary(
            Unary::Tanh
            | Unary::Sigmoid
            | Unary::Softplus
            | Unary::Exp
            | Unary::Log
            | Unary::Sin
            | Unary::Cos,
        ) = value.op
        {
            let mut rounding = Rounding {
                out: &mut out,
                dims: &value.shape.dims,
            };
            let error = rounding.of_function(operands[0], copy);
            copy = rounding.moved(copy, error, ulp * chance.unit());
        }
        if value.op == Op::Binary(Binary::Equal) && draw % 2 == 1 {
            let mut rounding = Rounding {
                out: &mut out,
                dims: &value.shape.dims,
            };
            copy = rounding.nearly_equal([operands[0], operands[1]], ulp);
        }
        let sum = matches!(
            value.op,
            Op::Reduce {
                kind: Reduction::Sum,
                ..
            }
        );
        if sum {
            let absolute = out.add(Op::Unary(Unary::Abs), &operands).unwrap();
            let size = out.add(value.op.clone(), &[absolute]).unwrap();
            let share = Op::Const((ulp * chance.unit()).into());
            let mut share = out.add(share, &[]).unwrap();
            let dims = value.shape.dims.clone();
            if !dims.is_empty() {
                let from = Vec::new();
                share = out.add(Op::Broadcast { dims, from }, &[share]).unwrap();
            }
            let error = out.add(Op::Binary(Binary::Mul), &[size, share]).unwrap();
            copy = out.add(Op::Binary(Binary::Add), &[copy, error]).unwrap();
        }
        map.push(copy);
    }
    for (result, id) in graph.results() {
        debug_assert!(matches!(
            result,
            ResultKind::Output(_) | ResultKind::Next(_)
        ));
        out.set_result(*result, map[id.index()]);
    }
    out
}

/// Adds what products were rounded by to a graph, at values of these dimensions.
struct Rounding<'a> {
    out: &'a mut Graph,
    dims: &'a [usize],
}

impl Rounding<'_> {
    fn binary(&mut self, f: Binary, a: ValueId, b: ValueId) -> ValueId {
        self.out.add(Op::Binary(f), &[a, b]).unwrap()
    }

    fn constant(&mut self, x: f64) -> ValueId {
        let scalar = self.out.add(Op::Const(x.into()), &[]).unwrap();
        if self.dims.is_empty() {
            return scalar;
        }
        let (dims, from) = (self.dims.to_vec(), Vec::new());
        self.out
            .add(Op::Broadcast { dims, from }, &[scalar])
            .unwrap()
    }

    /// The leading bits of a number and the rest (Veltkamp 1968); `splitter` is a power of two and one.
    fn split(&mut self, x: ValueId, splitter: f64) -> [ValueId; 2] {
        let splitter = self.constant(splitter);
        let large = self.binary(Binary::Mul, splitter, x);
        let rest = self.binary(Binary::Sub, large, x);
        let high = self.binary(Binary::Sub, large, rest);
        [high, self.binary(Binary::Sub, x, high)]
    }

    /// What a product was rounded by, for operands `a`, `b`, `a b`; 0 for an exact one.
    fn of_product(&mut self, [a, b, product]: [ValueId; 3], ulp: f64) -> ValueId {
        if ulp == SINGLE {
            return self.split(product, f64::from(1 << 29) + 1.0)[1];
        }
        // Dekker 1971.
        let [a, a_rest] = self.split(a, f64::from(1 << 27) + 1.0);
        let [b, b_rest] = self.split(b, f64::from(1 << 27) + 1.0);
        let mut error = self.binary(Binary::Mul, a, b);
        error = self.binary(Binary::Sub, error, product);
        for (x, y) in [(a, b_rest), (a_rest, b), (a_rest, b_rest)] {
            let term = self.binary(Binary::Mul, x, y);
            error = self.binary(Binary::Add, error, term);
        }
        error
    }

    /// What a function may err by, relative to a unit in the last place; 0 at 0, where all backends are exact.
    fn of_function(&mut self, x: ValueId, y: ValueId) -> ValueId {
        let zero = self.out.add(Op::Unary(Unary::Not), &[x]).unwrap();
        let other = self.out.add(Op::Unary(Unary::Not), &[zero]).unwrap();
        self.binary(Binary::Mul, y, other)
    }

    /// Whether two numbers are equal but for rounding: no change of one of them would find those that are.
    fn nearly_equal(&mut self, [a, b]: [ValueId; 2], ulp: f64) -> ValueId {
        let difference = self.binary(Binary::Sub, a, b);
        let mut absolute = |x| self.out.add(Op::Unary(Unary::Abs), &[x]).unwrap();
        let [difference, a, b] = [absolute(difference), absolute(a), absolute(b)];
        let size = self.binary(Binary::Max, a, b);
        let ulp = self.constant(ulp);
        let slack = self.binary(Binary::Mul, size, ulp);
        self.binary(Binary::LessEqual, difference, slack)
    }

    /// A value and a part of an error.
    fn moved(&mut self, value: ValueId, error: ValueId, part: f64) -> ValueId {
        let part = self.constant(part);
        let error = self.binary(Binary::Mul, error, part);
        self.binary(Binary::Add, value, error)
    }
}

fn changed(numbers: &Numbers, ulp: f64, draw: u64) -> Numbers {
    let mut chance = Chance::new(draw);
    let mut change = |values: &mut Vec<f64>| {
        for x in values {
            // Quarters are bounds, truths and zeros.
            if (*x * 4.0).fract() != 0.0 {
                *x *= 1.0 + ulp * chance.unit();
            }
        }
    };
    let mut moved = numbers.clone();
    moved.params.iter_mut().for_each(&mut change);
    moved.states.iter_mut().for_each(&mut change);
    moved.last.iter_mut().for_each(&mut change);
    for step in [&mut moved.inputs, &mut moved.noises, &mut moved.seeds] {
        step.iter_mut().flatten().for_each(&mut change);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::{explained, DOUBLE, SINGLE, STEPS};
    use crate::gradients::run::{reference, run, Outcome};
    use crate::properties::case::{Case, Compiled};
    use crate::properties::tensors::wrong;

    fn outcome(compiled: &Compiled) -> Outcome {
        let mut oracle = reference(&compiled.graph, compiled.lanes);
        run(&mut oracle, &compiled.numbers, compiled.interval)
    }

    #[test]
    fn sums_that_are_zero_but_for_rounding_are_explained() {
        // Traces on bounds that are no binary fractions: their sum is 0 in one order and 1e-17 in another, and the
        // clip lets a derivative through or not.
        let text = "dim N = 16
network net {
  state h: [N] = 0
  plastic rec: h -> y {
    trace t = 0
    transmit t
    t <- clip(t + relu(sum_post(t)), -0.05, 0.05)
  }
  y = rec
  h <- y
  output level = y
}
train supervised { loss = half_sum_squares, batch = 2, steps = 4 }
";
        let jumps = (0..20).filter(|seed| {
            let case = Case {
                text: text.to_owned(),
                seed: *seed,
                last: true,
                kinks: true,
            };
            let compiled = case.compile().unwrap();
            let most = explained(&compiled, &outcome(&compiled), DOUBLE);
            most.iter().any(|x| *x > 0.01)
        });
        assert!(jumps.count() >= 5);
    }

    #[test]
    fn a_wrong_derivative_on_a_bound_has_no_excuse() {
        let (mut differ, mut excused) = (0, 0);
        for index in 0..400 {
            let case = Case::draw(5, index);
            let other = Case {
                text: case
                    .text
                    .replace("boundary = exclusive", "boundary = inclusive"),
                ..case.clone()
            };
            if other.text == case.text || differ >= 24 {
                continue;
            }
            let (one, other) = (case.compile().unwrap(), other.compile().unwrap());
            let (expected, found) = (outcome(&one), outcome(&other));
            for ulp in [DOUBLE, SINGLE] {
                let list = wrong(&one.graph, &found, &expected, 1e-4);
                if list.is_empty() {
                    continue;
                }
                let most = explained(&one, &expected, ulp);
                differ += 1;
                excused += usize::from(list.iter().all(|w| w.error <= STEPS * most[w.index]));
            }
        }
        assert!(
            differ >= 24 && excused * 10 <= differ,
            "{excused} of {differ}"
        );
    }
}
