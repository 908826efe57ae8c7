//! The learning rate over a run, as a factor on that of the optimizer.

use crate::lang::settings::Settings;

/// A factor on the learning rate as a function of the iteration alone, so a resumed run needs no memory of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    warm_up: u64,
    shape: Shape,
}

/// The course of the factor after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Constant,
    /// Multiplied with `decay` every so many iterations.
    Step {
        decay: f64,
        every: u64,
    },
    /// Half a cosine from 1 to `decay` at the end of the run.
    Cosine {
        decay: f64,
        iterations: u64,
    },
}

impl Rate {
    /// The factor 1 throughout.
    pub const CONSTANT: Rate = Rate {
        warm_up: 0,
        shape: Shape::Constant,
    };

    /// The rate of a trainer over so many iterations, from its checked settings.
    pub fn new(settings: &Settings, iterations: u64) -> Rate {
        let decay = settings.real("decay");
        let shape = match settings.word("rate") {
            "step" => Shape::Step {
                decay,
                every: settings.int("decay_every").max(1) as u64,
            },
            "cosine" => Shape::Cosine { decay, iterations },
            _ => Shape::Constant,
        };
        Rate {
            warm_up: settings.int("warm_up") as u64,
            shape,
        }
    }

    /// The factor of an iteration, counted from 0.
    pub fn factor(&self, iteration: u64) -> f64 {
        let risen = if iteration < self.warm_up {
            (iteration + 1) as f64 / self.warm_up as f64
        } else {
            1.0
        };
        let since = iteration.saturating_sub(self.warm_up);
        risen
            * match self.shape {
                Shape::Constant => 1.0,
                Shape::Step { decay, every } => decay.powi((since / every).min(100_000) as i32),
                Shape::Cosine { decay, iterations } => {
                    let all = iterations.saturating_sub(self.warm_up).max(2) - 1;
                    let part = (since as f64 / all as f64).min(1.0);
                    decay + (1.0 - decay) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, Shape};

    fn factors(rate: Rate, iterations: u64) -> Vec<f64> {
        (0..iterations).map(|k| rate.factor(k)).collect()
    }

    #[test]
    fn rates_rise_and_fall() {
        assert_eq!(factors(Rate::CONSTANT, 3), [1.0; 3]);
        let steps = Rate {
            warm_up: 2,
            shape: Shape::Step {
                decay: 0.5,
                every: 2,
            },
        };
        assert_eq!(factors(steps, 7), [0.5, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]);
        let cosine = Rate {
            warm_up: 1,
            shape: Shape::Cosine {
                decay: 0.2,
                iterations: 6,
            },
        };
        let found = factors(cosine, 8);
        let half = 0.2 + 0.4 * (1.0 + std::f64::consts::FRAC_1_SQRT_2);
        for (k, expected) in [1.0, 1.0, half, 0.6, 1.2 - half, 0.2, 0.2, 0.2]
            .into_iter()
            .enumerate()
        {
            assert!((found[k] - expected).abs() < 1e-12, "{k}: {found:?}");
        }
    }
}
