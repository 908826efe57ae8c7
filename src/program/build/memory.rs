//! Where the vectors of a step lie: what is kept of every step, what shares a place, and what both ways share.

use crate::engine::fused::compiled::Unsupported;
use crate::ir::{Graph, Op, ValueId};
use crate::program::build::{Assembly, Form, Leaf};
use crate::program::code::{Area, Place, Source};
use crate::program::passes::buffer_planning::Reuse;
use crate::program::passes::plastic_fusion::{Ahead, Back};
use crate::program::relocate::Moves;
use std::collections::{BTreeMap, BTreeSet};

/// Where named vectors are in what is kept of every step.
pub(crate) fn named(
    step: &Graph,
    onward: &Assembly,
    kept: usize,
) -> BTreeMap<String, (Place, usize)> {
    let mut named = BTreeMap::new();
    for id in step.ids() {
        let Some(name) = step.value(id).name.clone() else {
            continue;
        };
        // The same elements under other dimensions have no place of their own.
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

/// Puts what is kept of every step at the beginning of the lane's memory, and tells the adjoint where it is. Returns
/// how many elements that are.
pub(crate) fn record(onward: &mut Assembly, backward: &mut Assembly) -> Result<usize, Unsupported> {
    let region = |assembly: &Assembly, at: usize| {
        let found = assembly.reserved.range(..=at).next_back();
        *found.expect("every place was reserved").0
    };
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    for sweep in &onward.replay {
        let roots = sweep.roots.iter().map(|root| root.value);
        for source in sweep.ops.iter().flat_map(|op| op.operands).chain(roots) {
            match source {
                Source::Post(p) | Source::Pre(p) if p.area == Area::Lane => {
                    kept.insert(region(onward, p.at));
                }
                Source::Matrix(Area::Lane, at) => {
                    kept.insert(region(onward, at));
                }
                Source::Post(_)
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
    let mut reserved = BTreeMap::new();
    let mut size = 0;
    let mut record_size = 0;
    for keep in [true, false] {
        for (at, n) in &onward.reserved {
            if kept.contains(at) == keep {
                ranges.insert(*at, size);
                reserved.insert(size, *n);
                size += n;
            }
        }
        if keep {
            record_size = size;
        }
    }
    let starts = ranges.clone();
    Moves::new(Area::Lane, ranges).assembly(onward);
    onward.reserved = reserved;
    let records = given
        .into_iter()
        .map(|(from, lane)| (from, starts[&lane]))
        .collect();
    Moves::new(Area::Record, records).assembly(backward);
    Ok(record_size)
}

/// Places that are never shared: what comes from outside and what is read after the step.
fn fixed(assembly: &Assembly) -> BTreeSet<usize> {
    let leaves = assembly
        .leaves
        .iter()
        .filter(|(leaf, _)| !matches!(leaf, Leaf::Forward(_)))
        .map(|(_, slot)| slot.at);
    let results = assembly
        .vectors
        .iter()
        .filter(|(_, place, _)| place.area == Area::Lane)
        .map(|(_, place, _)| {
            let region = assembly.reserved.range(..=place.at).next_back();
            *region.expect("every place was reserved").0
        });
    leaves.chain(results).collect()
}

pub(crate) fn share_places(onward: &mut Assembly, ahead: &mut Ahead, kept: usize) {
    let reuse = Reuse::ahead(ahead, &onward.reserved, &fixed(onward), kept);
    for moves in reuse.moves() {
        moves.ahead(ahead);
        moves.assembly(onward);
    }
    onward.code.lane_size = reuse.size;
}

pub(crate) fn share_places_back(backward: &mut Assembly, back: &mut Back) {
    let reuse = Reuse::back(back, &backward.reserved, &fixed(backward));
    for moves in reuse.moves() {
        moves.back(back);
        moves.assembly(backward);
    }
    backward.code.lane_size = reuse.size;
}

/// Gives both programs one shared memory, in which equal values are one. Returns its elements.
pub(crate) fn share(
    forward: &BTreeMap<ValueId, ValueId>,
    onward: &Assembly,
    backward: &mut Assembly,
) -> usize {
    let known: BTreeMap<(ValueId, Form), usize> = onward
        .prologue
        .iter()
        .map(|(id, slot)| ((*id, slot.form), slot.at))
        .collect();
    let mut size = onward.code.shared_size;
    let mut ranges = BTreeMap::new();
    let ends: Vec<usize> = backward
        .prologue
        .iter()
        .skip(1)
        .map(|(_, slot)| slot.at)
        .chain([backward.code.shared_size])
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
    Moves::new(Area::Shared, ranges).assembly(backward);
    let mut keep = keep.into_iter();
    backward.prologue.retain(|_| keep.next().unwrap_or(true));
    size
}
