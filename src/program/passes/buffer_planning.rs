//! Places in the lane's memory shared by values that are not alive together.
//!
//! A value is alive from the instruction that writes it to the last that reads it, in the order in which a step's
//! memory is used. Values alive at the same instruction never overlap, so no result lies where an operand is.

use crate::program::access::{self, Access};
use crate::program::code::{Area, Instr, Sweep};
use crate::program::ir::Program;
use crate::program::ir::{Home, Regions};
use std::collections::BTreeSet;

/// Gives regions the lowest offsets that are free while they are alive.
pub(super) fn run(program: &mut Program) {
    let spans = forward(program);
    plan(&mut program.lane, &spans, program.record_size);
    let spans = back(program);
    plan(&mut program.adjoint, &spans, 0);
}

/// The first and the last instruction that touch a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    first: usize,
    last: usize,
}

/// The life spans of a memory's regions.
struct Spans {
    /// The span by region; `None` if no instruction touches it.
    spans: Vec<Option<Span>>,
    /// Regions that never share an offset: values from outside, and values read after the step.
    fixed: BTreeSet<usize>,
}

/// The reads and writes of an instruction.
struct Step {
    reads: Vec<Access>,
    writes: Vec<Access>,
}

impl Step {
    fn of(instr: &Instr, sweeps: &[Sweep]) -> Step {
        match instr {
            Instr::Sweep(k) => Step {
                reads: access::sweep_reads(&sweeps[*k]).collect(),
                writes: access::sweep_writes(&sweeps[*k]).collect(),
            },
            other => Step {
                reads: access::reads(other),
                writes: access::writes(other).into_iter().collect(),
            },
        }
    }
}

fn forward(program: &Program) -> Spans {
    let ahead = &program.ahead;
    let steps = ahead.instrs.iter().map(|i| Step::of(i, &ahead.sweeps));
    let homes = program.homes.iter().filter_map(|home| match home {
        Home::Vector { step, .. } => *step,
        Home::Block { .. } => None,
    });
    let slots = program.inputs.iter().chain(&program.noises).flatten();
    let results = program.outputs.iter().map(|(place, _)| place);
    let results = results.chain(program.nexts.iter().map(|(_, place, _)| place));
    let results = results.filter(|place| place.area == Area::Lane);
    let fixed = homes
        .chain(slots.map(|slot| slot.at))
        .chain(results.map(|place| place.at));
    Spans::new(&program.lane, steps, fixed)
}

/// The closing sweeps of a backward step run after the step before has begun.
fn back(program: &Program) -> Spans {
    let back = &program.back;
    let alone = back.opening.iter().map(|o| Instr::Sweep(o.alone));
    let closing = back.closing.iter().map(|k| Instr::Sweep(*k));
    let order = (back.early.iter().cloned())
        .chain(alone)
        .chain(back.main.iter().cloned())
        .chain(closing)
        .chain(back.late.iter().cloned());
    let steps = order.map(|instr| Step::of(&instr, &back.sweeps));
    let homes = program.homes.iter().filter_map(|home| match home {
        Home::Vector { adjoint, .. } => *adjoint,
        Home::Block { .. } => None,
    });
    let seeds = program.seeds.iter().flatten().map(|slot| slot.at);
    let results = program.adjoints_out.iter().chain(&program.input_adjoints);
    let results = results.filter(|(_, place, _)| place.area == Area::Lane);
    let fixed = homes
        .chain(seeds)
        .chain(results.map(|(_, place, _)| place.at));
    Spans::new(&program.adjoint, steps, fixed)
}

impl Spans {
    fn new(
        regions: &Regions,
        steps: impl Iterator<Item = Step>,
        fixed: impl Iterator<Item = usize>,
    ) -> Spans {
        let mut spans: Vec<Option<Span>> = vec![None; regions.all.len()];
        let of = |all: &[Access]| -> BTreeSet<usize> {
            let own = all.iter().filter(|access| access.area == Area::Lane);
            own.filter_map(|access| regions.find(access.at)).collect()
        };
        for (time, step) in steps.enumerate() {
            let (reads, writes) = (of(&step.reads), of(&step.writes));
            for k in reads.union(&writes) {
                // A region read before it is written has a value from outside.
                let outside = !writes.contains(k);
                let first = if outside { 0 } else { time };
                spans[*k].get_or_insert(Span { first, last: time }).last = time;
            }
        }
        Spans {
            spans,
            fixed: fixed.filter_map(|at| regions.find(at)).collect(),
        }
    }
}

/// Places the regions: those before `kept` stay, those that never share follow, then all others.
fn plan(regions: &mut Regions, spans: &Spans, kept: usize) {
    let mut size = kept;
    let mut others: Vec<(Span, usize)> = Vec::new();
    for (k, region) in regions.all.iter_mut().enumerate() {
        match spans.spans[k] {
            _ if region.start < kept => region.at = region.start,
            Some(span) if !spans.fixed.contains(&k) => others.push((span, k)),
            Some(_) | None => {
                region.at = size;
                size += region.size();
            }
        }
    }
    // The others are placed by their first write, each at the lowest free offset.
    others.sort_unstable();
    let base = size;
    let mut placed: Vec<(Span, usize)> = Vec::new();
    for (span, k) in others {
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(other, _)| other.first <= span.last && span.first <= other.last)
            .map(|(_, other)| (regions.all[*other].at, regions.all[*other].size()))
            .collect();
        taken.sort_unstable();
        let n = regions.all[k].size();
        let mut to = base;
        for (start, length) in taken {
            if to + n <= start {
                break;
            }
            to = to.max(start + length);
        }
        placed.push((span, k));
        regions.all[k].at = to;
        size = size.max(to + n);
    }
    regions.size = size;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(at: usize) -> Vec<Access> {
        let area = Area::Lane;
        vec![Access { area, at, n: 16 }]
    }

    fn regions(n: usize, size: usize) -> Regions {
        let mut regions = Regions::default();
        for _ in 0..n {
            regions.reserve(size);
        }
        regions
    }

    #[test]
    fn values_alive_together_never_overlap_and_others_share() {
        let mut regions = regions(6, 32);
        // A chain: each value is read only by the next instruction.
        let steps = (0..5).map(|k| Step {
            reads: lane(k * 32),
            writes: lane((k + 1) * 32),
        });
        let spans = Spans::new(&regions, steps, [0].into_iter());
        plan(&mut regions, &spans, 0);
        assert_eq!(regions.size, 32 + 2 * 32);
        for k in 1..5 {
            assert_ne!(regions.all[k].at, regions.all[k + 1].at);
        }
        assert_eq!(regions.all[0].at, 0);
    }

    #[test]
    fn what_comes_from_outside_is_alive_from_the_beginning() {
        let mut regions = regions(3, 16);
        let steps = [
            Step {
                reads: vec![],
                writes: lane(0),
            },
            Step {
                reads: [lane(0), lane(16)].concat(),
                writes: lane(32),
            },
        ];
        let spans = Spans::new(&regions, steps.into_iter(), std::iter::empty());
        plan(&mut regions, &spans, 0);
        assert_ne!(regions.all[0].at, regions.all[1].at);
    }
}
