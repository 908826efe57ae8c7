//! Contracted operations of a row: `a b + c = fma(a, b, c)`, `Σ (a b)` without a row of its own.

use crate::ir::Binary;
use crate::program::code::{Element, Root, RootKind, RowOp, Source, Sweep};
use crate::program::extent::Extent;
use crate::program::ir::Program;
use crate::program::sweep::without_unused;

/// Contracts all sweeps.
pub(super) fn run(program: &mut Program) {
    let (ahead, back) = (&mut program.ahead, &mut program.back);
    let lists = [&mut ahead.sweeps, &mut ahead.updates, &mut back.sweeps];
    for sweep in lists.into_iter().flatten() {
        *sweep = contract(sweep);
    }
}

/// Contracts a sweep: `a b + c` becomes one operation, products are summed without a row of their own, and unused
/// values are dropped. Every product that is added to something is contracted, even if it is also needed elsewhere,
/// and this happens before sweeps are joined. A value is therefore rounded in the same way in every sweep. A product
/// that is the same in a whole row or column is no operation of a connection, and stays.
pub(crate) fn contract(sweep: &Sweep) -> Sweep {
    let mut ops = sweep.ops.clone();
    let mut roots = sweep.roots.clone();
    let mut uses = uses(&ops, &roots);
    let extents = Extent::all(&ops);
    let factors = |ops: &[RowOp], source: Source| match source {
        Source::Temporary(k) => match ops[k].f {
            Element::Binary(Binary::Mul) => Some((k, ops[k].operands[0], ops[k].operands[1])),
            _ => None,
        },
        _ => None,
    };
    for k in 0..ops.len() {
        let [a, b, _] = ops[k].operands;
        let factors = |ops: &[RowOp], source: Source| {
            factors(ops, source).filter(|(product, ..)| extents[*product] == extents[k])
        };
        let found = match ops[k].f {
            Element::Binary(Binary::Add) => factors(&ops, a)
                .map(|(m, x, y)| (m, Element::MulAdd, [x, y, b]))
                .or_else(|| factors(&ops, b).map(|(m, x, y)| (m, Element::MulAdd, [x, y, a]))),
            Element::Binary(Binary::Sub) => factors(&ops, a)
                .map(|(m, x, y)| (m, Element::MulSub, [x, y, b]))
                .or_else(|| factors(&ops, b).map(|(m, x, y)| (m, Element::NegMulAdd, [x, y, a]))),
            _ => None,
        };
        if let Some((product, f, operands)) = found {
            uses[product] -= 1;
            ops[k].f = f;
            ops[k].operands = operands;
        }
    }
    for root in &mut roots {
        let sums = matches!(
            root.kind,
            RootKind::SumPre(..)
                | RootKind::SumPost(..)
                | RootKind::SumBoth(..)
                | RootKind::Gradient(_)
        );
        let alone = |k: &usize| uses[*k] == 1 && extents[*k] == Extent::Connection;
        let found = factors(&ops, root.value).filter(|(product, ..)| alone(product));
        if let (true, Some((product, x, y))) = (sums, found) {
            uses[product] = 0;
            root.value = x;
            root.times = Some(y);
        }
    }
    without_unused(sweep, ops, roots)
}

/// The number of reads of each temporary.
fn uses(ops: &[RowOp], roots: &[Root]) -> Vec<usize> {
    let mut uses = vec![0; ops.len()];
    let mut count = |source: Source| {
        if let Source::Temporary(k) = source {
            uses[k] += 1;
        }
    };
    for op in ops {
        for operand in &op.operands[..op.f.arity()] {
            count(*operand);
        }
    }
    for root in roots {
        count(root.value);
        if let Some(times) = root.times {
            count(times);
        }
    }
    uses
}
