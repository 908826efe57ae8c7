//! Random sizes: neurons, lanes and steps.

use crate::properties::chance::Chance;

/// How large a random spec is.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// `N`, the neurons that recurrent bundles connect.
    pub n: usize,
    /// `P`, those of the other population.
    pub p: usize,
    pub lanes: usize,
    pub steps: usize,
}

/// Where kernels change their ways: 1, primes, multiples of 8 and 16, and one off.
const NEURONS: &[usize] = &[
    1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 5, 6, 7, 7, 8, 8, 8, 9, 9, 11, 13, 15, 16, 16, 17, 17, 19,
    23, 24, 25, 31, 32, 32, 33, 40, 47, 48, 63, 64, 65, 67,
];
const LANES: &[usize] = &[1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9];
const STEPS: &[usize] = &[
    1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 12, 13, 16, 17, 20, 25, 31, 40,
];

/// Connections, steps and lanes together stay small in most cases, so that many fit in a minute.
fn budget(chance: &mut Chance) -> usize {
    match chance.pick(40) {
        0 => 60_000,
        1..4 => 12_000,
        _ => 3_000,
    }
}

pub fn extent(chance: &mut Chance) -> Extent {
    let mut extent = Extent {
        n: chance.of(NEURONS),
        p: chance.of(NEURONS),
        lanes: chance.of(LANES),
        steps: chance.of(STEPS),
    };
    let budget = budget(chance);
    let work = |e: &Extent| e.n * e.n.max(e.p) * e.lanes * e.steps;
    while work(&extent) > budget && extent.lanes * extent.steps > 1 {
        let place = match chance.pick(4) {
            0 => &mut extent.p,
            1 => &mut extent.lanes,
            _ => &mut extent.steps,
        };
        *place = (*place * 2 / 3).max(1);
    }
    extent
}
