//! The comparison of training with the oracle: the plain interpreter in f64 on the step of the spec, without
//! any pass.
//!
//! The oracle shares only the step and its derivative with what it judges: no pass, no division into stages,
//! no kernel.

use crate::learn::trainer::{BackendKind, DryRun, Probe, TrainError, Trainer, TrainerOptions};
use crate::machine::device::{DeviceChoice, DeviceKind};
use crate::step::passes::Selection;
use crate::step::Compiled;

/// The divisor of differences for a parameter whose gradients are all smaller than this.
const SMALL: f64 = 1e-6;

/// The differences of one batch of episodes, or one chunk of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// True if all lanes earned the same rewards.
    pub same_rewards: bool,
    /// The difference of the losses, divided by the loss.
    pub loss: f64,
    /// The largest difference of a gradient, divided by its parameter's largest gradient, and the path of the
    /// parameter; `None` without gradients.
    pub gradient: Option<(f64, String)>,
    /// The larger difference of loss and gradient norm of a whole iteration on a device, each divided by its
    /// value; `None` if the device does not run whole iterations.
    pub iteration: Option<f64>,
}

impl Comparison {
    /// Returns true if no difference is larger than `tolerance`.
    pub fn agrees(&self, tolerance: f64) -> bool {
        let within = |part: f64| part <= tolerance;
        self.same_rewards
            && within(self.loss)
            && self.gradient.as_ref().is_none_or(|(part, _)| within(*part))
            && self.iteration.is_none_or(within)
    }
}

/// Runs one batch of episodes, or one chunk of a text, with `options` and with the oracle, from the same
/// initial weights.
///
/// # Errors
/// Fails if one of them cannot run the spec.
pub fn compare(program: &Compiled, options: TrainerOptions) -> Result<Comparison, TrainError> {
    let found = probe(program, options)?;
    let expected = probe(program, oracle(options))?;
    let mut out = Comparison {
        same_rewards: found.rewards == expected.rewards,
        loss: part(found.loss, expected.loss),
        gradient: None,
        iteration: None,
    };
    if options.device.kind != DeviceKind::Cpu {
        let finished = dry_run(program, options)?;
        out.iteration = finished.map(|found| {
            let loss = part(found.loss, expected.loss);
            worse(loss, part(found.norm, norm(program, &expected)))
        });
    }
    for (k, slot) in program.step.params.iter().enumerate() {
        let gradients = (found.gradients.get(k), expected.gradients.get(k));
        let (Some(Some(found)), Some(Some(expected))) = gradients else {
            continue;
        };
        let part = difference(found, expected);
        // NaN counts as the largest value.
        let worst = out.gradient.as_ref();
        if worst.is_none_or(|(worst, _)| part > *worst || part.is_nan()) {
            out.gradient = Some((part, slot.path.clone()));
        }
    }
    Ok(out)
}

/// The options of the oracle.
fn oracle(options: TrainerOptions) -> TrainerOptions {
    TrainerOptions {
        backend: BackendKind::Reference,
        device: DeviceChoice::CPU,
        passes: Selection::level(0),
        ..options
    }
}

fn probe(program: &Compiled, options: TrainerOptions) -> Result<Probe, TrainError> {
    Trainer::new(program, options)?.probe()
}

/// The results of one iteration on a device that runs whole iterations.
fn dry_run(program: &Compiled, options: TrainerOptions) -> Result<Option<DryRun>, TrainError> {
    Trainer::new(program, options)?.dry_run()
}

/// The norm of the gradient, with the factors of the spec.
fn norm(program: &Compiled, probe: &Probe) -> f64 {
    let slots = program.step.params.iter().zip(&probe.gradients);
    let squares = slots
        .filter(|(slot, _)| slot.trained)
        .map(|(slot, gradient)| {
            let values = gradient.iter().flatten();
            values.map(|x| (x * slot.grad_scale).powi(2)).sum::<f64>()
        });
    squares.sum::<f64>().sqrt()
}

/// A difference divided by the expected value.
fn part(found: f64, expected: f64) -> f64 {
    (found - expected).abs() / expected.abs().max(SMALL)
}

/// The larger difference; NaN counts as the largest.
fn worse(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() {
        a
    } else {
        b
    }
}

/// The largest difference, divided by the largest gradient.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    let scale = expected.iter().fold(SMALL, |most, x| most.max(x.abs()));
    let differences = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs() / scale);
    differences.fold(0.0, |most: f64, x| worse(x, most))
}

#[cfg(test)]
mod tests {
    use super::{compare, difference, worse};
    use crate::driver::{compile, from_disk};
    use crate::learn::trainer::{BackendKind, TrainerOptions};
    use crate::machine::device::DeviceChoice;
    use crate::program::code::Element;
    use crate::program::passes::KernelPass;
    use crate::program::Program;
    use crate::step::passes::{Pass, Run, Selection, PIPELINE};

    const AGENT: &str = "network net {
      input obs: [task.obs]
      state h: [task.recall] = 0
      plastic rec: h -> y using plain(bound = 2) { weight w ~ uniform(-0.1, 0.1) coeff alpha ~ uniform(0, 0.1) }
      y = tanh(3 * obs + rec)
      h <- y
      output recall = y
    }
    task pattern_completion { bits = 12, patterns = 2, presentations = 1, show = 2, gap = 1, probe = 2 }
    train supervised { loss = half_sum_squares, batch = 2, seed = 3 }";

    /// Multiplies and adds where the program multiplies and subtracts, and vice versa.
    fn wrong(program: &mut Program) {
        for op in program
            .ahead
            .sweeps
            .iter_mut()
            .flat_map(|sweep| &mut sweep.ops)
        {
            op.f = match op.f {
                Element::MulAdd => Element::NegMulAdd,
                other => other,
            };
        }
    }

    static WRONG: KernelPass = KernelPass {
        name: "recomputation",
        summary: "",
        equation: "",
        level: 2,
        run: wrong,
    };

    #[test]
    fn a_fault_in_a_kernel_pass_is_found() {
        let compilation = compile("spec.bpm", AGENT, &[], &from_disk).unwrap();
        let program = compilation.program.unwrap();
        let agrees = |passes| {
            let options = TrainerOptions {
                threads: 1,
                backend: BackendKind::Fused,
                device: DeviceChoice::CPU,
                passes,
                memory: None,
            };
            compare(&program, options).unwrap().agrees(1e-4)
        };
        let mut passes: Vec<Pass> = PIPELINE.to_vec();
        let pass = passes
            .iter_mut()
            .find(|pass| pass.name == WRONG.name)
            .unwrap();
        pass.run = Run::Kernels(&WRONG);
        assert!(agrees(Selection::default()));
        assert!(!agrees(Selection::default().with_pipeline(passes.leak())));
    }

    #[test]
    fn differences_are_parts_of_the_largest_and_what_is_no_number_is_seen() {
        assert_eq!(difference(&[1.0, 2.5], &[1.0, 2.0]), 0.25);
        assert!(difference(&[0.0, f64::NAN, 0.0], &[0.0, 1.0, 2.0]).is_nan());
        assert!(worse(f64::NAN, 1.0).is_nan() && worse(2.0, 1.0) == 2.0);
    }
}
