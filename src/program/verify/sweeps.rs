//! Rules 4 and 8 to 10: sweeps, and the choice of sweeps that run.

use super::Faults;
use crate::program::access;
use crate::program::code::{Gathered, Instr, Root, RootKind, RowOp, Source, Sweep};
use crate::program::ir::{Ahead, Back, Program};

pub(super) fn check(program: &Program, faults: &mut Faults) {
    let (ahead, back) = (&program.ahead, &program.back);
    let lists = [
        ("sweep forward", &ahead.sweeps),
        ("update", &ahead.updates),
        ("sweep back", &back.sweeps),
    ];
    let before = faults.0.len();
    for (kind, sweeps) in lists {
        for (k, sweep) in sweeps.iter().enumerate() {
            let name = format!("{kind} {k}");
            alone(&name, sweep, program, faults);
        }
    }
    exist(ahead, back, faults);
    if faults.0.len() == before {
        forward(ahead, faults);
        backward(back, faults);
    }
}

/// Checks the rules of a single sweep.
fn alone(name: &str, sweep: &Sweep, program: &Program, faults: &mut Faults) {
    let layout = sweep.layout;
    faults.check(4, layout.rows > 0 && layout.cols > 0, || {
        format!("{name} has no connections")
    });
    let numbered = sweep.temporaries == sweep.ops.len();
    faults.check(8, numbered, || {
        format!(
            "{name} has {} temporaries of {} operations",
            sweep.temporaries,
            sweep.ops.len()
        )
    });
    for (k, op) in sweep.ops.iter().enumerate() {
        faults.check(8, op.to == k && in_order(op), || {
            format!(
                "{name}: operation {k} gives t{} of {:?}",
                op.to, op.operands
            )
        });
        let [first, rest @ ..] = op.operands;
        let repeats = rest.iter().skip(op.f.arity() - 1).all(|o| *o == first);
        faults.check(8, repeats, || {
            format!("{name}: operation {k} has an operand too many")
        });
    }
    for source in access::sources(sweep) {
        match source {
            Source::Post(place) | Source::Pre(place) => {
                faults.check(4, place.stride <= 1, || {
                    format!("{name}: a stride of {}", place.stride)
                });
            }
            Source::Gathered(Gathered { n, indices, .. }) => {
                let fits = program.indices.get(indices).is_some_and(|indices| {
                    (indices.size(), indices.at().len()) == (n, layout.cols) && layout.rows == 1
                });
                faults.check(9, fits, || {
                    format!("{name} gathers by positions of another layout")
                });
            }
            Source::State(k) | Source::Adjoint(k) => {
                faults.check(9, program.blocks.get(k) == Some(&layout), || {
                    format!("{name} reads block {k}, which has another layout")
                });
            }
            Source::Temporary(_) | Source::Matrix(..) | Source::Number(_) => {}
        }
    }
    for (k, root) in sweep.roots.iter().enumerate() {
        let operands = [Some(root.value), root.times];
        let known = operands.iter().flatten().all(|source| match source {
            Source::Temporary(t) => *t < sweep.ops.len(),
            _ => true,
        });
        faults.check(8, known, || {
            format!("{name}: root {k} is a temporary that does not exist")
        });
        if let RootKind::State(block) | RootKind::Adjoint(block) = root.kind {
            faults.check(9, program.blocks.get(block) == Some(&layout), || {
                format!("{name} stores block {block}, which has another layout")
            });
            let temporary = matches!((root.value, root.times), (Source::Temporary(_), None));
            faults.check(9, temporary, || {
                format!("{name} stores in block {block} what is no temporary")
            });
        }
        let twice = sweep.roots[..k].iter().any(|one| one.kind == root.kind);
        faults.check(9, !twice, || format!("{name}: root {k} has a target twice"));
    }
}

fn in_order(op: &RowOp) -> bool {
    let mut operands = op.operands.iter();
    operands.all(|source| match source {
        Source::Temporary(t) => *t < op.to,
        _ => true,
    })
}

/// Checks that everything named exists.
fn exist(ahead: &Ahead, back: &Back, faults: &mut Faults) {
    let of = |instrs: &[Instr]| -> Vec<usize> {
        let numbers = instrs.iter().filter_map(|instr| match instr {
            Instr::Sweep(k) => Some(*k),
            _ => None,
        });
        numbers.collect()
    };
    let forward = of(&ahead.instrs).into_iter();
    let merged = ahead.merged.iter().copied().flatten();
    let named = forward.chain(ahead.apart.iter().copied()).chain(merged);
    for k in named {
        faults.check(10, k < ahead.sweeps.len(), || {
            format!("there is no sweep {k} forward")
        });
    }
    faults.check(10, ahead.merged.len() == ahead.sweeps.len(), || {
        "not every sweep forward says what it is merged with".to_owned()
    });
    let openings = back.opening.iter().flat_map(|o| [o.merged, o.alone]);
    let named = of(&back.main)
        .into_iter()
        .chain(back.closing.iter().copied());
    for k in named.chain(openings) {
        faults.check(10, k < back.sweeps.len(), || {
            format!("there is no sweep {k} back")
        });
    }
    for (name, instrs) in [
        ("before an opening", &back.early),
        ("after a closing", &back.late),
    ] {
        faults.check(10, of(instrs).is_empty(), || {
            format!("there is a sweep {name} sweep")
        });
    }
    faults.check(10, back.opening.len() == back.closing.len(), || {
        "opening and closing sweeps are not in pairs".to_owned()
    });
}

/// Checks that sweeps that run apply the waiting updates, with the same results as alone.
fn forward(ahead: &Ahead, faults: &mut Faults) {
    let runs = |k: usize| {
        ahead
            .instrs
            .iter()
            .any(|i| matches!(i, Instr::Sweep(j) if *j == k))
    };
    let mut applied: Vec<RootKind> = Vec::new();
    for (k, merged) in ahead.merged.iter().enumerate() {
        let Some(merged) = merged else { continue };
        let (own, joint) = (&ahead.sweeps[k], &ahead.sweeps[*merged]);
        let traces: Vec<RootKind> = targets(joint, |kind| matches!(kind, RootKind::State(_)));
        let rest = targets(joint, |kind| !matches!(kind, RootKind::State(_)));
        let sound = runs(k) && own.layout == joint.layout && rest == targets(own, |_| true);
        faults.check(10, sound, || {
            format!("sweep {merged} forward gives something else than sweep {k}")
        });
        applied.extend(traces);
    }
    for k in &ahead.apart {
        applied.extend(targets(&ahead.sweeps[*k], |_| true));
    }
    let mut wanted: Vec<RootKind> = Vec::new();
    if ahead.deferred {
        wanted.extend(
            ahead
                .updates
                .iter()
                .flat_map(|sweep| targets(sweep, |_| true)),
        );
    }
    applied.sort_unstable();
    wanted.sort_unstable();
    faults.check(10, applied == wanted, || {
        "the next step applies other updates than wait".to_owned()
    });
}

fn backward(back: &Back, faults: &mut Faults) {
    for (opening, closing) in back.opening.iter().zip(&back.closing) {
        let (closing, opening, joint) = (
            &back.sweeps[*closing],
            &back.sweeps[opening.alone],
            &back.sweeps[opening.merged],
        );
        let mut wanted: Vec<RootKind> = targets(closing, |_| true)
            .into_iter()
            .map(RootKind::aged)
            .collect();
        wanted.extend(targets(opening, |_| true));
        wanted.sort_unstable();
        let layouts = [closing.layout, opening.layout, joint.layout];
        let sound = layouts == [layouts[0]; 3] && targets(joint, |_| true) == wanted;
        faults.check(10, sound, || {
            "a sweep back gives something else than the two that it joins".to_owned()
        });
    }
}

/// The targets of a sweep in a fixed order.
fn targets(sweep: &Sweep, which: impl Fn(RootKind) -> bool) -> Vec<RootKind> {
    let kinds = sweep.roots.iter().map(|Root { kind, .. }| *kind);
    let mut kinds: Vec<RootKind> = kinds.filter(|kind| which(*kind)).collect();
    kinds.sort_unstable();
    kinds
}
