//! The learning-rate schedule.

use crate::lang::settings::Settings;

/// A schedule of factors on the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    decay: f64,
    from: usize,
    every: usize,
    by_length: bool,
    steps: usize,
}

impl Schedule {
    /// Builds the schedule from checked settings; `steps` is the length of a whole chunk.
    pub fn new(settings: &Settings, steps: usize) -> Schedule {
        Schedule {
            decay: settings.real("decay"),
            from: settings.int("decay_from"),
            every: settings.int("decay_every"),
            by_length: settings.bool("rate_by_length"),
            steps,
        }
    }

    /// The factor in epoch `epoch` (from 0) for a chunk of `steps` steps.
    pub fn factor(&self, epoch: usize, steps: usize) -> f64 {
        // The epoch `decay_from`, counted from 1, is the first with a smaller rate.
        let since = (epoch + 1).checked_sub(self.from);
        let times = match since {
            Some(epochs) if self.from > 0 => 1 + epochs / self.every,
            _ => 0,
        };
        let decayed = self.decay.powi(times.min(10_000) as i32);
        if self.by_length {
            decayed * steps as f64 / self.steps as f64
        } else {
            decayed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn rates_fall_from_an_epoch_on() {
        let schedule = Schedule {
            decay: 0.5,
            from: 3,
            every: 1,
            by_length: false,
            steps: 20,
        };
        let rates: Vec<f64> = (0..5).map(|epoch| schedule.factor(epoch, 7)).collect();
        assert_eq!(rates, [1.0, 1.0, 0.5, 0.25, 0.125]);
        let by_length = Schedule {
            by_length: true,
            ..schedule
        };
        assert_eq!(by_length.factor(2, 10), 0.25);
        let every_other = Schedule {
            every: 2,
            ..schedule
        };
        let rates: Vec<f64> = (0..7).map(|epoch| every_other.factor(epoch, 7)).collect();
        assert_eq!(rates, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125]);
        let never = Schedule {
            from: 0,
            ..schedule
        };
        assert_eq!(never.factor(90, 20), 1.0);
    }
}
