//! Averages of parameters over optimizer steps (averaged SGD; Polyak and Juditsky 1992). Averaging begins at
//! a given epoch, or when the validation loss has stopped to improve (Merity et al. 2018, algorithm 1).

use super::checkpoint::{Averaging, Checkpoint, CheckpointError, Tensor};
use super::gradient::PIECE;
use crate::engine::params::ParamStore;
use crate::lang::settings::Settings;
use rayon::prelude::*;

/// The name of the averages among the moments of a checkpoint.
const NAME: &str = "average";

/// The mean of every trained parameter, from some moment on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Average {
    /// The first averaged epoch, counted from 1; 0 for none.
    from: u64,
    /// The number of epochs without a better validation loss; 0 for any number.
    patience: usize,
    /// The number of averaged steps, and the validation loss of each epoch before.
    told: Averaging,
    /// The averages by trained parameter, in their order; empty before the first step.
    values: Vec<Vec<f32>>,
}

impl Average {
    /// Builds the averages from checked settings of a text trainer.
    pub fn new(settings: &Settings) -> Average {
        Average {
            from: settings.int("average_from") as u64,
            patience: settings.int("average_patience"),
            ..Average::default()
        }
    }

    fn begin(&mut self, epoch: u64) {
        if self.from > 0 && epoch >= self.from {
            self.told.begun = true;
        }
    }

    /// The number of averaged steps and the averages, for code that averages the steps of epoch `epoch` (from
    /// 1) itself and then calls [`Average::count`]; `None` if this epoch is not averaged.
    pub fn arrays(
        &mut self,
        epoch: u64,
        parameters: &ParamStore,
    ) -> Option<(u64, Vec<&mut [f32]>)> {
        self.begin(epoch);
        if !self.told.begun {
            return None;
        }
        if self.values.is_empty() {
            let lengths = parameters.trained_lengths().into_iter();
            self.values = lengths.map(|n| vec![0.0; n]).collect();
        }
        let values = self.values.iter_mut().map(Vec::as_mut_slice);
        Some((self.told.steps, values.collect()))
    }

    /// Counts `steps` more averaged steps.
    pub fn count(&mut self, steps: u64) {
        if self.told.begun {
            self.told.steps += steps;
        }
        if self.told.steps == 0 {
            self.values.clear();
        }
    }

    /// Averages the parameters after a step of epoch `epoch`, counted from 1.
    pub fn take(&mut self, epoch: u64, parameters: &ParamStore) {
        self.begin(epoch);
        if !self.told.begun {
            return;
        }
        self.told.steps += 1;
        if self.values.is_empty() {
            self.values = parameters.trained().map(|p| p.values.clone()).collect();
            return;
        }
        let part = 1.0 / self.told.steps as f32;
        for (mean, parameter) in self.values.iter_mut().zip(parameters.trained()) {
            mean.par_chunks_mut(PIECE)
                .zip(parameter.values.par_chunks(PIECE))
                .for_each(|(mean, values)| {
                    for (mean, value) in mean.iter_mut().zip(values) {
                        *mean += part * (value - *mean);
                    }
                });
        }
    }

    /// Returns true if averages exist or may begin at some time.
    pub fn is_wanted(&self) -> bool {
        self.from > 0 || self.patience > 0
    }

    /// Adds the validation loss of an epoch: averaging begins if it is above the best of all epochs before
    /// the last `average_patience`.
    pub fn judge(&mut self, validation: f64) {
        if self.patience == 0 || self.told.begun {
            return;
        }
        let past = &self.told.validations;
        let early = &past[..past.len().saturating_sub(self.patience)];
        let best = early.iter().copied().fold(f64::INFINITY, f64::min);
        self.told.begun = validation > best;
        self.told.validations.push(validation);
    }

    /// The parameters with averages instead of the trained values; `None` before there are any.
    pub fn parameters(&self, parameters: &ParamStore) -> Option<ParamStore> {
        if self.values.is_empty() {
            return None;
        }
        let mut averaged = parameters.clone();
        for (values, mean) in averaged.trained_values_mut().into_iter().zip(&self.values) {
            values.copy_from_slice(mean);
        }
        Some(averaged)
    }

    /// Writes the averages into a checkpoint, unless there is nothing to store.
    pub fn save(&self, checkpoint: &mut Checkpoint, parameters: &ParamStore) {
        if self.told == Averaging::default() {
            return;
        }
        checkpoint.header.averaging = Some(self.told.clone());
        for (parameter, values) in parameters.trained().zip(&self.values) {
            let tensor = Tensor {
                dims: parameter.dims.clone(),
                values: values.clone(),
            };
            let key = (NAME.to_owned(), parameter.path.clone());
            checkpoint.moments.insert(key, tensor);
        }
    }

    /// Restores the averages of a checkpoint.
    ///
    /// # Errors
    /// Fails if the checkpoint lacks the averages that its header mentions; then nothing changes.
    pub fn restore(
        &mut self,
        checkpoint: &Checkpoint,
        parameters: &ParamStore,
    ) -> Result<(), CheckpointError> {
        let told = checkpoint.header.averaging.clone().unwrap_or_default();
        let mut values = Vec::new();
        if told.steps > 0 {
            for parameter in parameters.trained() {
                values.push(checkpoint.moment(NAME, parameter)?.values.clone());
            }
        }
        (self.told, self.values) = (told, values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Draw, ParamSlot};
    use crate::learn::checkpoint::Header;

    fn store() -> ParamStore {
        let slot = |path: &str, trained| ParamSlot {
            path: path.to_owned(),
            dims: vec![2, 3],
            trained,
            init: Draw::Normal(0.0, 1.0),
            grad_scale: 1.0,
            span: None,
        };
        ParamStore::init(
            &[
                slot("rec.w", true),
                slot("rec.mask", false),
                slot("b", true),
            ],
            1,
        )
    }

    fn set(store: &mut ParamStore, value: f32) {
        for values in store.trained_values_mut() {
            values.fill(value);
        }
    }

    #[test]
    fn the_mean_is_of_the_steps_of_later_epochs() {
        let mut store = store();
        let mut average = Average {
            from: 2,
            ..Average::default()
        };
        for (epoch, value) in [(1, 100.0), (2, 1.0), (2, 2.0), (3, 6.0)] {
            assert_eq!(average.parameters(&store).is_some(), average.told.steps > 0);
            set(&mut store, value);
            average.take(epoch, &store);
        }
        let mean = average.parameters(&store).unwrap();
        for parameter in mean.trained() {
            assert!(parameter.values.iter().all(|x| *x == 3.0), "{parameter:?}");
        }
    }

    #[test]
    fn averages_begin_where_validation_has_stopped_to_get_better() {
        let begun = |costs: &[f64], patience| {
            let mut average = Average {
                patience,
                ..Average::default()
            };
            costs.iter().position(|cost| {
                average.judge(*cost);
                average.told.begun
            })
        };
        assert_eq!(begun(&[5.0, 4.0, 4.5, 4.4, 4.3], 2), Some(4));
        assert_eq!(begun(&[5.0, 4.0, 4.5, 3.9, 4.2, 3.8], 2), Some(4));
        assert_eq!(begun(&[5.0, 4.0, 3.0, 2.0], 2), None);
        assert_eq!(begun(&[5.0, 6.0, 7.0], 0), None);
        assert_eq!(begun(&[5.0, 6.0, 7.0], 1), Some(2));
    }

    #[test]
    fn checkpoints_hold_all_of_it() {
        let mut store = store();
        let mut average = Average {
            from: 1,
            patience: 3,
            ..Average::default()
        };
        average.judge(7.0);
        for value in [1.0, 5.0] {
            set(&mut store, value);
            average.take(1, &store);
        }
        let header = Header {
            spec: "net".to_owned(),
            spec_hash: "00".to_owned(),
            seed: 1,
            iteration: 2,
            version: "0.1.0".to_owned(),
            optimizer: None,
            pending: None,
            standing: None,
            averaging: None,
            rollbacks: 0,
        };
        let mut checkpoint = Checkpoint::capture(header, &store, None);
        average.save(&mut checkpoint, &store);
        let mut other = Average {
            from: 1,
            patience: 3,
            ..Average::default()
        };
        other.restore(&checkpoint, &store).unwrap();
        assert_eq!(other, average);
        checkpoint.moments.clear();
        let error = other.restore(&checkpoint, &store).unwrap_err();
        assert!(error.to_string().contains("no moment `average`"), "{error}");
        assert_eq!(other, average);
    }
}
