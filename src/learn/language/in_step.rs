//! A reader on any [`Executor`]: the unfused network, all lanes in step. Slow, and what the stages are checked against; on a
//! GPU it is how language models run.

use super::reader::Reader;
use super::runner::{Gradients, Passage};
use crate::engine::bptt::{least_memory_interval, zero_adjoint, Environment, Rollout, StepInputs};
use crate::engine::params::ParamStore;
use crate::engine::{BackendError, Executor};
use crate::ir::rng::{fill, Key, Stream};
use crate::ir::NoiseKind;

/// Lanes of a network with their states.
pub struct InStepReader<E: Executor> {
    executor: E,
    /// Those that entered the next chunk; nothing at the beginning of a text.
    states: Option<Vec<E::Tensor>>,
    /// Those that entered the last one.
    entered: Option<Vec<E::Tensor>>,
    rollout: Option<Rollout<E::Tensor>>,
    /// By slot, row after row.
    outputs: Vec<Vec<f32>>,
}

impl<E: Executor> InStepReader<E> {
    /// The lanes of an executor, at the beginning of a text.
    pub fn new(executor: E) -> InStepReader<E> {
        InStepReader {
            states: None,
            entered: None,
            rollout: None,
            outputs: vec![Vec::new(); executor.step_graph().outputs.len()],
            executor,
        }
    }
}

/// A chunk as an environment.
struct Words<'a> {
    passage: Passage<'a>,
    outputs: &'a mut [Vec<f32>],
}

impl<E: Executor> Environment<E> for Words<'_> {
    fn inputs(
        &mut self,
        executor: &E,
        step: usize,
        _: &mut [E::Tensor],
    ) -> Result<StepInputs<E::Tensor>, BackendError> {
        let Passage { words, steps, .. } = self.passage;
        let graph = executor.step_graph();
        let lanes = executor.lanes();
        // All inputs are the word, as a vector with a 1 in its place.
        let inputs = graph.inputs.iter().map(|slot| {
            let width: usize = slot.dims.iter().product();
            let mut hot = vec![0.0; lanes * width];
            for (lane, row) in hot.chunks_exact_mut(width).enumerate() {
                row[words[lane * steps + step] as usize] = 1.0;
            }
            executor.upload(&hot, &slot.dims)
        });
        let inputs = inputs.collect::<Result<_, _>>()?;
        let noises = graph.noises.iter().enumerate().map(|(k, slot)| {
            let size: usize = slot.dims.iter().product();
            let mut values = vec![0.0; lanes * size];
            let key = Key::new(self.passage.seed, Stream::Noise(k as u32));
            let columns = slot.dims.last().copied().unwrap_or(1);
            let (still, step) = match slot.kind {
                NoiseKind::Mask => (!self.passage.learn, 0),
                NoiseKind::Step => (false, step),
            };
            if still {
                values.fill(slot.draw.mean());
            } else if size > 0 {
                for (lane, out) in values.chunks_exact_mut(size).enumerate() {
                    let place = key.at(self.passage.iteration, step as u32, lane as u32);
                    fill(&slot.draw, place, columns, out);
                }
            }
            executor.upload(&values, &slot.dims)
        });
        let noises = noises.collect::<Result<_, _>>()?;
        Ok(StepInputs { inputs, noises })
    }

    fn outputs(
        &mut self,
        executor: &E,
        step: usize,
        outputs: &[E::Tensor],
        _: &mut [E::Tensor],
    ) -> Result<(), BackendError> {
        let (steps, lanes) = (self.passage.steps, executor.lanes());
        for (all, tensor) in self.outputs.iter_mut().zip(outputs) {
            let values = executor.download(tensor)?;
            let width = values.len() / lanes;
            all.resize(lanes * steps * width, 0.0);
            for (lane, values) in values.chunks_exact(width.max(1)).enumerate() {
                let row = lane * steps + step;
                for (to, x) in all[row * width..].iter_mut().zip(values) {
                    *to = *x as f32;
                }
            }
        }
        Ok(())
    }
}

impl<E: Executor + Send> Reader for InStepReader<E>
where
    E::Tensor: Send,
{
    fn lanes(&self) -> usize {
        self.executor.lanes()
    }

    fn restart(&mut self) {
        self.states = None;
    }

    fn forward(
        &mut self,
        parameters: &ParamStore,
        passage: Passage<'_>,
    ) -> Result<(), BackendError> {
        self.executor.set_parameters(&parameters.wide())?;
        self.entered.clone_from(&self.states);
        let initial = match self.states.take() {
            Some(states) => states,
            None => self.executor.initial_states()?,
        };
        let mut words = Words {
            passage,
            outputs: &mut self.outputs,
        };
        let interval = least_memory_interval(passage.steps);
        let rollout = Rollout::forward(
            &mut self.executor,
            initial,
            passage.steps,
            interval,
            &mut words,
        )?;
        self.states = Some(rollout.final_states().to_vec());
        self.rollout = passage.learn.then_some(rollout);
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
        let Some(rollout) = self.rollout.take() else {
            let nothing = "there is no chunk to go back through".to_owned();
            return Err(BackendError::Environment(nothing));
        };
        self.executor.clear_gradients();
        let zero = zero_adjoint(&self.executor)?;
        let slots = &self.executor.step_graph().outputs;
        let dims: Vec<Vec<usize>> = slots.iter().map(|slot| slot.dims.clone()).collect();
        rollout.backward(&mut self.executor, zero, |executor, step| {
            let lanes = executor.lanes();
            dims.iter()
                .enumerate()
                .map(|(slot, dims)| {
                    let width: usize = dims.iter().product();
                    let mut seeds = vec![0.0; lanes * width];
                    for (_, rows) in adjoints.iter().filter(|(of, _)| *of == slot) {
                        for (lane, to) in seeds.chunks_exact_mut(width.max(1)).enumerate() {
                            let row = lane * passage.steps + step;
                            for (to, x) in to.iter_mut().zip(&rows[row * width..]) {
                                *to += f64::from(*x);
                            }
                        }
                    }
                    executor.upload(&seeds, dims)
                })
                .collect()
        })?;
        let gradients = self.executor.gradients()?;
        let single = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
        Ok(gradients.into_iter().map(|g| g.map(single)).collect())
    }

    fn take_back(&mut self) {
        self.states.clone_from(&self.entered);
    }

    fn give_back(&mut self, _gradients: Vec<Vec<f32>>) {}

    fn states(&mut self) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        let count = self.executor.step_graph().states.len();
        let Some(states) = &self.states else {
            return Ok(vec![None; count]);
        };
        let values = states
            .iter()
            .map(|state| self.executor.download(state).map(Some));
        values.collect()
    }

    fn set_states(&mut self, states: &[Option<Vec<f64>>]) -> Result<(), BackendError> {
        self.states = None;
        if states.iter().all(Option::is_none) {
            return Ok(());
        }
        let slots = self.executor.step_graph().states.iter();
        let tensors = slots.zip(states).map(|(slot, values)| match values {
            Some(values) => self.executor.upload(values, &slot.dims),
            None => self.executor.fill(slot.init, &slot.dims),
        });
        self.states = Some(tensors.collect::<Result<_, _>>()?);
        Ok(())
    }
}
