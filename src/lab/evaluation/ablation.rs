//! Ablations: parts of a trained network that are taken away.

use super::{collect_with, Outcome, Wanted};
use crate::engine::BackendError;
use crate::ir::rng::{Key, Stream};
use crate::ir::StateSlot;
use crate::lang::diag::Diagnostics;
use crate::lang::sema::model::{DefId, DefKind, Model};
use crate::learn::episodes::{Episodes, Moment, Observer};
use crate::learn::trainer::{TrainError, TrainerOptions};
use crate::step::lower::{lower_with, Changes, GIVEN};
use crate::step::Compiled;
use std::str::FromStr;

/// One ablation.
#[derive(Clone, Debug, PartialEq)]
pub enum Ablation {
    /// Parameters with this path, or with this name in any bundle, get one value everywhere.
    Parameter {
        /// The path `rec.alpha` or the name `alpha`.
        path: String,
        /// The value of every element.
        value: f64,
    },
    /// A modulator (without a name: every modulator) is fixed at its mean over steps, lanes and episodes of
    /// the intact network, element by element.
    Freeze(Option<String>),
    /// A modulator (without a name: every modulator) gets the values it has in the intact network in the same
    /// episode, with the steps in random order.
    Shuffle(Option<String>),
    /// All traces return to their initial values before this step, counted from 0.
    Reset(usize),
}

/// The reason why a network cannot be ablated like this.
#[derive(Debug, thiserror::Error)]
pub enum AblationError {
    /// The network has no such part, or the part has the wrong kind.
    #[error("{0}")]
    NoSuchPart(String),
    /// The ablated network cannot be run.
    #[error(transparent)]
    Train(#[from] TrainError),
}

/// The accepted forms, for messages.
const FORMS: &str =
    "write PARAMETER=NUMBER, `freeze`, `freeze:MODULATOR`, `shuffle`, `shuffle:MODULATOR` or `reset:STEP`";

impl FromStr for Ablation {
    type Err = String;

    fn from_str(text: &str) -> Result<Ablation, String> {
        if let Some((path, value)) = text.split_once('=') {
            let value: f64 = value
                .trim()
                .parse()
                .ok()
                .filter(|value: &f64| value.is_finite())
                .ok_or_else(|| format!("`{}` is not a number; {FORMS}", value.trim()))?;
            let path = path.trim().to_owned();
            return Ok(Ablation::Parameter { path, value });
        }
        let (kind, of) = match text.split_once(':') {
            Some((kind, of)) => (kind, Some(of.to_owned())),
            None => (text, None),
        };
        match (kind, of) {
            ("freeze", of) => Ok(Ablation::Freeze(of)),
            ("shuffle", of) => Ok(Ablation::Shuffle(of)),
            ("reset", Some(step)) => step
                .parse()
                .map(Ablation::Reset)
                .map_err(|_| format!("`{step}` is not a step; {FORMS}")),
            _ => Err(format!("there is no ablation `{text}`; {FORMS}")),
        }
    }
}

impl std::fmt::Display for Ablation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ablation::Parameter { path, value } => write!(f, "{path}={value}"),
            Ablation::Freeze(None) => f.write_str("freeze"),
            Ablation::Freeze(Some(name)) => write!(f, "freeze:{name}"),
            Ablation::Shuffle(None) => f.write_str("shuffle"),
            Ablation::Shuffle(Some(name)) => write!(f, "shuffle:{name}"),
            Ablation::Reset(step) => write!(f, "reset:{step}"),
        }
    }
}

/// An ablation prepared for one network.
pub(super) enum Prepared {
    /// The values of all parameters, by slot.
    Parameters(Vec<Vec<f64>>),
    /// The traces to reset, with their initial values.
    Reset {
        slots: Vec<(usize, Vec<f64>)>,
        step: usize,
    },
    /// The modulators to replace.
    Modulators { ids: Vec<DefId>, shuffled: bool },
}

impl Ablation {
    pub(super) fn prepare(
        &self,
        program: &Compiled,
        parameters: &[Vec<f64>],
    ) -> Result<Prepared, AblationError> {
        let model = &program.model;
        match self {
            Ablation::Parameter { path, value } => {
                let mut values = parameters.to_vec();
                let mut found = false;
                for (slot, values) in program.step.params.iter().zip(&mut values) {
                    let last = slot.path.rsplit('.').next();
                    if slot.path == *path || last == Some(path) {
                        found = true;
                        values.fill(*value);
                    }
                }
                let paths = program.step.params.iter().map(|slot| slot.path.as_str());
                if !found {
                    return Err(unknown("parameter", path, paths));
                }
                Ok(Prepared::Parameters(values))
            }
            Ablation::Freeze(name) => modulators(model, name.as_deref(), false),
            Ablation::Shuffle(name) => modulators(model, name.as_deref(), true),
            Ablation::Reset(step) => {
                let states = program.step.states.iter().enumerate();
                let marks: Vec<usize> = (0..program.step.states.len())
                    .filter(|slot| program.step.states[*slot].trace)
                    .filter_map(|slot| program.step.starts_of(slot))
                    .collect();
                let first = |state: &StateSlot| match state.first {
                    Some(first) => parameters[first.index()].clone(),
                    None => vec![state.init; state.dims.iter().product()],
                };
                let slots: Vec<(usize, Vec<f64>)> = states
                    .filter(|(slot, state)| state.trace || marks.contains(slot))
                    .map(|(slot, state)| (slot, first(state)))
                    .collect();
                let steps = model.task.as_ref().map_or(0, |task| task.ports.steps);
                if slots.is_empty() {
                    let text = "the network has no traces to reset";
                    return Err(AblationError::NoSuchPart(text.to_owned()));
                }
                if *step >= steps {
                    return Err(AblationError::NoSuchPart(format!(
                        "there is no step {step} to reset traces at; an episode has steps 0 to {}",
                        steps.saturating_sub(1)
                    )));
                }
                Ok(Prepared::Reset { slots, step: *step })
            }
        }
    }
}

fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> AblationError {
    // `alpa` is near to the end of `rec.alpha`.
    let ends = known.clone().filter_map(|path| path.rsplit('.').next());
    let near = Diagnostics::nearest(name, known.clone().chain(ends));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
    };
    AblationError::NoSuchPart(format!("the network has no {kind} `{name}`; {help}"))
}

fn modulators(
    model: &Model,
    name: Option<&str>,
    shuffled: bool,
) -> Result<Prepared, AblationError> {
    let all = model
        .definitions
        .iter()
        .zip((0..).map(DefId))
        .filter(|(definition, _)| definition.kind == DefKind::Modulator);
    let ids: Vec<DefId> = all
        .clone()
        .filter(|(definition, _)| name.is_none_or(|name| definition.path == name))
        .map(|(_, id)| id)
        .collect();
    match (name, ids.is_empty()) {
        (_, false) => Ok(Prepared::Modulators { ids, shuffled }),
        (None, true) => Err(AblationError::NoSuchPart(
            "the network has no modulator".to_owned(),
        )),
        (Some(name), true) if all.clone().next().is_none() => Err(AblationError::NoSuchPart(
            format!("the network has no modulator `{name}`, nor any other"),
        )),
        (Some(name), true) => {
            let paths = all.map(|(definition, _)| definition.path.as_str());
            Err(unknown("modulator", name, paths))
        }
    }
}

/// An observer that resets traces to their initial values before one step.
pub(super) struct ResetTraces {
    slots: Vec<(usize, Vec<f64>)>,
    step: usize,
}

impl ResetTraces {
    pub(super) fn new(slots: &[(usize, Vec<f64>)], step: usize) -> ResetTraces {
        ResetTraces {
            slots: slots.to_vec(),
            step,
        }
    }
}

impl Observer for ResetTraces {
    fn before(&mut self, moment: &mut Moment<'_>) -> Result<(), BackendError> {
        if moment.step() == self.step {
            for (slot, first) in &self.slots {
                let values = first.repeat(moment.lanes().len());
                moment.set_state(*slot, &values)?;
            }
        }
        Ok(())
    }
}

/// An observer that stores the values of some outputs: by output, then step, lanes in sequence.
struct OutputRecorder<'a> {
    outputs: &'a [usize],
    values: Vec<Vec<Vec<f64>>>,
}

impl Observer for OutputRecorder<'_> {
    fn after(&mut self, moment: &mut Moment<'_>) -> Result<(), BackendError> {
        for (slot, values) in self.outputs.iter().zip(&mut self.values) {
            values.push(moment.output(*slot)?);
        }
        Ok(())
    }
}

/// An observer that sets some inputs: by input, then step, lanes in sequence.
struct InputWriter<'a> {
    inputs: &'a [usize],
    values: Vec<Vec<Vec<f64>>>,
}

impl Observer for InputWriter<'_> {
    fn before(&mut self, moment: &mut Moment<'_>) -> Result<(), BackendError> {
        for (slot, values) in self.inputs.iter().zip(&self.values) {
            let now = &values[moment.step()];
            // There is one value for all lanes, or one per lane.
            let elements: usize = moment.graph().inputs[*slot].dims.iter().product();
            let wanted = elements * moment.lanes().len();
            let values = now.iter().copied().cycle().take(wanted).collect();
            moment.set_input(*slot, values);
        }
        Ok(())
    }
}

/// Runs the network with modulators replaced by their means, or by their own values in shuffled order.
pub(super) fn without_modulators(
    program: &Compiled,
    options: TrainerOptions,
    parameters: &[Vec<f64>],
    ids: &[DefId],
    shuffled: bool,
    wanted: Wanted,
) -> Result<Outcome, TrainError> {
    let model = &program.model;
    let paths: Vec<&str> = ids
        .iter()
        .map(|id| model.definitions[id.index()].path.as_str())
        .collect();
    let shown = lower_with(
        model,
        &Changes {
            shown: ids.to_vec(),
            ..Changes::default()
        },
    );
    let given = lower_with(
        model,
        &Changes {
            given: ids.to_vec(),
            ..Changes::default()
        },
    );
    let outputs: Vec<usize> = paths
        .iter()
        .filter_map(|path| shown.outputs.iter().position(|slot| slot.path == *path))
        .collect();
    let inputs: Vec<usize> = paths
        .iter()
        .filter_map(|path| {
            let name = format!("{GIVEN}{path}");
            given.inputs.iter().position(|slot| slot.path == name)
        })
        .collect();
    let mut noting = Episodes::new(model, &shown, options)?;
    noting.set_parameters(parameters);
    // The stored values, by batch and block of lanes.
    let mut noted: Vec<Vec<Vec<Vec<Vec<f64>>>>> = Vec::new();
    let note = |_, _, _| OutputRecorder {
        outputs: &outputs,
        values: vec![Vec::new(); outputs.len()],
    };
    collect_with(&mut noting, wanted, note, |notes| {
        noted.push(notes.into_iter().map(|notes| notes.values).collect());
    })?;
    let steps = noting.steps();
    drop(noting);
    let mut giving = Episodes::new(model, &given, options)?;
    giving.set_parameters(parameters);
    let means: Vec<Vec<Vec<f64>>> = (0..inputs.len())
        .map(|k| {
            let elements: usize = given.inputs[inputs[k]].dims.iter().product();
            vec![mean(&noted, k, elements.max(1)); steps]
        })
        .collect();
    let batch = giving.batch();
    let give = |k: usize, first: usize, lanes: usize| {
        let values = if shuffled {
            // Both programs split lanes into the same blocks unless the plan divides them differently.
            (0..inputs.len())
                .map(|input| {
                    let all = lanes_of(&noted[k], input, batch);
                    in_other_order(&all[first..first + lanes], wanted, k, first)
                })
                .collect()
        } else {
            means.clone()
        };
        InputWriter {
            inputs: &inputs,
            values,
        }
    };
    collect_with(&mut giving, wanted, give, |_| {})
}

/// The mean of each element of a modulator.
fn mean(noted: &[Vec<Vec<Vec<Vec<f64>>>>], k: usize, elements: usize) -> Vec<f64> {
    let mut sums = vec![0.0; elements];
    let mut count = 0.0;
    for values in noted.iter().flatten().flat_map(|block| &block[k]) {
        for lane in values.chunks_exact(elements) {
            count += 1.0;
            for (sum, value) in sums.iter_mut().zip(lane) {
                *sum += value;
            }
        }
    }
    sums.iter().map(|sum| sum / f64::max(count, 1.0)).collect()
}

/// The values of modulator `k` in one batch, by lane and step.
fn lanes_of(blocks: &[Vec<Vec<Vec<f64>>>], k: usize, batch: usize) -> Vec<Vec<Vec<f64>>> {
    let mut lanes = Vec::with_capacity(batch);
    let widest = blocks.iter().filter_map(|block| block[k].first());
    let total: usize = widest.map(Vec::len).sum();
    let elements = (total / batch).max(1);
    for block in blocks {
        let count = block[k].first().map_or(0, Vec::len) / elements;
        for lane in 0..count {
            let steps = block[k].iter();
            let mine = steps.map(|all| all[lane * elements..(lane + 1) * elements].to_vec());
            lanes.push(mine.collect());
        }
    }
    lanes
}

/// Shuffles the steps of each lane separately; the result is by step, lanes in sequence.
fn in_other_order(
    lanes: &[Vec<Vec<f64>>],
    wanted: Wanted,
    batch: usize,
    first: usize,
) -> Vec<Vec<f64>> {
    let steps = lanes.first().map_or(0, Vec::len);
    let mut values = vec![Vec::new(); steps];
    for (k, lane) in lanes.iter().enumerate() {
        let key = Key::new(wanted.seed, Stream::Shuffle);
        let mut order: Vec<usize> = (0..steps).collect();
        key.at(u32::MAX - batch as u32, 0, (first + k) as u32)
            .draws()
            .shuffle(&mut order);
        for (to, from) in values.iter_mut().zip(order) {
            to.extend(&lane[from]);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ablations_are_read_and_written() {
        for text in [
            "alpha=0",
            "rec.w=-0.5",
            "freeze",
            "freeze:m",
            "shuffle:m",
            "reset:60",
        ] {
            let ablation: Ablation = text.parse().unwrap();
            assert_eq!(ablation.to_string(), text);
        }
        for wrong in [
            "alpha=",
            "alpha=x",
            "alpha=inf",
            "reset",
            "reset:-1",
            "nothing",
        ] {
            let message = wrong.parse::<Ablation>().unwrap_err();
            assert!(message.ends_with(FORMS), "{message}");
        }
    }

    #[test]
    fn an_order_keeps_every_value() {
        let lane = |k: f64| (0..50).map(|t| vec![f64::from(t) + k]).collect::<Vec<_>>();
        let wanted = Wanted {
            episodes: 2,
            greedy: false,
            seed: 3,
        };
        let values = in_other_order(&[lane(0.0), lane(0.5)], wanted, 0, 0);
        let mut first: Vec<f64> = values.iter().map(|all| all[0]).collect();
        let second: Vec<f64> = values.iter().map(|all| all[1] - 0.5).collect();
        assert_ne!(first, second);
        assert!(!first.is_sorted());
        first.sort_by(f64::total_cmp);
        assert_eq!(first, (0..50).map(f64::from).collect::<Vec<_>>());
    }
}
