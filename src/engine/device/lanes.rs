//! All lanes of a program on a device: memories, launches and results.

use super::iterations::{Iterations, STATUS};
use crate::machine::c::{ClusterSizes, DeviceSource, Product};
use crate::machine::device::{bytes_of, Args, Device, DeviceError, Launch, MatrixProduct, Memory};
use crate::machine::lane::Shared;
use crate::program::{Program, Verified};

/// The random numbers and options of an episode.
#[derive(Clone, Debug)]
pub struct DeviceRun {
    /// The keys of the random numbers: of the task, of actions, then of each noise slot.
    pub keys: Vec<[u32; 2]>,
    /// The iteration.
    pub iteration: u32,
    /// True if gradients are computed.
    pub learn: bool,
    /// True if the most probable action is taken.
    pub greedy: bool,
    /// The factor of the loss.
    pub scale: f64,
    /// The first step, and how many; at most as many as the kernels were made for.
    pub steps: [usize; 2],
}

/// The results of the loss on the device.
#[derive(Clone, Debug, Default)]
pub struct DeviceLoss {
    /// The policy, value, concentration and entropy terms and the reward of each lane's episode.
    pub lanes: Vec<[f64; 5]>,
    /// The rewards per step, summed over lanes.
    pub step_rewards: Vec<f64>,
}

/// The lanes of a program on a device.
pub struct DeviceLanes {
    pub(super) device: Box<dyn Device>,
    pub(super) source: DeviceSource,
    pub(super) lanes: usize,
    pub(super) args: Args,
    pub(super) arrays: Arrays,
    /// The memory for the next values of states that outlive an iteration; it alternates with their current
    /// array.
    pub(super) carried_next: Option<Memory>,
    /// The memories of whole iterations, if the device runs them.
    pub(super) iterations: Option<Iterations>,
}

/// The memories by content.
pub(super) struct Arrays {
    pub(super) status: Memory,
    shared: Memory,
    inputs: Memory,
    outputs: Memory,
    seeds: Memory,
    pub(super) carried: Memory,
    losses: Memory,
    total: Memory,
    step_rewards: Memory,
    products: Memory,
    keys: Memory,
    /// The memories that only kernels use.
    _others: Vec<Memory>,
}

/// The bytes of all lanes: once, and per lane.
pub fn bytes(source: &DeviceSource, shared: usize) -> (u64, u64) {
    let s = &source.sizes;
    let products: usize = source.products.iter().map(|p| p.rows * p.cols).sum();
    // Clusters store the traces of all lanes, or of a wave of them.
    let (waves, kept) = match s.cluster {
        Some(c) if c.waves => (c.wave * c.traces * s.steps, 0),
        Some(c) => (0, c.traces * s.steps),
        None => (0, 0),
    };
    let once = 4 * (shared + products + s.values + waves) + 8 * (s.sums + s.steps);
    let floats = s.arena
        + s.record * s.steps
        + (s.checkpoints + s.interval) * s.traces
        + kept
        + s.sums
        + s.outers * s.steps
        + (s.inputs + 2 * s.outputs) * s.steps
        + s.carried
        + s.task
        + 2 * s.steps;
    let doubles = s.steps + 4 * s.threads + 5;
    let update = source.update.as_ref();
    let of_iterations = update.map_or(0, |sizes| sizes.bytes(false));
    // The states alternate between two arrays.
    let of_lane = update.map_or(0, |_| 4 * s.carried);
    (
        (once + of_iterations) as u64,
        (4 * floats + 8 * doubles + of_lane) as u64,
    )
}

impl DeviceLanes {
    /// Compiles the source and allocates all memory.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn new(
        mut device: Box<dyn Device>,
        source: DeviceSource,
        lanes: usize,
        shared: usize,
        keys: usize,
    ) -> Result<DeviceLanes, DeviceError> {
        device.load(&source.text)?;
        let s = source.sizes;
        let products: usize = source.products.iter().map(|p| p.rows * p.cols).sum();
        let floats = |n: usize| n.saturating_mul(4);
        let doubles = |n: usize| n.saturating_mul(8);
        let mut take = |bytes: usize| device.alloc(bytes.max(8));
        let arrays = Arrays {
            status: take(floats(STATUS))?,
            shared: take(floats(shared))?,
            inputs: take(floats(lanes * s.steps * s.inputs))?,
            outputs: take(floats(lanes * s.steps * s.outputs))?,
            seeds: take(floats(lanes * s.steps * s.outputs))?,
            carried: take(floats(lanes * s.carried))?,
            losses: take(doubles(lanes * 5))?,
            total: take(doubles(s.sums))?,
            step_rewards: take(doubles(s.steps))?,
            products: take(floats(products))?,
            keys: take(floats(2 * keys))?,
            _others: Vec::new(),
        };
        let (checkpoints, segment) = match s.cluster {
            Some(cluster) => (cluster.wave * s.steps * cluster.traces, 0),
            None => (
                lanes * s.checkpoints * s.traces,
                lanes * s.interval * s.traces,
            ),
        };
        let others = [
            floats(lanes * s.arena),
            floats(lanes * s.steps * s.record),
            floats(checkpoints),
            floats(segment),
            floats(lanes * s.sums),
            floats(lanes * s.steps * s.outers),
            floats(lanes * s.task),
            floats(lanes * s.steps),
            floats(lanes * s.steps),
            floats(s.values),
            doubles(lanes * s.steps),
            doubles(lanes * s.threads * 4),
        ];
        let others = others
            .into_iter()
            .map(take)
            .collect::<Result<Vec<_>, _>>()?;
        let [arena, records, checkpoints, segment, sums, outers, task, actions, rewards, values, returns, parts] =
            std::array::from_fn(|k| others[k].address);
        let args = Args {
            shared: arrays.shared.address,
            arena,
            records,
            checkpoints,
            segment,
            sums,
            outers,
            inputs: arrays.inputs.address,
            outputs: arrays.outputs.address,
            seeds: arrays.seeds.address,
            carried: arrays.carried.address,
            carried_next: arrays.carried.address,
            status: arrays.status.address,
            products: arrays.products.address,
            task,
            actions,
            rewards,
            values,
            returns,
            parts,
            losses: arrays.losses.address,
            total: arrays.total.address,
            step_rewards: arrays.step_rewards.address,
            keys: arrays.keys.address,
            lanes: lanes as i32,
            steps: s.steps as i32,
            ..Args::default()
        };
        let iterations = match source.update {
            Some(sizes) => Some(Iterations::new(device.as_mut(), sizes, false)?),
            None => None,
        };
        let mut all = DeviceLanes {
            device,
            source,
            lanes,
            args,
            carried_next: None,
            iterations,
            arrays: Arrays {
                _others: others,
                ..arrays
            },
        };
        if all.iterations.is_some() {
            all.take_turns()?;
        }
        Ok(all)
    }

    /// The source.
    pub fn source(&self) -> &DeviceSource {
        &self.source
    }

    /// The device.
    pub fn device(&self) -> &dyn Device {
        self.device.as_ref()
    }

    /// Starts or stops measuring the times of kernels.
    pub fn measure_kernels(&mut self, on: bool) {
        self.device.measure_kernels(on);
    }

    /// Runs episodes forward. `carried` are the states that outlive an episode, `[lanes, carried]` or empty.
    /// `inputs`, `[lanes, steps, inputs]`, are those that the host provides.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn forward(
        &mut self,
        shared: &Shared<f32>,
        run: &DeviceRun,
        carried: &[f32],
        inputs: &[f32],
    ) -> Result<(), DeviceError> {
        let Arrays {
            status,
            shared: parameters,
            inputs: given,
            carried: states,
            ..
        } = &mut self.arrays;
        let device = &mut self.device;
        device.write(status, &[0; 4 * STATUS])?;
        device.write(parameters, bytes_of(&shared.values))?;
        device.write(states, bytes_of(carried))?;
        device.write(given, bytes_of(inputs))?;
        self.set(run)?;
        self.ahead()
    }

    /// Runs the forward pass of all lanes, with the loss if the device computes it.
    pub(super) fn ahead(&mut self) -> Result<(), DeviceError> {
        let sizes = self.source.sizes;
        let Some(cluster) = sizes.cluster else {
            return self.launch("forward", self.lanes, sizes.shared_forward);
        };
        for first in (0..self.lanes).step_by(cluster.wave) {
            self.wave_ahead(cluster, first)?;
        }
        Ok(())
    }

    fn wave_ahead(&mut self, cluster: ClusterSizes, first: usize) -> Result<(), DeviceError> {
        let count = cluster.wave.min(self.lanes - first);
        self.args.wave = first as i32;
        self.launch("forward", count, cluster.shared_bytes[0])?;
        if self.source.update.is_some() {
            self.launch("objective_of", count, 0)?;
        }
        Ok(())
    }

    /// Runs the backward pass of all lanes. If the traces of all of them are not stored at once, the forward pass of a
    /// wave of lanes runs again before.
    fn back(&mut self) -> Result<(), DeviceError> {
        let sizes = self.source.sizes;
        let Some(cluster) = sizes.cluster else {
            return self.launch("backward", self.lanes, sizes.shared_backward);
        };
        for first in (0..self.lanes).step_by(cluster.wave) {
            if cluster.waves {
                self.wave_ahead(cluster, first)?;
            }
            let count = cluster.wave.min(self.lanes - first);
            self.args.wave = first as i32;
            self.launch("backward", count, cluster.shared_bytes[1])?;
        }
        Ok(())
    }

    /// Runs episodes and their gradients: the backward pass of each wave of lanes after its forward pass.
    pub(super) fn ahead_and_back(&mut self) -> Result<usize, DeviceError> {
        let cluster = self.source.sizes.cluster;
        if cluster.is_none_or(|cluster| !cluster.waves) {
            self.ahead()?;
        }
        self.sums()
    }

    /// Passes the settings of `run` to the kernels.
    pub(super) fn set(&mut self, run: &DeviceRun) -> Result<(), DeviceError> {
        let words: Vec<u8> = run
            .keys
            .iter()
            .flatten()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        self.device.write(&mut self.arrays.keys, &words)?;
        self.args.iteration = run.iteration as i32;
        self.args.learn = i32::from(run.learn);
        self.args.greedy = i32::from(run.greedy);
        self.args.scale = run.scale;
        let [first, steps] = run.steps;
        (self.args.first, self.args.steps) = (first as i32, steps as i32);
        Ok(())
    }

    /// Runs the backward pass, with the adjoints of the stored outputs, `[lanes, steps, outputs]`, unless the
    /// device computed them. Returns the program's gradient sums over all lanes.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn backward(
        &mut self,
        program: &Verified<Program>,
        seeds: Option<&[f32]>,
    ) -> Result<Vec<f64>, DeviceError> {
        if let Some(seeds) = seeds {
            self.device.write(&mut self.arrays.seeds, bytes_of(seeds))?;
        }
        let to = self.sums()?;
        let sizes = self.source.sizes;
        let mut sums = vec![0.0f64; program.sums_size];
        let own: Vec<f64> = self.doubles(|arrays| &arrays.total, sizes.sums)?;
        for (at, from, n) in &self.source.sums {
            sums[*at..at + n].copy_from_slice(&own[*from..from + n]);
        }
        let products = self.floats(|arrays| &arrays.products, to)?;
        let mut from = 0;
        for product in &self.source.products {
            let n = product.rows * product.cols;
            let to = &mut sums[product.sum..product.sum + n];
            for (to, x) in to.iter_mut().zip(&products[from..from + n]) {
                *to += f64::from(*x);
            }
            from += n;
        }
        Ok(sums)
    }

    /// Runs the backward pass and sums the gradients of all lanes; returns the number of elements in all
    /// products.
    pub(super) fn sums(&mut self) -> Result<usize, DeviceError> {
        self.back()?;
        self.reduce()?;
        let vectors = self.lanes * self.args.steps as usize;
        let mut to = 0;
        for product in &self.source.products {
            let Product {
                rows, cols, a, b, ..
            } = *product;
            self.device.product(MatrixProduct {
                a: self.args.outers + (vectors * a * 4) as u64,
                b: self.args.outers + (vectors * b * 4) as u64,
                out: self.arrays.products.address + (to * 4) as u64,
                sizes: [rows, vectors, cols],
                a_turned: true,
                b_turned: false,
            })?;
            to += rows * cols;
        }
        Ok(to)
    }

    /// The loss and rewards of the last episodes, if the device computes them.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn loss(&mut self, learn: bool) -> Result<DeviceLoss, DeviceError> {
        if !learn {
            self.reduce()?;
        }
        let lanes = self.doubles(|arrays| &arrays.losses, self.lanes * 5)?;
        let lanes = lanes.chunks_exact(5);
        Ok(DeviceLoss {
            lanes: lanes.map(|lane| std::array::from_fn(|k| lane[k])).collect(),
            step_rewards: self.doubles(|arrays| &arrays.step_rewards, self.source.sizes.steps)?,
        })
    }

    /// The stored outputs, `[lanes, steps, outputs]`.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn outputs(&mut self) -> Result<Vec<f32>, DeviceError> {
        let sizes = self.source.sizes;
        self.floats(
            |arrays| &arrays.outputs,
            self.lanes * self.args.steps as usize * sizes.outputs,
        )
    }

    fn reduce(&mut self) -> Result<(), DeviceError> {
        let sizes = self.source.sizes;
        let elements = sizes.sums.max(sizes.steps);
        self.launch("reduce", elements.div_ceil(sizes.threads), 0)
    }

    pub(super) fn launch(
        &mut self,
        kernel: &str,
        blocks: usize,
        shared_bytes: usize,
    ) -> Result<(), DeviceError> {
        let sizes = self.source.sizes;
        let of_cluster = sizes.cluster.and_then(|cluster| match kernel {
            "forward" => Some((cluster.threads[0], cluster.blocks)),
            "backward" => Some((cluster.threads[1], cluster.blocks)),
            _ => None,
        });
        let (threads, team) = of_cluster.unwrap_or((sizes.threads, sizes.team));
        let launch = Launch {
            kernel,
            lanes: blocks,
            threads,
            team,
            // The hardware starts the blocks of a cluster together.
            waits: of_cluster.is_none()
                && matches!(kernel, "forward" | "backward" | "prologue" | "epilogue"),
            shared_bytes,
        };
        self.device.launch(launch, &self.args)
    }

    pub(super) fn floats(
        &mut self,
        of: impl Fn(&Arrays) -> &Memory,
        n: usize,
    ) -> Result<Vec<f32>, DeviceError> {
        let mut bytes = vec![0u8; n * 4];
        self.device.read(of(&self.arrays), &mut bytes)?;
        let words = bytes.as_chunks::<4>().0.iter();
        Ok(words.map(|word| f32::from_ne_bytes(*word)).collect())
    }

    fn doubles(
        &mut self,
        of: impl Fn(&Arrays) -> &Memory,
        n: usize,
    ) -> Result<Vec<f64>, DeviceError> {
        let mut bytes = vec![0u8; n * 8];
        self.device.read(of(&self.arrays), &mut bytes)?;
        let words = bytes.as_chunks::<8>().0.iter();
        Ok(words.map(|word| f64::from_ne_bytes(*word)).collect())
    }
}
