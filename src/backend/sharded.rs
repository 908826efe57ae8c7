//! Lanes split over threads: an executor made of executors, each for a few lanes.
//!
//! Lanes do not meet before their gradients are added up, so shards run on their own and the sums
//! go over shards in order. How lanes are split depends on the graph and the number of lanes and
//! never on the number of threads, so neither do the bits. Runs on the current rayon pool.

use super::{AdjointResults, BackendError, Executor, StepLeaves, StepResults};
use crate::ir::{Graph, Op};
use rayon::prelude::*;

/// Runs each shard of the lanes on an executor of its own.
pub struct Sharded<E: Executor> {
    shards: Vec<E>,
    lanes: usize,
}

impl<E: Executor> Sharded<E> {
    /// Splits `lanes` into shards of `lanes_per_shard`, the last with what is left; `make` gives an
    /// executor of `step` for a number of lanes. A step that itself sums over lanes is not split.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn new(
        step: &Graph,
        lanes: usize,
        lanes_per_shard: usize,
        make: impl Fn(usize) -> Result<E, BackendError>,
    ) -> Result<Sharded<E>, BackendError> {
        let most = if mixes_lanes(step) {
            lanes
        } else {
            lanes_per_shard
        }
        .max(1);
        let starts = (0..lanes.max(1)).step_by(most);
        let shards = starts.map(|start| make(most.min(lanes - start)));
        Ok(Sharded {
            shards: shards.collect::<Result<_, _>>()?,
            lanes,
        })
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }
}

fn mixes_lanes(step: &Graph) -> bool {
    step.ids()
        .any(|id| matches!(step.value(id).op, Op::LaneSum | Op::Outer))
}

/// The part of each tensor that belongs to a shard.
fn part<T: Clone>(tensors: &[Vec<T>], shard: usize) -> Vec<T> {
    tensors.iter().map(|tensor| tensor[shard].clone()).collect()
}

/// From the tensors of each shard to the shards of each tensor.
fn join<T>(shards: Vec<Vec<T>>) -> Vec<Vec<T>> {
    let count = shards.first().map_or(0, Vec::len);
    let mut joined: Vec<Vec<T>> = (0..count).map(|_| Vec::new()).collect();
    for shard in shards {
        for (tensor, part) in joined.iter_mut().zip(shard) {
            tensor.push(part);
        }
    }
    joined
}

impl<E> Executor for Sharded<E>
where
    E: Executor + Send,
    E::Tensor: Send + Sync,
{
    /// The part of each shard.
    type Tensor = Vec<E::Tensor>;

    fn step_graph(&self) -> &Graph {
        self.shards[0].step_graph()
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn upload(&self, values: &[f64], dims: &[usize]) -> Result<Self::Tensor, BackendError> {
        let elements: usize = dims.iter().product();
        BackendError::check_size(|| "tensor".to_owned(), self.lanes * elements, values.len())?;
        let mut rest = values;
        let mut parts = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let (part, after) = rest.split_at(shard.lanes() * elements);
            parts.push(shard.upload(part, dims)?);
            rest = after;
        }
        Ok(parts)
    }

    fn download(&self, tensor: &Self::Tensor) -> Result<Vec<f64>, BackendError> {
        let mut values = Vec::new();
        for (shard, part) in self.shards.iter().zip(tensor) {
            values.extend(shard.download(part)?);
        }
        Ok(values)
    }

    fn set_parameters(&mut self, values: &[Vec<f64>]) -> Result<(), BackendError> {
        self.shards
            .par_iter_mut()
            .try_for_each(|shard| shard.set_parameters(values))
    }

    fn step(
        &mut self,
        leaves: StepLeaves<'_, Self::Tensor>,
    ) -> Result<StepResults<Self::Tensor>, BackendError> {
        let shards = self.shards.par_iter_mut().enumerate();
        let results: Vec<StepResults<E::Tensor>> = shards
            .map(|(k, shard)| {
                shard.step(StepLeaves {
                    states: &part(leaves.states, k),
                    inputs: &part(leaves.inputs, k),
                    noises: &part(leaves.noises, k),
                })
            })
            .collect::<Result<_, _>>()?;
        let (outputs, next) = results.into_iter().map(|r| (r.outputs, r.next)).unzip();
        Ok(StepResults {
            outputs: join(outputs),
            next: join(next),
        })
    }

    fn adjoint(
        &mut self,
        leaves: StepLeaves<'_, Self::Tensor>,
        seeds: &[Self::Tensor],
        adjoint_in: &[Self::Tensor],
    ) -> Result<AdjointResults<Self::Tensor>, BackendError> {
        let shards = self.shards.par_iter_mut().enumerate();
        let results: Vec<AdjointResults<E::Tensor>> = shards
            .map(|(k, shard)| {
                let leaves = StepLeaves {
                    states: &part(leaves.states, k),
                    inputs: &part(leaves.inputs, k),
                    noises: &part(leaves.noises, k),
                };
                shard.adjoint(leaves, &part(seeds, k), &part(adjoint_in, k))
            })
            .collect::<Result<_, _>>()?;
        let (states, inputs) = results.into_iter().map(|r| (r.states, r.inputs)).unzip();
        Ok(AdjointResults {
            states: join(states),
            inputs: join(inputs),
        })
    }

    fn clear_gradients(&mut self) {
        for shard in &mut self.shards {
            shard.clear_gradients();
        }
    }

    fn gradients(&self) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        let (first, rest) = self
            .shards
            .split_first()
            .expect("there is a shard even for no lanes");
        let mut sums = first.gradients()?;
        for shard in rest {
            for (sum, part) in sums.iter_mut().zip(shard.gradients()?) {
                for (sum, part) in sum.iter_mut().flatten().zip(part.iter().flatten()) {
                    *sum += part;
                }
            }
        }
        Ok(sums)
    }
}
