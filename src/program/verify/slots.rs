//! Rules 15 and 16: states, inputs, noise, outputs and their adjoints.

use super::Faults;
use crate::program::code::{Area, Place};
use crate::program::ir::{Home, Program, Regions};
use crate::program::layout::Slot;
use std::collections::BTreeSet;

pub(super) fn check(program: &Program, faults: &mut Faults) {
    let slots = program.inputs.iter().chain(&program.noises).flatten();
    let homes = vectors(program).map(|(_, step, _, n)| (step, n));
    fed("forward", &program.lane, slots, homes, faults);
    let homes = vectors(program).map(|(_, _, adjoint, n)| (adjoint, n));
    let seeds = program.seeds.iter().flatten();
    fed("back", &program.adjoint, seeds, homes, faults);
    states(program, faults);
    // The states move on before outputs are read.
    let moved: BTreeSet<usize> = vectors(program).filter_map(|(_, step, ..)| step).collect();
    for (k, (place, _)) in program.outputs.iter().enumerate() {
        let stays = place.area != Area::Lane || !moved.contains(&place.at);
        faults.check(16, stays, || {
            format!("output {k} lies where a state moves on")
        });
    }
    let vectors: Vec<(usize, usize)> = vectors(program).map(|(slot, _, _, n)| (slot, n)).collect();
    once("leaving value", &vectors, &program.nexts, faults);
    once("adjoint", &vectors, &program.adjoints_out, faults);
    let outputs = program.outputs.len();
    let sound = program.seeds.len() == outputs && program.names.outputs.len() == outputs;
    faults.check(16, sound, || {
        format!("{outputs} outputs with {} seeds", program.seeds.len())
    });
    for (seed, (_, n)) in program.seeds.iter().zip(&program.outputs) {
        let sound = seed.is_none_or(|slot| slot.n == *n);
        faults.check(16, sound, || {
            "a seed has not the length of its output".to_owned()
        });
    }
    for (slot, ..) in &program.input_adjoints {
        let exists = *slot < program.inputs.len();
        faults.check(16, exists, || format!("the adjoint of input {slot}"));
    }
}

/// Vector states: slot, where they enter the step and its adjoint, elements.
fn vectors(
    program: &Program,
) -> impl Iterator<Item = (usize, Option<usize>, Option<usize>, usize)> + '_ {
    let homes = program.homes.iter().enumerate();
    homes.filter_map(|(slot, home)| match *home {
        Home::Vector { step, adjoint, n } => Some((slot, step, adjoint, n)),
        Home::Block { .. } => None,
    })
}

fn fed<'a>(
    way: &str,
    regions: &Regions,
    slots: impl Iterator<Item = &'a Slot>,
    homes: impl Iterator<Item = (Option<usize>, usize)>,
    faults: &mut Faults,
) {
    let slots = slots.map(|slot| (slot.at, slot.n, slot.size()));
    let homes = homes.filter_map(|(at, n)| Some((at?, n, n)));
    let mut taken = BTreeSet::new();
    for (at, n, size) in slots.chain(homes) {
        let region = regions.find(at);
        let own = region.filter(|k| regions.all[*k].start == at && taken.insert(*k));
        faults.check(15, own.is_some(), || {
            format!("what is fed to {at} {way} has no region of its own")
        });
        let fits = region.is_some_and(|k| n <= regions.all[k].n && size <= regions.all[k].size());
        faults.check(15, fits, || {
            format!("{n} elements are fed to {at} {way}, where there are fewer")
        });
    }
}

fn states(program: &Program, faults: &mut Faults) {
    let mut next = 0;
    for (slot, home) in program.homes.iter().enumerate() {
        if let Home::Block { index, layout } = home {
            let sound = *index == next && program.blocks.get(*index) == Some(layout);
            faults.check(15, sound, || {
                format!("state {slot} is block {index} with another layout")
            });
            next += 1;
        }
    }
    let homes = program.homes.len();
    let sound = next == program.blocks.len()
        && program.first.len() == homes
        && program.names.states.len() == homes;
    faults.check(15, sound, || {
        format!("{homes} states, {next} of {} blocks", program.blocks.len())
    });
}

fn once(
    what: &str,
    vectors: &[(usize, usize)],
    results: &[(usize, Place, usize)],
    faults: &mut Faults,
) {
    for (slot, n) in vectors {
        let of_slot: Vec<usize> = results
            .iter()
            .filter(|(k, _, _)| k == slot)
            .map(|(_, _, n)| *n)
            .collect();
        faults.check(16, of_slot == [*n], || {
            format!("state {slot} of {n} elements has {what}s of {of_slot:?}")
        });
    }
    let others = results.len() != vectors.len();
    faults.check(16, !others, || {
        format!("{} {what}s of {} states", results.len(), vectors.len())
    });
}
