//! `bpmc bench`.

mod compare;
mod table;

use super::options::{from_one, Backend, Devices, Overrides, Passes, Threads};
use super::screen::{emergency, Screen};
use super::{device, sentence, spec, timing, Failure, Outcome};
use crate::lab::bench::report::Setup;
use crate::lab::bench::work::Work;
use crate::lab::bench::{measure, memory, Document, Extent, Machine, SpecReport};
use crate::learn::trainer::{Trainer, TrainerOptions};
use crate::machine::device::{DeviceChoice, DeviceKind};
use crate::step::passes::Selection;
use anyhow::Context;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const AFTER_HELP: &str = "\
Examples:
  bpmc bench agent.bpm
  bpmc bench specs/paper/maze/simple*.bpm --threads 1 --seconds 10
  bpmc bench agent.bpm --set task.steps=120 --json > before.json
  bpmc bench agent.bpm --set task.steps=120 --compare before.json

Two iterations run first and are not counted. The floor is the shortest possible time of an iteration: \
bytes moved divided by the bandwidth of the L2 caches (on a GPU, of shared memory), or multiply-adds \
divided by the machine's peak rate, whichever is longer.";

/// Measure how fast specs train on this machine, in how much memory, and where the time goes.
///
/// Trains for some iterations and keeps nothing. Several specs are measured one after another, each in a
/// process of its own.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The specs
    #[arg(required = true, value_name = "SPEC")]
    pub specs: Vec<PathBuf>,

    /// Measure so many iterations [default: as many as fit in the time, and at least 5]
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = from_one)]
    pub iterations: Option<NonZeroUsize>,

    /// Seconds to measure each spec for
    #[arg(long, value_name = "S", default_value_t = Extent::default().seconds, value_parser = duration)]
    pub seconds: f64,

    #[command(flatten)]
    pub threads: Threads,

    #[command(flatten)]
    pub devices: Devices,

    #[command(flatten)]
    pub overrides: Overrides,

    #[command(flatten)]
    pub passes: Passes,

    /// Engine that runs the compiled program [default: fused; candle for `--opt 0`]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,

    /// Do not measure what the machine can do, and leave floors out
    #[arg(long)]
    pub no_floors: bool,

    /// Also show the measurements beside those that `bpmc bench --json` wrote before
    #[arg(long, value_name = "PREVIOUS.json", conflicts_with = "json")]
    pub compare: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A positive number of seconds that a clock can hold.
fn duration(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("expected a number of seconds, more than 0 and at most 86400".to_owned()),
    }
}

/// Measures and prints.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let before = arguments
        .compare
        .as_deref()
        .map(compare::read)
        .transpose()?;
    let mut specs = if let [only] = arguments.specs.as_slice() {
        vec![here(arguments, only, screen)?]
    } else {
        // Faults are shown before the first measurement, not in the middle.
        let mut sound = true;
        for path in &arguments.specs {
            sound &= check(arguments, path, screen)?;
        }
        if !sound {
            return Err(Failure::Reported);
        }
        arguments
            .specs
            .iter()
            .map(|path| apart(arguments, path))
            .collect::<Result<Vec<_>, _>>()?
    };
    let machine = match arguments.no_floors {
        true => None,
        false => machine(arguments, &specs)?,
    };
    if let Some(machine) = &machine {
        specs = specs.into_iter().map(|spec| spec.on(machine)).collect();
    }
    let document = Document {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine,
        specs,
    };
    let text = if arguments.json {
        let json = serde_json::to_string_pretty(&document);
        json.context("cannot write the measurements as JSON")? + "\n"
    } else {
        let mut text = table::render(&document, screen.color());
        if let Some(before) = &before {
            text += "\n";
            text += &compare::render(&document, before, screen.color());
        }
        text
    };
    screen.print(&text)
}

/// The device that ran the specs, with its rates. The CPU is left out where a GPU ran them.
fn machine(arguments: &Arguments, specs: &[SpecReport]) -> Result<Option<Machine>, Failure> {
    let devices = specs.iter().map(|spec| spec.device.parse::<DeviceChoice>());
    let devices: Vec<DeviceChoice> = devices.filter_map(Result::ok).collect();
    let one = devices.first().copied();
    let Some(device) = one.filter(|first| devices.iter().all(|d| d == first)) else {
        // With `--device auto` they may have run here and there.
        return Ok(None);
    };
    Ok(match device.kind {
        DeviceKind::Cpu => Some(Machine::measure(arguments.threads.count())),
        DeviceKind::Emulated => None,
        DeviceKind::Cuda(_) => Some(Machine::of_device(device).map_err(anyhow::Error::new)?),
    })
}

/// Returns true if a spec can be trained; shows what is wrong with it.
fn check(arguments: &Arguments, path: &Path, screen: &Screen) -> Result<bool, Failure> {
    let sound = || -> Outcome {
        let mut compilation = spec::compile(path, &arguments.overrides.set)?;
        compilation.required();
        spec::program(&compilation, screen)?;
        Ok(())
    };
    match sound() {
        Ok(()) => Ok(true),
        Err(Failure::Run(error)) => {
            screen.error(&sentence(&error));
            Ok(false)
        }
        Err(Failure::Reported) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Measures a spec in this process.
fn here(arguments: &Arguments, path: &Path, screen: &Screen) -> Result<SpecReport, Failure> {
    let start = Instant::now();
    let mut compilation = spec::compile(path, &arguments.overrides.set)?;
    compilation.required();
    let compiled = start.elapsed();
    let program = spec::program(&compilation, screen)?;
    let passes = arguments.passes.selection(Selection::default())?;
    let backend = arguments.backend.unwrap_or(Backend::usual(&passes)).kind();
    let options = TrainerOptions {
        threads: arguments.threads.count(),
        backend,
        device: DeviceChoice::CPU,
        passes,
        memory: crate::machine::memory::free(),
    };
    let device = device::choose(&arguments.devices, program, options, screen)?;
    let options = TrainerOptions { device, ..options };
    let start = Instant::now();
    let mut trainer = Trainer::new(program, options).map_err(anyhow::Error::new)?;
    let compile_seconds = (compiled + start.elapsed()).as_secs_f64();
    if arguments.passes.time_passes {
        let (experiment, times) = (trainer.experiment(), trainer.times());
        screen.say(&timing::table(&compilation, experiment, times));
    }
    let setup = Setup {
        spec: path.display().to_string(),
        backend: match device {
            DeviceChoice::CPU => backend.name().to_owned(),
            device => format!("{} on {device}", backend.name()),
        },
        device: device.to_string(),
        threads: options.threads,
        lanes: trainer.batch(),
        steps: trainer.plan().steps,
        parameters: trainer.parameters().numel(),
        compile_seconds,
        work: Work::of(trainer.experiment(), trainer.plan()),
    };
    let extent = Extent {
        iterations: arguments.iterations.map(NonZeroUsize::get),
        seconds: arguments.seconds,
        ..Extent::default()
    };
    let reports = measure(&mut trainer, extent).map_err(anyhow::Error::new)?;
    let peak = memory::peak();
    let kernels = trainer.kernels().map_err(anyhow::Error::new)?;
    let report = SpecReport::new(setup, &reports, kernels, peak);
    Ok(report.context("nothing was measured")?)
}

/// Measures a spec in a process of its own, so that its memory is its own too.
fn apart(arguments: &Arguments, path: &Path) -> Result<SpecReport, Failure> {
    let program =
        crate::machine::own::program().context("cannot find the program that is running")?;
    let mut command = Command::new(program);
    command
        .arg("bench")
        .arg(path)
        .args(["--json", "--no-floors"]);
    command
        .arg("--threads")
        .arg(arguments.threads.count().to_string());
    if let Some(backend) = arguments.backend {
        command.arg("--backend").arg(backend.kind().name());
    }
    command.args(arguments.devices.words());
    let selection = arguments.passes.selection(Selection::default())?;
    command.args(selection.to_string().split_whitespace());
    match arguments.iterations {
        Some(iterations) => command.arg("--iterations").arg(iterations.to_string()),
        None => command.arg("--seconds").arg(arguments.seconds.to_string()),
    };
    for set in &arguments.overrides.set {
        command.arg("--set").arg(set);
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start the measurement of {}", path.display()))?;
    if !output.status.success() {
        emergency(&String::from_utf8_lossy(&output.stderr));
        return Err(Failure::Reported);
    }
    let mut document: Document = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("cannot read the measurement of {}", path.display()))?;
    let spec = document.specs.pop();
    Ok(spec.with_context(|| format!("there is no measurement of {}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_positive_and_finite() {
        assert_eq!(duration("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "inf", "NaN", "soon", "1e9"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
