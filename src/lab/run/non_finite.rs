//! The reaction of a run to a non-finite number.

use super::{open, Incident, OnNan, Run, RunError};
use crate::lab::watchdog::{self, Located};
use crate::learn::trainer::NotFinite;

/// The number of consecutive skips, or rollbacks to one checkpoint, after which the run gives up.
const MOST_TRIES: usize = 10;

impl Run {
    /// Reacts to the failure of iteration `iteration`; the trainer is in the state before it.
    ///
    /// # Errors
    /// Fails if the run is set to stop, or too many tries have failed.
    pub(super) fn not_finite(&mut self, iteration: u64, what: &NotFinite) -> Result<(), RunError> {
        let located = self.locate(what)?;
        let found = located.sentence.clone();
        let tries = self.tries(iteration);
        if self.manifest.on_nan == OnNan::Stop || tries >= MOST_TRIES {
            if tries >= MOST_TRIES {
                self.log(&format!("gave up after {tries} tries"))?;
            }
            return Err(RunError::NotFinite(Box::new(located)));
        }
        let back_to = match self.manifest.on_nan {
            OnNan::Stop | OnNan::Skip => {
                self.trainer.skip();
                iteration
            }
            OnNan::Rollback => {
                let rollbacks = self.trainer.rollbacks() + 1;
                let last = self.store.last(&self.directory)?;
                let Some(last) = last.or_else(|| self.first.clone()) else {
                    return Err(RunError::NotFinite(Box::new(located)));
                };
                self.restore(&last)?;
                self.trainer.draw_other_episodes(rollbacks);
                // The checkpoint is written at once, so that even after a kill the run continues with other
                // episodes from here.
                self.store.put(&self.here()?)?;
                self.trainer.iteration()
            }
        };
        self.log(&match self.manifest.on_nan {
            OnNan::Stop | OnNan::Skip => format!("{found}; iteration {iteration} is skipped"),
            OnNan::Rollback => format!("{found}; back to iteration {back_to}, with other episodes"),
        })?;
        self.manifest.not_finite.push(Incident {
            iteration,
            done: self.manifest.on_nan,
            back_to,
            found,
        });
        Ok(())
    }

    /// The number of earlier tries to pass this iteration.
    fn tries(&self, iteration: u64) -> usize {
        let incidents = self.manifest.not_finite.iter().rev();
        match self.manifest.on_nan {
            OnNan::Stop => 0,
            OnNan::Skip => (1..)
                .zip(incidents)
                .take_while(|(back, incident)| {
                    incident.done == OnNan::Skip && incident.iteration + back == iteration
                })
                .count(),
            OnNan::Rollback => {
                let last = self.manifest.not_finite.last().map(|last| last.back_to);
                incidents
                    .take_while(|incident| {
                        incident.done == OnNan::Rollback && Some(incident.back_to) == last
                    })
                    .count()
            }
        }
    }

    fn locate(&self, what: &NotFinite) -> Result<Located, RunError> {
        let opened = open(&self.directory)?;
        let before = self.here()?;
        Ok(watchdog::locate(
            &opened.compilation,
            self.trainer.options(),
            &before,
            what,
        )?)
    }
}
