//! Whole iterations on a device: parameters and moments go there and come back.

use super::DeviceBlock;
use crate::engine::episode::States;
use crate::engine::BackendError;
use crate::learn::a2c::Parts;
use crate::learn::learner::{IterationResult, IterationResults, Learner};

impl DeviceBlock {
    /// Has the device do iterations; nothing where it cannot.
    pub(super) fn whole_iterations(
        &mut self,
        mut learner: Learner<'_>,
        states: &mut States,
    ) -> Result<Option<IterationResults<IterationResult>>, BackendError> {
        if !self.on_device {
            return Ok(None);
        }
        let (rate, first) = (learner.rate, u64::from(learner.options.iteration));
        let steps = learner.steps(|k| rate.factor(first + k), None);
        // States that begin with arrays are refused where a device runs iterations.
        let (run, carried) = (self.episodes(&learner.options), self.carried(&[], states));
        let mut host = learner.host_arrays();
        let Some(trained) = self.on.iterate(&run, &carried, &steps, &mut host)? else {
            return Ok(None);
        };
        learner.count(trained.done.len());
        // Those of an iteration that failed were left behind.
        *states = self.on.carried()?;
        let lanes = self.count.max(1) as f64;
        let done = trained.done.iter().map(|done| {
            let [policy, value, concentration, entropy] = done.parts;
            IterationResult {
                parts: Parts {
                    policy,
                    value,
                    concentration,
                    entropy,
                },
                reward: done.reward / lanes,
                norm: done.norm,
            }
        });
        Ok(Some(IterationResults {
            done: done.collect(),
            stop: trained.stop.map(|stop| learner.not_finite(stop)),
        }))
    }
}
