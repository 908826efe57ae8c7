//! One case: a spec, and numbers for all it leaves open.

use crate::gradients::run::Numbers;
use crate::properties::chance::Chance;
use crate::properties::generate;
use bpmc::driver;
use bpmc::ir::{Draw, Graph, ParamSlot};
use bpmc::lang::diag::{Diagnostics, SourceId};
use bpmc::lang::syntax;
use bpmc::step::lower::TRIAL_START;

/// A spec and what its numbers are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub text: String,
    /// Of the numbers.
    pub seed: u64,
    /// Whether final states have adjoints too. `bpmc grad` knows none.
    pub last: bool,
    /// Whether numbers may sit exactly on bounds and zeros, where derivatives jump.
    pub kinks: bool,
}

/// A case that compiled.
pub struct Compiled {
    pub graph: Graph,
    pub lanes: usize,
    pub steps: usize,
    /// Steps between checkpoints.
    pub interval: usize,
    pub numbers: Numbers,
}

impl Case {
    /// The case `index` of a run.
    pub fn draw(seed: u64, index: u64) -> Case {
        let mut chance = Chance::of_case(seed, index);
        let extent = generate::extent(&mut chance);
        Case {
            text: canonical(&generate::spec(extent, &mut chance)),
            seed: seed ^ index,
            last: chance.one_in(2),
            kinks: true,
        }
    }

    /// A case of few neurons, lanes and steps, without kinks: finite differences want smooth losses.
    pub fn small(seed: u64, index: u64) -> Case {
        let mut chance = Chance::of_case(seed ^ 0x5a, index);
        let extent = generate::Extent {
            n: 1 + chance.pick(4),
            p: 1 + chance.pick(4),
            lanes: 1 + chance.pick(3),
            steps: 1 + chance.pick(4),
        };
        Case {
            text: canonical(&generate::spec(extent, &mut chance)),
            seed: seed ^ index,
            last: true,
            kinks: false,
        }
    }

    /// The step of the spec and numbers for it.
    pub fn compile(&self) -> Result<Compiled, String> {
        let compilation = driver::compile("random.bpm", &self.text, &[], &driver::from_disk)
            .map_err(|fault| fault.to_string())?;
        let Some(program) = compilation.program else {
            let errors = compilation.diagnostics.iter();
            let errors: Vec<String> = errors
                .map(|d| format!("{} {}", d.code.text(), d.message))
                .collect();
            return Err(errors.join("\n"));
        };
        let train = program.model.train.as_ref().ok_or("no `train` block")?;
        let (lanes, steps) = (train.settings.int("batch"), train.settings.int("steps"));
        let numbers = self.numbers(&program.step, lanes, steps);
        Ok(Compiled {
            graph: program.step,
            lanes,
            steps,
            interval: 1 + self.seed as usize % steps.max(1),
            numbers,
        })
    }

    /// Numbers by the names of the slots, so that those of a slot stay when others go away. All of them are numbers of
    /// 32 bits: both precisions get the same.
    fn numbers(&self, graph: &Graph, lanes: usize, steps: usize) -> Numbers {
        let count = |dims: &[usize]| dims.iter().product::<usize>();
        let draw = |kind: &str, path: &str, count: usize, scale: f64, kinks: usize| {
            let mut chance = Chance::named(self.seed, &format!("{kind} {path}"));
            let value = |_| {
                let exact = chance.pick(8) < kinks && self.kinks;
                let x = if exact {
                    chance.of(&[0.0, 0.25, -0.25, 0.5, -0.5, 0.0])
                } else {
                    scale * chance.unit()
                };
                f64::from(x as f32)
            };
            (0..count).map(value).collect::<Vec<f64>>()
        };
        let truths = |values: Vec<f64>| -> Vec<f64> {
            let truth = |x: f64| f64::from(u8::from(x > 0.2));
            values.into_iter().map(truth).collect()
        };
        let parameter = |slot: &ParamSlot| {
            let scale = match slot.dims.as_slice() {
                [rows, _] => 1.2 / (*rows as f64).sqrt(),
                _ => 0.9,
            };
            let values = draw("parameter", &slot.path, count(&slot.dims), scale, 0);
            match slot.init {
                Draw::Bernoulli(_) => truths(values),
                // A share of the trace that is forgotten.
                _ if slot.path.ends_with(".eta") => {
                    let share = |x: f64| f64::from((0.25 + 0.2 * x) as f32);
                    values.into_iter().map(share).collect()
                }
                _ => values,
            }
        };
        let mut numbers = Numbers {
            params: graph.params.iter().map(parameter).collect(),
            ..Numbers::default()
        };
        for slot in &graph.states {
            let n = lanes * count(&slot.dims);
            let scale = if slot.dims.len() == 2 { 0.5 } else { 0.9 };
            numbers.states.push(draw("state", &slot.path, n, scale, 3));
            let last = draw("last", &slot.path, n, 0.9, 0);
            numbers
                .last
                .push(if self.last { last } else { vec![0.0; n] });
        }
        for step in 0..steps {
            let all = |kind: &str, path: &str, dims: &[usize]| {
                let kinks = match kind {
                    "seed" => 0,
                    _ if path.starts_with("external") => 4,
                    _ => 1,
                };
                draw(
                    &format!("{kind} {step}"),
                    path,
                    lanes * count(dims),
                    0.9,
                    kinks,
                )
            };
            let inputs = graph.inputs.iter().map(|slot| {
                let values = all("input", &slot.path, &slot.dims);
                if slot.path == TRIAL_START {
                    truths(values)
                } else {
                    values
                }
            });
            numbers.inputs.push(inputs.collect());
            let noises = graph.noises.iter().map(|slot| {
                let values = all("noise", &slot.path, &slot.dims);
                match slot.draw {
                    Draw::Bernoulli(_) => truths(values),
                    _ => values,
                }
            });
            numbers.noises.push(noises.collect());
            let seeds = graph.outputs.iter();
            let seeds = seeds.map(|slot| all("seed", &slot.path, &slot.dims));
            numbers.seeds.push(seeds.collect());
        }
        numbers
    }
}

/// The canonical text, or the same where it has errors.
pub fn canonical(text: &str) -> String {
    let mut diagnostics = Diagnostics::new();
    let file = syntax::parse(SourceId(0), text, &mut diagnostics);
    if diagnostics.has_errors() {
        return text.to_owned();
    }
    syntax::print(&file, text)
}
