//! The command `bpmc verify`.

use super::options::{Backend, Devices, Overrides, Passes, Threads};
use super::screen::Screen;
use super::{device, sentence, spec, Failure, Outcome};
use crate::lab::verify::compare as compare_with_oracle;
use crate::learn::trainer::{BackendKind, TrainerOptions};
use crate::machine::device::DeviceChoice;
use crate::step::passes::Selection;
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc verify agent.bpm                            the fused kernels of this machine
  bpmc verify specs/paper/*/*.bpm --device cuda    those of a GPU
  bpmc verify agent.bpm --lanes 7 --json
  bpmc verify specs/paper/maze/simple.bpm --set task.steps=20      a short episode: the interpreter is slow

Runs one batch of episodes (or one chunk of a text) twice, with the initial weights of training: once with the \
backend that trains, in f32, and once with the plain interpreter in f64 on the step before any pass. Both must take the same actions and earn \
the same rewards; losses and gradients must agree. verify reports the largest gradient error, divided by the largest gradient of \
that parameter. A device that runs whole iterations runs one more, and its loss and gradient norm must agree, too.";

/// Compare the gradients that train a spec with those of the reference interpreter.
///
/// Exits with status 1 if they differ by more than the tolerance.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The specs
    #[arg(required = true)]
    pub specs: Vec<PathBuf>,

    #[command(flatten)]
    pub devices: Devices,

    /// Backend that runs the compiled program [default: fused; candle for `--opt 0`]
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

    /// Print one JSON object per spec
    #[arg(long)]
    pub json: bool,
}

/// The result for a spec. The field names are those of the JSON form.
#[derive(Debug, Serialize)]
struct Report {
    spec: String,
    backend: &'static str,
    device: String,
    agrees: bool,
    /// True if all lanes earned the same rewards.
    same_rewards: bool,
    /// The difference of the losses, divided by the loss.
    loss: f64,
    /// The largest difference of a gradient, divided by its parameter's largest gradient; null without
    /// gradients.
    gradient: Option<f64>,
    /// The parameter with that difference.
    parameter: Option<String>,
    /// The larger difference of loss and gradient norm of a whole iteration on a device, each divided by its
    /// value; null if the device does not run whole iterations.
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
        memory: crate::machine::memory::free(),
    };
    let device = device::choose(&arguments.devices, program, options, screen)?;
    let compared = compare_with_oracle(program, TrainerOptions { device, ..options });
    let compared = compared.map_err(anyhow::Error::new)?;
    let (gradient, parameter) = compared.gradient.clone().unzip();
    Ok(Some(Report {
        spec: path.display().to_string(),
        backend: backend.name(),
        device: device.to_string(),
        agrees: compared.agrees(arguments.tolerance),
        same_rewards: compared.same_rewards,
        loss: compared.loss,
        gradient,
        parameter,
        iteration: compared.iteration,
    }))
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
