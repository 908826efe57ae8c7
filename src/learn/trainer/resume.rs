//! Checkpoints of a trainer: all that is needed to go on to the same bits.

use super::super::checkpoint::{Checkpoint, CheckpointError, Header, Tensor};
use super::super::optim::Optimizer;
use super::{TrainError, Trainer};
use crate::engine::episode::States;

impl Trainer {
    /// All that is needed to go on from here to the same bits.
    ///
    /// # Errors
    /// Where a device cannot be read.
    pub fn checkpoint(&self, spec: &str, spec_hash: &str) -> Result<Checkpoint, TrainError> {
        let header = Header {
            spec: spec.to_owned(),
            spec_hash: spec_hash.to_owned(),
            seed: self.seed,
            iteration: self.iteration,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            optimizer: None,
            pending: None,
            standing: None,
            averaging: None,
            rollbacks: self.rollbacks,
        };
        let optimizer: Option<&dyn Optimizer> = Some(self.optimizer.as_ref());
        let mut checkpoint = Checkpoint::capture(header, &self.parameters, optimizer);
        self.average.save(&mut checkpoint, &self.parameters);
        let read = self.carried_text()?;
        for slot in &self.carried {
            let states = match self.language {
                Some(_) => &read,
                None => &self.states,
            };
            let Some(Some(values)) = states.get(slot.slot) else {
                continue;
            };
            let values: Vec<f32> = values.iter().map(|x| *x as f32).collect();
            if !values.is_empty() {
                let mut dims = vec![self.batch];
                dims.extend(&slot.dims);
                checkpoint
                    .states
                    .insert(slot.path.clone(), Tensor { dims, values });
            }
        }
        Ok(checkpoint)
    }

    /// Goes to where a checkpoint was taken.
    ///
    /// # Errors
    /// Where the checkpoint is not of this spec.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        checkpoint.restore_parameters(&mut self.parameters)?;
        checkpoint.restore_optimizer(&self.parameters, self.optimizer.as_mut())?;
        self.average.restore(checkpoint, &self.parameters)?;
        self.restore_carried(checkpoint)?;
        self.iteration = checkpoint.header.iteration;
        self.rollbacks = checkpoint.header.rollbacks;
        Ok(())
    }

    /// Goes on with other episodes than those that would follow: after a number that is not finite, the same
    /// ones would give it again.
    pub fn draw_other_episodes(&mut self, rollbacks: u64) {
        self.rollbacks = rollbacks;
        // In the middle of sequences the rest of others is shown, from first values.
        self.forget_episode();
    }

    /// Counts an iteration that could not be done, and changes nothing else.
    pub fn skip(&mut self) {
        self.iteration += 1;
    }

    /// Takes only the parameters of a checkpoint, and their averages, for evaluation.
    ///
    /// # Errors
    /// Where the checkpoint is not of this spec.
    pub fn restore_parameters(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        checkpoint.restore_parameters(&mut self.parameters)?;
        self.average.restore(checkpoint, &self.parameters)?;
        self.iteration = checkpoint.header.iteration;
        Ok(())
    }

    fn restore_carried(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let mut states: States = Vec::new();
        for slot in &self.carried {
            let Some(saved) = checkpoint.states.get(&slot.path) else {
                if checkpoint.header.iteration > 0 && slot.always {
                    return Err(TrainError::Checkpoint(CheckpointError::MissingState {
                        state: slot.path.clone(),
                    }));
                }
                // Before the first episode there is nothing to carry.
                continue;
            };
            let mut dims = vec![self.batch];
            dims.extend(&slot.dims);
            if saved.dims != dims {
                return Err(TrainError::Checkpoint(CheckpointError::ShapeMismatch {
                    name: slot.path.clone(),
                    saved: saved.dims.clone(),
                    wanted: dims,
                }));
            }
            states.resize(states.len().max(slot.slot + 1), None);
            states[slot.slot] = Some(saved.values.iter().map(|x| f64::from(*x)).collect());
        }
        match self.language {
            Some(_) => self.set_carried_text(&states)?,
            None => self.states = states,
        }
        Ok(())
    }
}
