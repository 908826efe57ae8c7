//! Gates: a product with a truth is a choice, `x · (y ≤ z) = gate(x, y ≤ z)`.
//!
//! Truths are 0 or 1. Machines hold one that only opens gates as a mask, and a gate is then a bitwise *and*. The product of
//! two truths is a truth again.

use crate::ir::Binary;
use crate::program::code::{Element, Source, Sweep};
use crate::program::ir::Program;
use crate::program::sweep::SweepBuilder;

/// Makes gates of all products with truths.
pub(super) fn run(program: &mut Program) {
    let (ahead, back) = (&mut program.ahead, &mut program.back);
    let lists = [&mut ahead.sweeps, &mut ahead.updates, &mut back.sweeps];
    for sweep in lists.into_iter().flatten() {
        *sweep = gated(sweep);
    }
}

fn gated(sweep: &Sweep) -> Sweep {
    let mut out = SweepBuilder::new(sweep.name, sweep.layout);
    let mut values: Vec<Source> = Vec::with_capacity(sweep.ops.len());
    let found = |values: &[Source], source: Source| match source {
        Source::Temporary(k) => values[k],
        other => other,
    };
    for op in &sweep.ops {
        let operands = op.operands.map(|source| found(&values, source));
        let [a, b, _] = operands;
        let truth = |value: Source| out.made(value).is_some_and(|op| op.f.is_truth());
        let (f, operands) = match (op.f, truth(a), truth(b)) {
            (Element::Binary(Binary::Mul), true, true) => (Element::Binary(Binary::And), operands),
            (Element::Binary(Binary::Mul), false, true) => (Element::Gate, [a, b, a]),
            (Element::Binary(Binary::Mul), true, false) => (Element::Gate, [b, a, b]),
            (f, ..) => (f, operands),
        };
        values.push(out.add(f, operands));
    }
    for root in &sweep.roots {
        let value = found(&values, root.value);
        let times = root.times.map(|times| found(&values, times));
        out.product(root.kind, value, times);
    }
    out.finish()
}
