//! A reader on a device: all stages of a network there, what is given from one to the next in tables that stay there.

mod chunks;
mod stages;

pub use stages::{device_stages, DeviceStages, TextGoal};

use super::runner::Passage;
use super::stream::Chunk;
use crate::engine::device::{DeviceLanes, Iterations, Step, STATUS};
use crate::engine::experiment::Program;
use crate::engine::params::ParamStore;
use crate::engine::staged::device::RowsRun;
use crate::ir::rng::{Key, Stream};
use crate::machine::c::ParamPlace;
use crate::machine::device::{
    bytes_of, bytes_of_mut, Args, Device, DeviceChoice, DeviceError, Memory,
};
use stages::StageSource;
use std::sync::Arc;

/// A stage of a reader.
enum Stage {
    /// Its kernels are loaded there.
    Rows(Box<dyn Device>),
    /// All lanes.
    Lanes(Box<DeviceLanes>),
}

/// Lanes of a network on a device.
pub struct DeviceReader {
    plan: Arc<DeviceStages>,
    stages: Vec<Stage>,
    /// With the kernels of the loss and the step.
    device: Box<dyn Device>,
    lanes: usize,
    args: Args,
    memories: Memories,
    iterations: Iterations,
    learns: bool,
    started: bool,
    /// True if the last chunk was one without a step, and lanes went on then from where they were.
    went_on: bool,
    had_started: bool,
    /// By slot, row after row.
    outputs: Vec<Vec<f32>>,
}

/// Memories that stages share.
struct Memories {
    tables: Memory,
    adjoints: Memory,
    words: Memory,
    targets: Memory,
    keys: Memory,
    status: Memory,
    total: Memory,
    /// Only kernels use them.
    _others: [Memory; 3],
}

/// The target of a row that is behind the end of the text.
const NOTHING: u32 = u32::MAX;

impl DeviceReader {
    /// A reader of some lanes at the beginning of a text, for training or for evaluation only.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(
        plan: Arc<DeviceStages>,
        lanes: usize,
        learns: bool,
        choice: DeviceChoice,
    ) -> Result<DeviceReader, DeviceError> {
        let mut device = crate::machine::device::open(choice)?;
        device.load(&plan.loss.text)?;
        let rows = lanes * plan.steps;
        let noises = plan.experiment.step.noises.len();
        let mut stages = Vec::with_capacity(plan.stages.len());
        for (source, stage) in plan.stages.iter().zip(&plan.experiment.stages) {
            let mut own = crate::machine::device::open(choice)?;
            stages.push(match (source, &stage.program) {
                (StageSource::Lanes(source), Program::Lanes(fused)) => {
                    let source = source.as_ref().clone();
                    let shared = fused.shared_size();
                    let mut lanes = DeviceLanes::new(own, source, lanes, shared, 0)?;
                    if learns {
                        lanes.take_turns()?;
                    }
                    Stage::Lanes(Box::new(lanes))
                }
                (StageSource::Rows(source), _) => {
                    own.load(&source.text)?;
                    Stage::Rows(own)
                }
                (StageSource::Lanes(_), Program::Rows | Program::Graphs) => {
                    unreachable!("sources were made for these programs")
                }
            });
        }
        let (sizes, averages) = plan.update(learns);
        let iterations = Iterations::new(device.as_mut(), sizes, averages)?;
        let mut take = |words: usize| device.alloc((4 * words).max(8));
        let memories = Memories {
            tables: take(rows * plan.tables.1)?,
            adjoints: take(rows * plan.tables.1)?,
            words: take(rows)?,
            targets: take(rows)?,
            keys: take(2 * (2 + noises))?,
            status: take(STATUS)?,
            total: take(2)?,
            _others: [
                take(plan.locals().elements(rows))?,
                take(2 * 2 * rows)?,
                take(2 * 5)?,
            ],
        };
        let [locals, parts, losses] = &memories._others;
        let tables = memories.tables.address;
        let adjoints = memories.adjoints.address;
        let args = Args {
            lanes: lanes as i32,
            inputs: tables,
            outputs: tables,
            seeds: adjoints,
            input_adjoints: adjoints,
            words: memories.words.address,
            targets: memories.targets.address,
            keys: memories.keys.address,
            status: memories.status.address,
            total: memories.total.address,
            arena: locals.address,
            parts: parts.address,
            losses: losses.address,
            ..Args::default()
        };
        Ok(DeviceReader {
            outputs: vec![Vec::new(); plan.experiment.step.outputs.len()],
            plan,
            stages,
            device,
            lanes,
            args,
            memories,
            iterations,
            learns,
            started: false,
            went_on: false,
            had_started: false,
        })
    }

    /// Parameters of the host, for a chunk without a step.
    fn give_parameters(&mut self, parameters: &ParamStore) -> Result<(), DeviceError> {
        self.device
            .write(&mut self.memories.status, &[0; 4 * STATUS])?;
        let [trained, fixed, _] = self.iterations.first();
        let all = parameters.iter().zip(&self.plan.places.places);
        for (parameter, place) in all {
            let (memory, at) = match place {
                ParamPlace::Trained(at) => (&mut *trained, at),
                ParamPlace::Fixed(at) => (&mut *fixed, at),
            };
            self.device
                .write_at(memory, 4 * at, bytes_of(&parameter.values))?;
        }
        let none = Step {
            burning_in: true,
            rates: Default::default(),
            average: 0.0,
        };
        self.iterations.point(&mut self.args, 0, &none);
        Ok(())
    }

    /// Has the kernels draw noise from a seed.
    fn give_keys(&mut self, seed: u64) -> Result<(), DeviceError> {
        let noises = (0..self.plan.experiment.step.noises.len() as u32).map(Stream::Noise);
        let streams = [Stream::Task, Stream::Action].into_iter().chain(noises);
        let keys = streams.flat_map(|s| Key::new(seed, s).words());
        let keys: Vec<u8> = keys.flat_map(u32::to_ne_bytes).collect();
        self.device.write(&mut self.memories.keys, &keys)
    }

    /// The words that are to be predicted, and their number.
    fn give_targets(&mut self, chunk: &Chunk) -> Result<f64, DeviceError> {
        let rows = chunk.targets.iter().zip(&chunk.weights);
        let targets = rows.map(|(target, weight)| match *weight == 0.0 {
            true => NOTHING,
            false => *target,
        });
        let targets: Vec<u8> = targets.flat_map(u32::to_ne_bytes).collect();
        self.device.write(&mut self.memories.targets, &targets)?;
        let words = chunk.weights.iter().map(|w| f64::from(*w)).sum::<f64>();
        self.args.scale = 1.0 / words.max(1.0);
        Ok(words)
    }

    /// Launches all stages forward.
    fn ahead(&mut self, passage: Passage<'_>) -> Result<(), DeviceError> {
        if !self.started {
            self.start(&[])?;
        }
        let words: Vec<u8> = passage.words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        self.device.write(&mut self.memories.words, &words)?;
        self.args.iteration = passage.iteration as i32;
        self.args.learn = i32::from(passage.learn);
        self.args.steps = passage.steps as i32;
        for (stage, source) in self.stages.iter_mut().zip(&self.plan.stages) {
            match (stage, source) {
                (Stage::Rows(device), StageSource::Rows(source)) => RowsRun {
                    device: device.as_mut(),
                    args: &self.args,
                }
                .run(&source.forward, passage.words.len())?,
                (Stage::Lanes(lanes), _) => lanes.read_on(&self.args)?,
                (Stage::Rows(_), StageSource::Lanes(_)) => {}
            }
        }
        Ok(())
    }

    /// Makes all adjoints and gradients 0.
    fn clear(&mut self, rows: usize) -> Result<(), DeviceError> {
        let adjoints = &mut self.memories.adjoints;
        self.device.clear(adjoints, 4 * rows * self.plan.tables.1)?;
        let [_, _, gradients] = self.iterations.first();
        self.device.clear(gradients, 4 * self.plan.places.trained)
    }

    /// Launches all stages back.
    fn back(&mut self, rows: usize) -> Result<(), DeviceError> {
        for (stage, source) in self.stages.iter_mut().zip(&self.plan.stages).rev() {
            match (stage, source) {
                (Stage::Rows(device), StageSource::Rows(source)) => RowsRun {
                    device: device.as_mut(),
                    args: &self.args,
                }
                .run(&source.backward, rows)?,
                (Stage::Lanes(lanes), _) => lanes.read_back()?,
                (Stage::Rows(_), StageSource::Lanes(_)) => {}
            }
        }
        Ok(())
    }

    /// Keeps the states that so many chunks led to.
    fn settle(&mut self, chunks: usize) {
        for stage in &mut self.stages {
            if let Stage::Lanes(lanes) = stage {
                lanes.settle(chunks);
            }
        }
    }

    /// Has all lanes go on from states by slot of the network, or from first values.
    fn start(&mut self, states: &[Option<Vec<f64>>]) -> Result<(), DeviceError> {
        for (stage, whole) in self.stages.iter_mut().zip(&self.plan.experiment.stages) {
            if let Stage::Lanes(lanes) = stage {
                let given = |slot: usize| states.get(whole.cut.states[slot])?.as_ref();
                let values = lanes.carried_from(&whole.cut.graph.states, given);
                lanes.set_carried(&values)?;
            }
        }
        self.started = true;
        Ok(())
    }

    /// A table, row after row.
    fn table(&mut self, number: usize, rows: usize, out: &mut Vec<f32>) -> Result<(), DeviceError> {
        let (at, n) = (
            self.plan.tables.0[number],
            self.plan.experiment.sizes[number],
        );
        out.resize(rows * n, 0.0);
        let bytes = bytes_of_mut(out);
        self.device
            .read_at(&self.memories.tables, 4 * rows * at, bytes)
    }
}
