//! One pass over the traces of a lane a step, forward and back.
//!
//! Forward, a trace update waits for the next step: the sweep that transmits applies it first. Backward, the
//! last sweep of step `t + 1`, which gives the adjoints of the traces, waits for step `t`, whose first sweep needs
//! them: one sweep does both. It computes the traces that left step `t` anew from those that entered it, so
//! that only these are read. A last sweep can wait if of all sweeps only the next step's first one of its block
//! needs what it gives.

use crate::program::access;
use crate::program::code::{Area, Instr, RootKind, Source, Sweep};
use crate::program::ir::Program;
use crate::program::ir::{Ahead, Back, Opening};
use crate::program::layout::Layout;
use crate::program::sweep::{in_area, SweepBuilder};
use std::collections::{BTreeMap, BTreeSet};

/// Joins sweeps of neighbouring steps.
pub(super) fn run(program: &mut Program) {
    forward(&mut program.ahead);
    let sweeps = &program.back.sweeps;
    let region = |at: usize| program.adjoint.find(at);
    // The adjoints of outputs are known before the backward step begins.
    let seeds = program.seeds.iter().flatten();
    let external = seeds.filter_map(|slot| region(slot.at)).collect();
    let flow = Flow {
        instrs: &program.back.main,
        reads: touched(&program.back.main, region, |instr| reads(instr, sweeps)),
        writes: touched(&program.back.main, region, |instr| writes(instr, sweeps)),
    };
    let back = backward(&flow, sweeps, &program.ahead.updates, &external);
    program.back = back;
}

/// The traces that an update computes, by block.
fn updated(values: Vec<(RootKind, Source)>) -> BTreeMap<usize, Source> {
    values
        .into_iter()
        .filter_map(|(kind, value)| match kind {
            RootKind::State(k) => Some((k, value)),
            _ => None,
        })
        .collect()
}

/// Delays updates to the next step, and joins each with the first sweep of its block.
fn forward(ahead: &mut Ahead) {
    let waiting = |source: Source| {
        in_area(source, |area| match area {
            Area::Record => Area::RecordBefore,
            other => other,
        })
    };
    let plain = ahead.sweeps.len();
    for update in &ahead.updates {
        let number = ahead.sweeps.len();
        let first = ahead.sweeps[..plain]
            .iter()
            .position(|sweep| sweep.layout == update.layout);
        if let Some(k) = first {
            let mut builder = SweepBuilder::new("update, transmit", update.layout);
            let traces = updated(builder.append(update, waiting, Some));
            let now = |source: Source| match source {
                Source::State(k) => traces.get(&k).copied().unwrap_or(source),
                other => other,
            };
            builder.append(&ahead.sweeps[k], now, Some);
            ahead.sweeps.push(builder.finish());
            ahead.merged[k] = Some(number);
        } else {
            let mut builder = SweepBuilder::new("update", update.layout);
            builder.append(update, waiting, Some);
            ahead.sweeps.push(builder.finish());
            ahead.apart.push(number);
        }
    }
    ahead.merged.resize(ahead.sweeps.len(), None);
    ahead.deferred = true;
}

fn reads(instr: &Instr, sweeps: &[Sweep]) -> Vec<access::Access> {
    match instr {
        Instr::Sweep(k) => access::sweep_reads(&sweeps[*k]).collect(),
        other => access::reads(other),
    }
}

fn writes(instr: &Instr, sweeps: &[Sweep]) -> Vec<access::Access> {
    match instr {
        Instr::Sweep(k) => access::sweep_writes(&sweeps[*k]).collect(),
        other => access::writes(other).into_iter().collect(),
    }
}

/// The regions of the lane's memory that each instruction touches.
fn touched(
    instrs: &[Instr],
    region: impl Fn(usize) -> Option<usize>,
    accesses: impl Fn(&Instr) -> Vec<access::Access>,
) -> Vec<BTreeSet<usize>> {
    let of = |instr: &Instr| {
        let all = accesses(instr).into_iter();
        all.filter(|access| access.area == Area::Lane)
            .filter_map(|access| region(access.at))
            .collect()
    };
    instrs.iter().map(of).collect()
}

/// The instructions of a backward step, with the regions that each reads and writes.
struct Flow<'a> {
    instrs: &'a [Instr],
    reads: Vec<BTreeSet<usize>>,
    writes: Vec<BTreeSet<usize>>,
}

/// Finds the closing sweeps that can wait for the step before, and the instructions that go with them.
fn backward(
    flow: &Flow<'_>,
    sweeps: &[Sweep],
    updates: &[Sweep],
    external: &BTreeSet<usize>,
) -> Back {
    let instrs = flow.instrs;
    let mut is_late = vec![false; instrs.len()];
    let mut is_early = vec![false; instrs.len()];
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    let layouts: BTreeSet<Layout> = sweeps.iter().map(|s| s.layout).collect();
    for layout in layouts {
        let of_layout =
            |instr: &Instr| matches!(instr, Instr::Sweep(k) if sweeps[*k].layout == layout);
        let first = instrs.iter().position(of_layout);
        let last = instrs.iter().rposition(of_layout);
        let (Some(first), Some(last)) = (first, last) else {
            continue;
        };
        if first == last {
            continue;
        }
        // These instructions follow from the closing sweep; no other sweep may.
        let mut touched = flow.writes[last].clone();
        let mut follows = vec![false; instrs.len()];
        let mut waits = true;
        for (k, instr) in instrs.iter().enumerate().skip(last + 1) {
            if flow.reads[k].is_disjoint(&touched) {
                continue;
            }
            waits &= !instr.is_sweep();
            follows[k] = true;
            touched.extend(&flow.writes[k]);
        }
        // These instructions serve the opening sweep; they depend only on records, parameters and adjoints of
        // outputs.
        let mut wanted = flow.reads[first].clone();
        let mut before = vec![false; instrs.len()];
        for (k, instr) in instrs.iter().enumerate().take(first).rev() {
            if flow.writes[k].is_disjoint(&wanted) {
                continue;
            }
            waits &= !instr.is_sweep();
            before[k] = true;
            for at in &flow.writes[k] {
                wanted.remove(at);
            }
            wanted.extend(&flow.reads[k]);
        }
        waits &= wanted.is_subset(external);
        if !waits {
            continue;
        }
        for k in 0..instrs.len() {
            is_late[k] |= follows[k];
            is_early[k] |= before[k];
        }
        is_late[last] = true;
        is_early[first] = true;
        pairs.push((first, last));
    }
    let mut out = Back {
        sweeps: sweeps.to_vec(),
        ..Back::default()
    };
    for (first, last) in pairs {
        let (&Instr::Sweep(alone), &Instr::Sweep(closing)) = (&instrs[first], &instrs[last]) else {
            continue;
        };
        out.opening.push(Opening {
            merged: out.sweeps.len(),
            alone,
        });
        let merged = two_steps(&sweeps[closing], &sweeps[alone], updates);
        out.sweeps.push(merged);
        out.closing.push(closing);
    }
    for (k, instr) in instrs.iter().enumerate() {
        match (is_early[k], is_late[k]) {
            (_, true) if !instr.is_sweep() => out.late.push(instr.clone()),
            (true, false) if !instr.is_sweep() => out.early.push(instr.clone()),
            (false, false) => out.main.push(instr.clone()),
            _ => {}
        }
    }
    out
}

/// The closing sweep of step `t + 1` and the opening one of step `t`, run at step `t`.
fn two_steps(closing: &Sweep, opening: &Sweep, updates: &[Sweep]) -> Sweep {
    let mut builder = SweepBuilder::new("finish, begin", closing.layout);
    let traces = match updates.iter().find(|sweep| sweep.layout == closing.layout) {
        Some(update) => updated(builder.append(update, |s| s, |_| None)),
        None => BTreeMap::new(),
    };
    let left = |s: Source| match s {
        Source::State(k) => traces.get(&k).copied().unwrap_or(s),
        other => in_area(other, Area::aged),
    };
    let aged = |kind: RootKind| Some(kind.aged());
    let adjoints: BTreeMap<usize, Source> = builder
        .append(closing, left, aged)
        .into_iter()
        .filter_map(|(kind, value)| match kind {
            RootKind::Adjoint(k) => Some((k, value)),
            _ => None,
        })
        .collect();
    let now = |s: Source| match s {
        Source::Adjoint(k) => adjoints.get(&k).copied().unwrap_or(s),
        other => other,
    };
    builder.append(opening, now, Some);
    builder.finish()
}
