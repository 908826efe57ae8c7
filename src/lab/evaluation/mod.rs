//! Evaluation: fresh episodes of a trained network, intact and with parts taken away.
//!
//! The episodes belong to iteration numbers that training never reaches, counted down from the largest. They
//! are the same each time, so a network and its ablations meet the same episodes.

mod ablation;
mod curves;
mod statistics;

pub use ablation::{Ablation, AblationError};
pub use curves::{Curves, TrialReward};
pub use statistics::{Effect, Statistics};

use crate::engine::experiment::Experiment;
use crate::learn::block::EpisodeOptions;
use crate::learn::episodes::{Batch, Episodes, LaneResult, Observer};
use crate::learn::score::Tally;
use crate::learn::tasks::Part;
use crate::learn::trainer::{TrainError, TrainerOptions};
use crate::step::Compiled;
use ablation::Prepared;

/// The results of the episodes.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The loss, averaged over batches.
    pub loss: f64,
    /// The name of the measure in `values`: `reward`, the first score, or the loss where no score is one of a single
    /// episode.
    pub measure: Option<String>,
    /// The scores of all episodes together.
    pub scores: Vec<(String, f64)>,
    /// The measure of each episode.
    pub values: Vec<f64>,
    /// The result of each episode.
    pub episodes: Vec<LaneResult>,
}

/// The episodes to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The number of episodes.
    pub episodes: usize,
    /// True if the network takes the most probable action instead of sampling one.
    pub greedy: bool,
    /// The seed of the episodes.
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
            part: Part::Test,
            chunk: None,
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
    /// Prepares a program with its parameters, by slot.
    ///
    /// # Errors
    ///
    /// [`TrainError`].
    pub fn new(
        program: &'a Compiled,
        options: TrainerOptions,
        parameters: Vec<Vec<f64>>,
    ) -> Result<Evaluator<'a>, TrainError> {
        let mut intact = Episodes::new(&program.model, &program.step, options)?;
        intact.set_parameters(&parameters);
        Ok(Evaluator {
            program,
            options,
            parameters,
            intact,
        })
    }

    /// The number of different episodes, if they come from a file.
    pub fn sequences(&self) -> Option<usize> {
        self.intact.sequences()
    }

    /// The graphs that run, the results of the passes, and the compile time.
    pub fn experiment(&self) -> &Experiment {
        self.intact.experiment()
    }

    /// Runs the intact network.
    ///
    /// # Errors
    ///
    /// Errors of the backend.
    pub fn intact(&mut self, wanted: Wanted) -> Result<Outcome, TrainError> {
        collect(&mut self.intact, wanted, |_, _, _| ())
    }

    /// Runs the intact network with an observer per block of lanes. `observer` makes one from the number of
    /// the batch, the first lane and the number of lanes. The observers are returned by batch, in the order
    /// of the lanes.
    ///
    /// # Errors
    ///
    /// Errors of the backend.
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

    /// Runs the network with a part taken away, on the same episodes.
    ///
    /// # Errors
    ///
    /// [`AblationError`] if the network has no such part.
    pub fn ablated(
        &mut self,
        ablation: &Ablation,
        wanted: Wanted,
    ) -> Result<Outcome, AblationError> {
        match ablation.prepare(self.program, &self.parameters)? {
            Prepared::Parameters(values) => {
                self.intact.set_parameters(&values);
                let outcome = collect(&mut self.intact, wanted, |_, _, _| ());
                self.intact.set_parameters(&self.parameters);
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

/// Runs enough batches for the wanted episodes. States that outlive episodes are carried from one batch to
/// the next.
fn collect_with<O: Observer>(
    episodes: &mut Episodes,
    wanted: Wanted,
    observer: impl Fn(usize, usize, usize) -> O + Sync,
    mut finished: impl FnMut(Vec<O>),
) -> Result<Outcome, TrainError> {
    let batch = episodes.batch();
    let count = episodes.sequences().unwrap_or(usize::MAX);
    let wanted = Wanted {
        episodes: wanted.episodes.min(count),
        ..wanted
    };
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
    // Lanes beyond the last sequence of a file added nothing.
    let lanes = batches * batch;
    outcome.loss *= lanes as f64 / lanes.min(count).max(1) as f64;
    outcome.measure(wanted.episodes, batch);
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, lanes: Vec<LaneResult>, batches: usize) {
        for lane in &lanes {
            self.loss += lane.loss.loss / batches as f64;
        }
        self.episodes.extend(lanes);
    }

    /// Leaves out the lanes beyond the wanted episodes, and measures the others.
    fn measure(&mut self, episodes: usize, batch: usize) {
        self.episodes.truncate(episodes);
        for episode in &self.episodes {
            if let Some(reward) = episode.loss.rewards.first() {
                self.measure = Some("reward".to_owned());
                self.values.push(*reward);
            } else if let Some(score) = episode.loss.scores.first() {
                if score.is_of_episode() {
                    self.measure = Some(score.name.clone());
                    // An episode in which nothing counts has no score.
                    self.values.extend(score.of_episode());
                } else {
                    self.measure = Some("loss".to_owned());
                    // The loss of a lane is its share of that of the batch.
                    self.values.push(episode.loss.loss * batch as f64);
                }
            }
        }
        let mut all: Vec<Tally> = Vec::new();
        for episode in &self.episodes {
            for score in episode.loss.scores.iter().filter(|score| !score.is_own()) {
                match all.iter_mut().find(|known| known.name == score.name) {
                    Some(known) => known.add(score),
                    None => all.push(score.clone()),
                }
            }
        }
        let scores = all.into_iter();
        self.scores = scores
            .map(|score| (score.name.clone(), score.value()))
            .collect();
        let lengths = self
            .episodes
            .iter()
            .filter_map(|one| one.loss.lengths.first().copied());
        let lengths: Vec<usize> = lengths.collect();
        if !lengths.is_empty() {
            let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
            self.scores.push(("length".to_owned(), mean));
        }
    }

    /// The reward over the steps and trials of an episode.
    pub fn curves(&self) -> Curves {
        Curves::of(&self.episodes)
    }
}
