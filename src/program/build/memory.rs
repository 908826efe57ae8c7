//! The places of a step's vectors: the record of every step, shared places, and the memory shared by forward
//! and backward pass.

use super::{Assembly, Leaf};
use crate::ir::{Graph, Op, ValueId};
use crate::program::code::{Area, Place, Source};
use crate::program::ir::{Region, Regions};
use crate::program::layout::Form;
use crate::program::relocate::Moves;
use crate::program::unsupported::Unsupported;
use std::collections::{BTreeMap, BTreeSet};

/// The places of named vectors in the record of a step.
pub(super) fn named(
    step: &Graph,
    onward: &Assembly,
    kept: usize,
) -> BTreeMap<String, (Place, usize)> {
    let mut named = BTreeMap::new();
    for id in step.ids() {
        let Some(name) = step.value(id).name.clone() else {
            continue;
        };
        // A reshape has no place of its own.
        let mut base = id;
        while matches!(step.value(base).op, Op::Reshape { .. } | Op::StopGradient)
            && !onward.places.contains_key(&base)
        {
            base = step.value(base).operands[0];
        }
        let place = onward.places.get(&base).copied();
        if let Some(place) = place.filter(|p| p.area == Area::Lane && p.at < kept) {
            named.insert(name, (place, step.dims(id).iter().product()));
        }
    }
    named
}

/// Moves the recorded values of a step to the beginning of the lane's memory, and tells the adjoint their
/// places. Returns their number of elements.
pub(super) fn record(onward: &mut Assembly, backward: &mut Assembly) -> Result<usize, Unsupported> {
    let region = |assembly: &Assembly, at: usize| {
        let found = assembly.regions.find(at);
        found.expect("every place was reserved")
    };
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    for sweep in &onward.replay {
        let roots = sweep.roots.iter().map(|root| root.value);
        for source in sweep.ops.iter().flat_map(|op| op.operands).chain(roots) {
            match source {
                Source::Post(p) | Source::Pre(p) if p.area == Area::Lane => {
                    kept.insert(region(onward, p.at));
                }
                Source::Gathered(g) if g.from.area == Area::Lane => {
                    kept.insert(region(onward, g.from.at));
                }
                Source::Matrix(Area::Lane, at) => {
                    kept.insert(region(onward, at));
                }
                Source::Post(_)
                | Source::Gathered(_)
                | Source::Pre(_)
                | Source::Matrix(..)
                | Source::Temporary(_)
                | Source::State(_)
                | Source::Adjoint(_)
                | Source::Number(_) => {}
            }
        }
    }
    let mut given = Vec::new();
    for (leaf, slot) in &backward.leaves {
        if let Leaf::Forward(id) = leaf {
            let place = onward
                .places
                .get(id)
                .filter(|place| place.area == Area::Lane)
                .ok_or(Unsupported("a forward value that is not kept"))?;
            kept.insert(region(onward, place.at));
            given.push((slot.at, place.at));
        }
    }
    let mut ranges = BTreeMap::new();
    let mut regions = Regions::default();
    let mut record_size = 0;
    for keep in [true, false] {
        for (k, Region { start, n, .. }) in onward.regions.all.iter().enumerate() {
            if kept.contains(&k) == keep {
                ranges.insert(*start, regions.reserve(*n));
            }
        }
        if keep {
            record_size = regions.size;
        }
    }
    let starts = ranges.clone();
    move_all(&Moves::new(Area::Lane, ranges), onward);
    onward.regions = regions;
    let records = given
        .into_iter()
        .map(|(from, lane)| (from, starts[&lane]))
        .collect();
    move_all(&Moves::new(Area::Record, records), backward);
    Ok(record_size)
}

/// Moves all places of an assembly.
fn move_all(moves: &Moves, assembly: &mut Assembly) {
    for instr in &mut assembly.instrs {
        moves.instr(instr);
    }
    for sweep in assembly.sweeps.iter_mut().chain(&mut assembly.replay) {
        moves.sweep(sweep);
    }
    for (leaf, slot) in &mut assembly.leaves {
        let area = match leaf {
            Leaf::Forward(_) => Area::Record,
            Leaf::Input(_)
            | Leaf::Noise(_)
            | Leaf::State(_)
            | Leaf::Seed(_)
            | Leaf::AdjointIn(_) => Area::Lane,
        };
        slot.at = moves.offset(area, slot.at);
    }
    for (_, slot) in &mut assembly.prologue {
        slot.at = moves.offset(Area::Shared, slot.at);
    }
    for (_, place, _) in &mut assembly.vectors {
        moves.place(place);
    }
    for place in assembly.places.values_mut() {
        moves.place(place);
    }
}

/// Gives both programs one shared memory, in which equal values are one. Returns its number of elements.
pub(super) fn share(
    forward: &BTreeMap<ValueId, ValueId>,
    onward: &Assembly,
    backward: &mut Assembly,
) -> usize {
    let known: BTreeMap<(ValueId, Form), usize> = onward
        .prologue
        .iter()
        .map(|(id, slot)| ((*id, slot.form), slot.at))
        .collect();
    let mut size = onward.shared_size;
    let mut ranges = BTreeMap::new();
    let ends: Vec<usize> = backward
        .prologue
        .iter()
        .skip(1)
        .map(|(_, slot)| slot.at)
        .chain([backward.shared_size])
        .collect();
    for ((id, slot), end) in backward.prologue.iter().zip(ends) {
        let same = forward
            .get(id)
            .and_then(|step| known.get(&(*step, slot.form)));
        match same {
            Some(at) => {
                ranges.insert(slot.at, *at);
            }
            None => {
                ranges.insert(slot.at, size);
                size += end - slot.at;
            }
        }
    }
    let keep: Vec<bool> = backward
        .prologue
        .iter()
        .map(|(id, slot)| {
            !forward
                .get(id)
                .is_some_and(|step| known.contains_key(&(*step, slot.form)))
        })
        .collect();
    move_all(&Moves::new(Area::Shared, ranges), backward);
    let mut keep = keep.into_iter();
    backward.prologue.retain(|_| keep.next().unwrap_or(true));
    size
}
