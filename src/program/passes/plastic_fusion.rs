//! In which order sweeps and vector code run, and which sweeps of neighbouring steps become one.
//!
//! Forward, a trace update waits for the next step: the sweep that transmits applies it first. Backward, the
//! last sweep of step `t + 1`, which gives the adjoints of the traces, waits for step `t`, whose first sweep needs
//! them: one sweep does both. It computes the traces that left step `t` anew from those that entered it, so
//! that only these are read. A last sweep can wait if of all sweeps only the next step's first one of its block
//! needs what it gives.

use crate::engine::fused::Choices;
use crate::program::build::Assembly;
use crate::program::code::{Area, Instr, Place, RootKind, Source, Sweep};
use crate::program::layout::Layout;
use crate::program::sweep::{contract, SweepBuilder};
use std::collections::{BTreeMap, BTreeSet};

/// A step forward.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead {
    pub instrs: Vec<Instr>,
    pub sweeps: Vec<Sweep>,
    /// For each sweep the one that also applies the pending updates of its block.
    pub merged: Vec<Option<usize>>,
    /// Pending updates of blocks that have no sweep to be merged with.
    pub apart: Vec<usize>,
    /// Updates alone, reading the record of their own step.
    pub replay: Vec<Sweep>,
}

/// A step back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Back {
    pub sweeps: Vec<Sweep>,
    /// What the opening sweeps need of this step.
    pub early: Vec<Instr>,
    pub opening: Vec<Opening>,
    /// What follows from closing sweeps, in the memory of their own step.
    pub late: Vec<Instr>,
    /// Everything else.
    pub main: Vec<Instr>,
    /// The closing sweeps alone.
    pub closing: Vec<usize>,
}

/// The first sweep of a block in a step back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// With the closing sweep of the step before.
    pub merged: usize,
    /// Without.
    pub alone: usize,
}

/// The sources of a sweep as another program sees them.
fn in_area(source: Source, map: impl Fn(Area) -> Area) -> Source {
    let place = |p: Place| Place {
        area: map(p.area),
        ..p
    };
    match source {
        Source::Matrix(area, at) => Source::Matrix(map(area), at),
        Source::Post(p) => Source::Post(place(p)),
        Source::Pre(p) => Source::Pre(place(p)),
        other => other,
    }
}

fn contracted(sweeps: &[Sweep], choices: Choices) -> Vec<Sweep> {
    if choices.contract {
        sweeps.iter().map(contract).collect()
    } else {
        sweeps.to_vec()
    }
}

/// `update` with the vectors it reads in another memory.
fn update(sweep: &Sweep, name: &'static str, area: Area) -> Sweep {
    let mut builder = SweepBuilder::new(name, sweep.layout);
    builder.append(
        sweep,
        |s| in_area(s, |a| if a == Area::Lane { area } else { a }),
        Some,
    );
    builder.finish()
}

/// The traces an update gives, by block.
fn updated(values: Vec<(RootKind, Source)>) -> BTreeMap<usize, Source> {
    values
        .into_iter()
        .filter_map(|(kind, value)| match kind {
            RootKind::State(k) => Some((k, value)),
            _ => None,
        })
        .collect()
}

/// Schedules a step forward. What updates read lies at the same offsets in the lane's memory and in records.
pub(crate) fn ahead(assembly: &Assembly, choices: Choices) -> Ahead {
    let sweeps = contracted(&assembly.code.sweeps, choices);
    let mut out = Ahead {
        instrs: assembly.code.instrs.clone(),
        sweeps: sweeps.clone(),
        merged: vec![None; assembly.code.sweeps.len()],
        apart: Vec::new(),
        replay: Vec::new(),
    };
    for sweep in &contracted(&assembly.replay, choices) {
        out.replay.push(update(sweep, "replay", Area::Record));
        if !choices.one_pass {
            continue;
        }
        let first = assembly
            .code
            .sweeps
            .iter()
            .position(|s| s.layout == sweep.layout);
        let number = out.sweeps.len();
        match first {
            Some(k) => {
                let first = &sweeps[k];
                let mut builder = SweepBuilder::new("update, transmit", sweep.layout);
                let traces = updated(builder.append(
                    sweep,
                    |s| {
                        in_area(s, |a| {
                            if a == Area::Lane {
                                Area::RecordBefore
                            } else {
                                a
                            }
                        })
                    },
                    Some,
                ));
                let now = |s: Source| match s {
                    Source::State(k) => traces.get(&k).copied().unwrap_or(s),
                    other => other,
                };
                builder.append(first, now, Some);
                out.sweeps.push(builder.finish());
                out.merged[k] = Some(number);
            }
            None => {
                out.sweeps.push(update(sweep, "update", Area::RecordBefore));
                out.apart.push(number);
            }
        }
    }
    out.merged.resize(out.sweeps.len(), None);
    out
}

/// Offsets in the lane's memory that a value is read from.
pub(crate) fn instr_reads(instr: &Instr, sweeps: &[Sweep]) -> Vec<usize> {
    let mut out = Vec::new();
    let mut place = |p: &Place| {
        if p.area == Area::Lane {
            out.push(p.at);
        }
    };
    match instr {
        Instr::Element { operands, .. } => operands.iter().for_each(place),
        Instr::Sum { a, .. }
        | Instr::Max { a, .. }
        | Instr::Copy { a, .. }
        | Instr::Softmax { a, .. }
        | Instr::AddTo { a, .. } => place(a),
        Instr::MatVec { v, .. } => place(v),
        Instr::AddOuter { a, b, .. } => {
            place(a);
            place(b);
        }
        Instr::Zero { .. } => {}
        Instr::Sweep(k) => out = sweep_reads(&sweeps[*k]),
    }
    out
}

pub(crate) fn sweep_reads(sweep: &Sweep) -> Vec<usize> {
    let operands = sweep.ops.iter().flat_map(|op| op.operands);
    let roots = sweep
        .roots
        .iter()
        .flat_map(|root| [Some(root.value), root.times])
        .flatten();
    operands
        .chain(roots)
        .filter_map(|source| match source {
            Source::Post(p) | Source::Pre(p) if p.area == Area::Lane => Some(p.at),
            Source::Matrix(Area::Lane, at) => Some(at),
            _ => None,
        })
        .collect()
}

pub(crate) fn instr_writes(instr: &Instr, sweeps: &[Sweep]) -> Vec<usize> {
    match instr {
        Instr::Element { to, .. }
        | Instr::Sum { to, .. }
        | Instr::Max { to, .. }
        | Instr::Copy { to, .. }
        | Instr::Zero { to, .. }
        | Instr::Softmax { to, .. }
        | Instr::MatVec { to, .. } => vec![*to],
        Instr::AddTo { .. } | Instr::AddOuter { .. } => Vec::new(),
        Instr::Sweep(k) => sweeps[*k]
            .roots
            .iter()
            .filter_map(|root| match root.kind {
                RootKind::SumPre(_, to)
                | RootKind::MaxPre(_, to)
                | RootKind::SumPost(_, to)
                | RootKind::MaxPost(_, to)
                | RootKind::SumBoth(_, to)
                | RootKind::MaxBoth(_, to) => Some(to),
                RootKind::Gradient(_) | RootKind::State(_) | RootKind::Adjoint(_) => None,
            })
            .collect(),
    }
}

/// Which reservation an offset belongs to.
struct Regions<'a>(&'a BTreeMap<usize, usize>);

impl Regions<'_> {
    fn of(&self, at: usize) -> usize {
        self.0
            .range(..=at)
            .next_back()
            .map_or(at, |(start, _)| *start)
    }
}

/// Schedules a step back. `replay` are the updates of the step forward, `external` the places of what is known
/// before the step back begins (adjoints of outputs).
pub(crate) fn back(
    assembly: &Assembly,
    replay: &[Sweep],
    external: &BTreeSet<usize>,
    choices: Choices,
) -> Back {
    let code = &assembly.code;
    let regions = Regions(&assembly.reserved);
    let reads = |instr: &Instr| -> BTreeSet<usize> {
        instr_reads(instr, &code.sweeps)
            .into_iter()
            .map(|at| regions.of(at))
            .collect()
    };
    let writes = |instr: &Instr| -> BTreeSet<usize> {
        instr_writes(instr, &code.sweeps)
            .into_iter()
            .map(|at| regions.of(at))
            .collect()
    };
    let mut is_late = vec![false; code.instrs.len()];
    let mut is_early = vec![false; code.instrs.len()];
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    let layouts: BTreeSet<Layout> = code.sweeps.iter().map(|s| s.layout).collect();
    for layout in layouts {
        if !choices.one_pass {
            break;
        }
        let of_layout =
            |instr: &Instr| matches!(instr, Instr::Sweep(k) if code.sweeps[*k].layout == layout);
        let first = code.instrs.iter().position(of_layout);
        let last = code.instrs.iter().rposition(of_layout);
        let (Some(first), Some(last)) = (first, last) else {
            continue;
        };
        if first == last {
            continue;
        }
        // What follows from the closing sweep; no other sweep may.
        let mut touched = writes(&code.instrs[last]);
        let mut follows = vec![false; code.instrs.len()];
        let mut waits = true;
        for (k, instr) in code.instrs.iter().enumerate().skip(last + 1) {
            if reads(instr).is_disjoint(&touched) {
                continue;
            }
            waits &= !matches!(instr, Instr::Sweep(_));
            follows[k] = true;
            touched.extend(writes(instr));
        }
        // What the opening sweep needs; all of it from records, parameters and adjoints of outputs.
        let mut wanted = reads(&code.instrs[first]);
        let mut before = vec![false; code.instrs.len()];
        for (k, instr) in code.instrs.iter().enumerate().take(first).rev() {
            let writes = writes(instr);
            if writes.is_disjoint(&wanted) {
                continue;
            }
            waits &= !matches!(instr, Instr::Sweep(_));
            before[k] = true;
            for at in &writes {
                wanted.remove(at);
            }
            wanted.extend(reads(instr));
        }
        waits &= wanted.is_subset(external);
        if !waits {
            continue;
        }
        for k in 0..code.instrs.len() {
            is_late[k] |= follows[k];
            is_early[k] |= before[k];
        }
        is_late[last] = true;
        is_early[first] = true;
        pairs.push((first, last));
    }
    let sweeps = contracted(&code.sweeps, choices);
    let replay = contracted(replay, choices);
    let mut out = Back {
        sweeps: sweeps.clone(),
        ..Back::default()
    };
    let number = |instr: usize| match code.instrs[instr] {
        Instr::Sweep(k) => k,
        _ => unreachable!("pairs are of sweeps"),
    };
    for (first, last) in pairs {
        let (alone, closing) = (number(first), number(last));
        out.opening.push(Opening {
            merged: out.sweeps.len(),
            alone,
        });
        let merged = two_steps(&sweeps[closing], &sweeps[alone], &replay);
        out.sweeps.push(merged);
        out.closing.push(closing);
    }
    for (k, instr) in code.instrs.iter().enumerate() {
        let sweep = matches!(instr, Instr::Sweep(_));
        match (is_early[k], is_late[k]) {
            (_, true) if !sweep => out.late.push(instr.clone()),
            (true, false) if !sweep => out.early.push(instr.clone()),
            (false, false) => out.main.push(instr.clone()),
            _ => {}
        }
    }
    out
}

/// The closing sweep of step `t + 1` and the opening one of step `t`, run at step `t`.
fn two_steps(closing: &Sweep, opening: &Sweep, replay: &[Sweep]) -> Sweep {
    let mut builder = SweepBuilder::new("finish, begin", closing.layout);
    let traces = match replay.iter().find(|sweep| sweep.layout == closing.layout) {
        Some(replay) => updated(builder.append(
            replay,
            |s| in_area(s, |a| if a == Area::Lane { Area::Record } else { a }),
            |_| None,
        )),
        None => BTreeMap::new(),
    };
    let left = |s: Source| match s {
        Source::State(k) => traces.get(&k).copied().unwrap_or(s),
        other => in_area(other, Area::aged),
    };
    let aged = |kind: RootKind| {
        Some(match kind {
            RootKind::SumPre(area, to) => RootKind::SumPre(area.aged(), to),
            RootKind::MaxPre(area, to) => RootKind::MaxPre(area.aged(), to),
            RootKind::SumPost(area, to) => RootKind::SumPost(area.aged(), to),
            RootKind::MaxPost(area, to) => RootKind::MaxPost(area.aged(), to),
            RootKind::SumBoth(area, to) => RootKind::SumBoth(area.aged(), to),
            RootKind::MaxBoth(area, to) => RootKind::MaxBoth(area.aged(), to),
            RootKind::Gradient(_) | RootKind::State(_) | RootKind::Adjoint(_) => kind,
        })
    };
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
