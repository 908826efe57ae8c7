//! Random changes of a sound program: what the verifier lets pass runs, and what changes a result is caught by the
//! verifier, or is another program of the same kind that differs from the reference.

use super::*;
use crate::engine::fused::{Fused, LaneMemory, Shared};
use crate::ir::rng::{Key, Place, Stream};
use crate::program::code::{Instr, Source};

const STEPS: usize = 5;
const CHANGES: u32 = 400;

/// Draws of one change.
struct Draws {
    place: Place,
    next: u32,
}

impl Draws {
    fn new(k: u32) -> Draws {
        Draws {
            place: Key::new(7, Stream::Init(0)).at(k, 0, 0),
            next: 0,
        }
    }

    fn uniform(&mut self) -> f64 {
        self.next += 1;
        f64::from(self.place.uniform_f32(self.next))
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n - 1)
    }
}

/// Outputs, gradients and adjoints of first states of one lane.
fn results(program: &Verified<Program>, step: &Graph) -> Vec<f64> {
    let fused = Fused::from(program.clone());
    let mut draws = Draws::new(u32::MAX);
    let parameters = step.params.iter().map(|slot| {
        let n: usize = slot.dims.iter().product();
        (0..n).map(|_| draws.uniform() - 0.5).collect()
    });
    let parameters: Vec<Vec<f64>> = parameters.collect();
    let shared: Shared<f64> = fused.shared(&parameters).unwrap();
    let mut lane: LaneMemory<f64> = LaneMemory::new();
    lane.start(&fused, STEPS, 2);
    let (mut out, mut values) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        for (slot, input) in step.inputs.iter().enumerate() {
            let n: usize = input.dims.iter().product();
            let drawn: Vec<f64> = (0..n).map(|_| draws.uniform()).collect();
            lane.set_input(&fused, slot, &drawn, |x| x);
        }
        lane.step(&fused, &shared);
        for slot in 0..step.outputs.len() {
            lane.output(&fused, &shared, slot, &mut values);
            out.extend_from_slice(&values);
        }
    }
    lane.start_back(&fused);
    lane.back(&fused, &shared, |step, _, seed| {
        for (k, x) in seed.iter_mut().enumerate() {
            *x = (1 + step + k) as f64;
        }
    });
    for slot in 0..step.states.len() {
        out.extend(lane.state_adjoint::<f64>(&fused, slot));
    }
    let mut sums = vec![0.0; fused.sums_size()];
    lane.add_sums(&fused, &mut sums);
    let gradients = fused.gradients(&parameters, &sums).unwrap();
    out.extend(gradients.into_iter().flatten().flatten());
    out
}

/// A list of instructions, by number.
fn list(program: &mut Program, k: usize) -> &mut Vec<Instr> {
    match k {
        0 => &mut program.ahead.instrs,
        1 => &mut program.back.early,
        2 => &mut program.back.main,
        _ => &mut program.back.late,
    }
}

/// Changes the order, the places or the sums of a program; what it means otherwise stays.
fn disorder(program: &mut Program, draws: &mut Draws) {
    let instrs = list(program, draws.below(4));
    let n = instrs.len();
    match draws.below(6) {
        0 if n > 1 => {
            let (a, b) = (draws.below(n), draws.below(n));
            instrs.swap(a, b);
        }
        1 if n > 0 => {
            instrs.remove(draws.below(n));
        }
        2 if n > 0 => {
            let again = instrs[draws.below(n)].clone();
            instrs.insert(draws.below(n), again);
        }
        3 => {
            let sweeps = [&mut program.ahead.sweeps, &mut program.back.sweeps];
            let mut sweeps: Vec<_> = sweeps.into_iter().flatten().collect();
            let k = draws.below(sweeps.len());
            let roots = &mut sweeps[k].roots;
            if !roots.is_empty() {
                roots.remove(draws.below(roots.len()));
            }
        }
        4 => {
            let sweeps = [&mut program.ahead.updates, &mut program.back.sweeps];
            let mut sweeps: Vec<_> = sweeps.into_iter().flatten().collect();
            let k = draws.below(sweeps.len());
            let ops = &mut sweeps[k].ops;
            if ops.len() > 1 {
                let k = draws.below(ops.len() - 1);
                ops.swap(k, k + 1);
            }
        }
        _ => {
            let memories = [&mut program.lane, &mut program.adjoint];
            let regions = &mut memories.into_iter().nth(draws.below(2)).unwrap().all;
            let (a, b) = (draws.below(regions.len()), draws.below(regions.len()));
            regions[a].at = regions[b].at;
        }
    }
}

/// Has an operand read something else, which may be there.
fn misread(program: &mut Program, draws: &mut Draws) {
    if draws.below(2) == 0 {
        let instrs = list(program, draws.below(4));
        if instrs.is_empty() {
            return;
        }
        let k = draws.below(instrs.len());
        if let Instr::Element { operands, .. } = &mut instrs[k] {
            let by = 16 * draws.below(40);
            let at = operands[0].at;
            operands[0].at = if draws.below(2) == 0 {
                at + by
            } else {
                at.saturating_sub(by)
            };
        }
        return;
    }
    let sweeps = [&mut program.ahead.sweeps, &mut program.back.sweeps];
    let mut sweeps: Vec<_> = sweeps.into_iter().flatten().collect();
    let k = draws.below(sweeps.len());
    let ops = &mut sweeps[k].ops;
    if !ops.is_empty() {
        let k = draws.below(ops.len());
        let operand = draws.below(ops[k].f.arity());
        ops[k].operands[operand] = Source::Temporary(draws.below(k + 1));
    }
}

fn differs(found: &[f64], expected: &[f64]) -> bool {
    let pairs = found.iter().zip(expected);
    let mut far = pairs.map(|(a, b)| (a - b).abs() > 1e-9 * (1.0 + b.abs()) || a.is_nan());
    found.len() != expected.len() || far.any(|far| far)
}

#[test]
fn changes_of_order_places_and_sums_that_matter_are_all_caught() {
    let (step, adjoint) = graphs();
    let sound = compile(&step, &adjoint, Choices::default()).unwrap();
    let expected = results(&sound, &step);
    assert!(expected.iter().all(|x| x.is_finite()) && expected.iter().any(|x| *x != 0.0));
    let (mut caught, mut harmless) = (0, 0);
    for k in 0..CHANGES {
        let mut changed = sound.source().clone();
        disorder(&mut changed, &mut Draws::new(k));
        match Verified::new("a change", changed) {
            Err(_) => caught += 1,
            Ok(program) => {
                let found = results(&program, &step);
                assert!(!differs(&found, &expected), "change {k} goes unseen");
                harmless += 1;
            }
        }
    }
    assert!(caught > 150 && harmless > 20, "{caught} and {harmless}");
}

#[test]
fn operands_that_are_something_else_are_caught_or_differ_and_never_panic() {
    let (step, adjoint) = graphs();
    let sound = compile(&step, &adjoint, Choices::default()).unwrap();
    let expected = results(&sound, &step);
    let (mut caught, mut differ) = (0, 0);
    for k in 0..CHANGES {
        let mut changed = sound.source().clone();
        misread(&mut changed, &mut Draws::new(k));
        match Verified::new("a change", changed) {
            Err(_) => caught += 1,
            Ok(program) => differ += u32::from(differs(&results(&program, &step), &expected)),
        }
    }
    assert!(caught > 100 && differ > 20, "{caught} and {differ}");
}
