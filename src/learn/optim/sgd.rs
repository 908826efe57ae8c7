//! Stochastic gradient descent with momentum and weight decay.

use super::{Moment, Optimizer, OptimizerEntry, OptimizerState};
use crate::lang::catalog::OptimizerInfo;
use crate::lang::settings::{Setting, SettingConflict, Settings};
use crate::learn::gradient::PIECE;
use crate::machine::device::{OptimizerSource, RATES};
use rayon::prelude::*;

pub(super) const SGD: OptimizerEntry = OptimizerEntry {
    info: OptimizerInfo {
        name: "sgd",
        summary: "stochastic gradient descent, with momentum and weight decay",
        settings: &[
            Setting::real("lr", (0.0, 1e6), 0.01, "Learning rate."),
            Setting::real(
                "momentum",
                (0.0, 0.999_999_999),
                0.0,
                "Decay of the running sum of gradients that is followed; 0 follows the gradient.",
            ),
            Setting::flag(
                "nesterov",
                false,
                "Follow the gradient plus momentum times the running sum; needs momentum.",
            ),
            Setting::real(
                "weight_decay",
                (0.0, 1e6),
                0.0,
                "This times the parameter is added to its gradient, after clipping.",
            ),
        ],
        check: |settings| Sgd::new(settings, &[]).map(drop),
    },
    build: |settings, lengths| Ok(Box::new(Sgd::new(settings, lengths)?)),
};

/// SGD. With gradient `g`, `g ← g + λ p`, `v ← μ v + g`, `p ← p - lr v`, or with Nesterov's
/// form `p ← p - lr (g + μ v)`.
#[derive(Clone, Debug)]
pub struct Sgd {
    lr: f64,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    state: OptimizerState,
}

impl Sgd {
    fn new(settings: &Settings, lengths: &[usize]) -> Result<Sgd, SettingConflict> {
        let momentum = settings.real("momentum") as f32;
        let nesterov = settings.bool("nesterov");
        if nesterov && momentum == 0.0 {
            return Err(SettingConflict {
                setting: "nesterov",
                message: "`nesterov` does nothing without momentum".to_owned(),
                help: "set `momentum`, or take `nesterov` away".to_owned(),
            });
        }
        let moments = if momentum == 0.0 {
            Vec::new()
        } else {
            vec![Moment::zeros("velocity", lengths)]
        };
        Ok(Sgd {
            lr: settings.real("lr"),
            momentum,
            nesterov,
            weight_decay: settings.real("weight_decay") as f32,
            state: OptimizerState { steps: 0, moments },
        })
    }
}

impl Optimizer for Sgd {
    fn name(&self) -> &'static str {
        SGD.info.name
    }

    fn step(&mut self, parameters: &mut [&mut [f32]], gradients: &[Vec<f32>], rate: f64) {
        self.state.steps += 1;
        let [lr, ..] = self.rates(self.state.steps, rate);
        let (momentum, decay) = (self.momentum, self.weight_decay);
        let tensors = parameters.iter_mut().zip(gradients);
        let Some(velocity) = self.state.moments.first_mut() else {
            for (parameter, gradient) in tensors {
                let pieces = parameter.par_chunks_mut(PIECE);
                pieces
                    .zip(gradient.par_chunks(PIECE))
                    .for_each(|(parameter, gradient)| {
                        for (value, gradient) in parameter.iter_mut().zip(gradient) {
                            *value -= lr * (gradient + decay * *value);
                        }
                    });
            }
            return;
        };
        let nesterov = self.nesterov;
        let update = |parameter: &mut [f32], gradient: &[f32], velocity: &mut [f32]| {
            for ((value, gradient), velocity) in parameter.iter_mut().zip(gradient).zip(velocity) {
                let gradient = gradient + decay * *value;
                *velocity = momentum * *velocity + gradient;
                let direction = if nesterov {
                    gradient + momentum * *velocity
                } else {
                    *velocity
                };
                *value -= lr * direction;
            }
        };
        for ((parameter, gradient), velocity) in tensors.zip(&mut velocity.values) {
            parameter
                .par_chunks_mut(PIECE)
                .zip(gradient.par_chunks(PIECE))
                .zip(velocity.par_chunks_mut(PIECE))
                .for_each(|((parameter, gradient), velocity)| {
                    update(parameter, gradient, velocity)
                });
        }
    }

    fn rates(&self, _number: u64, rate: f64) -> [f32; RATES] {
        [(self.lr * rate) as f32, 0.0, 0.0, 0.0]
    }

    fn device(&self) -> OptimizerSource {
        OptimizerSource {
            settings: OptimizerSource::settings(&[
                ("MOMENTUM", self.momentum),
                ("NESTEROV", f32::from(u8::from(self.nesterov))),
                ("WEIGHT_DECAY", self.weight_decay),
            ]),
            source: include_str!("sgd.h"),
            moments: self.state.moments.len(),
        }
    }

    fn state(&self) -> &OptimizerState {
        &self.state
    }

    fn state_mut(&mut self) -> &mut OptimizerState {
        &mut self.state
    }
}
