//! Whole iterations on a device, one after another without the host. Parameters, moments and gradients stay
//! there, and the results of each iteration are stored until the host reads them.

use crate::machine::c::UpdateSizes;
use crate::machine::device::{
    bytes_of, bytes_of_mut, Args, Device, DeviceError, Launch, Memory, RATES,
};

/// The largest number of consecutive iterations.
pub const MOST: usize = 64;
/// The number of values stored per iteration.
const ENTRY: usize = 8;
/// The number of words that state the reason of a stop.
pub const STATUS: usize = 3;

/// The optimizer step of an iteration.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// True if no step is taken: gradients are computed and discarded.
    pub burning_in: bool,
    /// The scalars passed to the optimizer's device code.
    pub rates: [f32; RATES],
    /// The weight of the new parameters in the running mean of the parameters; 0 without a mean.
    pub average: f32,
}

/// The results of an iteration, over all lanes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Iterated {
    /// The terms of the loss. Episodes: policy, value, concentration and entropy; texts: words and penalties.
    pub parts: [f64; 4],
    /// The sum of rewards over all lanes.
    pub reward: f64,
    /// The norm of the gradient before clipping.
    pub norm: f64,
}

/// The value that was not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The loss.
    Loss,
    /// The gradient.
    Gradient,
    /// A trained parameter after the step, by its number among all elements of all parameters.
    Parameter(usize),
}

/// The results of several iterations.
#[derive(Clone, Debug, Default)]
pub struct Trained {
    /// The finished iterations.
    pub done: Vec<Iterated>,
    /// The reason why there are no more.
    pub stop: Option<Stop>,
}

/// The arrays that iterations start from and update, one after another on the device.
#[derive(Debug, Default)]
pub struct HostArrays<'a> {
    /// The trained parameters.
    pub parameters: Vec<&'a mut [f32]>,
    /// The other parameters.
    pub fixed: Vec<&'a [f32]>,
    /// The moments, one kind after another.
    pub moments: Vec<&'a mut [f32]>,
    /// The means of the trained parameters; empty without means.
    pub averages: Vec<&'a mut [f32]>,
}

/// The memories of whole iterations. The memories for old and new values alternate.
pub struct Iterations {
    sizes: UpdateSizes,
    parameters: [Memory; 2],
    moments: [Memory; 2],
    averages: Memory,
    fixed: Memory,
    gradients: Memory,
    history: Memory,
    squares: Memory,
    norms: Memory,
}

impl UpdateSizes {
    /// The bytes that whole iterations take, including the means of parameters if wanted.
    pub fn bytes(&self, averages: bool) -> usize {
        let copies = 2 + 2 * self.moments + 1 + usize::from(averages);
        4 * (self.trained * copies + self.fixed)
            + 8 * (self.squares() + self.gradient_blocks() + MOST * ENTRY)
    }

    fn squares(&self) -> usize {
        (self.gradient_blocks() * self.threads).max(6 * 32)
    }
}

impl Iterations {
    /// Allocates the memory.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn new(
        device: &mut dyn Device,
        sizes: UpdateSizes,
        averages: bool,
    ) -> Result<Iterations, DeviceError> {
        let mut take = |bytes: usize| device.alloc(bytes.max(8));
        let (trained, moments) = (4 * sizes.trained, 4 * sizes.trained * sizes.moments);
        Ok(Iterations {
            parameters: [take(trained)?, take(trained)?],
            moments: [take(moments)?, take(moments)?],
            averages: take(if averages { trained } else { 0 })?,
            fixed: take(4 * sizes.fixed)?,
            gradients: take(trained)?,
            history: take(8 * MOST * ENTRY)?,
            squares: take(8 * sizes.squares())?,
            norms: take(8 * sizes.gradient_blocks())?,
            sizes,
        })
    }

    /// The trained parameters that the first iteration starts from, and the gradients of the last one.
    pub fn first(&mut self) -> [&mut Memory; 3] {
        let [first, _] = &mut self.parameters;
        [first, &mut self.fixed, &mut self.gradients]
    }

    /// Copies the starting values to the device.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn start(
        &mut self,
        device: &mut dyn Device,
        status: &mut Memory,
        host: &HostArrays<'_>,
    ) -> Result<(), DeviceError> {
        device.write(status, &[0; 4 * STATUS])?;
        put(device, &mut self.fixed, host.fixed.iter().copied())?;
        let [parameters, _] = &mut self.parameters;
        let [moments, _] = &mut self.moments;
        for (memory, arrays) in [
            (parameters, &host.parameters),
            (moments, &host.moments),
            (&mut self.averages, &host.averages),
        ] {
            put(device, memory, arrays.iter().map(|array| &**array))?;
        }
        Ok(())
    }

    /// Points the kernels to the starting values of iteration `k`.
    pub fn point(&self, args: &mut Args, k: usize, step: &Step) {
        let (now, next) = (k % 2, (k + 1) % 2);
        args.parameters = self.parameters[now].address;
        args.parameters_next = self.parameters[next].address;
        args.moments = self.moments[now].address;
        args.moments_next = self.moments[next].address;
        args.averages = self.averages.address;
        args.fixed = self.fixed.address;
        args.gradients = self.gradients.address;
        args.history = self.history.address;
        args.squares = self.squares.address;
        args.norms = self.norms.address;
        args.slot = k as i32;
        args.burning = i32::from(step.burning_in);
        args.rates = step.rates;
        args.average = step.average;
    }

    /// Makes the optimizer step of an iteration whose gradient is known.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn step(&self, device: &mut dyn Device, args: &Args) -> Result<(), DeviceError> {
        let mut launch = |kernel: &str, lanes: usize| {
            device.launch(Launch::apart(kernel, lanes, self.sizes.threads), args)
        };
        launch("gradient", self.sizes.gradient_blocks())?;
        launch("tally", 1)?;
        launch("update", self.sizes.blocks())?;
        if args.average > 0.0 {
            launch("average", self.sizes.blocks())?;
        }
        Ok(())
    }

    /// Reads the results of `steps` iterations.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn outcome(
        &self,
        device: &mut dyn Device,
        status: &Memory,
        steps: usize,
        host: &mut HostArrays<'_>,
    ) -> Result<Trained, DeviceError> {
        let [in_slot, reason, of_parameter] = {
            let mut bytes = [0u8; 4 * STATUS];
            device.read(status, &mut bytes)?;
            let words = bytes.as_chunks::<4>().0;
            std::array::from_fn(|k| i32::from_ne_bytes(words[k]) as usize)
        };
        let stopped = in_slot.max(of_parameter).checked_sub(1);
        let done = stopped.unwrap_or(steps);
        let now = done % 2;
        let stop = match stopped {
            None => None,
            Some(_) if of_parameter > 0 => {
                let mut values = vec![0.0f32; self.sizes.trained];
                device.read(&self.parameters[1 - now], bytes_of_mut(&mut values))?;
                let bad = values.iter().position(|x| !x.is_finite());
                Some(Stop::Parameter(bad.unwrap_or(0)))
            }
            Some(_) if reason == 1 => Some(Stop::Loss),
            Some(_) => Some(Stop::Gradient),
        };
        for (memory, arrays) in [
            (&self.parameters[now], &mut host.parameters),
            (&self.moments[now], &mut host.moments),
            (&self.averages, &mut host.averages),
        ] {
            let mut at = 0;
            for array in arrays {
                device.read_at(memory, 4 * at, bytes_of_mut(array))?;
                at += array.len();
            }
        }
        let mut bytes = vec![0u8; 8 * ENTRY * done];
        device.read(&self.history, &mut bytes)?;
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
        })
    }
}

/// Copies arrays into a memory, one after another.
fn put<'a>(
    device: &mut dyn Device,
    memory: &mut Memory,
    arrays: impl Iterator<Item = &'a [f32]>,
) -> Result<(), DeviceError> {
    let mut at = 0;
    for array in arrays {
        device.write_at(memory, 4 * at, bytes_of(array))?;
        at += array.len();
    }
    Ok(())
}
