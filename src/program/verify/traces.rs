//! Rules 11 and 12: traces and their adjoints.

use super::Faults;
use crate::program::access;
use crate::program::code::{Instr, RootKind, Source, Sweep};
use crate::program::ir::Program;
use std::collections::BTreeSet;

pub(super) fn check(program: &Program, faults: &mut Faults) {
    stored(program, faults);
    waiting(program, faults);
    adjoints(program, faults);
}

fn stores(sweep: &Sweep) -> impl Iterator<Item = usize> + '_ {
    sweep.roots.iter().filter_map(|root| match root.kind {
        RootKind::State(k) => Some(k),
        _ => None,
    })
}

fn traces(sweep: &Sweep) -> BTreeSet<usize> {
    let traces = access::sources(sweep).filter_map(|source| match source {
        Source::State(k) => Some(k),
        _ => None,
    });
    traces.collect()
}

/// Checks that at most one update stores each trace, and nothing else does.
fn stored(program: &Program, faults: &mut Faults) {
    let ahead = &program.ahead;
    let mut updated = BTreeSet::new();
    for (k, update) in ahead.updates.iter().enumerate() {
        for trace in traces(update) {
            faults.check(11, !updated.contains(&trace), || {
                format!("update {k} reads trace {trace}, which another has stored")
            });
        }
        for trace in stores(update) {
            faults.check(11, updated.insert(trace), || {
                format!("update {k} stores trace {trace} once more")
            });
        }
        let only = update
            .roots
            .iter()
            .all(|root| matches!(root.kind, RootKind::State(_)));
        faults.check(11, only, || {
            format!("update {k} gives something else than traces")
        });
    }
    let blocks = 0..program.blocks.len();
    let constant: Vec<usize> = blocks.filter(|k| !updated.contains(k)).collect();
    faults.check(11, constant == program.constant, || {
        format!(
            "constant traces are {constant:?}, not {:?}",
            program.constant
        )
    });
    let joined: BTreeSet<usize> = ahead
        .merged
        .iter()
        .flatten()
        .chain(&ahead.apart)
        .copied()
        .collect();
    for (k, sweep) in ahead.sweeps.iter().enumerate() {
        let stores = stores(sweep).count();
        faults.check(11, stores == 0 || joined.contains(&k), || {
            format!("sweep {k} forward stores a trace, but applies no update")
        });
        let adjoint = access::sources(sweep).any(|source| matches!(source, Source::Adjoint(_)));
        let gives = sweep
            .roots
            .iter()
            .any(|root| matches!(root.kind, RootKind::Adjoint(_) | RootKind::Gradient(_)));
        faults.check(12, !adjoint && !gives, || {
            format!("sweep {k} forward knows adjoints")
        });
    }
    for (k, sweep) in program.back.sweeps.iter().enumerate() {
        faults.check(11, stores(sweep).count() == 0, || {
            format!("sweep {k} back stores a trace")
        });
    }
}

/// Checks that no sweep reads a trace whose update waits.
fn waiting(program: &Program, faults: &mut Faults) {
    let ahead = &program.ahead;
    if !ahead.deferred {
        return;
    }
    let mut waits: BTreeSet<usize> = ahead.updates.iter().flat_map(stores).collect();
    let run = ahead.instrs.iter().filter_map(|instr| match instr {
        Instr::Sweep(k) => Some(ahead.merged[*k].unwrap_or(*k)),
        _ => None,
    });
    for k in ahead.apart.iter().copied().chain(run) {
        let sweep = &ahead.sweeps[k];
        let own: BTreeSet<usize> = stores(sweep).collect();
        for trace in traces(sweep) {
            let sound = own.contains(&trace) || !waits.contains(&trace);
            faults.check(11, sound, || {
                format!("sweep {k} forward reads trace {trace} before its update")
            });
        }
        for trace in own {
            faults.check(11, waits.remove(&trace), || {
                format!("sweep {k} forward applies the update of trace {trace} once more")
            });
        }
    }
    faults.check(11, waits.is_empty(), || {
        format!("no sweep applies the updates of traces {waits:?}")
    });
}

/// Checks that each adjoint is stored once per step, after it is read.
fn adjoints(program: &Program, faults: &mut Faults) {
    let back = &program.back;
    let main = back.main.iter().filter_map(|instr| match instr {
        Instr::Sweep(k) => Some(*k),
        _ => None,
    });
    let opening = back.opening.iter().map(|opening| opening.alone);
    let mut stored = BTreeSet::new();
    for k in opening.chain(main).chain(back.closing.iter().copied()) {
        let sweep = &back.sweeps[k];
        for source in access::sources(sweep) {
            if let Source::Adjoint(trace) = source {
                faults.check(12, !stored.contains(&trace), || {
                    format!("sweep {k} back reads the adjoint of trace {trace} after it was stored")
                });
            }
        }
        for root in &sweep.roots {
            if let RootKind::Adjoint(trace) = root.kind {
                faults.check(12, stored.insert(trace), || {
                    format!("sweep {k} back stores the adjoint of trace {trace} once more")
                });
            }
        }
    }
    faults.check(12, stored.len() == program.blocks.len(), || {
        format!(
            "adjoints of {stored:?} are stored, of {} traces",
            program.blocks.len()
        )
    });
}
