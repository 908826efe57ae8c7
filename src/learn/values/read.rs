//! Reading a file of values: every number has its place, and what is missing or unknown is told by its name.

use super::{error, of_outputs, Missing, Row, ValuesError, ValuesLayout};
use crate::ir::Graph;
use crate::lang::catalog::{Actions, TrainerKind};
use crate::lang::diag::Diagnostics;
use crate::learn::given::GivenValues;
use serde_json::{Map, Value};

/// Sections that some spec has; empty they may stand in the file of any.
const SECTIONS: [&str; 6] = [
    "inputs",
    "noise",
    "initial_state",
    "parameters",
    "episode",
    "targets",
];

/// Entries of a file that are no sections.
const NUMBERS: [&str; 2] = ["steps", "lanes"];

/// The entry that weighs the steps of all targets.
const WEIGHT: &str = "weight";

/// The entry that weighs those of one output begins so.
const WEIGHT_OF: &str = "weight.";

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
            for (k, item) in list(value, *first, path)?.iter().enumerate() {
                // Building the path of every element would cost more than reading it.
                flatten(item, rest, "", out)
                    .map_err(|e| error(format!("{path}[{k}]{}", e.path), e.problem))?;
            }
            Ok(())
        }
    }
}

/// A list of this length.
fn list<'a>(value: &'a Value, length: usize, path: &str) -> Result<&'a [Value], ValuesError> {
    let found = match value {
        Value::Array(items) if items.len() == length => return Ok(items),
        Value::Array(items) => format!("of {}", items.len()),
        _ => kind(value).to_owned(),
    };
    Err(error(
        path,
        format!("a list of {length} is needed, not {found}"),
    ))
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

/// Returns true if a value is `null`, or lists of nothing else.
fn is_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => !items.is_empty() && items.iter().all(is_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => false,
    }
}

/// "; did you mean `near`?"
fn guess<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match Diagnostics::nearest(name, known) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    }
}

/// "`a`, `b`"
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

impl ValuesLayout {
    /// Reads a file of values.
    ///
    /// # Errors
    /// Names the first value that is missing, unknown or of the wrong shape.
    pub fn read(&self, file: &Value, graph: &Graph) -> Result<GivenValues, ValuesError> {
        let Value::Object(sections) = file else {
            return Err(error(
                "the file",
                format!("an object is needed, not {}", kind(file)),
            ));
        };
        self.check_names(sections)?;
        self.check_sections(sections)?;
        let mut given = GivenValues {
            steps: self.steps,
            lanes: self.lanes,
            ..GivenValues::default()
        };
        for row in self.section("inputs") {
            given.inputs.push(self.values(sections, row)?);
        }
        for row in self.section("noise") {
            given.noises.push(self.values(sections, row)?);
        }
        for (row, slot) in self.section("initial_state").zip(&graph.states) {
            given.states.push(match find(sections, row) {
                Some(_) => self.values(sections, row)?,
                None if slot.first.is_some() => Vec::new(),
                None => vec![slot.init; row.dims.iter().product()],
            });
        }
        // A state that the file gives begins there, whatever the spec computes.
        let rows: Vec<&Row> = self.section("initial_state").collect();
        for (slot, row) in rows.iter().enumerate() {
            let mark = graph.starts_of(slot);
            let mark = mark.filter(|mark| find(sections, rows[*mark]).is_none());
            if let (Some(mark), Some(_)) = (mark, find(sections, row)) {
                given.states[mark].fill(0.0);
            }
        }
        for row in self.section("parameters") {
            given.params.push(self.values(sections, row)?);
        }
        for (values, slot) in given.states.iter_mut().zip(&graph.states) {
            if let Some(first) = slot.first.filter(|_| values.is_empty()) {
                *values = given.params[first.index()].repeat(self.lanes);
            }
        }
        if self.kind == TrainerKind::Reward {
            self.episode(sections, graph, &mut given)?;
        } else {
            self.targets(sections, &mut given)?;
        }
        Ok(given)
    }

    /// Refuses sections and values that the spec does not have.
    fn check_names(&self, sections: &Map<String, Value>) -> Result<(), ValuesError> {
        for (section, values) in sections {
            let entry = section.as_str();
            if NUMBERS.contains(&entry) || entry == WEIGHT {
                continue;
            }
            if let Some(output) = entry.strip_prefix(WEIGHT_OF) {
                let outputs = || self.section("targets").map(|row| row.name.as_str());
                if outputs().any(|name| name == output) {
                    continue;
                }
                let help = guess(output, outputs());
                return Err(error(
                    entry,
                    format!("the spec has no output `{output}` with targets{help}"),
                ));
            }
            let known: Vec<&str> = self.section(entry).map(|row| row.name.as_str()).collect();
            let nothing = values.as_object().is_some_and(Map::is_empty);
            if known.is_empty() && nothing && SECTIONS.contains(&entry) {
                continue;
            }
            if known.is_empty() {
                let mut all: Vec<&str> = self.rows.iter().map(|row| row.section).collect();
                all.dedup();
                let help = guess(entry, all.iter().copied());
                let all = listed(all.iter().copied());
                return Err(error(
                    entry,
                    format!("the values of this spec have no such section{help}; there are {all}"),
                ));
            }
            let Value::Object(values) = values else {
                return Err(error(
                    entry,
                    format!(
                        "an object of values by name is needed, not {}",
                        kind(values)
                    ),
                ));
            };
            if let Some(name) = values.keys().find(|name| !known.contains(&name.as_str())) {
                let help = guess(name, known.iter().copied());
                return Err(error(
                    format!("{entry}.{name}"),
                    format!("the spec has nothing of this name{help}"),
                ));
            }
        }
        Ok(())
    }

    /// Refuses a file without a section that is needed.
    fn check_sections(&self, sections: &Map<String, Value>) -> Result<(), ValuesError> {
        let mut needed = self
            .rows
            .iter()
            .filter(|row| row.missing == Missing::Refused);
        match needed.find(|row| !sections.contains_key(row.section)) {
            Some(row) => {
                let names = listed(self.section(row.section).map(|row| row.name.as_str()));
                let problem = format!(
                    "this section is missing; it holds {names} (`bpmc grad --template` writes one)"
                );
                Err(error(row.section, problem))
            }
            None => Ok(()),
        }
    }

    /// The numbers of a value.
    fn values(&self, sections: &Map<String, Value>, row: &Row) -> Result<Vec<f64>, ValuesError> {
        let path = format!("{}.{}", row.section, row.name);
        let Some(value) = find(sections, row) else {
            return Err(error(path, "this value is missing"));
        };
        let mut out = Vec::with_capacity(row.dims.iter().product());
        flatten(value, &row.dims, &path, &mut out)?;
        Ok(out)
    }

    fn episode(
        &self,
        sections: &Map<String, Value>,
        graph: &Graph,
        given: &mut GivenValues,
    ) -> Result<(), ValuesError> {
        if let Some(entry) = sections.keys().find(|key| key.as_str() == WEIGHT) {
            return Err(error(
                entry,
                "weights are those of targets, and this trainer learns from rewards",
            ));
        }
        let actions = of_outputs(graph);
        for row in self.section("episode") {
            let values = self.values(sections, row)?;
            if row.name == "rewards" {
                given.rewards = values;
                continue;
            }
            if let Actions::Choices(sizes) = &actions {
                for (action, count) in values.iter().zip(sizes.iter().cycle()) {
                    if *action < 0.0 || action.fract() != 0.0 || *action >= *count as f64 {
                        return Err(error(
                            "episode.actions",
                            format!("{action} is no action; there are 0 to {}", count - 1),
                        ));
                    }
                }
            }
            given.actions = values;
        }
        Ok(())
    }

    /// Targets with the weights of their steps: 0 where there is `null` in the place of a target.
    fn targets(
        &self,
        sections: &Map<String, Value>,
        given: &mut GivenValues,
    ) -> Result<(), ValuesError> {
        let shared = self.weights(sections, WEIGHT)?;
        for row in self.section("targets") {
            let Some(value) = find(sections, row).filter(|value| !value.is_null()) else {
                given.targets.push(Vec::new());
                given.weights.push(Vec::new());
                continue;
            };
            let own = self.weights(sections, &format!("{WEIGHT_OF}{}", row.name))?;
            let all = || vec![1.0; self.steps * self.lanes];
            let mut weights = own.or_else(|| shared.clone()).unwrap_or_else(all);
            let path = format!("targets.{}", row.name);
            let mut targets = Vec::with_capacity(row.dims.iter().product());
            let width: usize = row.dims[2..].iter().product();
            for (t, step) in list(value, self.steps, &path)?.iter().enumerate() {
                let path = format!("{path}[{t}]");
                let lanes = match step {
                    Value::Null => vec![Value::Null; self.lanes],
                    step => list(step, self.lanes, &path)?.to_vec(),
                };
                for (lane, value) in lanes.iter().enumerate() {
                    if is_null(value) {
                        weights[t * self.lanes + lane] = 0.0;
                        targets.extend(std::iter::repeat_n(0.0, width));
                    } else {
                        let path = format!("{path}[{lane}]");
                        flatten(value, &row.dims[2..], &path, &mut targets)?;
                    }
                }
            }
            given.targets.push(targets);
            given.weights.push(weights);
        }
        if given.targets.iter().all(Vec::is_empty) {
            let what = match sections.contains_key("targets") {
                true => "no output has a target",
                false => "this section is missing",
            };
            let names = listed(self.section("targets").map(|row| row.name.as_str()));
            let problem = format!("{what}, and without one there is no loss; outputs are {names}");
            return Err(error("targets", problem));
        }
        Ok(())
    }

    /// The weights under this entry, `[steps, lanes]`, where the file has it.
    fn weights(
        &self,
        sections: &Map<String, Value>,
        entry: &str,
    ) -> Result<Option<Vec<f64>>, ValuesError> {
        let Some(value) = sections.get(entry) else {
            return Ok(None);
        };
        let mut weights = Vec::with_capacity(self.steps * self.lanes);
        flatten(value, &[self.steps, self.lanes], entry, &mut weights)?;
        match weights.iter().find(|weight| **weight < 0.0) {
            Some(weight) => Err(error(
                entry,
                format!("{weight} is no weight; 0 leaves a step out"),
            )),
            None => Ok(Some(weights)),
        }
    }

    /// Outputs that the trainer compares with targets, and that have none in this file: they add nothing to the loss.
    pub fn without_targets(&self, given: &GivenValues) -> Vec<&str> {
        self.section("targets")
            .zip(&given.targets)
            .filter(|(row, targets)| row.is_in_template() && targets.is_empty())
            .map(|(row, _)| row.name.as_str())
            .collect()
    }
}

/// The file's entry for a value.
fn find<'a>(sections: &'a Map<String, Value>, row: &Row) -> Option<&'a Value> {
    sections.get(row.section)?.get(&row.name)
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
