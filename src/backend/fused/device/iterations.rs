//! Whole iterations on a device, one after another without the host: parameters, moments and gradients stay there, and what
//! each iteration gave is kept until the host asks.

use super::lanes::{DeviceLanes, DeviceRun};
use super::{DeviceSource, UpdateSizes};
use crate::device::{bytes_of, Device, DeviceError, Memory, RATES};

/// Iterations that can follow each other.
pub const MOST: usize = 64;
/// Numbers kept of an iteration.
const ENTRY: usize = 8;
/// Words that say what stopped them.
pub(super) const STATUS: usize = 3;

/// The step of the optimiser in an iteration.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// None is taken: gradients are computed and left.
    pub burning_in: bool,
    /// What the optimiser's device code is given.
    pub rates: [f32; RATES],
}

/// What an iteration gave, over all lanes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Iterated {
    /// Policy, value, concentration and entropy terms of the loss.
    pub parts: [f64; 4],
    /// Rewards of all lanes, added.
    pub reward: f64,
    /// Norm of the gradient before it is clipped.
    pub norm: f64,
}

/// What was not finite.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// The loss.
    Loss,
    /// The gradient.
    Gradient,
    /// Trained parameters after the step, which are these.
    Parameter(Vec<f32>),
}

/// Where iterations led.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Those that were done.
    pub done: Vec<Iterated>,
    /// Why there are no more of them.
    pub stop: Option<Stop>,
    /// Trained parameters, one after another.
    pub parameters: Vec<f32>,
    /// Moments of all of them, one kind after another.
    pub moments: Vec<f32>,
    /// States that outlive an episode, `[lanes, carried]`.
    pub carried: Vec<f32>,
}

/// What iterations start from.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Trained parameters, one after another.
    pub parameters: &'a [f32],
    /// The others.
    pub fixed: &'a [f32],
    /// Moments, one kind after another.
    pub moments: &'a [f32],
    /// States that outlive an episode, `[lanes, carried]`.
    pub carried: &'a [f32],
}

/// Memories of whole iterations. Those of what an iteration starts from and leads to take turns.
pub(super) struct Iterations {
    parameters: [Memory; 2],
    moments: [Memory; 2],
    carried_next: Memory,
    fixed: Memory,
    history: Memory,
    /// Only kernels use these.
    others: Vec<Memory>,
}

impl UpdateSizes {
    /// Bytes that whole iterations take, once and for every lane.
    pub(super) fn bytes(&self, source: &DeviceSource) -> (usize, usize) {
        let trained = 4 * self.trained * (2 + 2 * self.moments + 1);
        let once = trained
            + 4 * self.fixed
            + 8 * (self.squares(source) + self.blocks(source) + MOST * ENTRY);
        (once, 4 * source.sizes.carried)
    }

    /// Blocks that share the trained elements.
    fn blocks(&self, source: &DeviceSource) -> usize {
        self.trained.div_ceil(source.sizes.threads).max(1)
    }

    fn squares(&self, source: &DeviceSource) -> usize {
        (self.blocks(source) * source.sizes.threads).max(6 * 32)
    }
}

impl Iterations {
    pub(super) fn new(
        device: &mut dyn Device,
        source: &DeviceSource,
        plan: &UpdateSizes,
        lanes: usize,
    ) -> Result<Iterations, DeviceError> {
        let mut take = |bytes: usize| device.alloc(bytes.max(8));
        let (trained, moments) = (4 * plan.trained, 4 * plan.trained * plan.moments);
        let mut made = Iterations {
            parameters: [take(trained)?, take(trained)?],
            moments: [take(moments)?, take(moments)?],
            carried_next: take(4 * lanes * source.sizes.carried)?,
            fixed: take(4 * plan.fixed)?,
            history: take(8 * MOST * ENTRY)?,
            others: Vec::new(),
        };
        for bytes in [trained, 8 * plan.squares(source), 8 * plan.blocks(source)] {
            made.others.push(take(bytes)?);
        }
        Ok(made)
    }
}

impl DeviceLanes {
    /// Runs iterations, at most [`MOST`]: episodes from the random numbers of `run` and of the iterations after it, and the
    /// steps of the optimiser. Nothing is done where the source has no such kernels.
    ///
    /// # Errors
    /// Those of the device.
    pub fn iterate(
        &mut self,
        run: &DeviceRun,
        start: Start<'_>,
        steps: &[Step],
    ) -> Result<Option<Trained>, DeviceError> {
        let (Some(plan), Some(mut own)) = (self.source.update, self.iterations.take()) else {
            return Ok(None);
        };
        let steps = &steps[..steps.len().min(MOST)];
        let trained = self.iterations_of(&plan, &mut own, run, start, steps);
        self.iterations = Some(own);
        trained.map(Some)
    }

    fn iterations_of(
        &mut self,
        plan: &UpdateSizes,
        own: &mut Iterations,
        run: &DeviceRun,
        start: Start<'_>,
        steps: &[Step],
    ) -> Result<Trained, DeviceError> {
        let usual = self.args;
        self.set(run)?;
        self.device
            .write(&mut self.arrays.status, &[0; 4 * STATUS])?;
        for (memory, values) in [
            (&mut self.arrays.carried, start.carried),
            (&mut own.fixed, start.fixed),
        ] {
            self.device.write(memory, bytes_of(values))?;
        }
        for (memory, values) in [
            (&mut own.parameters[0], start.parameters),
            (&mut own.moments[0], start.moments),
        ] {
            self.device.write(memory, bytes_of(values))?;
        }
        let launched = steps.iter().enumerate().try_for_each(|(k, step)| {
            self.point(own, k);
            self.args.iteration = run.iteration.wrapping_add(k as u32) as i32;
            self.args.slot = k as i32;
            self.args.burning = i32::from(step.burning_in);
            self.args.rates = step.rates;
            self.iteration(plan)
        });
        self.args = usual;
        launched?;
        self.outcome(plan, own, steps.len())
    }

    /// Has the kernels start from what iteration `k` starts from.
    fn point(&mut self, own: &Iterations, k: usize) {
        let (now, next) = (k % 2, (k + 1) % 2);
        let carried = [self.arrays.carried.address, own.carried_next.address];
        let args = &mut self.args;
        args.carried = carried[now];
        args.carried_next = carried[next];
        args.parameters = own.parameters[now].address;
        args.parameters_next = own.parameters[next].address;
        args.moments = own.moments[now].address;
        args.moments_next = own.moments[next].address;
        args.fixed = own.fixed.address;
        args.history = own.history.address;
        let [gradients, squares, norms] = std::array::from_fn(|k| own.others[k].address);
        args.gradients = gradients;
        args.squares = squares;
        args.norms = norms;
    }

    fn iteration(&mut self, plan: &UpdateSizes) -> Result<(), DeviceError> {
        let sizes = self.source.sizes;
        let blocks = plan.blocks(&self.source);
        if sizes.computes[0] {
            self.launch("prologue", 1, 0)?;
        }
        let shared = sizes.widest.div_ceil(sizes.threads).max(1);
        self.launch("share", shared, 0)?;
        self.launch("forward", self.lanes, sizes.shared_forward)?;
        self.sums()?;
        if sizes.computes[1] {
            self.launch("epilogue", 1, 0)?;
        }
        self.launch("gradient", blocks, 0)?;
        self.launch("tally", 1, 0)?;
        self.launch("update", blocks, 0)
    }

    /// Asks what came of so many iterations.
    fn outcome(
        &mut self,
        plan: &UpdateSizes,
        own: &Iterations,
        steps: usize,
    ) -> Result<Trained, DeviceError> {
        let device = self.device.as_mut();
        let [in_slot, reason, of_parameter] = {
            let mut bytes = [0u8; 4 * STATUS];
            device.read(&self.arrays.status, &mut bytes)?;
            let words = bytes.as_chunks::<4>().0;
            std::array::from_fn(|k| i32::from_ne_bytes(words[k]) as usize)
        };
        let stopped = in_slot.max(of_parameter).checked_sub(1);
        let done = stopped.unwrap_or(steps);
        let mut read = |memory: &Memory, n: usize| -> Result<Vec<f32>, DeviceError> {
            let mut bytes = vec![0u8; 4 * n];
            device.read(memory, &mut bytes)?;
            let words = bytes.as_chunks::<4>().0.iter();
            Ok(words.map(|word| f32::from_ne_bytes(*word)).collect())
        };
        let now = done % 2;
        let carried = [&self.arrays.carried, &own.carried_next][now];
        let stop = match stopped {
            None => None,
            Some(_) if of_parameter > 0 => Some(Stop::Parameter(read(
                &own.parameters[1 - now],
                plan.trained,
            )?)),
            Some(_) if reason == 1 => Some(Stop::Loss),
            Some(_) => Some(Stop::Gradient),
        };
        let parameters = read(&own.parameters[now], plan.trained)?;
        let moments = read(&own.moments[now], plan.trained * plan.moments)?;
        let carried = read(carried, self.lanes * self.source.sizes.carried)?;
        let mut bytes = vec![0u8; 8 * ENTRY * done];
        device.read(&own.history, &mut bytes)?;
        let numbers = bytes.as_chunks::<8>().0.iter();
        let numbers: Vec<f64> = numbers.map(|n| f64::from_ne_bytes(*n)).collect();
        let done = numbers.chunks_exact(ENTRY).map(|entry| Iterated {
            parts: std::array::from_fn(|k| entry[k]),
            reward: entry[4],
            norm: entry[5],
        });
        Ok(Trained {
            done: done.collect(),
            stop,
            parameters,
            moments,
            carried,
        })
    }
}
