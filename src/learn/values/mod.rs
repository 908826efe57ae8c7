//! Files of values: what `bpmc grad` reads and writes as JSON, and templates of them.
//!
//! A file names `steps` and `lanes` and has a section for each kind of value, with nested lists of numbers by path:
//! `inputs`, `noise`, `initial_state`, `parameters`, and `targets` or `episode`. `weight` and `weight.NAME` weigh the
//! steps of targets.

mod read;
mod write;

pub use read::extent;
pub use write::{nested, not_finite, results_json};

use crate::engine::params::draw;
use crate::ir::{Graph, STARTS};
use crate::lang::catalog::{Actions, TrainerKind};
use crate::lang::sema::model::Model;
use crate::step::Compiled;
use serde_json::{Map, Value};

/// The reason why a file of values cannot be used: the value and its fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ValuesError {
    /// The value, as `parameters.rec.w`.
    pub path: String,
    /// The fault.
    pub problem: String,
}

fn error(path: impl Into<String>, problem: impl Into<String>) -> ValuesError {
    ValuesError {
        path: path.into(),
        problem: problem.into(),
    }
}

/// The substitute for a value that a file does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// Nothing: the file must give it.
    Refused,
    /// The first value that the spec has for this state.
    Start,
    /// This output has no target and adds nothing to the loss.
    NoTarget,
}

/// One value of a file.
struct Row {
    section: &'static str,
    name: String,
    dims: Vec<usize>,
    missing: Missing,
    /// The content of a template.
    first: First,
}

impl Row {
    /// Returns true if a template holds it.
    fn is_in_template(&self) -> bool {
        !matches!(self.first, First::Absent)
    }
}

/// The content of a template for a value.
enum First {
    /// One number everywhere.
    Same(f64),
    /// The draw of this parameter's initializer.
    Parameter(usize),
    /// The same in every lane.
    Repeated(usize),
    /// Nothing: this value is seldom wanted.
    Absent,
}

/// The layout of a file of values for a spec: sections, names, dimensions and first values.
pub struct ValuesLayout {
    rows: Vec<Row>,
    steps: usize,
    lanes: usize,
    kind: TrainerKind,
}

/// The outputs that the trainer compares with targets.
fn compared(model: &Model, kind: TrainerKind, graph: &Graph) -> Vec<String> {
    match (&model.task, kind) {
        (_, TrainerKind::Language) => vec!["next_word".to_owned()],
        (Some(task), _) => {
            let targets = task.ports.targets.iter();
            targets.map(|port| port.name.to_owned()).collect()
        }
        (None, _) => graph.outputs.iter().map(|slot| slot.path.clone()).collect(),
    }
}

/// The actions that a network with these outputs can take.
fn of_outputs(graph: &Graph) -> Actions {
    Actions::of_outputs(|name| {
        let slot = graph.outputs.iter().find(|slot| slot.path == name)?;
        Some(slot.dims.iter().product())
    })
}

impl ValuesLayout {
    /// For a spec with a trainer of this kind, with these steps and lanes.
    pub fn new(program: &Compiled, kind: TrainerKind, steps: usize, lanes: usize) -> ValuesLayout {
        let graph = &program.step;
        let mut layout = ValuesLayout {
            rows: Vec::new(),
            steps,
            lanes,
            kind,
        };
        let each = [steps, lanes];
        for slot in &graph.inputs {
            let zero = First::Same(0.0);
            layout.row(
                "inputs",
                &slot.path,
                (&each, &slot.dims),
                Missing::Refused,
                zero,
            );
        }
        for slot in &graph.noises {
            // At its mean a mask of dropout leaves everything as it is.
            let mean = First::Same(slot.draw.mean());
            layout.row(
                "noise",
                &slot.path,
                (&each, &slot.dims),
                Missing::Refused,
                mean,
            );
        }
        for (k, slot) in graph.states.iter().enumerate() {
            // A template leaves computed first values to the spec.
            let computed = graph.starts_of(k).is_some() || slot.path.ends_with(STARTS);
            let init = match slot.first {
                _ if computed => First::Absent,
                Some(first) => First::Repeated(first.index()),
                None => First::Same(slot.init),
            };
            let lead: &[usize] = &[lanes];
            layout.row(
                "initial_state",
                &slot.path,
                (lead, &slot.dims),
                Missing::Start,
                init,
            );
        }
        for (k, slot) in graph.params.iter().enumerate() {
            let drawn = First::Parameter(k);
            layout.row(
                "parameters",
                &slot.path,
                (&[], &slot.dims),
                Missing::Refused,
                drawn,
            );
        }
        if kind == TrainerKind::Reward {
            let actions = of_outputs(graph).dims();
            for (name, dims) in [("actions", actions), ("rewards", Vec::new())] {
                layout.row(
                    "episode",
                    name,
                    (&each, &dims),
                    Missing::Refused,
                    First::Same(0.0),
                );
            }
        } else {
            let compared = compared(&program.model, kind, graph);
            for slot in &graph.outputs {
                let first = match compared.contains(&slot.path) {
                    true => First::Same(0.0),
                    false => First::Absent,
                };
                layout.row(
                    "targets",
                    &slot.path,
                    (&each, &slot.dims),
                    Missing::NoTarget,
                    first,
                );
            }
        }
        layout
    }

    fn row(
        &mut self,
        section: &'static str,
        name: &str,
        (lead, dims): (&[usize], &[usize]),
        missing: Missing,
        first: First,
    ) {
        self.rows.push(Row {
            section,
            name: name.to_owned(),
            dims: [lead, dims].concat(),
            missing,
            first,
        });
    }

    fn section<'a>(&'a self, section: &'a str) -> impl Iterator<Item = &'a Row> + 'a {
        self.rows.iter().filter(move |row| row.section == section)
    }

    /// Numbers in a file of values.
    pub fn elements(&self) -> usize {
        let product = |dims: &[usize]| dims.iter().fold(1usize, |n, d| n.saturating_mul(*d));
        self.rows
            .iter()
            .fold(0, |n, row| n.saturating_add(product(&row.dims)))
    }

    /// A file of values to begin with: parameters as a run with this seed draws them, states at their first values, noise
    /// at its mean, inputs, targets, actions and rewards 0, and every step with weight 1. `graph` is the step that the
    /// layout was made for.
    pub fn template(&self, graph: &Graph, seed: u64) -> Value {
        let mut file = Map::new();
        file.insert("steps".to_owned(), Value::from(self.steps));
        file.insert("lanes".to_owned(), Value::from(self.lanes));
        for row in &self.rows {
            let values = match &row.first {
                First::Same(value) => nested(&vec![*value; row.dims.iter().product()], &row.dims),
                First::Parameter(slot) => nested(&draw(&graph.params[*slot], seed), &row.dims),
                First::Repeated(slot) => {
                    let values = draw(&graph.params[*slot], seed).repeat(self.lanes);
                    nested(&values, &row.dims)
                }
                First::Absent => continue,
            };
            let entry = file
                .entry(row.section.to_owned())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(section) = entry {
                section.insert(row.name.clone(), values);
            }
        }
        if self.kind != TrainerKind::Reward {
            let ones = vec![1.0; self.steps * self.lanes];
            let weight = nested(&ones, &[self.steps, self.lanes]);
            file.insert("weight".to_owned(), weight);
        }
        Value::Object(file)
    }
}
