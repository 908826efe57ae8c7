//! Inputs and states from files, by the names of the network: `[sequences, steps, size]`, as the task `sequences` has them.

use crate::engine::episode::States;
use crate::ir::Graph;
use crate::learn::data::{Array, DataError, Source};
use crate::step::lower::TRIAL_START;

/// The prefix of states in a file.
pub const START: &str = "start.";

/// The inputs of some steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The number of lanes.
    pub lanes: usize,
    /// The steps of the longest lane.
    pub steps: usize,
    /// The steps of each lane.
    pub lengths: Vec<usize>,
    /// By slot: `[lanes, steps, size]`.
    pub inputs: Vec<Vec<f64>>,
    /// By slot: `[lanes, dims...]`, on entry to the first step.
    pub states: States,
    /// The number of steps that came before, which the noise depends on.
    pub first_step: usize,
}

/// The name of the array for an input: its own name, that of its signal, or `trial`.
pub(super) fn array_of(path: &str) -> &str {
    match path {
        TRIAL_START => "trial",
        _ => path.strip_prefix("external.").unwrap_or(path),
    }
}

impl Given {
    /// Reads the inputs of a network with this step. States are at their first values unless the file has them.
    ///
    /// # Errors
    /// Names the file, the array, the sequence and the step.
    pub fn read(source: &Source, graph: &Graph) -> Result<Given, DataError> {
        let [lanes, steps] = extent(source, graph)?;
        let mut given = Given {
            lanes,
            steps,
            lengths: lengths(source, [lanes, steps])?,
            inputs: Vec::new(),
            states: graph
                .states
                .iter()
                .map(|slot| {
                    let elements: usize = slot.dims.iter().product();
                    slot.first
                        .is_none()
                        .then(|| vec![slot.init; lanes * elements])
                })
                .collect(),
            first_step: 0,
        };
        for slot in &graph.inputs {
            let size = slot.dims.iter().product();
            let values = given.input(source, &slot.path, size)?;
            given.inputs.push(values);
        }
        read_states(source, graph, lanes, &mut given.states)?;
        Ok(given)
    }

    fn input(&self, source: &Source, path: &str, size: usize) -> Result<Vec<f64>, DataError> {
        let name = array_of(path);
        let rows = self.lanes * self.steps;
        if source.header(name).is_none() {
            if path == TRIAL_START {
                return Ok(vec![0.0; rows]);
            }
            return Err(missing(source, name));
        }
        let array = source.array(name)?;
        let header = array.header.clone();
        let at = |k: usize| [k / self.steps.max(1), k % self.steps.max(1)];
        let values = match header.dims[..] {
            [s, t, n] if [s, t, n] == [self.lanes, self.steps, size] => {
                numbers(&array, rows * size)
            }
            [s, t]
                if [s, t] == [self.lanes, self.steps] && header.element.is_whole() && size > 1 =>
            {
                let mut values = vec![0.0; rows * size];
                for k in 0..rows {
                    let class = array.whole(k).unwrap_or(-1);
                    let Some(class) = usize::try_from(class).ok().filter(|class| *class < size)
                    else {
                        let [lane, step] = at(k);
                        let what = format!("sequence {lane}, step {step}: it is {class}, and there are the classes 0 to {}", size - 1);
                        return Err(source.fault_of(name, &what));
                    };
                    values[k * size + class] = 1.0;
                }
                values
            }
            [s, t] if [s, t] == [self.lanes, self.steps] && size == 1 => numbers(&array, rows),
            _ => {
                let what = format!(
                    "it is {header}, and [{}, {}, {size}] is needed: sequences, steps, size",
                    self.lanes, self.steps
                );
                return Err(source.fault_of(name, &what));
            }
        };
        let wrong = values.iter().position(|value| !value.is_finite());
        if let Some(k) = wrong
            .filter(|k| k / size.max(1) % self.steps < self.lengths[k / size.max(1) / self.steps])
        {
            let [lane, step] = at(k / size.max(1));
            let what = format!("sequence {lane}, step {step}: it is {}", values[k]);
            return Err(source.fault_of(name, &what));
        }
        Ok(values)
    }
}

/// The numbers of sequences and steps, from the first array that has them.
fn extent(source: &Source, graph: &Graph) -> Result<[usize; 2], DataError> {
    let mut slots = graph.inputs.iter();
    if let Some(slot) = slots.find(|slot| slot.path != TRIAL_START) {
        let name = array_of(&slot.path);
        let header = source.header(name).ok_or_else(|| missing(source, name))?;
        let header = header.map_err(DataError::clone)?;
        return match header.dims[..] {
            [s, t] | [s, t, _] if s > 0 && t > 0 => Ok([s, t]),
            _ => {
                let what =
                    format!("it is {header}, and an input has the axes [sequences, steps, size]");
                Err(source.fault_of(name, &what))
            }
        };
    }
    match source.header("trial") {
        Some(Ok(header)) if header.dims.len() == 2 => Ok([header.dims[0], header.dims[1]]),
        _ => Err(source
            .fault("does not say how many steps to run, because the network has no inputs")
            .help("an array `trial` of zeros, [sequences, steps], says it")),
    }
}

fn missing(source: &Source, name: &str) -> DataError {
    let what = format!("has no array `{name}`, and the network reads one");
    let help = format!("it has {}", source.describe());
    source.fault(&what).help(&help)
}

/// The number of steps of each sequence.
fn lengths(source: &Source, [lanes, steps]: [usize; 2]) -> Result<Vec<usize>, DataError> {
    if source.header("length").is_none() {
        return Ok(vec![steps; lanes]);
    }
    let array = source.array("length")?;
    if array.header.dims != [lanes] {
        let what = format!("it is {}, and [{lanes}] is needed", array.header);
        return Err(source.fault_of("length", &what));
    }
    let length = |k: usize| {
        let found = array.whole(k).and_then(|n| usize::try_from(n).ok());
        found.filter(|n| *n <= steps).ok_or_else(|| {
            let what = format!(
                "sequence {k}: it is {}, and there are {steps} steps",
                array.real(k)
            );
            source.fault_of("length", &what)
        })
    };
    (0..lanes).map(length).collect()
}

/// Reads the arrays `start.PATH` into `states`.
///
/// # Errors
/// Names a state that the network does not have, a wrong shape, or a number that is not finite.
pub fn read_states(
    source: &Source,
    graph: &Graph,
    lanes: usize,
    states: &mut States,
) -> Result<(), DataError> {
    for name in source.names() {
        let Some(path) = name.strip_prefix(START) else {
            continue;
        };
        let Some(slot) = graph.states.iter().position(|slot| slot.path == path) else {
            let all: Vec<String> = graph
                .states
                .iter()
                .map(|slot| format!("`{}`", slot.path))
                .collect();
            let what = format!("the network has no state `{path}`");
            let help = format!("it has {}", all.join(", "));
            return Err(source.fault_of(name, &what).help(&help));
        };
        let array = source.array(name)?;
        let mut dims = vec![lanes];
        dims.extend(&graph.states[slot].dims);
        if array.header.dims != dims {
            let what = format!("it is {}, and {dims:?} is needed", array.header);
            return Err(source.fault_of(name, &what));
        }
        let values = numbers(&array, dims.iter().product());
        let width: usize = values.len() / lanes.max(1);
        if let Some(k) = values.iter().position(|value| !value.is_finite()) {
            let what = format!("sequence {}: it is {}", k / width.max(1), values[k]);
            return Err(source.fault_of(name, &what));
        }
        states[slot] = Some(values);
        // A state that the file gives begins there, whatever the spec computes.
        if let Some(mark) = graph.starts_of(slot) {
            states[mark] = Some(vec![0.0; lanes]);
        }
    }
    Ok(())
}

fn numbers(array: &Array, count: usize) -> Vec<f64> {
    (0..count).map(|k| array.real(k)).collect()
}
