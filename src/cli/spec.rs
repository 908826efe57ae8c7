//! Reading and compiling specs for the subcommands.

use super::options::Backend;
use super::screen::Screen;
use super::Failure;
use crate::driver::{self, Compilation};
use crate::engine::experiment::{Experiment, Target};
use crate::engine::params::ParamStore;
use crate::engine::plan::{seconds_per_iteration, Limits};
use crate::lang::sema::Model;
use crate::learn::device_block::device_source;
use crate::learn::language::device::device_stages;
use crate::learn::trainer::{BackendKind, Trainer, TrainerOptions};
use crate::machine::device::{BlockLimits, DeviceChoice};
use crate::machine::memory;
use crate::step::passes::{Pass, Selection};
use crate::step::{reads_text, truncated, Compiled, Horizon};
use anyhow::Context;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Reads the text of the file at `path`.
///
/// # Errors
/// The error names the file.
pub fn read(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let near = path.with_extension("bpm");
    if !path.exists() && near.exists() {
        let near = near.display();
        let message = format!("there is no spec {shown}; did you mean {near}?");
        return Err(Failure::Run(anyhow::anyhow!(message)));
    }
    let text = driver::read_text(path).with_context(|| format!("cannot read the spec {shown}"))?;
    Ok(text)
}

/// Compiles the spec at `path`, with its imports relative to it.
///
/// # Errors
/// Fails if the file cannot be read; errors in the spec are in the compilation.
pub fn compile(path: &Path, set: &[String]) -> Result<Compilation, Failure> {
    let text = read(path)?;
    let name = path.display().to_string();
    driver::compile(&name, &text, set, &driver::from_disk)
        .map_err(|fault| Failure::Run(anyhow::Error::new(fault)))
}

/// Shows the diagnostics, and returns the program if there are no errors.
///
/// # Errors
/// [`Failure::Reported`].
pub fn program<'a>(compilation: &'a Compilation, screen: &Screen) -> Result<&'a Compiled, Failure> {
    screen.show(&compilation.diagnostics, &compilation.sources);
    compilation.program.as_ref().ok_or(Failure::Reported)
}

/// The steps and lanes of an iteration, from the task and the `train` block; 1 without them.
pub fn extent(model: &Model) -> (usize, usize) {
    let setting = |name: &str| {
        let settings = model.train.as_ref().map(|train| &train.settings)?;
        settings
            .iter()
            .any(|(n, _)| n == name)
            .then(|| settings.int(name))
    };
    let task = model.task.as_ref().map(|task| task.ports.steps);
    let steps = task.or_else(|| setting("steps")).unwrap_or(1);
    let steps = truncated(model.train.as_ref(), steps).unwrap_or(steps);
    (steps, setting("batch").unwrap_or(1))
}

/// The default target for these passes: kernels, or the graphs as they are without optimization.
fn target(passes: &Selection) -> Target {
    Backend::usual(passes).kind().target()
}

/// The stages of a spec in the form used for training, up to and including the pass `last` if given.
///
/// # Errors
/// Faults of the compiler.
pub fn stages(
    program: &Compiled,
    passes: &Selection,
    last: Option<&Pass>,
) -> Result<Experiment, Failure> {
    let (step, horizon) = (&program.step, Horizon::of(&program.model));
    Experiment::of_graphs(step, horizon, target(passes), passes, last)
        .map_err(|fault| Failure::Run(anyhow::Error::new(fault)))
}

/// The stages with their kernels.
///
/// # Errors
/// Faults of the compiler, and networks that the kernels do not support.
pub fn kernels(program: &Compiled, passes: &Selection) -> Result<Experiment, Failure> {
    let experiment = Experiment::trained(program, Target::Kernels, passes);
    Ok(experiment.map_err(anyhow::Error::new)?)
}

/// The kernels as CUDA C.
///
/// # Errors
/// Faults of the compiler, and networks that the kernels do not support.
pub fn cuda(program: &Compiled, passes: &Selection) -> Result<String, Failure> {
    let experiment = kernels(program, passes)?;
    if reads_text(&program.model) {
        let stages = device_stages(program, Arc::new(experiment), BlockLimits::H100);
        return Ok(stages.map_err(anyhow::Error::new)?.listing());
    }
    let source = device_source(program, &experiment, BlockLimits::H100.chosen());
    Ok(source.map_err(anyhow::Error::new)?.text)
}

/// The plan of a run on all cores: the time of an iteration, and the form of each trace.
///
/// # Errors
/// Faults of the compiler, and networks that fused kernels do not support.
pub fn plan(program: &Compiled, passes: &Selection) -> Result<String, Failure> {
    let experiment = kernels(program, passes)?;
    let (steps, lanes) = extent(&program.model);
    let settings = program.model.train.as_ref().map(|train| &train.settings);
    let limits = Limits {
        free: memory::free(),
        allowed: settings.and_then(|settings| settings.bytes("memory")),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let plan = experiment.plan([lanes, steps], threads, limits);
    let mut forms = String::new();
    for form in experiment.forms() {
        writeln!(forms, "{form}").expect("writing to a string");
    }
    if program.model.task.is_some() && !reads_text(&program.model) {
        let source = device_source(program, &experiment, BlockLimits::H100.chosen());
        if let Ok(source) = source {
            let form = source.form;
            writeln!(forms, "on a GPU of compute capability 9.0: {form}")
                .expect("writing to a string");
        }
    }
    if !forms.is_empty() {
        forms.insert(0, '\n');
    }
    if let Some(refusal) = plan.refusal(limits) {
        return Ok(format!("{}{forms}\n{refusal}\n", plan.print(None)));
    }
    let stage = experiment.whole();
    let seconds = match stage
        .fused()
        .filter(|_| experiment.horizon != Horizon::Chunks)
    {
        Some(fused) => {
            let parameters = ParamStore::init(&program.step.params, 0).wide();
            seconds_per_iteration(fused, &parameters, (lanes, steps), plan.running())
                .map_err(anyhow::Error::new)?
        }
        None => seconds_of_a_chunk(program, *passes, threads, limits)?,
    };
    Ok(plan.print(Some(seconds)) + &forms)
}

/// Seconds a chunk of a text takes: the second of two is timed, without a step of the optimizer.
fn seconds_of_a_chunk(
    program: &Compiled,
    passes: Selection,
    threads: usize,
    limits: Limits,
) -> Result<f64, Failure> {
    let options = TrainerOptions {
        threads,
        backend: BackendKind::Fused,
        device: DeviceChoice::CPU,
        passes,
        memory: limits.free,
    };
    let mut trainer = Trainer::new(program, options).map_err(anyhow::Error::new)?;
    trainer.dry_run().map_err(anyhow::Error::new)?;
    let start = Instant::now();
    trainer.dry_run().map_err(anyhow::Error::new)?;
    Ok(start.elapsed().as_secs_f64())
}
