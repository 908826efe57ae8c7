//! A training run in its directory.
//!
//! | file | what |
//! |---|---|
//! | `spec.bpm` | the spec with its imports, in one text |
//! | `run.yaml` | the [`Manifest`] |
//! | `metrics.jsonl` | a record every `metrics_every` iterations and after the last: means over the iterations since the record before |
//! | `checkpoint.safetensors` | all that is needed to go on, every `checkpoint_every` iterations and at the end |
//!
//! On the CPU the same spec and seed give the same bytes in the last two, timing apart, whatever the number of
//! threads and wherever a run was interrupted and resumed.

mod directory;
mod manifest;
mod spec;
mod window;

pub use directory::{Place, CHECKPOINT, MANIFEST, METRICS, SPEC};
pub use manifest::{Manifest, Status};
pub use spec::{hash, merged};

use super::checkpoint::{Checkpoint, CheckpointError};
use super::metrics::{MetricsError, MetricsWriter};
use super::trainer::{BackendKind, IterationReport, TrainError, Trainer, TrainerOptions};
use crate::driver::{self, Compilation, InternalFault};
use crate::lock::{Lock, LockError};
use crate::passes::Selection;
use crate::replace::replace;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use window::Window;

/// Why a run could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The trainer failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The metrics could not be written.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The compiler failed.
    #[error(transparent)]
    Internal(#[from] InternalFault),
    /// A file or directory of the run.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The directory is that of another run.
    #[error("{} already holds a run; choose another directory, or go on with that run with `--resume`", .0.display())]
    Taken(PathBuf),
    /// Another process trains it, or its lock cannot be made.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no run to go on with.
    #[error("there is no run in {}: it has no `run.yaml`", .0.display())]
    NothingThere(PathBuf),
    /// The run to go on with is another one.
    #[error("{} is another run: {difference}", path.display())]
    Different {
        /// Its directory.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// The spec of a run does not compile any more.
    #[error("{} has errors; `bpmc check` shows them", .0.display())]
    Broken(PathBuf),
}

impl RunError {
    fn file(verb: &'static str, path: &Path, source: std::io::Error) -> RunError {
        RunError::File {
            verb,
            path: path.to_owned(),
            source,
        }
    }
}

/// What a run is started with.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Path of the spec as it was given.
    pub spec: String,
    /// The overrides it was compiled with.
    pub overrides: Vec<String>,
    /// Where to put the run.
    pub place: Place,
    /// Go on with the run that is there.
    pub resume: bool,
    /// Threads that share the lanes.
    pub threads: usize,
    /// What runs the step.
    pub backend: BackendKind,
    /// How the step and its adjoint are optimised.
    pub passes: Selection,
    /// Refuse runs that need more bytes than this.
    pub memory: Option<u64>,
}

/// How [`Run::train`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All iterations are done.
    Finished,
    /// It was asked to stop.
    Interrupted,
}

/// A run with its directory.
pub struct Run {
    directory: PathBuf,
    manifest: Manifest,
    trainer: Trainer,
    window: Window,
    metrics_every: u64,
    checkpoint_every: u64,
    /// Keeps other processes out of the directory.
    lock: Option<Lock>,
}

impl Run {
    /// Makes the trainer, and the directory or finds the one to go on in.
    ///
    /// # Errors
    /// [`RunError`]. Nothing is written where the run cannot start.
    pub fn prepare(compilation: &Compilation, options: &RunOptions) -> Result<Run, RunError> {
        let program = compilation
            .program
            .as_ref()
            .ok_or_else(|| RunError::Broken(PathBuf::from(&options.spec)))?;
        let trainer = Trainer::new(
            program,
            TrainerOptions {
                threads: options.threads,
                backend: options.backend,
                passes: options.passes,
                memory: options.memory,
            },
        )?;
        let model = &program.model;
        let setting = |name: &str| {
            let train = model.train.as_ref();
            train.map_or(0, |train| train.settings.int(name) as u64)
        };
        let manifest = Manifest {
            spec: options.spec.clone(),
            name: model.name.clone(),
            spec_hash: hash(model),
            overrides: options.overrides.clone(),
            seed: trainer.seed(),
            device: "cpu".to_owned(),
            backend: options.backend.name().to_owned(),
            passes: options.passes.to_string(),
            threads: options.threads,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: manifest::now(),
            ended: None,
            status: Status::Running,
            iterations: 0,
            iterations_planned: setting("iterations"),
            error: None,
        };
        let mut run = Run {
            directory: PathBuf::new(),
            manifest,
            trainer,
            window: Window::default(),
            metrics_every: setting("metrics_every").max(1),
            checkpoint_every: setting("checkpoint_every"),
            lock: None,
        };
        if options.resume {
            run.find(&options.place, &crate::sema::dump(model))?;
        } else {
            run.directory = directory::claim(&options.place, &run.manifest)?;
            run.lock = Some(Lock::take(&run.directory)?);
            let path = run.directory.join(SPEC);
            std::fs::write(&path, merged(compilation))
                .map_err(|e| RunError::file("write", &path, e))?;
        }
        Ok(run)
    }

    /// Goes to the last checkpoint of the run at `place`, if it is this one.
    fn find(&mut self, place: &Place, dump: &str) -> Result<(), RunError> {
        self.directory = directory::find(place, self.manifest.seed)?;
        self.lock = Some(Lock::take(&self.directory)?);
        let earlier = self.read_manifest()?;
        let now = &self.manifest;
        for (what, then, now) in [
            ("bpmc", &earlier.version, &now.version),
            ("seed", &earlier.seed.to_string(), &now.seed.to_string()),
            ("backend", &earlier.backend, &now.backend),
            ("passes", &earlier.passes, &now.passes),
            ("device", &earlier.device, &now.device),
        ] {
            if then != now {
                return Err(self.different(format!("it ran with {what} {then}, not {now}")));
            }
        }
        if earlier.spec_hash != now.spec_hash {
            // The lines are a help only; without them the message still says what is wrong.
            let lines = open_with(&self.directory, &earlier)
                .ok()
                .and_then(|opened| opened.compilation.program)
                .map(|program| spec::difference(&crate::sema::dump(&program.model), dump))
                .unwrap_or_default();
            let mut message = "the spec has changed".to_owned();
            if earlier.overrides != now.overrides {
                message.push_str(", or its overrides: they were ");
                message.push_str(&match earlier.overrides.as_slice() {
                    [] => "none".to_owned(),
                    all => format!("`--set {}`", all.join(" --set ")),
                });
            }
            return Err(self.different(message + &lines));
        }
        let path = self.path(CHECKPOINT);
        if path.exists() {
            let checkpoint = Checkpoint::read(&path)?;
            let header = &checkpoint.header;
            if header.spec_hash != self.manifest.spec_hash || header.seed != self.manifest.seed {
                return Err(self.different("its checkpoint is of another spec or seed".to_owned()));
            }
            self.trainer.restore(&checkpoint)?;
            self.window = Window::restore(checkpoint.header.pending.as_ref());
        }
        self.manifest.started = earlier.started;
        self.manifest.spec = earlier.spec;
        self.manifest.iterations = self.trainer.iteration();
        Ok(())
    }

    fn read_manifest(&self) -> Result<Manifest, RunError> {
        let path = self.path(MANIFEST);
        Manifest::read(&path).map_err(|e| RunError::file("read", &path, e))
    }

    fn different(&self, difference: String) -> RunError {
        RunError::Different {
            path: self.directory.clone(),
            difference,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its trainer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Trains until all iterations are done or `stop` is set, which ends it after the iteration under way.
    /// `observe` is called after each iteration.
    ///
    /// # Errors
    /// [`RunError`]; the last checkpoint stays as it was, and the manifest says what happened.
    pub fn train(
        &mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&IterationReport, Duration),
    ) -> Result<Ending, RunError> {
        let ending = self.iterate(stop, observe);
        self.manifest.ended = Some(manifest::now());
        self.manifest.iterations = self.trainer.iteration();
        self.manifest.status = match &ending {
            Ok(Ending::Finished) => Status::Finished,
            Ok(Ending::Interrupted) => Status::Interrupted,
            Err(error) => {
                self.manifest.error = Some(error.to_string());
                Status::Failed
            }
        };
        let written = self.write_manifest();
        let ending = ending?;
        written?;
        Ok(ending)
    }

    fn iterate(
        &mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&IterationReport, Duration),
    ) -> Result<Ending, RunError> {
        let started = Instant::now();
        let mut recorded = started;
        let planned = self.manifest.iterations_planned;
        let mut metrics = MetricsWriter::resume(&self.path(METRICS), self.trainer.iteration())?;
        self.write_manifest()?;
        while self.trainer.iteration() < planned && !stop.load(Ordering::Relaxed) {
            let report = self.trainer.step()?;
            let done = report.iteration;
            self.window.add(&report);
            if done % self.metrics_every == 0 || done == planned {
                let seconds = recorded.elapsed().as_secs_f64();
                recorded = Instant::now();
                let iterations = self.window.iterations() as f64;
                let record = self.window.take(&report);
                metrics.write(
                    &record
                        .time("seconds", started.elapsed().as_secs_f64())
                        .time("seconds_per_iteration", seconds / iterations),
                )?;
            }
            metrics.tick()?;
            observe(&report, started.elapsed());
            if self.checkpoint_every > 0 && done % self.checkpoint_every == 0 && done < planned {
                self.checkpoint(&mut metrics)?;
                self.manifest.iterations = done;
                self.write_manifest()?;
            }
        }
        self.checkpoint(&mut metrics)?;
        if self.trainer.iteration() < planned {
            Ok(Ending::Interrupted)
        } else {
            Ok(Ending::Finished)
        }
    }

    /// Writes the metrics up to here and then the checkpoint, so that no record is missing where the run
    /// goes on.
    fn checkpoint(&mut self, metrics: &mut MetricsWriter) -> Result<(), RunError> {
        let values = self.trainer.parameters().iter();
        if !values.flat_map(|p| &p.values).all(|x| x.is_finite()) {
            return Err(RunError::Train(TrainError::NotFinite {
                iteration: self.trainer.iteration(),
                what: "value of some parameter",
            }));
        }
        metrics.flush()?;
        let (name, hash) = (&self.manifest.name, &self.manifest.spec_hash);
        let mut checkpoint = self.trainer.checkpoint(name, hash);
        checkpoint.header.pending = self.window.pending();
        checkpoint.write(&self.path(CHECKPOINT))?;
        Ok(())
    }

    fn write_manifest(&self) -> Result<(), RunError> {
        let path = self.path(MANIFEST);
        self.manifest
            .to_yaml()
            .and_then(|text| replace(&path, text.as_bytes()))
            .map_err(|e| RunError::file("write", &path, e))
    }
}

/// A run read from its directory.
pub struct OpenedRun {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its spec, compiled with its overrides.
    pub compilation: Compilation,
}

/// Reads manifest and spec of the run in `directory`.
///
/// # Errors
/// Where there is none, or a file cannot be read. What is wrong with the spec is in the compilation.
pub fn open(directory: &Path) -> Result<OpenedRun, RunError> {
    let path = directory.join(MANIFEST);
    if !path.is_file() {
        return Err(RunError::NothingThere(directory.to_owned()));
    }
    let manifest = Manifest::read(&path).map_err(|e| RunError::file("read", &path, e))?;
    open_with(directory, &manifest)
}

fn open_with(directory: &Path, manifest: &Manifest) -> Result<OpenedRun, RunError> {
    let path = directory.join(SPEC);
    let text = driver::read_text(&path).map_err(|e| RunError::file("read", &path, e))?;
    let name = path.display().to_string();
    let compilation = driver::compile(&name, &text, &manifest.overrides, &driver::from_disk)?;
    Ok(OpenedRun {
        manifest: manifest.clone(),
        compilation,
    })
}
