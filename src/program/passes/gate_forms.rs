//! The cheapest form of the gate of a clip: `lo ≤ x ≤ hi` is `clip(x) = x` where the clip is computed anyway, and
//! `|x| ≤ hi` where `lo = -hi`.
//!
//! Each form is true for the same numbers, those on a bound and those that are none included. It runs after sweeps are
//! joined, because only then it is known which clips a sweep computes.

use crate::ir::{Binary, Bits, Boundary, Unary};
use crate::program::code::{Element, Source, Sweep};
use crate::program::ir::Program;
use crate::program::sweep::SweepBuilder;

/// Rewrites the gates of all sweeps.
pub(super) fn run(program: &mut Program) {
    let (ahead, back) = (&mut program.ahead, &mut program.back);
    let lists = [&mut ahead.sweeps, &mut ahead.updates, &mut back.sweeps];
    for sweep in lists.into_iter().flatten() {
        *sweep = formed(sweep);
    }
}

fn formed(sweep: &Sweep) -> Sweep {
    let mut out = SweepBuilder::new(sweep.name, sweep.layout);
    let mut values: Vec<Source> = Vec::with_capacity(sweep.ops.len());
    let found = |values: &[Source], source: Source| match source {
        Source::Temporary(k) => values[k],
        other => other,
    };
    for op in &sweep.ops {
        let operands = op.operands.map(|source| found(&values, source));
        let x = operands[0];
        let clipped = |lo: Bits, hi: Bits| {
            let clips = |one: &crate::program::code::RowOp| {
                one.f == Element::Clip(lo, hi) && one.operands[0] == op.operands[0]
            };
            sweep.ops.iter().any(clips)
        };
        values.push(match op.f {
            Element::ClipMask(lo, hi, Boundary::Inclusive) if clipped(lo, hi) => {
                let clip = out.add(Element::Clip(lo, hi), [x; 3]);
                out.add(Element::Binary(Binary::Equal), [clip, x, clip])
            }
            Element::ClipMask(lo, hi, boundary @ (Boundary::Inclusive | Boundary::Exclusive))
                if lo.get() == -hi.get() =>
            {
                let size = out.add(Element::Unary(Unary::Abs), [x; 3]);
                let bound = Source::Number((hi.get() as f32).to_bits());
                let below = match boundary {
                    Boundary::Inclusive => Binary::LessEqual,
                    _ => Binary::Less,
                };
                out.add(Element::Binary(below), [size, bound, size])
            }
            f => out.add(f, operands),
        });
    }
    for root in &sweep.roots {
        let value = found(&values, root.value);
        let times = root.times.map(|times| found(&values, times));
        out.product(root.kind, value, times);
    }
    out.finish()
}
