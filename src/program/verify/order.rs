//! Rules 2 to 7: what is read and written, in the order in which a step runs.

use super::flow::{Flow, Ranges};
use super::walk::{Walk, BACK, FORWARD, UPDATE, WAITING};
use super::Faults;
use crate::program::code::Instr;
use crate::program::ir::{Home, Program};

pub(super) fn check(program: &Program, faults: &mut Faults) {
    let record = forward(program, faults);
    back(program, &record, faults);
}

/// Follows a step forward; returns what its record holds.
fn forward(program: &Program, faults: &mut Faults) -> Ranges {
    let ahead = &program.ahead;
    let mut start = Flow::new(&program.lane);
    for slot in program.inputs.iter().chain(&program.noises).flatten() {
        start.feed(slot.at, slot.size());
    }
    for home in &program.homes {
        if let Home::Vector {
            step: Some(at), n, ..
        } = home
        {
            start.feed(*at, *n);
        }
    }
    for region in &program.lane.all {
        if region.start < program.record_size {
            start.hold(region.start);
        }
    }
    let mut walk = Walk::new(program, start.clone(), faults);
    for instr in &ahead.instrs {
        walk.instr(FORWARD, instr, &ahead.sweeps);
    }
    walk.results();
    let alone = walk.lane;
    // What is kept of a step is what it has written.
    let record = alone.defined.clone();
    let mut walk = Walk::new(program, start, faults);
    walk.record = record.clone();
    for update in &ahead.updates {
        walk.sweep(UPDATE, update);
    }
    let mut both = alone.clone();
    if ahead.deferred {
        walk.time = 0;
        for k in &ahead.apart {
            walk.sweep(WAITING, &ahead.sweeps[*k]);
        }
        walk.time = 0;
        for instr in &ahead.instrs {
            match instr {
                Instr::Sweep(k) if ahead.merged[*k].is_some() => {
                    let merged = ahead.merged[*k].unwrap_or(*k);
                    walk.sweep(WAITING, &ahead.sweeps[merged]);
                }
                other => walk.instr(FORWARD, other, &ahead.sweeps),
            }
        }
        walk.results();
        both.join(&walk.lane);
    }
    both.apart("forward", faults);
    record
}

/// Follows the last step back and what is left after the first, then a step back with a later one.
fn back(program: &Program, record: &Ranges, faults: &mut Faults) {
    let back = &program.back;
    let mut fed = Flow::new(&program.adjoint);
    for slot in program.seeds.iter().flatten() {
        fed.feed(slot.at, slot.size());
    }
    let mut last = fed.clone();
    adjoints(program, &mut last);
    let mut walk = Walk::new(program, last, faults);
    walk.record = record.clone();
    walk.instrs(BACK, &back.early, &back.sweeps);
    for opening in &back.opening {
        walk.sweep(BACK, &back.sweeps[opening.alone]);
    }
    walk.instrs(BACK, &back.main, &back.sweeps);
    let (end, done) = (walk.time, walk.lane.clone());
    for k in &back.closing {
        walk.sweep(BACK, &back.sweeps[*k]);
    }
    walk.instrs(BACK, &back.late, &back.sweeps);
    walk.handed_on();
    let mut all = walk.lane;

    let mut walk = Walk::new(program, fed, faults);
    walk.record = record.clone();
    walk.instrs(BACK, &back.early, &back.sweeps);
    walk.before = Some(done);
    for (k, opening) in back.opening.iter().enumerate() {
        walk.joined(end + k, &back.sweeps[opening.merged]);
    }
    // What follows in the memory of the later step, while this one waits.
    let time = walk.time;
    if let Some(before) = walk.before.take() {
        let this = std::mem::replace(&mut walk.lane, before);
        walk.time = end + back.opening.len();
        walk.instrs(BACK, &back.late, &back.sweeps);
        walk.handed_on();
        all.join(&walk.lane);
        walk.lane = this;
    }
    adjoints(program, &mut walk.lane);
    walk.time = time;
    walk.instrs(BACK, &back.main, &back.sweeps);
    all.join(&walk.lane);
    all.apart("back", faults);
}

/// Feeds the adjoints of leaving states.
fn adjoints(program: &Program, flow: &mut Flow<'_>) {
    for home in &program.homes {
        if let Home::Vector {
            adjoint: Some(at),
            n,
            ..
        } = home
        {
            flow.feed(*at, *n);
        }
    }
}
