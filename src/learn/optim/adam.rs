//! Adam (Kingma, Ba 2015) with L2 coupled into the gradient, and AdamW (Loshchilov, Hutter 2019), whose
//! decay acts on the parameter itself.

use super::formula::{each_element, formula, sqrtf, Formula};
use super::{Moment, Optimizer, OptimizerEntry, OptimizerState};
use crate::lang::catalog::OptimizerInfo;
use crate::lang::settings::{Setting, Settings};
use crate::machine::device::RATES;

const LR: Setting = Setting::real("lr", (0.0, 1e6), 1e-4, "Learning rate (paper: 1e-4).");
const BETA1: Setting = Setting::real(
    "beta1",
    (0.0, 0.999_999_999),
    0.9,
    "Decay of the mean of gradients.",
);
const BETA2: Setting = Setting::real(
    "beta2",
    (0.0, 0.999_999_999),
    0.999,
    "Decay of the mean of squared gradients.",
);
const EPS: Setting = Setting::real(
    "eps",
    (0.0, 1.0),
    1e-8,
    "Added to the root of the mean square (paper: 1e-6 cue–reward, 1e-4 maze).",
);

pub(super) const ADAM: OptimizerEntry = OptimizerEntry {
    info: OptimizerInfo {
        name: "adam",
        summary: "Adam, with an optional L2 penalty added to the gradient",
        settings: &[
            LR,
            BETA1,
            BETA2,
            EPS,
            Setting::real(
                "l2",
                (0.0, 1e6),
                0.0,
                "L2 penalty: this times the parameter is added to its gradient, after clipping.",
            ),
        ],
        check: |_| Ok(()),
    },
    build: |settings, lengths| {
        let decay = Decay::Coupled(settings.real("l2"));
        Ok(Box::new(Adam::new(settings, decay, lengths)))
    },
};

pub(super) const ADAMW: OptimizerEntry = OptimizerEntry {
    info: OptimizerInfo {
        name: "adamw",
        summary: "Adam with weight decay apart from the gradient",
        settings: &[
            LR,
            BETA1,
            BETA2,
            EPS,
            Setting::real(
                "weight_decay",
                (0.0, 1e6),
                0.01,
                "Each step first multiplies the parameter with 1 - lr times this.",
            ),
        ],
        check: |_| Ok(()),
    },
    build: |settings, lengths| {
        let decay = Decay::Decoupled(settings.real("weight_decay"));
        Ok(Box::new(Adam::new(settings, decay, lengths)))
    },
};

#[derive(Clone, Copy, Debug)]
enum Decay {
    Coupled(f64),
    Decoupled(f64),
}

formula! {
    /// The step of an element.
    AdamStep { beta1, beta2, new1, new2, eps, l2 }
    rates [step_size, square_scale, keep] moments [mean, square] (value, gradient) {
        gradient = gradient + l2 * value;
        mean = beta1 * mean + new1 * gradient;
        square = beta2 * square + new2 * gradient * gradient;
        value = value * keep - step_size * mean / (sqrtf(square * square_scale) + eps);
    }
}

/// Adam or AdamW. With gradient `g`, step `n` from 1:
/// `m ← β₁ m + (1-β₁) g`, `s ← β₂ s + (1-β₂) g²`,
/// `p ← p - lr / (1-β₁ⁿ) · m / (√(s / (1-β₂ⁿ)) + ε)`.
#[derive(Clone, Debug)]
pub struct Adam {
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    decay: Decay,
    state: OptimizerState,
}

impl Adam {
    fn new(settings: &Settings, decay: Decay, lengths: &[usize]) -> Adam {
        Adam {
            lr: settings.real("lr"),
            betas: [settings.real("beta1"), settings.real("beta2")],
            eps: settings.real("eps"),
            decay,
            state: OptimizerState {
                steps: 0,
                moments: vec![
                    Moment::zeros("mean", lengths),
                    Moment::zeros("square", lengths),
                ],
            },
        }
    }
}

impl Optimizer for Adam {
    fn name(&self) -> &'static str {
        match self.decay {
            Decay::Coupled(_) => ADAM.info.name,
            Decay::Decoupled(_) => ADAMW.info.name,
        }
    }

    fn formula(&self) -> Box<dyn Formula> {
        let [beta1, beta2] = self.betas.map(|beta| beta as f32);
        let [new1, new2] = self.betas.map(|beta| (1.0 - beta) as f32);
        let l2 = match self.decay {
            Decay::Coupled(l2) => l2 as f32,
            Decay::Decoupled(_) => 0.0,
        };
        Box::new(AdamStep {
            beta1,
            beta2,
            new1,
            new2,
            eps: self.eps as f32,
            l2,
        })
    }

    fn rates(&self, number: u64, rate: f64) -> [f32; RATES] {
        let lr = self.lr * rate;
        // Powers of β in f64 for any number of steps: exact enough, and a pure function of the count.
        let unbiased = self.betas.map(|beta| 1.0 - beta.powf(number as f64));
        let keep = match self.decay {
            Decay::Coupled(_) => 1.0,
            Decay::Decoupled(decay) => 1.0 - lr * decay,
        };
        let rates = [lr / unbiased[0], 1.0 / unbiased[1], keep, 0.0];
        rates.map(|rate| rate as f32)
    }

    fn state(&self) -> &OptimizerState {
        &self.state
    }

    fn state_mut(&mut self) -> &mut OptimizerState {
        &mut self.state
    }
}
