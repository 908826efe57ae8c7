//! Loss and gradients for given values: what `bpmc grad` evaluates, and what tests compare with other
//! frameworks.

use super::a2c::{A2c, Episode};
use super::supervised::{Errors, SupervisedLoss};
use super::TrainerKind;
use crate::backend::bptt::{least_memory_interval, zero_adjoint, Recorded, Rollout, StepInputs};
use crate::backend::fused::{Fused, LaneMemory, Real, Shared};
use crate::backend::{BackendError, Executor};
use crate::sema::model::TrainModel;
use serde_json::{Map, Value};

/// Values of everything a spec leaves open, by path, flat and row by row: inputs `[T, B, ..]`, noise draws
/// `[T, B, ..]`, initial states `[B, ..]`, parameters, and either targets `[T, B, ..]` by output or
/// actions and rewards `[T, B]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GivenValues {
    /// Steps.
    pub steps: usize,
    /// Lanes.
    pub lanes: usize,
    /// By slot of the graph, in order.
    pub inputs: Vec<Vec<f64>>,
    /// By slot.
    pub noises: Vec<Vec<f64>>,
    /// By slot.
    pub states: Vec<Vec<f64>>,
    /// By slot.
    pub params: Vec<Vec<f64>>,
    /// By output slot; empty where the output has no target.
    pub targets: Vec<Vec<f64>>,
    /// `[T, B]`, for a2c.
    pub actions: Vec<usize>,
    /// `[T, B]`, for a2c.
    pub rewards: Vec<f64>,
}

/// What an evaluation gives, shaped as [`GivenValues`].
#[derive(Clone, Debug, PartialEq)]
pub struct GivenResults {
    /// The loss.
    pub loss: f64,
    /// By output slot, `[T, B, ..]`.
    pub outputs: Vec<Vec<f64>>,
    /// By state slot, `[B, ..]`.
    pub final_states: Vec<Vec<f64>>,
    /// By parameter slot; `None` for constants.
    pub gradients: Vec<Option<Vec<f64>>>,
    /// By state slot: the gradient by its initial value, `[B, ..]`.
    pub state_gradients: Vec<Vec<f64>>,
}

/// Evaluates the trainer's loss and all gradients.
///
/// # Errors
/// Those of the backend.
pub fn evaluate<E: Executor>(
    executor: &mut E,
    train: &TrainModel,
    given: &GivenValues,
) -> Result<GivenResults, BackendError> {
    let graph = executor.step_graph();
    let input_dims: Vec<Vec<usize>> = graph.inputs.iter().map(|s| s.dims.clone()).collect();
    let noise_dims: Vec<Vec<usize>> = graph.noises.iter().map(|s| s.dims.clone()).collect();
    let state_dims: Vec<Vec<usize>> = graph.states.iter().map(|s| s.dims.clone()).collect();
    let output_dims: Vec<Vec<usize>> = graph.outputs.iter().map(|s| s.dims.clone()).collect();
    let output_names: Vec<String> = graph.outputs.iter().map(|s| s.path.clone()).collect();
    let steps = given.steps;
    executor.set_parameters(&given.params)?;
    let states = given
        .states
        .iter()
        .zip(&state_dims)
        .map(|(values, dims)| executor.upload(values, dims))
        .collect::<Result<Vec<_>, _>>()?;
    let at = |values: &[f64], step: usize| {
        let width = values.len() / steps;
        values[step * width..(step + 1) * width].to_vec()
    };
    let mut sequence = Vec::with_capacity(steps);
    for step in 0..steps {
        let upload = |values: &[Vec<f64>], dims: &[Vec<usize>]| {
            values
                .iter()
                .zip(dims)
                .map(|(values, dims)| executor.upload(&at(values, step), dims))
                .collect::<Result<Vec<_>, _>>()
        };
        sequence.push(StepInputs {
            inputs: upload(&given.inputs, &input_dims)?,
            noises: upload(&given.noises, &noise_dims)?,
        });
    }
    let mut recorded = Recorded::new(sequence);
    let interval = least_memory_interval(steps);
    let rollout = Rollout::forward(executor, states, steps, interval, &mut recorded)?;
    let mut outputs: Vec<Vec<f64>> = vec![Vec::new(); output_dims.len()];
    for step in &recorded.outputs {
        for (all, tensor) in outputs.iter_mut().zip(step) {
            all.extend(executor.download(tensor)?);
        }
    }
    let final_states = rollout
        .final_states()
        .iter()
        .map(|tensor| executor.download(tensor))
        .collect::<Result<Vec<_>, _>>()?;
    let (loss, seeds) = loss_and_seeds(train, given, &output_names, &outputs);
    executor.clear_gradients();
    let zero = zero_adjoint(executor)?;
    let adjoints = rollout.backward(executor, zero, |executor, step| {
        seeds
            .iter()
            .zip(&output_dims)
            .map(|(values, dims)| executor.upload(&at(values, step), dims))
            .collect()
    })?;
    let state_gradients = adjoints
        .states
        .iter()
        .map(|tensor| executor.download(tensor))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(GivenResults {
        loss,
        outputs,
        final_states,
        gradients: executor.gradients()?,
        state_gradients,
    })
}

/// The loss, and its derivatives by the outputs, shaped as these.
fn loss_and_seeds(
    train: &TrainModel,
    given: &GivenValues,
    output_names: &[String],
    outputs: &[Vec<f64>],
) -> (f64, Vec<Vec<f64>>) {
    let (steps, lanes) = (given.steps, given.lanes);
    let mut seeds: Vec<Vec<f64>> = outputs.iter().map(|o| vec![0.0; o.len()]).collect();
    let mut loss = 0.0;
    for lane in 0..lanes {
        match train.trainer.kind {
            TrainerKind::Reward => {
                let slot = |name: &str| {
                    output_names
                        .iter()
                        .position(|path| path == name)
                        .expect("a2c specs have the outputs it reads")
                };
                let (policy, value) = (slot("policy"), slot("value"));
                let logits = lane_of(&outputs[policy], lane, steps, lanes);
                let values = lane_of(&outputs[value], lane, steps, lanes);
                let actions: Vec<usize> = (0..steps)
                    .map(|t| given.actions[t * lanes + lane])
                    .collect();
                let rewards: Vec<f64> = (0..steps)
                    .map(|t| given.rewards[t * lanes + lane])
                    .collect();
                let (mut d_logits, mut d_values) =
                    (vec![0.0; logits.len()], vec![0.0; values.len()]);
                let episode = Episode {
                    logits: &logits,
                    values: &values,
                    actions: &actions,
                    rewards: &rewards,
                };
                let scale = 1.0 / (lanes * steps) as f64;
                loss += A2c::new(&train.settings)
                    .lane(episode, scale, &mut d_logits, &mut d_values)
                    .total();
                put_lane(&mut seeds[policy], &d_logits, lane, steps, lanes);
                put_lane(&mut seeds[value], &d_values, lane, steps, lanes);
            }
            TrainerKind::Supervised => {
                let function = SupervisedLoss::parse(train.settings.word("loss"))
                    .expect("the setting is a choice among the names of losses");
                let weights = vec![1.0; steps];
                for (slot, targets) in given.targets.iter().enumerate() {
                    if targets.is_empty() {
                        continue;
                    }
                    let predicted = lane_of(&outputs[slot], lane, steps, lanes);
                    let targets = lane_of(targets, lane, steps, lanes);
                    let mut adjoints = vec![0.0; predicted.len()];
                    let errors = Errors {
                        outputs: &predicted,
                        targets: &targets,
                        weights: &weights,
                    };
                    loss += function.lane(errors, lanes, &mut adjoints);
                    put_lane(&mut seeds[slot], &adjoints, lane, steps, lanes);
                }
            }
        }
    }
    (loss, seeds)
}

/// As [`evaluate`], by the fused kernels in the precision `T`.
///
/// # Errors
/// Where a value has the wrong size.
pub fn evaluate_fused<T: Real>(
    program: &Fused,
    graph: &crate::ir::Graph,
    train: &TrainModel,
    given: &GivenValues,
) -> Result<GivenResults, BackendError> {
    let (steps, lanes) = (given.steps, given.lanes);
    let names: Vec<String> = graph.outputs.iter().map(|s| s.path.clone()).collect();
    let shared: Shared<T> = program.shared(&given.params)?;
    let interval = least_memory_interval(steps);
    let mut memories: Vec<LaneMemory<T>> = (0..lanes).map(|_| LaneMemory::new()).collect();
    let element = |values: &[f64], step: usize, lane: usize| {
        let width = values.len() / (steps * lanes);
        let start = (step * lanes + lane) * width;
        values[start..start + width].to_vec()
    };
    let mut outputs: Vec<Vec<f64>> = vec![Vec::new(); graph.outputs.len()];
    let mut buffer = Vec::new();
    for (lane, memory) in memories.iter_mut().enumerate() {
        memory.start(program, steps, interval);
        for (slot, values) in given.states.iter().enumerate() {
            let width = values.len() / lanes;
            memory.set_state(program, slot, &values[lane * width..(lane + 1) * width]);
        }
    }
    for step in 0..steps {
        for (lane, memory) in memories.iter_mut().enumerate() {
            let fill = |place: Option<&mut [T]>, values: &[f64]| {
                if let Some(place) = place {
                    for (to, x) in place.iter_mut().zip(element(values, step, lane)) {
                        *to = T::from_f64(x);
                    }
                }
            };
            for (slot, values) in given.inputs.iter().enumerate() {
                fill(memory.input(program, slot), values);
            }
            for (slot, values) in given.noises.iter().enumerate() {
                fill(memory.noise(program, slot), values);
            }
            memory.step(program, &shared);
            for (slot, all) in outputs.iter_mut().enumerate() {
                memory.output(program, &shared, slot, &mut buffer);
                all.extend_from_slice(&buffer);
            }
        }
    }
    let by_lane = |state: &dyn Fn(&LaneMemory<T>, usize) -> Vec<f64>| -> Vec<Vec<f64>> {
        (0..graph.states.len())
            .map(|slot| memories.iter().flat_map(|m| state(m, slot)).collect())
            .collect()
    };
    let final_states = by_lane(&|memory, slot| memory.state(program, slot));
    let (loss, seeds) = loss_and_seeds(train, given, &names, &outputs);
    let mut sums = vec![0.0; program.sums_size()];
    for (lane, memory) in memories.iter_mut().enumerate() {
        memory.start_back(program);
        memory.back(program, &shared, |step, slot, out| {
            for (to, x) in out.iter_mut().zip(element(&seeds[slot], step, lane)) {
                *to = T::from_f64(x);
            }
        });
        memory.add_sums(&mut sums);
    }
    let by_lane = |state: &dyn Fn(&LaneMemory<T>, usize) -> Vec<f64>| -> Vec<Vec<f64>> {
        (0..graph.states.len())
            .map(|slot| memories.iter().flat_map(|m| state(m, slot)).collect())
            .collect()
    };
    Ok(GivenResults {
        loss,
        outputs,
        final_states,
        gradients: program.gradients(&given.params, &sums)?,
        state_gradients: by_lane(&|memory, slot| memory.state_adjoint(program, slot)),
    })
}

/// `[T, ..]` of one lane from `[T, B, ..]`.
fn lane_of(values: &[f64], lane: usize, steps: usize, lanes: usize) -> Vec<f64> {
    let width = values.len() / (steps * lanes);
    (0..steps)
        .flat_map(|t| {
            let start = (t * lanes + lane) * width;
            values[start..start + width].iter().copied()
        })
        .collect()
}

fn put_lane(into: &mut [f64], values: &[f64], lane: usize, steps: usize, lanes: usize) {
    let width = into.len() / (steps * lanes);
    for t in 0..steps {
        let start = (t * lanes + lane) * width;
        into[start..start + width].copy_from_slice(&values[t * width..(t + 1) * width]);
    }
}

/// Numbers as nested lists of these dimensions.
pub fn nested(values: &[f64], dims: &[usize]) -> Value {
    match dims {
        [] => values
            .first()
            .map_or(Value::Null, |value| Value::from(*value)),
        [first, rest @ ..] => {
            let width = values.len() / (*first).max(1);
            Value::Array(
                (0..*first)
                    .map(|k| nested(&values[k * width..(k + 1) * width], rest))
                    .collect(),
            )
        }
    }
}

/// Why a file of values cannot be used: which value, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ValuesError {
    /// The value, as `parameters.rec.w`.
    pub path: String,
    /// What is wrong.
    pub problem: String,
}

fn error(path: impl Into<String>, problem: impl Into<String>) -> ValuesError {
    ValuesError {
        path: path.into(),
        problem: problem.into(),
    }
}

/// Reads nested lists of these dimensions.
fn flatten(
    value: &Value,
    dims: &[usize],
    path: &str,
    out: &mut Vec<f64>,
) -> Result<(), ValuesError> {
    match dims {
        [] => match value.as_f64() {
            Some(number) => {
                out.push(number);
                Ok(())
            }
            None => Err(error(
                path,
                format!("a number is needed, not {}", kind(value)),
            )),
        },
        [first, rest @ ..] => {
            let Value::Array(items) = value else {
                return Err(error(
                    path,
                    format!("a list of {first} is needed, not {}", kind(value)),
                ));
            };
            if items.len() != *first {
                return Err(error(
                    path,
                    format!("a list of {first} is needed, not of {}", items.len()),
                ));
            }
            for (k, item) in items.iter().enumerate() {
                // Building the path of every element would cost more than reading it.
                flatten(item, rest, path, out)
                    .map_err(|e| error(format!("{path}[{k}]"), e.problem))?;
            }
            Ok(())
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What a file of values has to hold for a spec: sections, names and dimensions.
pub struct ValuesLayout {
    /// Section, name, dimensions, and whether zeros stand in where the file has nothing.
    rows: Vec<(&'static str, String, Vec<usize>, bool)>,
    steps: usize,
    lanes: usize,
    reward: bool,
}

impl ValuesLayout {
    /// For a step graph and a trainer, with these steps and lanes.
    pub fn new(
        graph: &crate::ir::Graph,
        kind: TrainerKind,
        steps: usize,
        lanes: usize,
    ) -> ValuesLayout {
        let mut rows = Vec::new();
        let dims = |lead: &[usize], dims: &[usize]| [lead, dims].concat();
        for slot in &graph.inputs {
            rows.push((
                "inputs",
                slot.path.clone(),
                dims(&[steps, lanes], &slot.dims),
                false,
            ));
        }
        for slot in &graph.noises {
            rows.push((
                "noise",
                slot.path.clone(),
                dims(&[steps, lanes], &slot.dims),
                true,
            ));
        }
        for slot in &graph.states {
            rows.push((
                "initial_state",
                slot.path.clone(),
                dims(&[lanes], &slot.dims),
                true,
            ));
        }
        for slot in &graph.params {
            rows.push(("parameters", slot.path.clone(), slot.dims.clone(), false));
        }
        let reward = kind == TrainerKind::Reward;
        if reward {
            rows.push(("episode", "actions".to_owned(), vec![steps, lanes], false));
            rows.push(("episode", "rewards".to_owned(), vec![steps, lanes], false));
        } else {
            for slot in &graph.outputs {
                rows.push((
                    "targets",
                    slot.path.clone(),
                    dims(&[steps, lanes], &slot.dims),
                    true,
                ));
            }
        }
        ValuesLayout {
            rows,
            steps,
            lanes,
            reward,
        }
    }

    /// Numbers in a file of values.
    pub fn elements(&self) -> usize {
        let product = |dims: &[usize]| dims.iter().fold(1usize, |n, d| n.saturating_mul(*d));
        self.rows
            .iter()
            .fold(0, |n, row| n.saturating_add(product(&row.2)))
    }

    /// An empty file of values: zeros of the right dimensions.
    pub fn template(&self) -> Value {
        let mut file = Map::new();
        file.insert("steps".to_owned(), Value::from(self.steps));
        file.insert("lanes".to_owned(), Value::from(self.lanes));
        for (section, name, dims, _) in &self.rows {
            let zeros = vec![0.0; dims.iter().product()];
            let entry = file
                .entry((*section).to_owned())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(section) = entry {
                section.insert(name.clone(), nested(&zeros, dims));
            }
        }
        Value::Object(file)
    }

    /// Reads a file of values.
    ///
    /// # Errors
    /// Names the first value that is missing, unknown or of the wrong shape.
    pub fn read(&self, file: &Value, graph: &crate::ir::Graph) -> Result<GivenValues, ValuesError> {
        let Value::Object(sections) = file else {
            return Err(error(
                "the file",
                format!("an object is needed, not {}", kind(file)),
            ));
        };
        for (section, values) in sections {
            if section == "steps" || section == "lanes" {
                continue;
            }
            let known: Vec<&str> = self
                .rows
                .iter()
                .filter(|row| row.0 == section)
                .map(|row| row.1.as_str())
                .collect();
            if known.is_empty() {
                return Err(error(
                    section,
                    "there is no such section; see `bpmc grad --template`",
                ));
            }
            let Value::Object(values) = values else {
                return Err(error(section, "an object of values by name is needed"));
            };
            if let Some(name) = values.keys().find(|name| !known.contains(&name.as_str())) {
                let near = crate::diag::Diagnostics::nearest(name, known.iter().copied());
                let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(error(
                    format!("{section}.{name}"),
                    format!("the spec has nothing of this name{help}"),
                ));
            }
        }
        let find = |section: &str, name: &str| -> Result<Vec<f64>, ValuesError> {
            let path = format!("{section}.{name}");
            let row = self
                .rows
                .iter()
                .find(|row| row.0 == section && row.1 == name)
                .expect("only rows of the layout are looked up");
            match sections.get(section).and_then(|s| s.get(name)) {
                Some(value) => {
                    let mut out = Vec::with_capacity(row.2.iter().product());
                    flatten(value, &row.2, &path, &mut out)?;
                    Ok(out)
                }
                None if row.3 && section == "targets" => Ok(Vec::new()),
                None if row.3 => Ok(vec![0.0; row.2.iter().product()]),
                None => Err(error(path, "this value is missing")),
            }
        };
        let mut given = GivenValues {
            steps: self.steps,
            lanes: self.lanes,
            ..GivenValues::default()
        };
        for slot in &graph.inputs {
            given.inputs.push(find("inputs", &slot.path)?);
        }
        for slot in &graph.noises {
            given.noises.push(find("noise", &slot.path)?);
        }
        for slot in &graph.states {
            let has = sections
                .get("initial_state")
                .is_some_and(|section| section.get(&slot.path).is_some());
            given.states.push(if has {
                find("initial_state", &slot.path)?
            } else {
                let elements: usize = slot.dims.iter().product();
                vec![slot.init; self.lanes * elements]
            });
        }
        for slot in &graph.params {
            given.params.push(find("parameters", &slot.path)?);
        }
        if self.reward {
            given.rewards = find("episode", "rewards")?;
            let actions = find("episode", "actions")?;
            let policy = graph.outputs.iter().find(|slot| slot.path == "policy");
            let count: usize = policy.map_or(1, |slot| slot.dims.iter().product());
            for action in actions {
                if action < 0.0 || action.fract() != 0.0 || action >= count as f64 {
                    return Err(error(
                        "episode.actions",
                        format!("{action} is no action; there are 0 to {}", count - 1),
                    ));
                }
                given.actions.push(action as usize);
            }
        } else {
            for slot in &graph.outputs {
                given.targets.push(find("targets", &slot.path)?);
            }
        }
        Ok(given)
    }
}

/// Steps and lanes of a file of values: as it says, else from its first input.
///
/// # Errors
/// Where it says neither.
pub fn extent(file: &Value) -> Result<(usize, usize), ValuesError> {
    let number = |name: &str| file.get(name).and_then(Value::as_u64).map(|n| n as usize);
    let first = file
        .get("inputs")
        .and_then(Value::as_object)
        .and_then(|inputs| inputs.values().next())
        .and_then(Value::as_array);
    let steps = number("steps").or(first.map(Vec::len));
    let lanes = number("lanes").or(first
        .and_then(|steps| steps.first())
        .and_then(Value::as_array)
        .map(Vec::len));
    match (steps, lanes) {
        (Some(steps), Some(lanes)) if steps > 0 && lanes > 0 => Ok((steps, lanes)),
        _ => Err(error(
            "steps, lanes",
            "the file must say how many there are: `\"steps\": 6, \"lanes\": 3`",
        )),
    }
}

/// Results as JSON, in the sections of the file of values.
pub fn results_json(
    graph: &crate::ir::Graph,
    given: &GivenValues,
    results: &GivenResults,
) -> Value {
    let (steps, lanes) = (given.steps, given.lanes);
    let mut file = Map::new();
    file.insert("loss".to_owned(), Value::from(results.loss));
    let mut outputs = Map::new();
    for (slot, values) in graph.outputs.iter().zip(&results.outputs) {
        let dims = [&[steps, lanes], slot.dims.as_slice()].concat();
        outputs.insert(slot.path.clone(), nested(values, &dims));
    }
    let mut finals = Map::new();
    let mut initial = Map::new();
    for (k, slot) in graph.states.iter().enumerate() {
        let dims = [&[lanes], slot.dims.as_slice()].concat();
        finals.insert(slot.path.clone(), nested(&results.final_states[k], &dims));
        initial.insert(
            slot.path.clone(),
            nested(&results.state_gradients[k], &dims),
        );
    }
    let mut gradients = Map::new();
    for (slot, values) in graph.params.iter().zip(&results.gradients) {
        if let Some(values) = values {
            gradients.insert(slot.path.clone(), nested(values, &slot.dims));
        }
    }
    file.insert("outputs".to_owned(), Value::Object(outputs));
    file.insert("final_state".to_owned(), Value::Object(finals));
    file.insert("gradients".to_owned(), Value::Object(gradients));
    file.insert("initial_state_gradients".to_owned(), Value::Object(initial));
    Value::Object(file)
}
