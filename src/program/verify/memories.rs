//! Rule 1: the contents of the memories.

use super::Faults;
use crate::program::ir::{Program, Regions};
use crate::program::layout::{filled, Slot};

pub(super) fn check(program: &Program, faults: &mut Faults) {
    regions("forward", &program.lane, program.record_size, faults);
    regions("back", &program.adjoint, 0, faults);
    let shared = program.shared_places();
    let shared = shared.iter().map(|placed| placed.slot);
    apart("shared value", shared, program.shared_size, faults);
    let sums = program.epilogue.sums.iter().copied();
    apart("gradient sum", sums, program.sums_size, faults);
}

fn regions(way: &str, regions: &Regions, kept: usize, faults: &mut Faults) {
    let mut next = 0;
    for (k, region) in regions.all.iter().enumerate() {
        faults.check(1, region.n > 0, || {
            format!("region {k} {way} has no elements")
        });
        faults.check(1, region.start >= next, || {
            format!("region {k} {way} shares names with the one before")
        });
        next = region.start + filled(region.n);
        faults.check(1, region.at + region.size() <= regions.size, || {
            format!(
                "region {k} {way} at {} does not lie inside {} elements",
                region.at, regions.size
            )
        });
        if region.start < kept {
            let there = region.at == region.start && next <= kept;
            faults.check(1, there, || {
                format!("region {k} {way} is kept, but does not lie in the record by its name")
            });
        }
    }
    faults.check(1, kept <= regions.size, || {
        format!("a record of {kept} elements of {}", regions.size)
    });
}

fn apart(what: &str, slots: impl Iterator<Item = Slot>, size: usize, faults: &mut Faults) {
    let mut slots: Vec<Slot> = slots.collect();
    slots.sort_by_key(|slot| slot.at);
    let mut next = 0;
    for slot in slots {
        faults.check(1, slot.n > 0 && slot.at >= next, || {
            format!("the {what} at {} overlaps the one before", slot.at)
        });
        next = slot.at + slot.size();
        faults.check(1, next <= size, || {
            format!("the {what} at {} ends behind {size} elements", slot.at)
        });
    }
}
