//! RMSprop (Tieleman, Hinton 2012): each element's step is divided by the root of its mean squared gradient.

use super::formula::{each_element, formula, sqrtf, Formula};
use super::{Moment, Optimizer, OptimizerEntry, OptimizerState};
use crate::lang::catalog::OptimizerInfo;
use crate::lang::settings::{Setting, Settings};
use crate::machine::device::RATES;

pub(super) const RMSPROP: OptimizerEntry = OptimizerEntry {
    info: OptimizerInfo {
        name: "rmsprop",
        summary: "steps divided by the root of the mean squared gradient, with momentum",
        settings: &[
            Setting::real("lr", (0.0, 1e6), 1e-3, "Learning rate."),
            Setting::real(
                "decay",
                (0.0, 0.999_999_999),
                0.99,
                "Decay of the running mean of squared gradients.",
            ),
            Setting::real(
                "eps",
                (1e-30, 1e6),
                1e-8,
                "Added to the root of the mean square.",
            ),
            Setting::real(
                "momentum",
                (0.0, 0.999_999_999),
                0.0,
                "Decay of the running sum of steps that is followed; 0 follows the step.",
            ),
            Setting::real(
                "weight_decay",
                (0.0, 1e6),
                0.0,
                "This times the parameter is added to its gradient, after clipping.",
            ),
        ],
        check: |_| Ok(()),
    },
    build: |settings, lengths| Ok(Box::new(RmsProp::new(settings, lengths))),
};

formula! {
    /// The step of an element without momentum.
    Plain { keep, new, eps, weight_decay } rates [lr] moments [square] (value, gradient) {
        gradient = gradient + weight_decay * value;
        square = keep * square + new * gradient * gradient;
        value = value - lr * (gradient / (sqrtf(square) + eps));
    }
}

formula! {
    /// The step along the velocity.
    Momentum { keep, new, eps, weight_decay, momentum } rates [lr] moments [square, velocity] (value, gradient) {
        gradient = gradient + weight_decay * value;
        square = keep * square + new * gradient * gradient;
        velocity = momentum * velocity + gradient / (sqrtf(square) + eps);
        value = value - lr * velocity;
    }
}

/// RMSprop. With gradient `g`: `g ← g + λ p`, `s ← ρ s + (1-ρ) g²`, `v ← μ v + g / (√s + ε)`, `p ← p - lr v`.
#[derive(Clone, Debug)]
pub struct RmsProp {
    lr: f64,
    decay: f64,
    eps: f32,
    momentum: f32,
    weight_decay: f32,
    state: OptimizerState,
}

impl RmsProp {
    fn new(settings: &Settings, lengths: &[usize]) -> RmsProp {
        let momentum = settings.real("momentum") as f32;
        let mut moments = vec![Moment::zeros("square", lengths)];
        if momentum != 0.0 {
            moments.push(Moment::zeros("velocity", lengths));
        }
        RmsProp {
            lr: settings.real("lr"),
            decay: settings.real("decay"),
            eps: settings.real("eps") as f32,
            momentum,
            weight_decay: settings.real("weight_decay") as f32,
            state: OptimizerState { steps: 0, moments },
        }
    }
}

impl Optimizer for RmsProp {
    fn name(&self) -> &'static str {
        RMSPROP.info.name
    }

    fn formula(&self) -> Box<dyn Formula> {
        let (keep, new) = (self.decay as f32, (1.0 - self.decay) as f32);
        let (eps, weight_decay, momentum) = (self.eps, self.weight_decay, self.momentum);
        if momentum == 0.0 {
            return Box::new(Plain {
                keep,
                new,
                eps,
                weight_decay,
            });
        }
        Box::new(Momentum {
            keep,
            new,
            eps,
            weight_decay,
            momentum,
        })
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
