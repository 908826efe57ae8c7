//! The environment of lanes that run on given inputs.

use super::{Given, Place, Recorded};
use crate::engine::episode::{Environment, Running};
use crate::engine::BackendError;
use crate::ir::rng::{fill, Key, Stream};
use crate::ir::{Graph, NoiseKind};

/// The iteration number that noise belongs to: training never reaches it.
const ITERATION: u32 = u32::MAX;

/// The values that some lanes gave.
pub(super) struct Taken {
    pub lanes: usize,
    /// By kept value: `[lanes, steps, dims...]`.
    pub values: Vec<Vec<f64>>,
    /// By state: `[lanes, dims...]`, after each lane's last step.
    pub states: Vec<Vec<f64>>,
}

impl Taken {
    pub(super) fn new(graph: &Graph, kept: &[Recorded], lanes: usize, steps: usize) -> Taken {
        let size = |dims: &[usize]| lanes * dims.iter().product::<usize>();
        Taken {
            lanes,
            values: kept
                .iter()
                .map(|k| vec![f64::NAN; steps * size(&k.dims)])
                .collect(),
            states: graph
                .states
                .iter()
                .map(|s| vec![0.0; size(&s.dims)])
                .collect(),
        }
    }
}

/// Lanes that go in step, from `first`.
pub(super) struct Group<'a> {
    pub graph: &'a Graph,
    pub kept: &'a [Recorded],
    pub given: &'a Given,
    /// The step of the inputs that is step 0 here.
    pub from: usize,
    pub steps: usize,
    pub first: usize,
    pub seed: u64,
    pub taken: Taken,
}

impl Group<'_> {
    fn ends(&self, lane: usize) -> usize {
        self.given.lengths[self.first + lane]
    }

    /// Keeps a value of the lanes that have this step.
    fn keep(&mut self, k: usize, step: usize, values: &[f64]) {
        let kept = &self.kept[k];
        let size: usize = kept.dims.iter().product();
        let width = values.len() / self.taken.lanes.max(1);
        let mut part = Vec::new();
        for lane in 0..self.taken.lanes {
            if self.from + step >= self.ends(lane) {
                continue;
            }
            let whole = &values[lane * width..(lane + 1) * width];
            part.clear();
            match &kept.probe {
                Some(probe) => probe.take(whole, &mut part),
                None => part.extend_from_slice(whole),
            }
            let to = (lane * self.steps + step) * size;
            self.taken.values[k][to..to + size].copy_from_slice(&part);
        }
    }

    /// The noise of a slot in all lanes.
    fn noise(&self, slot: usize, step: usize) -> Vec<f64> {
        let noise = &self.graph.noises[slot];
        let size: usize = noise.dims.iter().product();
        let mut all = vec![noise.draw.mean(); self.taken.lanes * size];
        if noise.kind == NoiseKind::Step {
            let columns = noise.dims.last().copied().unwrap_or(1);
            let key = Key::new(self.seed, Stream::Noise(slot as u32));
            let step = self.given.first_step + self.from + step;
            for (lane, values) in all.chunks_mut(size.max(1)).enumerate() {
                let place = key.at(ITERATION, step as u32, (self.first + lane) as u32);
                fill(&noise.draw, place, columns, values);
            }
        }
        all
    }

    /// The states of the lanes whose last step this is.
    fn leave(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        let now = self.from + step + 1;
        let last = step + 1 == self.steps;
        let mine: Vec<usize> = (0..self.taken.lanes)
            .filter(|lane| self.ends(*lane) == now || (last && self.ends(*lane) > now))
            .collect();
        if mine.is_empty() {
            return Ok(());
        }
        for slot in 0..self.graph.states.len() {
            let values = lanes.state(slot)?;
            let width = values.len() / self.taken.lanes.max(1);
            for lane in &mine {
                let here = lane * width..(lane + 1) * width;
                self.taken.states[slot][here.clone()].copy_from_slice(&values[here]);
            }
        }
        Ok(())
    }
}

impl Environment for Group<'_> {
    fn start(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn before(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        if step == 0 {
            // A lane that has ended keeps its states.
            for slot in 0..self.graph.states.len() {
                self.taken.states[slot] = lanes.state(slot)?;
            }
        }
        for slot in 0..self.graph.inputs.len() {
            let size: usize = self.graph.inputs[slot].dims.iter().product();
            let mut values = Vec::with_capacity(self.taken.lanes * size);
            for lane in 0..self.taken.lanes {
                let at = ((self.first + lane) * self.given.steps + self.from + step) * size;
                values.extend_from_slice(&self.given.inputs[slot][at..at + size]);
            }
            lanes.set_inputs(slot, &values);
            self.keep_all(
                step,
                &values,
                |place| matches!(place, Place::Input(k) if k == slot),
            );
        }
        for slot in 0..self.graph.noises.len() {
            let values = self.noise(slot, step);
            let size = values.len() / self.taken.lanes.max(1);
            for (lane, values) in values.chunks(size.max(1)).enumerate() {
                lanes.set_noise(lane, slot, values);
            }
            self.keep_all(
                step,
                &values,
                |place| matches!(place, Place::Noise(k) if k == slot),
            );
        }
        for k in 0..self.kept.len() {
            if let Place::Entering(slot) = self.kept[k].place {
                let values = lanes.state(slot)?;
                self.keep(k, step, &values);
            }
        }
        Ok(())
    }

    fn after(&mut self, step: usize, lanes: &mut dyn Running) -> Result<(), BackendError> {
        for k in 0..self.kept.len() {
            let values = match self.kept[k].place {
                Place::Output(slot) => lanes.outputs(slot)?,
                Place::Leaving(slot) => lanes.state(slot)?,
                Place::Input(_) | Place::Noise(_) | Place::Entering(_) => continue,
            };
            self.keep(k, step, &values);
        }
        self.leave(step, lanes)
    }

    fn finish(&mut self) {}

    fn reads(&self) -> Vec<usize> {
        let kept = self.kept.iter().filter_map(|kept| match kept.place {
            Place::Output(slot) => Some(slot),
            _ => None,
        });
        let mut slots: Vec<usize> = kept.collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    fn adjoint(&self, _lane: usize, _step: usize, _slot: usize) -> Option<&[f64]> {
        None
    }
}

impl Group<'_> {
    fn keep_all(&mut self, step: usize, values: &[f64], mine: impl Fn(Place) -> bool) {
        for k in 0..self.kept.len() {
            if mine(self.kept[k].place) {
                self.keep(k, step, values);
            }
        }
    }
}
