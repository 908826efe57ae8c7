//! Stochastic gradient descent with momentum and weight decay.

use super::formula::{each_element, formula, Formula};
use super::{Moment, Optimizer, OptimizerEntry, OptimizerState};
use crate::lang::catalog::OptimizerInfo;
use crate::lang::settings::{Setting, SettingConflict, Settings};
use crate::machine::device::RATES;

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

formula! {
    /// The step of an element without momentum.
    Plain { decay } rates [lr] moments [] (value, gradient) {
        gradient = gradient + decay * value;
        value = value - lr * gradient;
    }
}

formula! {
    /// The step along the velocity.
    Momentum { momentum, decay } rates [lr] moments [velocity] (value, gradient) {
        gradient = gradient + decay * value;
        velocity = momentum * velocity + gradient;
        value = value - lr * velocity;
    }
}

formula! {
    /// The step along the velocity of the next step.
    Nesterov { momentum, decay } rates [lr] moments [velocity] (value, gradient) {
        gradient = gradient + decay * value;
        velocity = momentum * velocity + gradient;
        value = value - lr * (gradient + momentum * velocity);
    }
}

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

    fn formula(&self) -> Box<dyn Formula> {
        let (momentum, decay) = (self.momentum, self.weight_decay);
        match self.nesterov {
            _ if momentum == 0.0 => Box::new(Plain { decay }),
            false => Box::new(Momentum { momentum, decay }),
            true => Box::new(Nesterov { momentum, decay }),
        }
    }

    fn rates(&self, _number: u64, rate: f64) -> [f32; RATES] {
        [(self.lr * rate) as f32, 0.0, 0.0, 0.0]
    }

    fn state(&self) -> &OptimizerState {
        &self.state
    }

    fn state_mut(&mut self) -> &mut OptimizerState {
        &mut self.state
    }
}
