//! Backpropagation through time over any [`Executor`].
//!
//! Of the states, only those that enter every `interval`-th step are kept; going back, the steps of
//! a segment are run again from its checkpoint. With `interval` near √T the memory is that of 2√T
//! sets of states, plus the inputs and noise draws of each step.

use super::{BackendError, Executor, StepLeaves};

/// The inputs and noise draws of one step, in the order of the slots.
#[derive(Clone, Debug)]
pub struct StepInputs<T> {
    /// Inputs.
    pub inputs: Vec<T>,
    /// Noise draws.
    pub noises: Vec<T>,
}

/// The world of a network: it gives inputs step by step and sees the outputs of a step before it
/// gives the inputs of the next.
pub trait Environment<E: Executor> {
    /// The inputs of step `step`, which `states` enter; they may be changed.
    ///
    /// # Errors
    /// [`BackendError::Environment`], or an error of the executor.
    fn inputs(
        &mut self,
        executor: &E,
        step: usize,
        states: &mut [E::Tensor],
    ) -> Result<StepInputs<E::Tensor>, BackendError>;

    /// Takes the outputs of step `step`, which `states` leave; they may be changed.
    ///
    /// # Errors
    /// [`BackendError::Environment`], or an error of the executor.
    fn outputs(
        &mut self,
        executor: &E,
        step: usize,
        outputs: &[E::Tensor],
        states: &mut [E::Tensor],
    ) -> Result<(), BackendError>;

    /// Returns true if nothing that later steps give would be used: then they are not run.
    fn is_over(&self) -> bool {
        false
    }
}

/// Inputs known beforehand; the outputs of each step are kept.
#[derive(Clone, Debug)]
pub struct Recorded<T> {
    /// One entry per step.
    pub inputs: Vec<StepInputs<T>>,
    /// Filled step by step.
    pub outputs: Vec<Vec<T>>,
}

impl<T> Recorded<T> {
    /// For the given inputs.
    pub fn new(inputs: Vec<StepInputs<T>>) -> Recorded<T> {
        Recorded {
            inputs,
            outputs: Vec::new(),
        }
    }
}

impl<E: Executor> Environment<E> for Recorded<E::Tensor> {
    fn inputs(
        &mut self,
        _: &E,
        step: usize,
        _: &mut [E::Tensor],
    ) -> Result<StepInputs<E::Tensor>, BackendError> {
        self.inputs
            .get(step)
            .cloned()
            .ok_or_else(|| BackendError::Environment(format!("no inputs for step {step}")))
    }

    fn outputs(
        &mut self,
        _: &E,
        _: usize,
        outputs: &[E::Tensor],
        _: &mut [E::Tensor],
    ) -> Result<(), BackendError> {
        self.outputs.push(outputs.to_vec());
        Ok(())
    }
}

/// The interval of checkpoints that needs least memory, `⌈√steps⌉`.
pub fn least_memory_interval(steps: usize) -> usize {
    let root = steps.isqrt();
    (root + usize::from(root * root < steps)).max(1)
}

/// A forward run, with what is needed to go back through it.
#[derive(Clone, Debug)]
pub struct Rollout<T> {
    steps: usize,
    interval: usize,
    /// The states that entered step `k * interval`.
    checkpoints: Vec<Vec<T>>,
    /// The states that entered each step of the last segment.
    segment: Vec<Vec<T>>,
    inputs: Vec<StepInputs<T>>,
    last: Vec<T>,
}

/// The adjoints of what entered a run.
#[derive(Clone, Debug)]
pub struct RolloutAdjoints<T> {
    /// Of the states that entered the first step.
    pub states: Vec<T>,
    /// Of the inputs of each step; empty lists unless the adjoint graph has them.
    pub inputs: Vec<Vec<T>>,
}

impl<T: Clone> Rollout<T> {
    /// Runs `steps` steps from `initial`. The bits of everything that follows do not depend on
    /// `interval`; 0 counts as 1.
    ///
    /// # Errors
    /// Those of the executor and the environment.
    pub fn forward<E>(
        executor: &mut E,
        initial: Vec<T>,
        steps: usize,
        interval: usize,
        environment: &mut impl Environment<E>,
    ) -> Result<Rollout<T>, BackendError>
    where
        E: Executor<Tensor = T>,
    {
        let interval = interval.max(1);
        let mut rollout = Rollout {
            steps,
            interval,
            checkpoints: Vec::with_capacity(steps.div_ceil(interval)),
            segment: Vec::with_capacity(interval.min(steps)),
            inputs: Vec::with_capacity(steps),
            last: initial,
        };
        for step in 0..steps {
            let inputs = environment.inputs(executor, step, &mut rollout.last)?;
            if step % interval == 0 {
                rollout.checkpoints.push(rollout.last.clone());
                rollout.segment.clear();
            }
            let results = executor.step(StepLeaves {
                states: &rollout.last,
                inputs: &inputs.inputs,
                noises: &inputs.noises,
            })?;
            let entered = std::mem::replace(&mut rollout.last, results.next);
            environment.outputs(executor, step, &results.outputs, &mut rollout.last)?;
            rollout.segment.push(entered);
            rollout.inputs.push(inputs);
            if environment.is_over() {
                rollout.steps = step + 1;
                break;
            }
        }
        Ok(rollout)
    }

    /// The states that left the last step.
    pub fn final_states(&self) -> &[T] {
        &self.last
    }

    /// The number of sets of states that are kept.
    pub fn kept_states(&self) -> usize {
        self.checkpoints.len() + self.segment.len() + 1
    }

    /// Goes back through the run. `seeds` gives the adjoints of the outputs of a step, asked for
    /// from the last step to the first; `final_adjoint` is the adjoint of [`Rollout::final_states`].
    /// Gradients of parameters add up in the executor.
    ///
    /// # Errors
    /// Those of the executor and of `seeds`.
    pub fn backward<E>(
        mut self,
        executor: &mut E,
        final_adjoint: Vec<T>,
        mut seeds: impl FnMut(&E, usize) -> Result<Vec<T>, BackendError>,
    ) -> Result<RolloutAdjoints<T>, BackendError>
    where
        E: Executor<Tensor = T>,
    {
        let mut states = final_adjoint;
        let mut inputs = Vec::with_capacity(self.steps);
        let mut end = self.steps;
        while let Some(checkpoint) = self.checkpoints.pop() {
            let start = self.checkpoints.len() * self.interval;
            if self.segment.is_empty() {
                self.replay(executor, checkpoint, start, end)?;
            }
            for step in (start..end).rev() {
                let entered = self
                    .segment
                    .pop()
                    .expect("a segment has the states of each of its steps");
                let given = &self.inputs[step];
                let leaves = StepLeaves {
                    states: &entered,
                    inputs: &given.inputs,
                    noises: &given.noises,
                };
                let adjoints = executor.adjoint(leaves, &seeds(executor, step)?, &states)?;
                states = adjoints.states;
                inputs.push(adjoints.inputs);
            }
            end = start;
        }
        inputs.reverse();
        Ok(RolloutAdjoints { states, inputs })
    }

    /// The states that entered steps `start..end`, once more.
    fn replay<E>(
        &mut self,
        executor: &mut E,
        checkpoint: Vec<T>,
        start: usize,
        end: usize,
    ) -> Result<(), BackendError>
    where
        E: Executor<Tensor = T>,
    {
        self.segment.push(checkpoint);
        for step in start..end - 1 {
            let given = &self.inputs[step];
            let results = executor.step(StepLeaves {
                states: &self.segment[step - start],
                inputs: &given.inputs,
                noises: &given.noises,
            })?;
            self.segment.push(results.next);
        }
        Ok(())
    }
}

/// Adjoints of 0 for all states: nothing is asked of the states a run ends with.
///
/// # Errors
/// Those of the executor.
pub fn zero_adjoint<E: Executor>(executor: &E) -> Result<Vec<E::Tensor>, BackendError> {
    let slots = executor.step_graph().states.iter();
    slots.map(|slot| executor.fill(0.0, &slot.dims)).collect()
}
