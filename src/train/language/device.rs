//! A reader on a device: all stages of a network there, what is given from one to the next in tables that stay there.

use super::reader::Reader;
use super::runner::{Gradients, Passage};
use super::staged::{Program, Staged};
use crate::backend::bptt::least_memory_interval;
use crate::backend::fused::device::{
    bytes, DeviceLanes, DeviceRun, DeviceSource, Episode, Feed, Links, ParamPlace, ParamPlaces,
};
use crate::backend::staged::device::{Extent, RowsRun, RowsSource, RowsStage};
use crate::backend::staged::Source;
use crate::backend::BackendError;
use crate::device::{
    bytes_of, bytes_of_mut, Args, BlockLimits, Device, DeviceChoice, DeviceError, Memory,
};
use crate::rng::{Key, Stream};
use crate::train::params::ParamStore;
use std::sync::Arc;

/// The kernels of all stages.
pub struct DeviceStages {
    staged: Arc<Staged>,
    stages: Vec<StageSource>,
    places: ParamPlaces,
    /// By value that is given from stage to stage: after tables of so many elements; and those of all.
    tables: (Vec<usize>, usize),
    /// Steps, at most.
    steps: usize,
}

/// The kernels of a stage.
enum StageSource {
    Rows(RowsSource),
    Lanes(Box<DeviceSource>),
}

impl DeviceStages {
    /// For passages of at most so many lanes and steps.
    pub fn new(
        staged: Arc<Staged>,
        [lanes, steps]: [usize; 2],
        limits: BlockLimits,
    ) -> DeviceStages {
        let places = ParamPlaces::new(&staged.step.params);
        let mut next = 0;
        let tables = staged.split.sizes.iter().map(|size| {
            next += size;
            next - size
        });
        let tables: Vec<usize> = tables.collect();
        let stages = staged.programs.iter().zip(&staged.split.stages);
        let stages = stages
            .map(|(program, stage)| match program {
                Program::Rows(graphs) => StageSource::Rows(RowsSource::new(RowsStage {
                    stage,
                    graphs: [&graphs[0], &graphs[1]],
                    places: &places,
                    tables: &tables,
                })),
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
                        places: Some(places.part(&stage.params)),
                        task: None,
                        objective: None,
                        update: None,
                    };
                    StageSource::Lanes(Box::new(fused.device_source(&episode, limits)))
                }
            })
            .collect();
        DeviceStages {
            staged,
            stages,
            places,
            tables: (tables, next),
            steps,
        }
    }

    /// Bytes of a reader: once, and for every lane.
    pub fn bytes(&self) -> (u64, u64) {
        let of_row = 2 * self.tables.1;
        let locals = self.locals();
        let parameters = 2 * self.places.trained + self.places.fixed;
        let once = 4 * (parameters + locals.once) as u64;
        let lane = 4 * (self.steps * (of_row + locals.of_row)) as u64;
        let programs = self.stages.iter().zip(&self.staged.programs);
        programs.fold((once, lane), |(once, lane), pair| match pair {
            (StageSource::Lanes(source), Program::Lanes(fused)) => {
                let (own_once, own_lane) = bytes(source, fused.shared_size());
                (once + own_once, lane + own_lane)
            }
            _ => (once, lane),
        })
    }

    /// What the stages of rows keep, one after another in the same memory.
    fn locals(&self) -> Extent {
        let stages = self.stages.iter().filter_map(|stage| match stage {
            StageSource::Rows(source) => Some(source.locals),
            StageSource::Lanes(_) => None,
        });
        stages.fold(Extent::default(), |all, own| all.largest(own))
    }

    /// The kernels as CUDA C, stage after stage.
    pub fn listing(&self) -> String {
        let stages = self.stages.iter().enumerate();
        let texts = stages.map(|(k, stage)| {
            let text = match stage {
                StageSource::Rows(source) => &source.text,
                StageSource::Lanes(source) => &source.text,
            };
            format!("/* Stage {k}. */\n\n{text}\n")
        });
        texts.collect()
    }

    /// The sources, stage by stage.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().map(|stage| match stage {
            StageSource::Rows(source) => source.text.as_str(),
            StageSource::Lanes(source) => source.text.as_str(),
        })
    }
}

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
    device: Box<dyn Device>,
    lanes: usize,
    args: Args,
    links: Links,
    memories: Memories,
    started: bool,
    /// By slot, row after row.
    outputs: Vec<Vec<f32>>,
}

/// Memories that stages share.
struct Memories {
    tables: Memory,
    adjoints: Memory,
    parameters: Memory,
    fixed: Memory,
    gradients: Memory,
    words: Memory,
    keys: Memory,
    status: Memory,
    /// Only kernels use it.
    _locals: Memory,
}

impl DeviceReader {
    /// So many lanes, at the beginning of a text.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(
        plan: Arc<DeviceStages>,
        lanes: usize,
        choice: DeviceChoice,
    ) -> Result<DeviceReader, DeviceError> {
        let mut device = crate::device::open(choice)?;
        let rows = lanes * plan.steps;
        let noises = plan.staged.step.noises.len();
        let mut stages = Vec::with_capacity(plan.stages.len());
        for (stage, program) in plan.stages.iter().zip(&plan.staged.programs) {
            let mut own = crate::device::open(choice)?;
            stages.push(match (stage, program) {
                (StageSource::Lanes(source), Program::Lanes(fused)) => {
                    let source = source.as_ref().clone();
                    let shared = fused.shared_size();
                    let lanes = DeviceLanes::new(own, source, lanes, shared, 0)?;
                    Stage::Lanes(Box::new(lanes))
                }
                (StageSource::Rows(source), _) => {
                    own.load(&source.text)?;
                    Stage::Rows(own)
                }
                (StageSource::Lanes(_), Program::Rows(_)) => {
                    unreachable!("sources were made for these programs")
                }
            });
        }
        let mut take = |elements: usize| device.alloc((4 * elements).max(8));
        let memories = Memories {
            tables: take(rows * plan.tables.1)?,
            adjoints: take(rows * plan.tables.1)?,
            parameters: take(plan.places.trained)?,
            fixed: take(plan.places.fixed)?,
            gradients: take(plan.places.trained)?,
            words: take(rows)?,
            keys: take(2 * (2 + noises))?,
            status: take(3)?,
            _locals: take(plan.locals().elements(rows))?,
        };
        let links = Links {
            tables: memories.tables.address,
            adjoints: memories.adjoints.address,
            parameters: memories.parameters.address,
            fixed: memories.fixed.address,
            gradients: memories.gradients.address,
            words: memories.words.address,
            keys: memories.keys.address,
        };
        let mut args = Args {
            lanes: lanes as i32,
            arena: memories._locals.address,
            status: memories.status.address,
            ..Args::default()
        };
        links.join(&mut args);
        Ok(DeviceReader {
            outputs: vec![Vec::new(); plan.staged.step.outputs.len()],
            plan,
            stages,
            device,
            lanes,
            args,
            links,
            memories,
            started: false,
        })
    }

    fn give_parameters(&mut self, parameters: &ParamStore) -> Result<(), DeviceError> {
        let all = parameters.iter().zip(&self.plan.places.places);
        for (parameter, place) in all {
            let (memory, at) = match place {
                ParamPlace::Trained(at) => (&mut self.memories.parameters, at),
                ParamPlace::Fixed(at) => (&mut self.memories.fixed, at),
            };
            self.device
                .write_at(memory, 4 * at, bytes_of(&parameter.values))?;
        }
        Ok(())
    }

    /// First values of the states of a stage, `[lanes, carried]`, or those by slot of the network.
    fn carried(&self, k: usize, states: &[Option<Vec<f64>>], source: &DeviceSource) -> Vec<f32> {
        let stage = &self.plan.staged.split.stages[k];
        let width = source.sizes.carried;
        let mut out = vec![0.0f32; self.lanes * width];
        for (slot, place) in source.carried.iter().enumerate() {
            let Some((at, n)) = *place else {
                continue;
            };
            let given = states.get(stage.states[slot]).and_then(Option::as_ref);
            for (lane, to) in out.chunks_exact_mut(width.max(1)).enumerate() {
                let to = &mut to[at..at + n];
                match given {
                    Some(values) => {
                        for (to, x) in to.iter_mut().zip(&values[lane * n..]) {
                            *to = *x as f32;
                        }
                    }
                    None => to.fill(stage.graph.states[slot].init as f32),
                }
            }
        }
        out
    }

    /// Has all lanes go on from states by slot of the network, or from first values.
    fn start(&mut self, states: &[Option<Vec<f64>>]) -> Result<(), DeviceError> {
        for k in 0..self.stages.len() {
            let values = match &self.stages[k] {
                Stage::Lanes(lanes) => self.carried(k, states, lanes.source()),
                Stage::Rows(_) => continue,
            };
            if let Stage::Lanes(lanes) = &mut self.stages[k] {
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
            self.plan.staged.split.sizes[number],
        );
        out.resize(rows * n, 0.0);
        let bytes = bytes_of_mut(out);
        self.device
            .read_at(&self.memories.tables, 4 * rows * at, bytes)
    }
}

impl Reader for DeviceReader {
    fn lanes(&self) -> usize {
        self.lanes
    }

    fn restart(&mut self) {
        self.started = false;
    }

    fn forward(
        &mut self,
        parameters: &ParamStore,
        passage: Passage<'_>,
    ) -> Result<(), BackendError> {
        if !self.started {
            self.start(&[])?;
        }
        self.give_parameters(parameters)?;
        let rows = passage.words.len();
        let words: Vec<u8> = passage.words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        self.device.write(&mut self.memories.words, &words)?;
        let noises = (0..self.plan.staged.step.noises.len() as u32).map(Stream::Noise);
        let streams = [Stream::Task, Stream::Action].into_iter().chain(noises);
        let keys = streams.flat_map(|s| Key::new(passage.seed, s).words());
        let keys: Vec<u8> = keys.flat_map(u32::to_ne_bytes).collect();
        self.device.write(&mut self.memories.keys, &keys)?;
        let run = DeviceRun {
            keys: Vec::new(),
            iteration: passage.iteration,
            learn: passage.learn,
            greedy: false,
            scale: 1.0,
        };
        self.args.iteration = run.iteration as i32;
        self.args.learn = i32::from(run.learn);
        self.args.steps = passage.steps as i32;
        for (stage, source) in self.stages.iter_mut().zip(&self.plan.stages) {
            match (stage, source) {
                (Stage::Rows(device), StageSource::Rows(source)) => RowsRun {
                    device: device.as_mut(),
                    args: &self.args,
                }
                .run(&source.forward, rows)?,
                (Stage::Lanes(lanes), _) => lanes.read_on(&self.links, &run, passage.steps)?,
                (Stage::Rows(_), StageSource::Lanes(_)) => {}
            }
        }
        for slot in 0..self.outputs.len() {
            let number = self.plan.staged.split.outputs[slot];
            let mut values = std::mem::take(&mut self.outputs[slot]);
            self.table(number, rows, &mut values)?;
            self.outputs[slot] = values;
        }
        Ok(())
    }

    fn output(&mut self, slot: usize) -> &mut Vec<f32> {
        &mut self.outputs[slot]
    }

    fn backward(
        &mut self,
        _parameters: &ParamStore,
        passage: Passage<'_>,
        adjoints: Vec<(usize, Vec<f32>)>,
    ) -> Result<Gradients, BackendError> {
        let rows = passage.words.len();
        let Memories {
            adjoints: memory,
            gradients,
            ..
        } = &mut self.memories;
        self.device.clear(memory, 4 * rows * self.plan.tables.1)?;
        self.device.clear(gradients, 4 * self.plan.places.trained)?;
        let mut given: Vec<Option<Vec<f32>>> = vec![None; self.plan.tables.0.len()];
        for (slot, values) in adjoints {
            let number = self.plan.staged.split.outputs[slot];
            match &mut given[number] {
                Some(sum) => {
                    for (sum, x) in sum.iter_mut().zip(&values) {
                        *sum += x;
                    }
                }
                none => *none = Some(values),
            }
        }
        for (values, at) in given.iter().zip(&self.plan.tables.0) {
            if let Some(values) = values {
                let at = 4 * rows * at;
                self.device.write_at(memory, at, bytes_of(values))?;
            }
        }
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
        let slots = self.plan.staged.step.params.iter();
        let places = slots.zip(&self.plan.places.places);
        let mut out = Vec::with_capacity(self.plan.places.places.len());
        for (slot, place) in places {
            out.push(match place {
                ParamPlace::Fixed(_) => None,
                ParamPlace::Trained(at) => {
                    let mut values = vec![0.0f32; slot.dims.iter().product()];
                    let bytes = bytes_of_mut(&mut values);
                    self.device
                        .read_at(&self.memories.gradients, 4 * at, bytes)?;
                    Some(values)
                }
            });
        }
        Ok(out)
    }

    fn give_back(&mut self, _gradients: Vec<Vec<f32>>) {}

    fn states(&mut self) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        let mut out = vec![None; self.plan.staged.step.states.len()];
        if !self.started {
            return Ok(out);
        }
        for (k, stage) in self.stages.iter_mut().enumerate() {
            let Stage::Lanes(lanes) = stage else {
                continue;
            };
            let values = lanes.carried()?;
            let source = lanes.source();
            let width = source.sizes.carried.max(1);
            for (slot, place) in source.carried.iter().enumerate() {
                if let Some((at, n)) = *place {
                    let lanes = values.chunks_exact(width);
                    let own = lanes.flat_map(|lane| &lane[at..at + n]);
                    let number = self.plan.staged.split.stages[k].states[slot];
                    out[number] = Some(own.map(|x| f64::from(*x)).collect());
                }
            }
        }
        Ok(out)
    }

    fn set_states(&mut self, states: &[Option<Vec<f64>>]) -> Result<(), BackendError> {
        if states.iter().all(Option::is_none) {
            self.started = false;
            return Ok(());
        }
        Ok(self.start(states)?)
    }
}
