//! What a run does about a number that is not finite.

use super::{open, Incident, OnNan, Run, RunError};
use crate::lab::watchdog::{self, Located};
use crate::learn::trainer::NotFinite;

/// Iterations that are skipped one after another, or rollbacks to one checkpoint, before the run gives up.
const MOST_TRIES: usize = 10;

impl Run {
    /// Does what was asked for where iteration `iteration` failed, before which the trainer stands.
    ///
    /// # Errors
    /// Where the run is to stop, or going on has not helped.
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
                let last = self.shelf.last(&self.directory)?;
                let Some(last) = last.or_else(|| self.first.clone()) else {
                    return Err(RunError::NotFinite(Box::new(located)));
                };
                self.restore(&last)?;
                self.trainer.draw_other_episodes(rollbacks);
                // Written at once: whatever happens next, the run goes on with other episodes from here.
                self.shelf.put(&self.here()?)?;
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

    /// How often it was tried already to get past this iteration.
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
