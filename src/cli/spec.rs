//! Specs on their way into the compiler.

use super::screen::Screen;
use super::Failure;
use anyhow::Context;
use bpmc::driver::{self, Compilation};
use bpmc::engine::fused::Fused;
use bpmc::engine::plan::{seconds_per_iteration, Limits, Plan};
use bpmc::lang::catalog::TrainerKind;
use bpmc::lang::sema::Model;
use bpmc::learn::device_block::device_source;
use bpmc::learn::language::device::device_stages;
use bpmc::learn::language::staged::Staged;
use bpmc::machine::device::BlockLimits;
use bpmc::step::autodiff::Options;
use bpmc::step::passes::{Pass, Selection};
use bpmc::step::{Compiled, Prepared};
use std::fmt::Write;
use std::path::Path;

/// The text of the file at `path`.
///
/// # Errors
/// Names the file.
pub fn read(path: &Path) -> Result<String, Failure> {
    let text = driver::read_text(path)
        .with_context(|| format!("cannot read the spec {}", path.display()))?;
    Ok(text)
}

/// Compiles the spec at `path`, its imports beside it.
///
/// # Errors
/// Where the file cannot be read; what is wrong with the spec is in the compilation.
pub fn compile(path: &Path, set: &[String]) -> Result<Compilation, Failure> {
    let text = read(path)?;
    let name = path.display().to_string();
    driver::compile(&name, &text, set, &driver::from_disk)
        .map_err(|fault| Failure::Run(anyhow::Error::new(fault)))
}

/// Shows what was found, and goes on only where there is no error.
///
/// # Errors
/// [`Failure::Reported`].
pub fn program<'a>(compilation: &'a Compilation, screen: &Screen) -> Result<&'a Compiled, Failure> {
    screen.show(&compilation.diagnostics, &compilation.sources);
    compilation.program.as_ref().ok_or(Failure::Reported)
}

/// Steps and lanes of an iteration: those of the task and the `train` block, 1 where there is none.
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
    (steps, setting("batch").unwrap_or(1))
}

/// Steps of an episode, where the spec says so: those of its task or of its `train` block.
pub fn episode(model: &Model) -> Option<usize> {
    let train = model.train.as_ref().map(|train| &train.settings);
    let named = train.is_some_and(|settings| settings.iter().any(|(name, _)| name == "steps"));
    (model.task.is_some() || named).then(|| extent(model).0)
}

/// The step and its adjoint as they are trained.
///
/// # Errors
/// Faults of the compiler.
pub fn prepare(program: &Compiled, passes: &Selection) -> Result<Prepared, Failure> {
    prepare_through(program, passes, None)
}

/// As [`prepare`], up to and with the pass `last` where one is given.
///
/// # Errors
/// Faults of the compiler.
pub fn prepare_through(
    program: &Compiled,
    passes: &Selection,
    last: Option<&Pass>,
) -> Result<Prepared, Failure> {
    let episode = episode(&program.model);
    bpmc::step::prepare_through(&program.step, Options::default(), passes, episode, last)
        .map_err(|fault| Failure::Run(anyhow::Error::new(fault)))
}

/// The kernels as text: those of a lane, or those of each stage where a text is read.
///
/// # Errors
/// Faults of the compiler, and networks that the fused kernels do not know.
pub fn kernels(program: &Compiled, passes: &Selection) -> Result<String, Failure> {
    if reads_text(&program.model) {
        let staged = Staged::new(&program.step, passes).map_err(anyhow::Error::new)?;
        return Ok(staged.listing());
    }
    let prepared = prepare(program, passes)?;
    let fused = Fused::with(&prepared.step, &prepared.adjoint, prepared.choices);
    Ok(fused.map_err(anyhow::Error::new)?.listing())
}

/// The kernels as CUDA C.
///
/// # Errors
/// Faults of the compiler, and networks that the kernels do not know.
pub fn cuda(program: &Compiled, passes: &Selection) -> Result<String, Failure> {
    if reads_text(&program.model) {
        let stages = device_stages(program, passes, BlockLimits::H100);
        return Ok(stages.map_err(anyhow::Error::new)?.listing());
    }
    let prepared = prepare(program, passes)?;
    let source = device_source(program, &prepared, BlockLimits::H100);
    Ok(source.map_err(anyhow::Error::new)?.text)
}

/// Whether a language model is trained.
pub fn reads_text(model: &Model) -> bool {
    let kind = model.train.as_ref().map(|train| train.trainer.kind);
    let text = model.task.as_ref().is_some_and(|task| task.ports.is_text);
    text && kind == Some(TrainerKind::Language)
}

/// The plan of a run on all cores, with the time of an iteration, and the form of each trace.
///
/// # Errors
/// Faults of the compiler, and networks that the fused kernels do not know.
pub fn plan(program: &Compiled, passes: &Selection) -> Result<String, Failure> {
    let prepared = prepare(program, passes)?;
    let step = &prepared.step;
    let fused =
        Fused::with(step, &prepared.adjoint, prepared.choices).map_err(anyhow::Error::new)?;
    let (steps, lanes) = extent(&program.model);
    let settings = program.model.train.as_ref().map(|train| &train.settings);
    let limits = Limits {
        free: bpmc::machine::memory::free(),
        allowed: settings.and_then(|settings| settings.bytes("memory")),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let plan = Plan::lane_major(step, &fused, lanes, steps, threads, limits);
    let mut forms = String::new();
    for form in &prepared.forms {
        writeln!(forms, "{form}").expect("writing to a string");
    }
    if !forms.is_empty() {
        forms.insert(0, '\n');
    }
    if let Some(refusal) = plan.refusal(limits) {
        return Ok(format!("{}{forms}\n{refusal}\n", plan.print(None)));
    }
    let extent = (lanes, steps);
    let seconds = seconds_per_iteration(step, &fused, 0, extent, plan.running())
        .map_err(anyhow::Error::new)?;
    Ok(plan.print(Some(seconds)) + &forms)
}
