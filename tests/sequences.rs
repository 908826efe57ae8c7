//! Sequences and the way back through them: against finite differences in f64, and against other splits of the same work.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bpmc::driver;
use bpmc::engine::experiment::Experiment;
use bpmc::engine::params::draw;
use bpmc::engine::sequences::{Adjoints, Given, Noise, Ran, Seeds, Sequences};
use bpmc::ir::rng::{Key, Stream};
use bpmc::step::passes::Selection;

const STEPS: usize = 7;
const LANES: usize = 3;

/// Networks around a rule with a bundle of 4 to 4 neurons.
fn plastic(rule: &str, more: &str, using: &str) -> String {
    format!(
        "{rule}
         network net {{
           input x: [3]
           state h: [4] = 0.1
           plastic rec: h -> y using {using} {{
             weight w ~ uniform(-0.5, 0.5)
             coeff alpha ~ uniform(0, 0.4)
           }}
           y = tanh(linear(x) + rec)
           {more}
           h <- y
           output label = linear(y, 2)
         }}"
    )
}

/// The paper's three rules, two of a user's own, cells without traces, a matrix as a state, a state that nothing reads,
/// an input that nothing reads, and noise.
fn specs() -> Vec<(&'static str, String)> {
    let modulated = "modulator m = tanh(linear(y, 1))";
    let delta = "rule delta(m) {
       trained eta = 0.2
       trace a = 0
       transmit w + alpha * a
       a <- a + eta * m * (post - a) * pre
     }";
    let two = "rule two() {
       trained fast = 0.3 per connection
       trace a = 0, b = 0.05
       transmit w + alpha * a + b
       a <- 0.8 * a + fast * pre * post
       b <- b + 0.1 * (a - b)
     }";
    let plain = |text: &str| format!("network net {{ {text} }}");
    vec![
        ("plain", plastic("", "", "plain()")),
        ("simple", plastic("", modulated, "simple(m)")),
        ("retroactive", plastic("", modulated, "retroactive(m)")),
        ("delta", plastic(delta, modulated, "delta(m)")),
        ("two traces", plastic(two, "", "two()")),
        (
            "cell",
            plain("input x: [3] state h: [5] = 0 h <- tanh(linear(x) + linear(h)) output label = linear(h, 2)"),
        ),
        (
            "a state that nothing reads",
            plain("input x: [3] state h: [2] = 0.5 state seen: [2] = 0 h <- tanh(linear(x) + linear(h)) seen <- h * h output label = linear(h, 2)"),
        ),
        (
            "an input that nothing reads, and noise",
            plain("input x: [2] input other: [3] state h: [2] = 0 noise n: [2] ~ normal(0, 0.3) h <- tanh(linear(x) + linear(h) + n) output label = h"),
        ),
    ]
}

fn experiment(text: &str) -> (bpmc::ir::Graph, Experiment) {
    let compiled = driver::compile("net.bpm", text, &[], &driver::from_disk).unwrap();
    let rendered = bpmc::lang::diag::render(
        &compiled.diagnostics,
        &compiled.sources,
        bpmc::lang::diag::Style::PLAIN,
    );
    let program = compiled
        .program
        .unwrap_or_else(|| panic!("{rendered}\n{text}"));
    let experiment = Experiment::differentiable(&program.step, &Selection::default()).unwrap();
    (program.step, experiment)
}

/// Numbers between -1 and 1.
fn numbers(which: u32, n: usize) -> Vec<f64> {
    let place = Key::new(5, Stream::Noise(which)).at(0, 0, 0);
    (0..n as u32)
        .map(|k| 2.0 * place.uniform(k) - 1.0)
        .collect()
}

/// Values of everything, by slot.
#[derive(Clone)]
struct Values {
    parameters: Vec<Vec<f64>>,
    inputs: Vec<Vec<f64>>,
    states: Vec<Vec<f64>>,
}

struct Case {
    sequences: Sequences<f64>,
    values: Values,
    outputs: Vec<Vec<f64>>,
    ends: Vec<Vec<f64>>,
}

impl Case {
    fn new(text: &str) -> Case {
        let (step, experiment) = experiment(text);
        let sequences = Sequences::new(&experiment).unwrap();
        let size = |dims: &[usize]| dims.iter().product::<usize>();
        let all = |first: u32, sizes: Vec<usize>, scale: f64| -> Vec<Vec<f64>> {
            let numbered = sizes.into_iter().zip(first..);
            numbered
                .map(|(n, which)| numbers(which, n).iter().map(|x| x * scale).collect())
                .collect()
        };
        let rows = STEPS * LANES;
        let inputs = step.inputs.iter().map(|slot| rows * size(&slot.dims));
        let outputs = step.outputs.iter().map(|slot| rows * size(&slot.dims));
        let states: Vec<usize> = step.states.iter().map(|s| LANES * size(&s.dims)).collect();
        Case {
            values: Values {
                parameters: step.params.iter().map(|slot| draw(slot, 3)).collect(),
                inputs: all(10, inputs.collect(), 1.0),
                states: all(20, states.clone(), 0.2),
            },
            outputs: all(30, outputs.collect(), 1.0),
            ends: all(40, states, 1.0),
            sequences,
        }
    }

    fn with<R>(&self, values: &Values, run: impl FnOnce(Given<'_, f64>) -> R) -> R {
        fn slices(values: &[Vec<f64>]) -> Vec<&[f64]> {
            values.iter().map(Vec::as_slice).collect()
        }
        let states: Vec<Option<&[f64]>> = slices(&values.states).into_iter().map(Some).collect();
        run(Given {
            steps: STEPS,
            lanes: LANES,
            parameters: &slices(&values.parameters),
            inputs: &slices(&values.inputs),
            states: &states,
            noise: Noise {
                seed: 9,
                ..Noise::default()
            },
        })
    }

    fn run(&self, values: &Values) -> Ran<f64> {
        self.with(values, |given| self.sequences.run(given))
            .unwrap()
    }

    /// The products of what the network gave with fixed numbers, added up.
    fn loss(&self, values: &Values) -> f64 {
        let ran = self.run(values);
        let given = ran.outputs.iter().chain(&ran.states);
        let fixed = self.outputs.iter().chain(&self.ends);
        given.zip(fixed).map(|(a, b)| dot(a, b)).sum()
    }

    fn adjoints(&self) -> Adjoints<f64> {
        let record = |given: Given<'_, f64>| self.sequences.record(given);
        let (ran, mut tape) = self.with(&self.values, record).unwrap();
        assert_eq!(ran, self.run(&self.values), "recording changes no bit");
        let outputs: Vec<Option<&[f64]>> = self.outputs.iter().map(|v| Some(&v[..])).collect();
        let states: Vec<Option<&[f64]>> = self.ends.iter().map(|v| Some(&v[..])).collect();
        let seeds = Seeds {
            outputs: &outputs,
            states: &states,
        };
        let adjoints = tape.backward(seeds).unwrap();
        assert_eq!(adjoints, tape.backward(seeds).unwrap(), "a second time");
        adjoints
    }

    /// Compares an adjoint with the change of the loss along a direction.
    fn compare(&self, what: &str, adjoint: &[f64], slot: impl Fn(&mut Values) -> &mut Vec<f64>) {
        let direction = numbers(77, adjoint.len());
        let step = 1e-5;
        let moved = |by: f64| {
            let mut values = self.values.clone();
            for (x, d) in slot(&mut values).iter_mut().zip(&direction) {
                *x += by * d;
            }
            self.loss(&values)
        };
        let wanted = (moved(step) - moved(-step)) / (2.0 * step);
        let found = dot(adjoint, &direction);
        let error = (wanted - found).abs() / wanted.abs().max(1.0);
        assert!(
            error < 1e-7,
            "{what}: {found}, and differences give {wanted}"
        );
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn adjoints_are_those_of_finite_differences() {
    for (name, text) in specs() {
        let case = Case::new(&text);
        let adjoints = case.adjoints();
        for (k, adjoint) in adjoints.parameters.iter().enumerate() {
            if let Some(adjoint) = adjoint {
                let what = format!("{name}, parameter {k}");
                case.compare(&what, adjoint, |values| &mut values.parameters[k]);
            }
        }
        for (k, adjoint) in adjoints.inputs.iter().enumerate() {
            let what = format!("{name}, input {k}");
            case.compare(&what, adjoint, |values| &mut values.inputs[k]);
        }
        for (k, adjoint) in adjoints.states.iter().enumerate() {
            let what = format!("{name}, state {k}");
            case.compare(&what, adjoint, |values| &mut values.states[k]);
        }
    }
}

#[test]
fn a_sequence_in_two_parts_is_the_same() {
    for (name, text) in specs() {
        let case = Case::new(&text);
        let whole = case.run(&case.values);
        let first = 3;
        let part = |from: usize, to: usize, states: &[Vec<f64>]| {
            let inputs: Vec<Vec<f64>> = case
                .values
                .inputs
                .iter()
                .map(|values| {
                    let width = values.len() / STEPS;
                    values[from * width..to * width].to_vec()
                })
                .collect();
            let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
            let states: Vec<Option<&[f64]>> = states.iter().map(|v| Some(&v[..])).collect();
            case.with(&case.values, |given| {
                case.sequences.run(Given {
                    steps: to - from,
                    inputs: &inputs,
                    states: &states,
                    noise: Noise {
                        first_step: from as u32,
                        ..given.noise
                    },
                    ..given
                })
            })
            .unwrap()
        };
        let before = part(0, first, &case.values.states);
        let after = part(first, STEPS, &before.states);
        assert_eq!(after.states, whole.states, "{name}");
        for (k, whole) in whole.outputs.iter().enumerate() {
            let both = [before.outputs[k].clone(), after.outputs[k].clone()].concat();
            assert_eq!(&both, whole, "{name}");
        }
    }
}

#[test]
fn more_steps_than_run_at_once() {
    let (_, text) = specs().swap_remove(0);
    let (step, experiment) = experiment(&text);
    let sequences = Sequences::<f32>::new(&experiment).unwrap();
    let parameters: Vec<Vec<f32>> = step
        .params
        .iter()
        .map(|slot| draw(slot, 3).iter().map(|x| *x as f32).collect())
        .collect();
    let parameters: Vec<&[f32]> = parameters.iter().map(Vec::as_slice).collect();
    let steps = 700;
    let x: Vec<f32> = numbers(1, steps * 2 * 3)
        .iter()
        .map(|x| *x as f32)
        .collect();
    let given = Given {
        steps,
        lanes: 2,
        parameters: &parameters,
        inputs: &[&x],
        states: &[None, None],
        noise: Noise::default(),
    };
    let (recorded, _) = sequences.record(given).unwrap();
    assert_eq!(sequences.run(given).unwrap(), recorded);
    let wrong = Given {
        inputs: &[&x[1..]],
        ..given
    };
    let error = sequences.run(wrong).unwrap_err().to_string();
    assert_eq!(error, "input `x`: 4199 instead of 4200");
}
