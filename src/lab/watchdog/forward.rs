//! The forward pass: the first step and lane at which an output or a state is not finite.

use super::{fits, origin, Culprit, Entry, What};
use crate::engine::reference::Leaves;
use crate::engine::BackendError;
use crate::ir::Graph;
use crate::learn::block::EpisodeOptions;
use crate::learn::episodes::{Episodes, Given, LaneResult, Moment, Observer};
use crate::learn::trainer::TrainError;

/// A step of a lane that gives a non-finite number.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    step: usize,
    lane: usize,
    what: What,
    entry: Entry,
}

/// An observer that stores the inputs of each step of some lanes, until one gives a non-finite number.
#[derive(Debug, Default)]
struct Watch {
    lanes: usize,
    entering: Vec<Vec<f64>>,
    /// The states that entered the first step.
    first: Vec<Vec<f64>>,
    /// The inputs and noise by step, for all lanes.
    given: Vec<Given>,
    bad: Option<Bad>,
}

/// The results of the forward pass.
pub(super) struct Seen {
    /// The inputs and noise, by lane and step.
    given: Vec<Vec<Given>>,
    /// The states that entered the first step, by lane.
    first: Vec<Vec<Vec<f64>>>,
    /// The results of the episodes, by lane.
    pub(super) lanes: Vec<LaneResult>,
    bad: Vec<Bad>,
}

impl Seen {
    /// The earliest bad step; if several lanes share it, that of the first lane.
    pub(super) fn first_bad(&self) -> Option<&Bad> {
        self.bad.iter().min_by_key(|bad| (bad.step, bad.lane))
    }

    /// The states of a lane that entered its first step.
    pub(super) fn first(&self, lane: usize) -> &[Vec<f64>] {
        &self.first[lane]
    }

    /// The inputs and noise of each step of a lane.
    pub(super) fn given(&self, lane: usize) -> &[Given] {
        &self.given[lane]
    }
}

/// The slice of each slot that belongs to lane `lane` of `lanes`.
fn of_lane(values: &[Vec<f64>], lane: usize, lanes: usize) -> Vec<Vec<f64>> {
    values
        .iter()
        .map(|values| {
            let width = values.len() / lanes;
            values[lane * width..(lane + 1) * width].to_vec()
        })
        .collect()
}

/// The first lane of `lanes` with a value that does not fit into 32 bits.
fn bad_lane(values: &[f64], lanes: usize) -> Option<usize> {
    let width = (values.len() / lanes).max(1);
    values.iter().position(|x| !fits(*x)).map(|k| k / width)
}

impl Observer for Watch {
    fn before(&mut self, moment: &mut Moment<'_>) -> Result<(), BackendError> {
        self.lanes = moment.lanes().len();
        self.given.push(moment.given().clone());
        if self.bad.is_none() {
            self.entering = (0..moment.graph().states.len())
                .map(|slot| moment.state(slot))
                .collect::<Result<_, _>>()?;
            if moment.step() == 0 {
                self.first.clone_from(&self.entering);
            }
        }
        Ok(())
    }

    fn after(&mut self, moment: &mut Moment<'_>) -> Result<(), BackendError> {
        if self.bad.is_some() {
            return Ok(());
        }
        let (outputs, states) = (moment.graph().outputs.len(), moment.graph().states.len());
        let mut found: Option<(usize, What)> = None;
        let mut look = |values: &[f64], what: What| {
            if let Some(lane) = bad_lane(values, self.lanes) {
                if found.as_ref().is_none_or(|(before, _)| lane < *before) {
                    found = Some((lane, what));
                }
            }
        };
        for slot in 0..outputs {
            look(&moment.output(slot)?, What::Output(slot));
        }
        for slot in 0..states {
            look(&moment.state(slot)?, What::State(slot));
        }
        if let Some((lane, what)) = found {
            let given = moment.given();
            self.bad = Some(Bad {
                step: moment.step(),
                lane: moment.first_lane() + lane,
                what,
                entry: Entry {
                    states: of_lane(&self.entering, lane, self.lanes),
                    inputs: of_lane(&given.inputs, lane, self.lanes),
                    noises: of_lane(&given.noises, lane, self.lanes),
                },
            });
        }
        Ok(())
    }
}

/// Runs the episodes.
pub(super) fn run(
    episodes: &mut Episodes,
    options: EpisodeOptions,
    carried: &[Option<Vec<f64>>],
) -> Result<Seen, TrainError> {
    let batch = episodes.run(options, carried, |_, _| Watch::default())?;
    let mut given = Vec::with_capacity(batch.lanes.len());
    let mut first = Vec::with_capacity(batch.lanes.len());
    for watch in &batch.observers {
        for lane in 0..watch.lanes {
            let mine = watch.given.iter().map(|all| Given {
                inputs: of_lane(&all.inputs, lane, watch.lanes),
                noises: of_lane(&all.noises, lane, watch.lanes),
            });
            given.push(mine.collect());
            first.push(of_lane(&watch.first, lane, watch.lanes));
        }
    }
    let bad = batch.observers.into_iter().filter_map(|watch| watch.bad);
    Ok(Seen {
        given,
        first,
        lanes: batch.lanes,
        bad: bad.collect(),
    })
}

impl Bad {
    /// The first non-finite value of the step.
    pub(super) fn culprit(&self, step: &Graph, params: &[Vec<f64>]) -> Result<Culprit, TrainError> {
        let leaves = Leaves {
            params,
            inputs: &self.entry.inputs,
            states: &self.entry.states,
            noises: &self.entry.noises,
            ..Leaves::default()
        };
        for rounding in [false, true] {
            if let (Some(first), _) = origin::find(step, &leaves, rounding)? {
                return Ok(first.at(self.step, self.lane, false, rounding));
            }
        }
        Ok(Culprit {
            step: self.step,
            lane: self.lane,
            what: self.what.clone(),
            rounding: true,
        })
    }
}
