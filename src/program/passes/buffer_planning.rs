//! Places in the lane's memory shared by values that are not alive together.
//!
//! A value is alive from the instruction that writes it to the last that reads it, in the order in which a step's
//! memory is used. Values alive at the same instruction never overlap, so no result lies where an operand is.

use crate::program::code::{Area, Instr, Sweep};
use crate::program::layout::filled;
use crate::program::passes::plastic_fusion::{instr_reads, instr_writes, sweep_reads, Ahead, Back};
use crate::program::relocate::Moves;
use std::collections::{BTreeMap, BTreeSet};

/// What an instruction reads and writes in the lane's memory.
struct Access {
    reads: Vec<usize>,
    writes: Vec<usize>,
}

impl Access {
    fn of(instr: &Instr, sweeps: &[Sweep]) -> Access {
        Access {
            reads: instr_reads(instr, sweeps),
            writes: instr_writes(instr, sweeps),
        }
    }

    fn sweep(k: usize, sweeps: &[Sweep]) -> Access {
        Access {
            reads: sweep_reads(&sweeps[k]),
            writes: instr_writes(&Instr::Sweep(k), sweeps),
        }
    }
}

/// New offsets, and the elements they take.
pub(crate) struct Reuse {
    ranges: BTreeMap<usize, usize>,
    /// Elements of the memory.
    pub size: usize,
}

impl Reuse {
    /// For a step forward: what is kept of it stays at the beginning, `fixed` places are never shared.
    pub fn ahead(
        ahead: &Ahead,
        reserved: &BTreeMap<usize, usize>,
        fixed: &BTreeSet<usize>,
        kept: usize,
    ) -> Reuse {
        let order: Vec<Access> = ahead
            .instrs
            .iter()
            .map(|instr| Access::of(instr, &ahead.sweeps))
            .collect();
        plan(reserved, fixed, kept, &order)
    }

    /// For a step back, whose closing sweeps run when the step before has begun.
    pub fn back(back: &Back, reserved: &BTreeMap<usize, usize>, fixed: &BTreeSet<usize>) -> Reuse {
        let sweeps = &back.sweeps;
        let instr = |instr: &Instr| Access::of(instr, sweeps);
        let mut order: Vec<Access> = back.early.iter().map(instr).collect();
        order.extend(back.opening.iter().map(|o| Access::sweep(o.alone, sweeps)));
        order.extend(back.main.iter().map(instr));
        order.extend(back.closing.iter().map(|k| Access::sweep(*k, sweeps)));
        order.extend(back.late.iter().map(instr));
        plan(reserved, fixed, 0, &order)
    }

    /// What has to move.
    pub fn moves(&self) -> [Moves; 2] {
        [Area::Lane, Area::Before].map(|area| Moves::new(area, self.ranges.clone()))
    }
}

fn plan(
    reserved: &BTreeMap<usize, usize>,
    fixed: &BTreeSet<usize>,
    kept: usize,
    order: &[Access],
) -> Reuse {
    let region = |at: &usize| {
        let found = reserved.range(..=*at).next_back();
        *found.expect("every place was reserved").0
    };
    let mut alive: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (time, access) in order.iter().enumerate() {
        for at in access.reads.iter().chain(&access.writes) {
            let range = alive.entry(region(at)).or_insert((time, time));
            range.1 = time;
        }
        // What is read before it is written has come from outside.
        for at in &access.reads {
            let at = region(at);
            if alive[&at].0 == time && !access.writes.iter().any(|w| region(w) == at) {
                alive.insert(at, (0, alive[&at].1));
            }
        }
    }
    let mut ranges: BTreeMap<usize, usize> = BTreeMap::new();
    let mut size = kept;
    for (at, n) in reserved {
        if *at < kept {
            ranges.insert(*at, *at);
        } else if fixed.contains(at) || !alive.contains_key(at) {
            ranges.insert(*at, size);
            size += filled(*n);
        }
    }
    // The others from the first to be written on, each at the lowest place that is free.
    let mut others: Vec<(usize, usize, usize, usize)> = alive
        .iter()
        .filter(|(at, _)| !ranges.contains_key(at))
        .map(|(at, (first, last))| (*first, *last, *at, filled(reserved[at])))
        .collect();
    others.sort_unstable();
    let base = size;
    let mut placed: Vec<(usize, usize, usize, usize)> = Vec::new();
    for (first, last, at, n) in others {
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(begin, end, ..)| *begin <= last && first <= *end)
            .map(|(_, _, to, n)| (*to, *n))
            .collect();
        taken.sort_unstable();
        let mut to = base;
        for (start, length) in taken {
            if to + n <= start {
                break;
            }
            to = to.max(start + length);
        }
        placed.push((first, last, to, n));
        ranges.insert(at, to);
        size = size.max(to + n);
    }
    Reuse { ranges, size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_alive_together_never_overlap_and_others_share() {
        let reserved: BTreeMap<usize, usize> = (0..6).map(|k| (k * 32, 32)).collect();
        let fixed = BTreeSet::from([0]);
        // A chain: each value is read by the next instruction only.
        let order: Vec<Access> = (0..5)
            .map(|k| Access {
                reads: vec![k * 32],
                writes: vec![(k + 1) * 32],
            })
            .collect();
        let reuse = plan(&reserved, &fixed, 0, &order);
        assert_eq!(reuse.size, 32 + 2 * 32);
        for k in 1..5 {
            assert_ne!(reuse.ranges[&(k * 32)], reuse.ranges[&((k + 1) * 32)]);
        }
        assert_eq!(reuse.ranges[&0], 0);
    }

    #[test]
    fn what_comes_from_outside_is_alive_from_the_beginning() {
        let reserved = BTreeMap::from([(0, 16), (16, 16), (32, 16)]);
        let order = [
            Access {
                reads: vec![],
                writes: vec![0],
            },
            Access {
                reads: vec![0, 16],
                writes: vec![32],
            },
        ];
        let reuse = plan(&reserved, &BTreeSet::new(), 0, &order);
        assert_ne!(reuse.ranges[&0], reuse.ranges[&16]);
    }
}
