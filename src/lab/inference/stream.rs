//! One step at a time: a line of JSON with inputs in, a line with outputs out.

use super::given::array_of;
use super::{Given, InferenceError, Network};
use crate::engine::episode::States;
use crate::lang::diag::Diagnostics;
use crate::step::lower::TRIAL_START;
use serde_json::{Map, Value};

/// A network that goes on step by step.
pub struct Stream {
    network: Network,
    first: States,
    given: Given,
}

/// The reason why a line has no answer.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The line is not what the network needs.
    #[error("{0}")]
    Line(String),
    /// The network failed.
    #[error(transparent)]
    Inference(#[from] InferenceError),
}

impl Stream {
    /// Begins before the first step, with these states.
    pub fn new(network: Network, states: States) -> Stream {
        let lanes = network.lanes();
        Stream {
            first: states.clone(),
            given: Given {
                lanes,
                steps: 1,
                lengths: vec![1; lanes],
                inputs: Vec::new(),
                states,
                first_step: 0,
            },
            network,
        }
    }

    /// The states to go on from, `[lanes, dims...]` by slot.
    pub fn states(&self) -> &States {
        &self.given.states
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Answers a line: takes inputs by name, runs a step, and gives its outputs and probes by name. `"reset": true`
    /// returns to the first states before the step.
    ///
    /// # Errors
    /// Names what is missing or unknown in the line.
    pub fn answer(&mut self, line: &str) -> Result<String, StreamError> {
        let wrong = |what: String| StreamError::Line(what);
        let value: Value =
            serde_json::from_str(line).map_err(|e| wrong(format!("it is not JSON: {e}")))?;
        let Value::Object(fields) = value else {
            return Err(wrong(
                "it is not an object, as in {\"x\": [0, 1]}".to_owned(),
            ));
        };
        self.check_names(&fields)?;
        match fields.get("reset") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => self.given.states.clone_from(&self.first),
            Some(_) => return Err(wrong("`reset` is true or false".to_owned())),
        }
        let lanes = self.given.lanes;
        self.given.inputs.clear();
        for slot in &self.network.graph().inputs {
            let name = array_of(&slot.path);
            let size: usize = slot.dims.iter().product();
            let mut values = Vec::with_capacity(lanes * size);
            match fields.get(name) {
                Some(value) => flatten(value, name, &mut values)?,
                None if slot.path == TRIAL_START => values.resize(lanes, 0.0),
                None => {
                    return Err(wrong(format!(
                        "it has no `{name}`, which the network reads"
                    )))
                }
            }
            if values.len() != lanes * size {
                let lanes = if lanes == 1 {
                    String::new()
                } else {
                    format!("{lanes} lanes of ")
                };
                return Err(wrong(format!(
                    "`{name}` has {} numbers, and {lanes}{size} are needed",
                    values.len()
                )));
            }
            self.given.inputs.push(values);
        }
        let results = self.network.run(&self.given)?;
        let states = results.states.into_iter().map(Some).collect();
        self.given.states = states;
        let mut out = Map::new();
        out.insert("step".to_owned(), self.given.first_step.into());
        for (kept, values) in self.network.kept().iter().zip(&results.values) {
            let mut dims = kept.dims.clone();
            if lanes > 1 {
                dims.insert(0, lanes);
            }
            out.insert(kept.name.clone(), nested(values, &dims));
        }
        self.given.first_step += 1;
        Ok(Value::Object(out).to_string())
    }

    fn check_names(&self, fields: &Map<String, Value>) -> Result<(), StreamError> {
        let graph = self.network.graph();
        let mut known: Vec<&str> = graph
            .inputs
            .iter()
            .map(|slot| array_of(&slot.path))
            .collect();
        known.push("reset");
        for name in fields.keys() {
            if !known.contains(&name.as_str()) {
                let near = Diagnostics::nearest(name, known.iter().copied());
                let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(StreamError::Line(format!(
                    "the network has no input `{name}`{near}"
                )));
            }
        }
        Ok(())
    }
}

/// The numbers of nested lists, in order.
fn flatten(value: &Value, name: &str, out: &mut Vec<f64>) -> Result<(), StreamError> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| flatten(item, name, out)),
        Value::Number(number) => {
            out.push(number.as_f64().unwrap_or(f64::NAN));
            Ok(())
        }
        Value::Bool(truth) => {
            out.push(f64::from(u8::from(*truth)));
            Ok(())
        }
        Value::Null | Value::String(_) | Value::Object(_) => Err(StreamError::Line(format!(
            "`{name}` has {value} where a number is needed"
        ))),
    }
}

/// Nested lists of these dimensions; what is not finite is `null`.
fn nested(values: &[f64], dims: &[usize]) -> Value {
    match dims {
        [] => values.first().map_or(Value::Null, |x| Value::from(*x)),
        [first, rest @ ..] => {
            let width = values.len() / (*first).max(1);
            let parts = (0..*first).map(|k| nested(&values[k * width..(k + 1) * width], rest));
            Value::Array(parts.collect())
        }
    }
}
