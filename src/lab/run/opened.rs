//! Runs opened for inspection, not for training: manifest, spec, and any state the run has passed through.

use super::arrays::OUTLINE;
use super::{find_checkpoint, init, Manifest, OnNan, RunError, Which, MANIFEST, SPEC};
use crate::driver::{self, Compilation};
use crate::engine::params::ParamStore;
use crate::lang::settings::SettingValue;
use crate::learn::checkpoint::Checkpoint;
use crate::learn::trainer::{BackendKind, TrainError, Trainer, TrainerOptions};
use crate::machine::device::DeviceChoice;
use crate::step::passes::Selection;
use crate::step::{reads_text, Compiled};
use std::path::{Path, PathBuf};

/// A run read from its directory.
pub struct OpenedRun {
    /// The run directory.
    pub directory: PathBuf,
    /// The manifest.
    pub manifest: Manifest,
    /// The spec, compiled with the overrides of the run.
    pub compilation: Compilation,
}

/// Reads manifest and spec of the run in `directory`.
///
/// # Errors
/// Fails if there is no run, or a file cannot be read. Errors in the spec are in the compilation.
pub fn open(directory: &Path) -> Result<OpenedRun, RunError> {
    let path = directory.join(MANIFEST);
    if !path.is_file() {
        return Err(RunError::NothingThere(directory.to_owned()));
    }
    let manifest = Manifest::read(&path).map_err(|e| RunError::file("read", &path, e))?;
    open_with(directory, &manifest)
}

pub(super) fn open_with(directory: &Path, manifest: &Manifest) -> Result<OpenedRun, RunError> {
    compiled(directory, manifest, &manifest.all_overrides(directory))
}

/// Reads the run in `directory` for uses of its network that need none of the data it was trained on: only their outline,
/// which is in the directory.
///
/// # Errors
/// Fails as [`open`] does.
pub fn open_apart(directory: &Path) -> Result<OpenedRun, RunError> {
    let path = directory.join(MANIFEST);
    let outline = directory.join(OUTLINE);
    if !path.is_file() || !outline.is_file() {
        return open(directory);
    }
    let mut manifest = Manifest::read(&path).map_err(|e| RunError::file("read", &path, e))?;
    let whole = manifest.clone();
    let outline = std::path::absolute(&outline).unwrap_or(outline);
    for part in ["task.train", "task.valid", "task.test"] {
        if let Some(file) = manifest.files.get_mut(part) {
            *file = outline.display().to_string();
        }
    }
    let mut opened = compiled(directory, &manifest, &manifest.all_overrides(directory))?;
    opened.manifest = whole;
    Ok(opened)
}

fn compiled(
    directory: &Path,
    manifest: &Manifest,
    overrides: &[String],
) -> Result<OpenedRun, RunError> {
    let path = directory.join(SPEC);
    let text = driver::read_text(&path).map_err(|e| RunError::file("read", &path, e))?;
    let name = path.display().to_string();
    let compilation = driver::compile(&name, &text, overrides, &driver::from_disk)?;
    Ok(OpenedRun {
        directory: directory.to_owned(),
        manifest: manifest.clone(),
        compilation,
    })
}

impl OpenedRun {
    /// The program of the run.
    ///
    /// # Errors
    /// [`RunError::Broken`] if the spec has errors.
    pub fn program(&self) -> Result<&Compiled, RunError> {
        let program = self.compilation.program.as_ref();
        program.ok_or_else(|| RunError::Broken(self.directory.join(SPEC)))
    }

    /// The trainer options of the run, but on the CPU: a run can be inspected without its GPU. Passes that
    /// this version of bpmc does not know are replaced by the default.
    pub fn options(&self, threads: usize) -> TrainerOptions {
        TrainerOptions {
            threads,
            backend: BackendKind::parse(&self.manifest.backend).unwrap_or_default(),
            device: DeviceChoice::CPU,
            passes: self.passes(),
            memory: crate::machine::memory::free(),
        }
    }

    /// Has a task that reads files take its test from the file at `path`. Nothing happens where the task reads a text.
    ///
    /// # Errors
    /// The name of the task, if it reads no files.
    pub fn test_on(&mut self, path: &Path) -> Result<(), &'static str> {
        let program = self.compilation.program.as_mut();
        let Some(program) = program.filter(|program| !reads_text(&program.model)) else {
            return Ok(());
        };
        let Some(task) = &mut program.model.task else {
            return Ok(());
        };
        if task.ports.sequences.is_none() {
            return Err(task.info.name);
        }
        let file = SettingValue::File(Some(path.into()));
        task.settings.set("test", file);
        Ok(())
    }

    /// The passes of the run.
    pub fn passes(&self) -> Selection {
        self.manifest.passes.parse().unwrap_or_default()
    }

    /// Reads one checkpoint.
    ///
    /// # Errors
    /// Fails if the run has no such checkpoint, or it is damaged or belongs to another run.
    pub fn checkpoint(&self, which: Which) -> Result<Checkpoint, RunError> {
        let path = find_checkpoint(&self.directory, which)?;
        let checkpoint = Checkpoint::read(&path)?;
        let header = &checkpoint.header;
        if !self.manifest.wrote(header.iteration, &header.spec_hash) {
            return Err(RunError::Different {
                path: self.directory.clone(),
                difference: format!(
                    "{} is a checkpoint of another spec:\n  then  spec {}\n  now   spec {}",
                    path.display(),
                    checkpoint.header.spec_hash,
                    self.manifest.spec_hash
                ),
            });
        }
        Ok(checkpoint)
    }

    /// The parameters of a checkpoint, by slot of the step.
    ///
    /// # Errors
    /// Fails if they do not fit the spec.
    pub fn parameters(&self, checkpoint: &Checkpoint) -> Result<Vec<Vec<f64>>, RunError> {
        let mut store = ParamStore::init(&self.program()?.step.params, self.manifest.seed);
        checkpoint.restore_parameters(&mut store)?;
        Ok(store.wide())
    }

    /// The state of the run before iteration `iteration` (counted from 1). It is bit-identical to the run's
    /// own, because the run is trained again from the last checkpoint before it. Nothing is written.
    /// `observe` is told the number of iterations done.
    ///
    /// # Errors
    /// Fails if the run has not reached that iteration, or cannot be trained.
    pub fn before_iteration(
        &self,
        iteration: u64,
        threads: usize,
        observe: &mut dyn FnMut(u64),
    ) -> Result<Checkpoint, RunError> {
        let all = super::checkpoints(&self.directory)?;
        let done = all.last().map_or(0, |(last, _)| *last);
        let reached = done.max(self.manifest.iterations) + 1;
        let most = reached.min(self.manifest.iterations_planned.max(1));
        if iteration == 0 || iteration > most {
            return Err(RunError::NoIteration {
                path: self.directory.clone(),
                iteration,
                most,
            });
        }
        let before = all.iter().rev().find(|(at, _)| *at < iteration);
        let before = before.map(|(at, _)| self.checkpoint(Which::At(*at)));
        let mut state = before.transpose()?;
        // Each part of the run is trained again with its own settings.
        loop {
            let done = state.as_ref().map_or(0, |state| state.header.iteration);
            let mut ends = self.manifest.history.iter().map(|part| part.until);
            let end = ends.find(|end| *end > done).unwrap_or(iteration);
            let end = end.min(iteration - 1);
            let part = self.as_of(done + 1)?;
            let trained = part.trained_to(end, state.as_ref(), threads, observe)?;
            if end == iteration - 1 {
                return Ok(trained);
            }
            state = Some(trained);
        }
    }

    /// The run with the settings that iteration `iteration` was trained with.
    ///
    /// # Errors
    /// Fails if the spec cannot be read.
    pub fn as_of(&self, iteration: u64) -> Result<OpenedRun, RunError> {
        open_with(&self.directory, &self.manifest.at(iteration))
    }

    /// Trains from a checkpoint, or from the beginning, until `end` iterations are done.
    fn trained_to(
        &self,
        end: u64,
        from: Option<&Checkpoint>,
        threads: usize,
        observe: &mut dyn FnMut(u64),
    ) -> Result<Checkpoint, RunError> {
        let data = self.manifest.data.as_deref().map(Path::new);
        let mut trainer = Trainer::with_data(self.program()?, self.options(threads), data)?;
        let first = init::first(&self.directory)?;
        if let Some(checkpoint) = from.or(first.as_ref()) {
            trainer.restore(checkpoint)?;
        }
        while trainer.iteration() < end {
            let next = trainer.iteration() + 1;
            match trainer.step() {
                Ok(_) => {}
                Err(TrainError::NotFinite { .. }) if self.was_skipped(next) => trainer.skip(),
                Err(error) => return Err(error.into()),
            }
            observe(trainer.iteration());
        }
        Ok(trainer.checkpoint(&self.manifest.name, &self.manifest.spec_hash)?)
    }

    fn was_skipped(&self, iteration: u64) -> bool {
        let mut incidents = self.manifest.not_finite.iter();
        incidents.any(|incident| incident.iteration == iteration && incident.done == OnNan::Skip)
    }
}
