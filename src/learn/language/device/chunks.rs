//! Chunks of a text on a device: one at a time for the host, or one after another with their steps.

use super::{DeviceReader, Stage};
use crate::engine::device::{HostArrays, Step, Trained};
use crate::engine::params::ParamStore;
use crate::engine::BackendError;
use crate::learn::device_block::report;
use crate::learn::language::loss::Loss;
use crate::learn::language::reader::{
    ChunkRan, Gradients, Judge, OutputAdjoints, Outputs, Reader, SelfTaught,
};
use crate::learn::language::runner::Passage;
use crate::learn::language::stream::Chunk;
use crate::machine::c::ParamPlace;
use crate::machine::device::{bytes_of, bytes_of_mut};
use crate::machine::kernel::KernelReport;
use std::time::Instant;

impl DeviceReader {
    /// The gradients of the last chunk, of so many rows.
    fn gradients(
        &mut self,
        rows: usize,
        adjoints: OutputAdjoints,
    ) -> Result<Gradients, BackendError> {
        self.clear(rows)?;
        let memory = &mut self.memories.adjoints;
        let mut given: Vec<Option<Vec<f32>>> = vec![None; self.plan.tables.0.len()];
        for (slot, values) in adjoints {
            let number = self.plan.experiment.outputs[slot];
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
        self.back(rows)?;
        let [_, _, gradients] = self.iterations.first();
        let slots = self.plan.experiment.step.params.iter();
        let places = slots.zip(&self.plan.places.places);
        let mut out = Vec::with_capacity(self.plan.places.places.len());
        for (slot, place) in places {
            out.push(match place {
                ParamPlace::Fixed(_) => None,
                ParamPlace::Trained(at) => {
                    let mut values = vec![0.0f32; slot.dims.iter().product()];
                    let bytes = bytes_of_mut(&mut values);
                    self.device.read_at(gradients, 4 * at, bytes)?;
                    Some(values)
                }
            });
        }
        Ok(out)
    }
}

impl Reader for DeviceReader {
    fn lanes(&self) -> usize {
        self.lanes
    }

    fn restart(&mut self) {
        self.started = false;
    }

    fn read(
        &mut self,
        parameters: &ParamStore,
        passage: Passage<'_>,
        judge: &mut Judge<'_>,
    ) -> Result<ChunkRan, BackendError> {
        let mut ran = ChunkRan::default();
        let mut start = Instant::now();
        let mut lap = |time: &mut f64| {
            let now = Instant::now();
            *time = (now - start).as_secs_f64();
            start = now;
        };
        self.give_parameters(parameters)?;
        self.give_keys(passage.seed)?;
        self.had_started = self.started;
        self.ahead(passage)?;
        self.settle(1);
        self.went_on = self.learns;
        let rows = passage.words.len();
        for slot in 0..self.outputs.len() {
            let number = self.plan.experiment.outputs[slot];
            let mut values = std::mem::take(&mut self.outputs[slot]);
            self.table(number, rows, &mut values)?;
            self.outputs[slot] = values;
        }
        lap(&mut ran.times.forward);
        let adjoints = judge(Outputs {
            tables: &mut self.outputs,
            numbers: &[],
        });
        lap(&mut ran.times.environment);
        if passage.learn {
            ran.gradients = self.gradients(rows, adjoints)?;
            lap(&mut ran.times.backward);
        }
        Ok(ran)
    }

    fn cost(
        &mut self,
        parameters: &ParamStore,
        _predicts: (usize, usize),
        chunks: &mut dyn Iterator<Item = Chunk>,
        seed: u64,
    ) -> Result<Loss, BackendError> {
        self.give_parameters(parameters)?;
        self.give_keys(seed)?;
        let mut loss = Loss::default();
        for chunk in chunks {
            loss.words += self.give_targets(&chunk)?;
            self.ahead(Passage::judged(&chunk, seed))?;
            self.settle(1);
            let rows = chunk.inputs.len();
            self.plan.loss.run(self.device.as_mut(), &self.args, rows)?;
            let mut total = [0; 8];
            self.device.read(&self.memories.total, &mut total)?;
            loss.total += f64::from_ne_bytes(total);
        }
        Ok(loss)
    }

    fn by_itself(&mut self) -> Option<&mut dyn SelfTaught> {
        match self.learns {
            true => Some(self),
            false => None,
        }
    }

    fn measure_kernels(&mut self, on: bool) {
        self.device.measure_kernels(on);
        for stage in &mut self.stages {
            match stage {
                Stage::Rows(device) => device.measure_kernels(on),
                Stage::Lanes(lanes) => lanes.measure_kernels(on),
            }
        }
    }

    fn kernels(&self) -> Vec<KernelReport> {
        let stages = self.stages.iter().enumerate();
        let stages = stages.flat_map(|(k, stage)| {
            let device = match stage {
                Stage::Rows(device) => device.as_ref(),
                Stage::Lanes(lanes) => lanes.device(),
            };
            let times = device.kernel_times().iter();
            times.map(move |time| report(time, &format!("stage {k}: ")))
        });
        let ending = self.device.kernel_times().iter();
        stages.chain(ending.map(|time| report(time, ""))).collect()
    }

    fn take_back(&mut self) {
        if std::mem::take(&mut self.went_on) {
            self.settle(1);
            self.started = self.had_started;
        }
    }

    fn states(&mut self) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        let mut out = vec![None; self.plan.experiment.step.states.len()];
        if !self.started {
            return Ok(out);
        }
        for (k, stage) in self.stages.iter_mut().enumerate() {
            let Stage::Lanes(lanes) = stage else {
                continue;
            };
            let numbers = &self.plan.experiment.stages[k].cut.states;
            for (number, values) in numbers.iter().zip(lanes.carried()?) {
                out[*number] = values;
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

impl SelfTaught for DeviceReader {
    fn learn(
        &mut self,
        steps: &[Step],
        host: &mut HostArrays<'_>,
        chunks: &mut dyn Iterator<Item = Chunk>,
        (seed, iteration): (u64, u32),
    ) -> Result<Trained, BackendError> {
        let (device, status) = (self.device.as_mut(), &mut self.memories.status);
        self.iterations.start(device, status, host)?;
        let had_started = self.started;
        self.went_on = false;
        self.give_keys(seed)?;
        let mut launched = 0;
        for ((k, step), chunk) in steps.iter().enumerate().zip(chunks) {
            self.iterations.point(&mut self.args, k, step);
            self.give_targets(&chunk)?;
            let noise = iteration.wrapping_add(k as u32);
            self.ahead(Passage::learned(&chunk, seed, noise))?;
            let rows = chunk.inputs.len();
            self.clear(rows)?;
            self.plan.loss.run(self.device.as_mut(), &self.args, rows)?;
            self.back(rows)?;
            self.iterations.step(self.device.as_mut(), &self.args)?;
            launched = k + 1;
        }
        let (device, status) = (self.device.as_mut(), &self.memories.status);
        let trained = self.iterations.outcome(device, status, launched, host)?;
        self.settle(trained.done.len());
        self.started = had_started || !trained.done.is_empty();
        Ok(trained)
    }
}
