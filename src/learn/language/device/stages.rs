//! The kernels of all stages of a network, of the loss of its text and of the optimizer.

use crate::engine::bptt::least_memory_interval;
use crate::engine::device::bytes;
use crate::engine::experiment::{Experiment, Program, Stage};
use crate::engine::staged::device::{Extent, LossSource, RowsSource, RowsStage, Table, TextLoss};
use crate::learn::average::Average;
use crate::learn::device_block::{no_sparse_bundles, update};
use crate::learn::experiment::{built, experiment, optimizer};
use crate::learn::language::objective::TextObjective;
use crate::learn::language::stream;
use crate::learn::trainer::TrainError;
use crate::machine::c::{DeviceSource, Episode, Feed, ParamPlaces, Update, UpdateSizes};
use crate::machine::device::BlockLimits;
use crate::step::split::Source;
use crate::step::Compiled;
use std::sync::Arc;

/// The purpose of reading a text.
#[derive(Clone, Debug)]
pub struct TextGoal {
    /// The loss.
    pub objective: TextObjective,
    /// The steps of the optimizer.
    pub update: Update,
    /// True if there will be means of the parameters.
    pub averages: bool,
}

/// The kernels.
pub struct DeviceStages {
    pub(super) experiment: Arc<Experiment>,
    pub(super) stages: Vec<StageSource>,
    pub(super) loss: LossSource,
    pub(super) places: ParamPlaces,
    /// By value that is given from stage to stage: after tables of so many elements; and those of all.
    pub(super) tables: (Vec<usize>, usize),
    /// Steps, at most.
    pub(super) steps: usize,
    pub(super) averages: bool,
}

/// The kernels of a stage.
pub(super) enum StageSource {
    Rows(RowsSource),
    Lanes(Box<DeviceSource>),
}

impl StageSource {
    fn text(&self) -> &str {
        match self {
            StageSource::Rows(source) => &source.text,
            StageSource::Lanes(source) => &source.text,
        }
    }
}

impl DeviceStages {
    /// For passages of at most so many lanes and steps.
    pub fn new(
        experiment: Arc<Experiment>,
        [lanes, steps]: [usize; 2],
        limits: BlockLimits,
        goal: &TextGoal,
    ) -> DeviceStages {
        let places = ParamPlaces::new(&experiment.step.params);
        let mut next = 0;
        let tables = experiment.sizes.iter().map(|size| {
            next += size;
            next - size
        });
        let tables: Vec<usize> = tables.collect();
        let stages = experiment.stages.iter();
        let stages = stages
            .map(
                |Stage {
                     cut: stage,
                     graphs,
                     program,
                 }| match program {
                    Program::Rows | Program::Graphs => {
                        StageSource::Rows(RowsSource::new(RowsStage {
                            stage,
                            graphs: [&graphs.step, &graphs.adjoint],
                            places: &places,
                            tables: &tables,
                        }))
                    }
                    Program::Lanes(fused) => {
                        let feed = |source: &Source| match source {
                            Source::Input(_) => Feed::Word,
                            Source::Earlier(number) => Feed::Given(tables[*number]),
                        };
                        let earlier = stage.inputs.iter().enumerate();
                        let earlier = earlier.filter_map(|(slot, source)| match source {
                            Source::Input(_) => None,
                            Source::Earlier(number) => Some((slot, tables[*number])),
                        });
                        let outputs = stage.outputs.iter().enumerate();
                        let episode = Episode {
                            graph: &stage.graph,
                            lanes,
                            steps,
                            interval: fused.interval(least_memory_interval(steps)),
                            feeds: stage.inputs.iter().map(feed).collect(),
                            read: outputs
                                .map(|(slot, number)| (slot, tables[*number]))
                                .collect(),
                            input_adjoints: earlier.collect(),
                            noises: stage.noises.clone(),
                            passage: true,
                            carries: true,
                            places: Some(places.part(&stage.params)),
                            task: None,
                            objective: None,
                            update: None,
                        };
                        StageSource::Lanes(Box::new(fused.device_source(&episode, limits)))
                    }
                },
            )
            .collect();
        let table = |slot: usize| {
            let number = experiment.outputs[slot];
            Table {
                after: tables[number],
                width: experiment.sizes[number],
            }
        };
        let TextObjective {
            output,
            activity,
            change,
            ..
        } = goal.objective;
        let loss = TextLoss {
            logits: table(output),
            activity: activity.map(|(factor, slot)| (factor, table(slot))),
            change: change.map(|(factor, slot)| (factor, table(slot))),
        };
        let loss = LossSource::new(&loss, &goal.update, (&experiment.step.params, &places));
        DeviceStages {
            stages,
            loss,
            places,
            tables: (tables, next),
            steps,
            averages: goal.averages,
            experiment,
        }
    }

    /// The sizes of the memories of whole iterations, for a reader that learns and for one that does not.
    pub(super) fn update(&self, learns: bool) -> (UpdateSizes, bool) {
        let sizes = self.loss.update;
        let moments = if learns { sizes.moments } else { 0 };
        (UpdateSizes { moments, ..sizes }, learns && self.averages)
    }

    /// Bytes of a reader: once, and for every lane.
    pub fn bytes(&self, learns: bool) -> (u64, u64) {
        let of_row = 2 * self.tables.1;
        let locals = self.locals();
        let (sizes, averages) = self.update(learns);
        let once = (4 * locals.once + sizes.bytes(averages)) as u64;
        // Words, targets and the loss of each row beside its values.
        let row = 4 * (of_row + locals.of_row) + 8 + 16;
        let lane = (self.steps * row) as u64;
        let programs = self.experiment.stages.iter().map(|stage| &stage.program);
        let programs = self.stages.iter().zip(programs);
        programs.fold((once, lane), |(once, lane), pair| match pair {
            (StageSource::Lanes(source), Program::Lanes(fused)) => {
                let (own_once, own_lane) = bytes(source, fused.shared_size());
                // States take turns in what learns.
                let turns = if learns { 4 * source.sizes.carried } else { 0 };
                (once + own_once, lane + own_lane + turns as u64)
            }
            _ => (once, lane),
        })
    }

    /// The memory that stages of rows share, one after another.
    pub(super) fn locals(&self) -> Extent {
        let stages = self.stages.iter().filter_map(|stage| match stage {
            StageSource::Rows(source) => Some(source.locals),
            StageSource::Lanes(_) => None,
        });
        stages.fold(Extent::default(), |all, own| all.largest(own))
    }

    /// The kernels as CUDA C: stage after stage, then the loss and the step.
    pub fn listing(&self) -> String {
        let stages = self.stages.iter().enumerate();
        let texts = stages.map(|(k, stage)| format!("/* Stage {k}. */\n\n{}\n", stage.text()));
        let loss = format!("/* Loss and step. */\n\n{}\n", self.loss.text);
        texts.chain([loss]).collect()
    }

    /// The sources, stage by stage, then that of the loss and the step.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        let stages = self.stages.iter().map(StageSource::text);
        stages.chain([self.loss.text.as_str()])
    }
}

/// The kernels of a language model, for a device with these limits.
///
/// # Errors
/// Where the spec cannot be trained on a text.
pub fn device_stages(
    program: &Compiled,
    stages: Arc<Experiment>,
    limits: BlockLimits,
) -> Result<DeviceStages, TrainError> {
    no_sparse_bundles(&program.step)?;
    let (train, task) = experiment(&program.model)?;
    let settings = &train.settings;
    let task = built(task)?;
    let Some(text) = task.text() else {
        return Err(TrainError::Missing("task", "add `task text { }`"));
    };
    let described = optimizer(train, &[])?;
    let goal = TextGoal {
        objective: TextObjective::new(&program.step, text.words, settings)?,
        update: update(described.as_ref(), settings),
        averages: Average::new(settings).is_wanted(),
    };
    let lanes = settings.int("batch").max(settings.int("eval_batch"));
    let size = [lanes, stream::longest(text.steps, text.random_lengths)];
    Ok(DeviceStages::new(stages, size, limits, &goal))
}
