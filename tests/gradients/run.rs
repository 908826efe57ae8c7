//! Runs a step through time on any backend, and its finite differences.

use super::slots::Slots;
use bpmc::engine::bptt::{Recorded, Rollout, StepInputs};
use bpmc::engine::candle::{Candle, Precision};
use bpmc::engine::fused::{Choices, Fused, LaneMemory, Native, ProgramError, Shared};
use bpmc::engine::reference::Reference;
use bpmc::engine::Executor;
use bpmc::ir::{verify, Graph, GraphKind};
use bpmc::program::passes::KERNEL_PASSES;
use bpmc::step::autodiff::{differentiate, Options};
use candle_core::Device;

/// Numbers for everything a run reads: parameters, states at the start, and per step inputs, noise
/// draws and seeds; `last` is the adjoint of the states at the end.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    pub params: Vec<Vec<f64>>,
    pub states: Vec<Vec<f64>>,
    pub inputs: Vec<Vec<Vec<f64>>>,
    pub noises: Vec<Vec<Vec<f64>>>,
    pub seeds: Vec<Vec<Vec<f64>>>,
    pub last: Vec<Vec<f64>>,
}

/// What a run gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub outputs: Vec<Vec<Vec<f64>>>,
    pub last_states: Vec<Vec<f64>>,
    pub params: Vec<Option<Vec<f64>>>,
    pub states: Vec<Vec<f64>>,
    pub inputs: Vec<Vec<Vec<f64>>>,
    /// What these are, for messages.
    pub slots: Slots,
}

impl Outcome {
    /// What number `index` of [`Outcome::flat`] is.
    pub fn name(&self, mut index: usize) -> String {
        let mut here = |length: usize| {
            let inside = index < length;
            let at = index;
            index = index.saturating_sub(length);
            inside.then_some(at)
        };
        let slots = &self.slots;
        let steps = [
            ("output", &self.outputs, &slots.outputs),
            ("adjoint of the input", &self.inputs, &slots.inputs),
        ];
        for (what, steps, slots) in steps {
            for (t, values) in steps.iter().enumerate() {
                for (values, slot) in values.iter().zip(slots) {
                    if let Some(at) = here(values.len()) {
                        return format!("{what} {} at step {t}", slot.of_lane(at));
                    }
                }
            }
        }
        let states = [
            ("final state", &self.last_states),
            ("adjoint of the first", &self.states),
        ];
        for (what, values) in states {
            for (values, slot) in values.iter().zip(&slots.states) {
                if let Some(at) = here(values.len()) {
                    return format!("{what} {}", slot.of_lane(at));
                }
            }
        }
        for (values, slot) in self.params.iter().zip(&slots.params) {
            if let Some(at) = here(values.as_ref().map_or(0, Vec::len)) {
                return format!("gradient of {}", slot.element(at));
            }
        }
        panic!("there are fewer numbers")
    }

    /// All numbers in a fixed order.
    pub fn flat(&self) -> Vec<f64> {
        let steps = self.outputs.iter().chain(&self.inputs).flatten();
        let states = self.last_states.iter().chain(&self.states);
        let params = self.params.iter().flatten();
        steps
            .chain(states)
            .chain(params)
            .flatten()
            .copied()
            .collect()
    }
}

/// The adjoint with input adjoints; both graphs are verified.
pub fn adjoint_of(step: &Graph) -> Graph {
    assert_eq!(
        verify(step, GraphKind::Step),
        Vec::<String>::new(),
        "{step}"
    );
    let adjoint = differentiate(step, Options { inputs: true });
    let faults = verify(&adjoint, GraphKind::Adjoint);
    assert_eq!(faults, Vec::<String>::new(), "{step}\n{adjoint}");
    adjoint
}

pub fn reference(step: &Graph, lanes: usize) -> Reference {
    Reference::new(step.clone(), adjoint_of(step), lanes)
}

pub fn candle(step: &Graph, lanes: usize, precision: Precision) -> Candle {
    let adjoint = adjoint_of(step);
    Candle::new(step.clone(), adjoint, lanes, precision, &Device::Cpu).unwrap()
}

fn upload<'d, E: Executor>(
    executor: &E,
    values: &[Vec<f64>],
    dims: impl Iterator<Item = &'d Vec<usize>>,
) -> Vec<E::Tensor> {
    let pairs = values.iter().zip(dims);
    pairs
        .map(|(values, dims)| executor.upload(values, dims).unwrap())
        .collect()
}

fn download<E: Executor>(executor: &E, tensors: &[E::Tensor]) -> Vec<Vec<f64>> {
    let tensors = tensors.iter();
    tensors.map(|t| executor.download(t).unwrap()).collect()
}

/// Forward and back with a checkpoint every `interval` steps.
pub fn run<E: Executor>(executor: &mut E, numbers: &Numbers, interval: usize) -> Outcome {
    let graph = executor.step_graph().clone();
    executor.set_parameters(&numbers.params).unwrap();
    executor.clear_gradients();
    let state_dims = || graph.states.iter().map(|slot| &slot.dims);
    let inputs = numbers.inputs.iter().zip(&numbers.noises);
    let inputs = inputs.map(|(inputs, noises)| StepInputs {
        inputs: upload(executor, inputs, graph.inputs.iter().map(|s| &s.dims)),
        noises: upload(executor, noises, graph.noises.iter().map(|s| &s.dims)),
    });
    let mut recorded = Recorded::new(inputs.collect());
    let initial = upload(executor, &numbers.states, state_dims());
    let steps = numbers.inputs.len();
    let rollout = Rollout::forward(executor, initial, steps, interval, &mut recorded).unwrap();
    let last_states = download(executor, rollout.final_states());
    let last = upload(executor, &numbers.last, state_dims());
    let adjoints = rollout
        .backward(executor, last, |executor, step| {
            let dims = graph.outputs.iter().map(|slot| &slot.dims);
            Ok(upload(executor, &numbers.seeds[step], dims))
        })
        .unwrap();
    Outcome {
        outputs: recorded
            .outputs
            .iter()
            .map(|o| download(executor, o))
            .collect(),
        last_states,
        params: executor.gradients().unwrap(),
        states: download(executor, &adjoints.states),
        inputs: adjoints
            .inputs
            .iter()
            .map(|i| download(executor, i))
            .collect(),
        slots: Slots::of(&graph),
    }
}

/// Forward and back by the fused kernels; they give no input adjoints.
pub fn fused<T: Native>(
    step: &Graph,
    lanes: usize,
    numbers: &Numbers,
    interval: usize,
    choices: Choices,
) -> Result<Outcome, ProgramError> {
    let adjoint = differentiate(step, Options::default());
    fused_with::<T>((step, &adjoint), choices, lanes, numbers, interval)
}

/// As [`fused`], of a step and its adjoint as some passes left them.
pub fn fused_with<T: Native>(
    (step, adjoint): (&Graph, &Graph),
    choices: Choices,
    lanes: usize,
    numbers: &Numbers,
    interval: usize,
) -> Result<Outcome, ProgramError> {
    let program = Fused::with(step, adjoint, choices)?;
    let shared: Shared<T> = program.shared(&numbers.params).unwrap();
    let steps = numbers.inputs.len();
    let mine = |values: &[f64], lane: usize| {
        let width = values.len() / lanes;
        values[lane * width..(lane + 1) * width].to_vec()
    };
    let mut outcome = Outcome {
        outputs: vec![vec![Vec::new(); step.outputs.len()]; steps],
        last_states: vec![Vec::new(); step.states.len()],
        params: Vec::new(),
        states: vec![Vec::new(); step.states.len()],
        inputs: Vec::new(),
        slots: Slots::of(step),
    };
    let mut sums = vec![0.0; program.sums_size()];
    // One memory for all lanes, as in training.
    let mut memory: LaneMemory<T> = LaneMemory::new();
    for lane in 0..lanes {
        memory.start(&program, steps, interval);
        for (slot, values) in numbers.states.iter().enumerate() {
            memory.set_state(&program, slot, &mine(values, lane));
        }
        for t in 0..steps {
            for (slot, values) in numbers.inputs[t].iter().enumerate() {
                memory.set_input(&program, slot, &mine(values, lane), T::from_f64);
            }
            for (slot, values) in numbers.noises[t].iter().enumerate() {
                memory.set_noise(&program, slot, &mine(values, lane));
            }
            memory.step(&program, &shared);
            let mut buffer = Vec::new();
            for (slot, all) in outcome.outputs[t].iter_mut().enumerate() {
                memory.output(&program, &shared, slot, &mut buffer);
                all.extend(&buffer);
            }
        }
        for (slot, all) in outcome.last_states.iter_mut().enumerate() {
            all.extend(memory.state::<f64>(&program, &shared, slot));
        }
        memory.start_back(&program);
        for (slot, values) in numbers.last.iter().enumerate() {
            memory.set_state_adjoint(&program, slot, &mine(values, lane));
        }
        memory.back(&program, &shared, |t, slot, out| {
            for (to, x) in out.iter_mut().zip(mine(&numbers.seeds[t][slot], lane)) {
                *to = T::from_f64(x);
            }
        });
        for (slot, all) in outcome.states.iter_mut().enumerate() {
            all.extend(memory.state_adjoint::<f64>(&program, slot));
        }
        memory.add_sums(&program, &mut sums);
    }
    outcome.params = program.gradients(&numbers.params, &sums).unwrap();
    Ok(outcome)
}

/// The fused kernels of both precisions against an expected outcome.
pub fn assert_fused(
    step: &Graph,
    lanes: usize,
    numbers: &Numbers,
    expected: &Outcome,
    tolerances: (f64, f64),
    label: &str,
) {
    let expected = Outcome {
        inputs: Vec::new(),
        ..expected.clone()
    };
    let all = Choices::default();
    let none = Choices::none();
    let apart = KERNEL_PASSES
        .iter()
        .filter(|pass| pass.name != "plastic_fusion")
        .fold(none, Choices::with);
    for (name, choices) in [("all", all), ("none", none), ("apart", apart)] {
        let double = fused::<f64>(step, lanes, numbers, 2, choices)
            .unwrap_or_else(|e| panic!("{label}: {e}"));
        let name = format!("{label}, fused ({name})");
        assert_close(&double, &expected, tolerances.0, &format!("{name} f64"));
        let single = fused::<f32>(step, lanes, numbers, 2, choices)
            .unwrap_or_else(|e| panic!("{label}: {e}"));
        assert_close(&single, &expected, tolerances.1, &format!("{name} f32"));
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Seeds times outputs, plus the final adjoint times the final states.
pub fn loss(outcome: &Outcome, numbers: &Numbers) -> f64 {
    let outputs = outcome.outputs.iter().flatten();
    let seeds = numbers.seeds.iter().flatten();
    let outputs: f64 = outputs.zip(seeds).map(|(a, b)| dot(a, b)).sum();
    let states = outcome.last_states.iter().zip(&numbers.last);
    outputs + states.map(|(a, b)| dot(a, b)).sum::<f64>()
}

/// The loss alone, by the reference.
pub fn forward_loss(executor: &mut Reference, numbers: &Numbers) -> f64 {
    let graph = executor.step_graph().clone();
    executor.set_parameters(&numbers.params).unwrap();
    let inputs = numbers.inputs.iter().zip(&numbers.noises);
    let inputs = inputs.map(|(inputs, noises)| StepInputs {
        inputs: inputs.clone(),
        noises: noises.clone(),
    });
    let mut recorded = Recorded::new(inputs.collect());
    let steps = numbers.inputs.len();
    let initial = numbers.states.clone();
    let rollout = Rollout::forward(executor, initial, steps, 1, &mut recorded).unwrap();
    let outcome = Outcome {
        outputs: recorded.outputs,
        last_states: rollout.final_states().to_vec(),
        params: Vec::new(),
        states: Vec::new(),
        inputs: Vec::new(),
        slots: Slots::default(),
    };
    assert_eq!(outcome.last_states.len(), graph.states.len());
    loss(&outcome, numbers)
}

/// A central difference of the loss when `change` moves the numbers by its argument.
pub fn central_difference(
    executor: &mut Reference,
    numbers: &Numbers,
    change: impl Fn(&mut Numbers, f64),
) -> f64 {
    const STEP: f64 = 1e-5;
    let mut side = |step: f64| {
        let mut moved = numbers.clone();
        change(&mut moved, step);
        forward_loss(executor, &moved)
    };
    (side(STEP) - side(-STEP)) / (2.0 * STEP)
}

/// Compares every adjoint of `outcome` with a finite difference.
pub fn check_differences(
    executor: &mut Reference,
    numbers: &Numbers,
    outcome: &Outcome,
    tolerance: f64,
    label: &str,
) {
    let slots = &outcome.slots;
    let close = |found: f64, expected: f64, what: &dyn Fn() -> String| {
        let scale = 1.0 + expected.abs();
        assert!(
            (found - expected).abs() <= tolerance * scale,
            "{label}, {what}: adjoint {found}, finite difference {expected}",
            what = what()
        );
    };
    for (k, gradient) in outcome.params.iter().enumerate() {
        for (i, found) in gradient.iter().flatten().enumerate() {
            let expected = central_difference(executor, numbers, |n, h| n.params[k][i] += h);
            let what = || format!("parameter {}", slots.params[k].element(i));
            close(*found, expected, &what);
        }
    }
    for (k, adjoint) in outcome.states.iter().enumerate() {
        for (i, found) in adjoint.iter().enumerate() {
            let expected = central_difference(executor, numbers, |n, h| n.states[k][i] += h);
            let what = || format!("state {}", slots.states[k].of_lane(i));
            close(*found, expected, &what);
        }
    }
    for (t, inputs) in outcome.inputs.iter().enumerate() {
        for (k, adjoint) in inputs.iter().enumerate() {
            for (i, found) in adjoint.iter().enumerate() {
                let expected = central_difference(executor, numbers, |n, h| n.inputs[t][k][i] += h);
                let what = || format!("input {} at step {t}", slots.inputs[k].of_lane(i));
                close(*found, expected, &what);
            }
        }
    }
}

/// Compares two runs number by number, relative to `1 + |expected|`.
pub fn assert_close(found: &Outcome, expected: &Outcome, tolerance: f64, label: &str) {
    let (numbers, wanted) = (found.flat(), expected.flat());
    assert_eq!(numbers.len(), wanted.len(), "{label}");
    for (k, (found, wanted)) in numbers.iter().zip(&wanted).enumerate() {
        assert!(
            (found - wanted).abs() <= tolerance * (1.0 + wanted.abs()),
            "{label}, {}: {found} instead of {wanted}",
            expected.name(k)
        );
    }
}

#[test]
fn a_wrong_number_is_named() {
    let text = "network net {
      input x: [2]
      state h: [3] = 0
      h <- tanh(linear(x) + h)
      output out = linear(h, 2)
    }
    train supervised { batch = 2, steps = 2 }";
    let load = |_: &std::path::Path| -> std::io::Result<String> { panic!("no imports") };
    let compilation = bpmc::driver::compile("net.bpm", text, &[], &load).unwrap();
    let graph = compilation.program.unwrap().step;
    let numbers = Draws(1).numbers(&graph, 2, 2, 0.5);
    let outcome = run(&mut reference(&graph, 2), &numbers, 1);
    let told = |change: &dyn Fn(&mut Outcome)| -> String {
        let mut found = outcome.clone();
        change(&mut found);
        let compare = || assert_close(&found, &outcome, 1e-9, "case");
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(compare));
        *caught.unwrap_err().downcast::<String>().unwrap()
    };
    type Change = fn(&mut Outcome);
    let changes: [(Change, &str); 5] = [
        (
            |o| o.outputs[1][0][3] += 1.0,
            "output `out`[1] in lane 1 at step 1",
        ),
        (
            |o| o.inputs[0][0][2] += 1.0,
            "adjoint of the input `x`[0] in lane 1 at step 0",
        ),
        (
            |o| o.last_states[0][4] += 1.0,
            "final state `h`[1] in lane 1",
        ),
        (
            |o| o.states[0][0] += 1.0,
            "adjoint of the first `h`[0] in lane 0",
        ),
        (
            |o| o.params[0].as_mut().unwrap()[3] += 1.0,
            "gradient of `out.linear.weight`[1, 1]",
        ),
    ];
    for (change, name) in changes {
        let told = told(&change);
        assert!(told.starts_with(&format!("case, {name}: ")), "{told}");
    }
}

/// Numbers between -1 and 1 that depend on the seed alone.
pub struct Draws(pub u64);

impl Draws {
    pub fn next(&mut self) -> f64 {
        // A step of SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    pub fn list(&mut self, count: usize, scale: f64) -> Vec<f64> {
        (0..count).map(|_| scale * self.next()).collect()
    }

    /// Numbers for every slot of a graph over `steps` steps.
    pub fn numbers(&mut self, graph: &Graph, lanes: usize, steps: usize, scale: f64) -> Numbers {
        let mut shared = |dims: &Vec<usize>, lanes: usize| {
            self.list(lanes * dims.iter().product::<usize>(), scale)
        };
        let params = graph.params.iter().map(|s| shared(&s.dims, 1)).collect();
        let states = graph
            .states
            .iter()
            .map(|s| shared(&s.dims, lanes))
            .collect();
        let last = graph
            .states
            .iter()
            .map(|s| shared(&s.dims, lanes))
            .collect();
        let mut inputs = Vec::new();
        let mut noises = Vec::new();
        let mut seeds = Vec::new();
        for _ in 0..steps {
            inputs.push(
                graph
                    .inputs
                    .iter()
                    .map(|s| shared(&s.dims, lanes))
                    .collect(),
            );
            noises.push(
                graph
                    .noises
                    .iter()
                    .map(|s| shared(&s.dims, lanes))
                    .collect(),
            );
            seeds.push(
                graph
                    .outputs
                    .iter()
                    .map(|s| shared(&s.dims, lanes))
                    .collect(),
            );
        }
        Numbers {
            params,
            states,
            inputs,
            noises,
            seeds,
            last,
        }
    }
}
