//! `bpmc verify`.

use super::options::{Backend, Devices, Overrides, Passes, Threads};
use super::screen::Screen;
use super::{device, sentence, spec, Failure, Outcome};
use anyhow::Context;
use bpmc::learn::trainer::{BackendKind, Probe, Rehearsal, Trainer, TrainerOptions};
use bpmc::machine::device::{DeviceChoice, DeviceKind};
use bpmc::step::passes::Selection;
use bpmc::step::Compiled;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Of a parameter whose gradients are all smaller than this, this is what differences are compared with.
const SMALL: f64 = 1e-6;

const AFTER_HELP: &str = "\
Examples:
  bpmc verify agent.bpm                            the fused kernels of this machine
  bpmc verify specs/paper/*/*.bpm --device cuda    those of a GPU
  bpmc verify agent.bpm --lanes 7 --json
  bpmc verify specs/paper/maze/simple.bpm --set task.steps=20      a short episode: the interpreter is slow

Runs one batch of episodes (or one chunk of a text) twice, with the initial weights of training: once as it is \
trained, in f32, and once by the plain interpreter in f64. Both must take the same actions and earn the same rewards; losses and \
gradients must agree. verify reports the largest gradient error, divided by the largest gradient of that parameter. A device \
that runs whole iterations runs one more, and its loss and gradient norm must agree, too.";

/// Compare what trains a spec with the reference interpreter.
///
/// Exits with status 1 where they differ by more than the tolerance.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The specs
    #[arg(required = true)]
    pub specs: Vec<PathBuf>,

    #[command(flatten)]
    pub devices: Devices,

    /// What runs the compiled program [default: fused; candle for `--opt 0`]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,

    /// Lanes of the batch; the interpreter is slow
    #[arg(long, value_name = "B", default_value = "2", value_parser = clap::value_parser!(u16).range(1..))]
    pub lanes: u16,

    /// Largest difference allowed
    #[arg(long, value_name = "PART", default_value = "1e-4")]
    pub tolerance: f64,

    #[command(flatten)]
    pub threads: Threads,

    #[command(flatten)]
    pub overrides: Overrides,

    #[command(flatten)]
    pub passes: Passes,

    /// Print one JSON object a spec
    #[arg(long)]
    pub json: bool,
}

/// What came out for a spec. The field names are those of the JSON form.
#[derive(Debug, Serialize)]
struct Report {
    spec: String,
    backend: &'static str,
    device: String,
    agrees: bool,
    /// Whether all lanes earned the same.
    same_rewards: bool,
    /// Difference of the losses, as a part of the loss.
    loss: f64,
    /// Largest difference of a gradient, as a part of its parameter's largest; null without gradients.
    gradient: Option<f64>,
    /// In which parameter that is.
    parameter: Option<String>,
    /// Where a device does whole iterations: the larger difference of the loss and the norm of the gradient of one, as a part
    /// of them; null elsewhere.
    iteration: Option<f64>,
}

/// Compares and prints.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let selection = arguments.passes.selection(Selection::default())?;
    let backend = arguments.backend.unwrap_or(Backend::usual(&selection));
    let mut all_agree = true;
    for path in &arguments.specs {
        let compared = compare(arguments, path, backend.kind(), selection, screen);
        let report = match compared {
            Ok(Some(report)) => report,
            Ok(None) => continue,
            Err(Failure::Run(error)) => {
                screen.error(&format!("{}: {}", path.display(), sentence(&error)));
                all_agree = false;
                continue;
            }
            Err(other) => return Err(other),
        };
        all_agree &= report.agrees;
        let text = if arguments.json {
            serde_json::to_string(&report).context("cannot write the report as JSON")? + "\n"
        } else {
            report.line()
        };
        screen.print(&text)?;
    }
    if all_agree {
        Ok(())
    } else {
        Err(Failure::Reported)
    }
}

fn compare(
    arguments: &Arguments,
    path: &Path,
    backend: BackendKind,
    passes: Selection,
    screen: &Screen,
) -> Result<Option<Report>, Failure> {
    let mut set = arguments.overrides.set.clone();
    set.push(format!("train.batch={}", arguments.lanes));
    let compilation = spec::compile(path, &set)?;
    if compilation.program.is_none() && !compilation.diagnostics.has_errors() {
        screen.say(&format!("{}: parts for others, no network", path.display()));
        return Ok(None);
    }
    let program = spec::program(&compilation, screen)?;
    let options = TrainerOptions {
        threads: arguments.threads.count(),
        backend,
        device: DeviceChoice::CPU,
        passes,
        memory: bpmc::machine::memory::free(),
    };
    let device = device::choose(&arguments.devices, program, options, screen)?;
    let found = probe(program, TrainerOptions { device, ..options })?;
    let reference = TrainerOptions {
        backend: BackendKind::Reference,
        ..options
    };
    let expected = probe(program, reference)?;
    let mut report = Report {
        spec: path.display().to_string(),
        backend: backend.name(),
        device: device.to_string(),
        agrees: false,
        same_rewards: found.rewards == expected.rewards,
        loss: part(found.loss, expected.loss),
        gradient: None,
        parameter: None,
        iteration: None,
    };
    if device.kind != DeviceKind::Cpu {
        let rehearsed = rehearse(program, TrainerOptions { device, ..options })?;
        report.iteration = rehearsed.map(|found| {
            let loss = part(found.loss, expected.loss);
            worse(loss, part(found.norm, norm(program, &expected)))
        });
    }
    for (k, slot) in program.step.params.iter().enumerate() {
        let gradients = (found.gradients.get(k), expected.gradients.get(k));
        if let (Some(Some(found)), Some(Some(expected))) = gradients {
            let part = difference(found, expected);
            // Not a number is the largest of all.
            if report
                .gradient
                .is_none_or(|worst| part > worst || part.is_nan())
            {
                report.gradient = Some(part);
                report.parameter = Some(slot.path.clone());
            }
        }
    }
    let within = |part: f64| part <= arguments.tolerance;
    report.agrees = report.same_rewards
        && within(report.loss)
        && report.gradient.is_none_or(within)
        && report.iteration.is_none_or(within);
    Ok(Some(report))
}

fn probe(program: &Compiled, options: TrainerOptions) -> Result<Probe, Failure> {
    let trainer = Trainer::new(program, options);
    let probed = trainer.and_then(|mut trainer| trainer.probe());
    Ok(probed.map_err(anyhow::Error::new)?)
}

/// What a device that does whole iterations gets of one.
fn rehearse(program: &Compiled, options: TrainerOptions) -> Result<Option<Rehearsal>, Failure> {
    let trainer = Trainer::new(program, options);
    let rehearsed = trainer.and_then(|mut trainer| trainer.rehearse());
    Ok(rehearsed.map_err(anyhow::Error::new)?)
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

/// A difference as a part of what is expected.
fn part(found: f64, expected: f64) -> f64 {
    (found - expected).abs() / expected.abs().max(SMALL)
}

/// The larger difference. Not a number is the largest of all.
fn worse(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() {
        a
    } else {
        b
    }
}

/// The largest difference, as a part of the largest gradient.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    let scale = expected.iter().fold(SMALL, |most, x| most.max(x.abs()));
    let differences = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs() / scale);
    differences.fold(0.0, |most: f64, x| worse(x, most))
}

impl Report {
    fn line(&self) -> String {
        let verdict = if self.agrees { "agrees" } else { "DIFFERS" };
        let rewards = if self.same_rewards {
            ""
        } else {
            "; episodes differ: rewards are not the same"
        };
        let gradient = match (self.gradient, &self.parameter) {
            (Some(part), Some(parameter)) => format!(", gradient {part:.1e} ({parameter})"),
            _ => String::new(),
        };
        let iteration = self.iteration.map(|part| format!(", iteration {part:.1e}"));
        let iteration = iteration.unwrap_or_default();
        format!(
            "{verdict}  {}: {} on {}, loss {:.1e}{gradient}{iteration}{rewards}\n",
            self.spec, self.backend, self.device, self.loss
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{difference, worse};

    #[test]
    fn differences_are_parts_of_the_largest_and_what_is_no_number_is_seen() {
        assert_eq!(difference(&[1.0, 2.5], &[1.0, 2.0]), 0.25);
        assert!(difference(&[0.0, f64::NAN, 0.0], &[0.0, 1.0, 2.0]).is_nan());
        assert!(worse(f64::NAN, 1.0).is_nan() && worse(2.0, 1.0) == 2.0);
    }
}
