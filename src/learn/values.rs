//! Files of values: what `bpmc grad` reads and writes as JSON, and templates of them.

use super::given::{GivenResults, GivenValues};
use crate::lang::catalog::TrainerKind;
use serde_json::{Map, Value};

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
                let near = crate::lang::diag::Diagnostics::nearest(name, known.iter().copied());
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
