//! Fresh episodes of a trained network, and what is left of its skill when a part of it is taken away.
//!
//! Episodes are drawn from iterations that training never reaches, counted down from the last, and are the same
//! each time: a network and its ablations meet the same ones.

mod ablation;
mod curves;
mod statistics;

pub use ablation::{Ablation, AblationError};
pub use curves::{Curves, TrialReward};
pub use statistics::{Effect, Statistics};

use crate::engine::experiment::Experiment;
use crate::learn::block::EpisodeOptions;
use crate::learn::episodes::{Batch, Episodes, LaneResult, Observer};
use crate::learn::trainer::{TrainError, TrainerOptions};
use crate::step::Compiled;
use ablation::Prepared;

/// What episodes gave.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Loss, averaged over batches.
    pub loss: f64,
    /// What `values` are: `reward`, or the task's own measure; `None` where there is neither.
    pub measure: Option<&'static str>,
    /// The measure of each episode.
    pub values: Vec<f64>,
    /// Each episode.
    pub episodes: Vec<LaneResult>,
}

/// Which episodes are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many.
    pub episodes: usize,
    /// Whether the likeliest action is taken instead of a drawn one.
    pub greedy: bool,
    /// Seed they are drawn from.
    pub seed: u64,
}

impl Wanted {
    /// The options of batch `k`.
    pub fn batch(&self, k: usize, batch: usize) -> EpisodeOptions {
        EpisodeOptions {
            seed: self.seed,
            iteration: u32::MAX - k as u32,
            learn: false,
            greedy: self.greedy,
            batch,
        }
    }
}

/// A network with its parameters, ready to be evaluated.
pub struct Evaluator<'a> {
    program: &'a Compiled,
    options: TrainerOptions,
    parameters: Vec<Vec<f64>>,
    intact: Episodes,
}

impl<'a> Evaluator<'a> {
    /// For a program and its parameters, by slot.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn new(
        program: &'a Compiled,
        options: TrainerOptions,
        parameters: Vec<Vec<f64>>,
    ) -> Result<Evaluator<'a>, TrainError> {
        let mut intact = Episodes::new(&program.model, &program.step, options)?;
        intact.set_parameters(&parameters)?;
        Ok(Evaluator {
            program,
            options,
            parameters,
            intact,
        })
    }

    /// What runs, what the passes did, and how long compiling took.
    pub fn experiment(&self) -> &Experiment {
        self.intact.experiment()
    }

    /// Runs the network as it is.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn intact(&mut self, wanted: Wanted) -> Result<Outcome, TrainError> {
        collect(&mut self.intact, wanted, |_, _, _| ())
    }

    /// Runs it with someone looking on at each lane: `observer` is given the batch, the first lane and how many. They
    /// are handed back batch by batch, in the order of the lanes.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn watched<O: Observer>(
        &mut self,
        wanted: Wanted,
        observer: impl Fn(usize, usize, usize) -> O + Sync,
    ) -> Result<(Outcome, Vec<Vec<O>>), TrainError> {
        let mut all = Vec::new();
        let outcome = collect_with(&mut self.intact, wanted, observer, |observers| {
            all.push(observers);
        })?;
        Ok((outcome, all))
    }

    /// Runs it with a part taken away, on the same episodes.
    ///
    /// # Errors
    /// [`AblationError`] where the network has no such part.
    pub fn ablated(
        &mut self,
        ablation: &Ablation,
        wanted: Wanted,
    ) -> Result<Outcome, AblationError> {
        match ablation.prepare(self.program, &self.parameters)? {
            Prepared::Parameters(values) => {
                self.intact.set_parameters(&values)?;
                let outcome = collect(&mut self.intact, wanted, |_, _, _| ());
                self.intact.set_parameters(&self.parameters)?;
                Ok(outcome?)
            }
            Prepared::Reset { slots, step } => {
                let reset = |_, _, _| ablation::ResetTraces::new(&slots, step);
                Ok(collect(&mut self.intact, wanted, reset)?)
            }
            Prepared::Modulators { ids, shuffled } => Ok(ablation::without_modulators(
                self.program,
                self.options,
                &self.parameters,
                &ids,
                shuffled,
                wanted,
            )?),
        }
    }
}

fn collect<O: Observer>(
    episodes: &mut Episodes,
    wanted: Wanted,
    observer: impl Fn(usize, usize, usize) -> O + Sync,
) -> Result<Outcome, TrainError> {
    collect_with(episodes, wanted, observer, |_| {})
}

/// Runs as many batches as hold the episodes wanted. States that outlive episodes go from one batch to the next.
fn collect_with<O: Observer>(
    episodes: &mut Episodes,
    wanted: Wanted,
    observer: impl Fn(usize, usize, usize) -> O + Sync,
    mut finished: impl FnMut(Vec<O>),
) -> Result<Outcome, TrainError> {
    let batch = episodes.batch();
    let batches = wanted.episodes.div_ceil(batch);
    let mut outcome = Outcome::default();
    let mut carried = Vec::new();
    for k in 0..batches {
        let options = wanted.batch(k, batch);
        let done = episodes.run(options, &carried, |first, lanes| observer(k, first, lanes))?;
        let Batch {
            lanes,
            observers,
            carried: left,
        } = done;
        carried = left;
        finished(observers);
        outcome.add(lanes, batches);
    }
    outcome.truncate(wanted.episodes);
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, lanes: Vec<LaneResult>, batches: usize) {
        for lane in lanes {
            self.loss += lane.loss.loss / batches as f64;
            if let Some(reward) = lane.loss.reward {
                self.measure = Some("reward");
                self.values.push(reward);
            } else if let Some(score) = lane.loss.score {
                self.measure = Some(score.name);
                self.values.push(score.value);
            }
            self.episodes.push(lane);
        }
    }

    fn truncate(&mut self, episodes: usize) {
        self.values.truncate(episodes);
        self.episodes.truncate(episodes);
    }

    /// Reward over the steps and trials of an episode.
    pub fn curves(&self) -> Curves {
        Curves::of(&self.episodes)
    }
}
