//! A training run in its directory.
//!
//! | file | what |
//! |---|---|
//! | `spec.bpm` | the spec with its imports, in one text |
//! | `run.yaml` | the [`Manifest`] |
//! | `metrics.jsonl`, `metrics.csv` | a record every `metrics_every` iterations and after the last: means over the iterations since the record before |
//! | `events.out.tfevents.*` | the same for TensorBoard, where asked for |
//! | `init.safetensors` | the first parameters, if they were given |
//! | `arrays/` | copies of the files that first values come from |
//! | `outline.safetensors` | names and shapes of the arrays of sequences, so that the network can be used without them |
//! | `checkpoints/` | all that is needed to go on, every `checkpoint_every` iterations and at the end: the last few, and the best |
//! | `log.txt` | what happened when |
//!
//! On the CPU the same spec and seed give the same bytes in metrics (timing apart) and checkpoints, whatever the
//! number of threads and wherever a run was interrupted, killed and resumed.

mod arrays;
mod best;
mod directory;
mod error;
mod go_on;
mod init;
mod log;
mod manifest;
mod non_finite;
mod opened;
mod spec;
mod store;
mod window;

use directory::Contents;
pub use directory::{RunLocation, MANIFEST, METRICS, METRICS_TABLE, SPEC, VOCABULARY};
pub use error::RunError;
pub use init::{Init, InitFrom, INIT};
pub use log::LOG;
pub use manifest::{Earlier, Incident, Manifest, OnNan, Status, Test};
pub use opened::{open, open_apart, OpenedRun};
pub use spec::{hash, merged};
pub use store::{checkpoints, find_checkpoint, Which, BEST, CHECKPOINTS};

use super::metrics::MetricsWriter;
use crate::driver::Compilation;
use crate::engine::device::MOST;
use crate::engine::BackendError;
use crate::ir::Draw;
use crate::lab::lock::Lock;
use crate::lang::sema::model::Model;
use crate::learn::checkpoint::{BestTracker, Checkpoint};
use crate::learn::replace::{clear_temporaries, replace};
use crate::learn::text::Part;
use crate::learn::trainer::{BackendKind, IterationReport, TrainError, Trainer, TrainerOptions};
use crate::machine::device::DeviceChoice;
use crate::step::passes::Selection;
use log::Log;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use store::{CheckpointStore, Schedule};
use window::Window;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The path of the spec, as it was given.
    pub spec: String,
    /// The overrides that the spec was compiled with.
    pub overrides: Vec<String>,
    /// The location of the run directory.
    pub location: RunLocation,
    /// True to continue an existing run.
    pub resume: bool,
    /// The permission for a continued run to have other settings of `train` than before. More iterations are allowed
    /// without it.
    pub change: bool,
    /// The number of threads that share the lanes.
    pub threads: usize,
    /// The backend that runs the step.
    pub backend: BackendKind,
    /// The device.
    pub device: DeviceChoice,
    /// The optimization passes over the step and its adjoint.
    pub passes: Selection,
    /// The memory limit in bytes; a run that needs more is refused.
    pub memory: Option<u64>,
    /// The reaction to non-finite numbers.
    pub on_nan: OnNan,
    /// True to write TensorBoard events.
    pub tensorboard: bool,
    /// The parameters to start from, if not those of the spec.
    pub init: Option<Init>,
    /// The directory of the text, if it is read from files.
    pub data: Option<PathBuf>,
}

impl RunOptions {
    /// The options of the trainer.
    pub fn trainer(&self) -> TrainerOptions {
        TrainerOptions {
            threads: self.threads,
            backend: self.backend,
            device: self.device,
            passes: self.passes,
            memory: self.memory,
        }
    }
}

/// The end of [`Run::train`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All iterations are done.
    Finished,
    /// The validation loss did not improve any more.
    Settled,
    /// The run was asked to stop.
    Interrupted,
}

/// A run with its directory.
pub struct Run {
    directory: PathBuf,
    manifest: Manifest,
    trainer: Trainer,
    window: Window,
    best: BestTracker,
    store: CheckpointStore,
    log: Option<Log>,
    metrics_every: u64,
    tensorboard: bool,
    /// The state at iteration 0, if the run may have to return to it.
    first: Option<Checkpoint>,
    /// The lock that keeps other processes out of the directory.
    lock: Option<Lock>,
}

impl Run {
    /// Creates the trainer, and creates the directory or finds the one to resume.
    ///
    /// # Errors
    /// [`RunError`]. Nothing is written if the run cannot start.
    pub fn prepare(compilation: &Compilation, options: &RunOptions) -> Result<Run, RunError> {
        let program = compilation
            .program
            .as_ref()
            .ok_or_else(|| RunError::Broken(PathBuf::from(&options.spec)))?;
        let trainer = Trainer::with_data(program, options.trainer(), options.data.as_deref())?;
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
            files: spec::files(model),
            file_hashes: spec::file_hashes(model),
            seed: trainer.seed(),
            device: options.device.to_string(),
            backend: options.backend.name().to_owned(),
            passes: options.passes.to_string(),
            threads: options.threads,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: Some(manifest::machine()),
            started: manifest::now(),
            ended: None,
            status: Status::Running,
            iterations: 0,
            iterations_planned: trainer.planned(),
            data: options.data.as_ref().map(|path| path.display().to_string()),
            init: None,
            test: None,
            on_nan: options.on_nan,
            history: Vec::new(),
            not_finite: Vec::new(),
            error: None,
        };
        let schedule = Schedule {
            every: setting("checkpoint_every"),
            planned: manifest.iterations_planned,
            epochs: trainer.epoch_ends(),
            validations: trainer.epochs(),
        };
        let keep = setting("keep_checkpoints").max(1) as usize;
        let measure = BestTracker::measure(&trainer);
        let mut run = Run {
            directory: PathBuf::new(),
            store: CheckpointStore::new(Path::new(""), keep, schedule.clone(), measure),
            manifest,
            trainer,
            window: Window::default(),
            best: BestTracker::new(),
            log: None,
            metrics_every: setting("metrics_every").max(1),
            tensorboard: options.tensorboard,
            first: None,
            lock: None,
        };
        if options.resume {
            run.directory = directory::find(&options.location, run.manifest.seed)?;
            run.lock = Some(Lock::take(&run.directory)?);
            run.store = CheckpointStore::new(&run.directory, keep, schedule.clone(), measure);
            // Before all that depends on the length of the text.
            run.vocabulary(true)?;
            let kept = arrays::keep(&run.directory, model)?;
            run.manifest.files.extend(kept);
            run.go_on(model, options.change)?;
        } else {
            let first = options
                .init
                .as_ref()
                .map(|init| run.start_from(init, model))
                .transpose()?;
            let spec = merged(compilation);
            let outline = run.trainer.outline();
            let contents = Contents {
                spec: &spec,
                model,
                outline,
            };
            let (directory, lock) =
                directory::claim(&options.location, &mut run.manifest, &contents)?;
            run.lock = Some(lock);
            run.store = CheckpointStore::new(&directory, keep, schedule.clone(), measure);
            run.directory = directory;
            if let Some(first) = first {
                first.write(&run.path(INIT))?;
            }
            run.vocabulary(false)?;
        }
        if options.on_nan == OnNan::Rollback && run.trainer.iteration() == 0 {
            run.first = Some(run.here()?);
        }
        Ok(run)
    }

    /// Takes first parameters from a file, and returns the state before the first iteration.
    fn start_from(&mut self, init: &Init, model: &Model) -> Result<Checkpoint, RunError> {
        let mut first = self.here()?;
        let written = model.params.iter().filter(|slot| {
            let has_values = matches!(slot.init, Draw::Given(_) | Draw::Constant(_));
            !slot.trained && has_values
        });
        let written: Vec<&str> = written.map(|slot| slot.path.as_str()).collect();
        self.manifest.init = Some(init.read_into(&mut first, &written)?);
        self.trainer.restore(&first)?;
        Ok(first)
    }

    /// A checkpoint of the current state.
    fn here(&self) -> Result<Checkpoint, RunError> {
        let (name, hash) = (&self.manifest.name, &self.manifest.spec_hash);
        let mut checkpoint = self.trainer.checkpoint(name, hash)?;
        checkpoint.header.pending = self.window.pending();
        checkpoint.header.standing = Some(self.best.clone());
        Ok(checkpoint)
    }

    fn log(&mut self, line: &str) -> Result<(), RunError> {
        match &mut self.log {
            Some(log) => log.line(line),
            None => Ok(()),
        }
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

    /// The run directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Trains until all iterations are done. If `stop` is set, training ends after the current iteration.
    /// `observe` is called after each iteration.
    ///
    /// # Errors
    /// [`RunError`]; the last checkpoint is unchanged, and the manifest states the error.
    pub fn train(
        &mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&IterationReport, Duration),
    ) -> Result<Ending, RunError> {
        let ending = self.iterate(stop, observe);
        let how = match &ending {
            Ok(Ending::Finished | Ending::Settled) => "finished".to_owned(),
            Ok(Ending::Interrupted) => "interrupted".to_owned(),
            Err(error) => format!("failed: {error}"),
        };
        // The error that stopped the run matters more than a log that cannot be written.
        let _ = self.log(&format!(
            "{how}, after iteration {}",
            self.trainer.iteration()
        ));
        self.manifest.ended = Some(manifest::now());
        self.manifest.iterations = self.trainer.iteration();
        self.manifest.status = match &ending {
            Ok(Ending::Finished | Ending::Settled) => Status::Finished,
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
        clear_temporaries(&self.directory)
            .map_err(|e| RunError::file("write", &self.directory, e))?;
        self.store.open()?;
        self.log = Some(Log::open(&self.directory)?);
        let done = self.trainer.iteration();
        self.log(&format!(
            "{} with bpmc {}, {} on {} threads, process {}",
            if done == 0 {
                "started".to_owned()
            } else {
                format!("resumed after iteration {done}")
            },
            self.manifest.version,
            self.manifest.backend,
            self.manifest.threads,
            std::process::id()
        ))?;
        let mut metrics = self.metrics()?;
        self.write_manifest()?;
        let mut reports = Vec::new();
        let validates = best::validates(&self.trainer);
        while self.trainer.iteration() < planned
            && !self.has_settled()
            && !stop.load(Ordering::Relaxed)
        {
            let advanced = self.trainer.advance(self.until_needed(), &mut reports);
            for report in reports.drain(..) {
                self.window.add(&report);
                self.best.add(&report, validates);
                let done = report.iteration;
                let epoch_ends = report.validation.is_some();
                if done.is_multiple_of(self.metrics_every) || done == planned || epoch_ends {
                    let seconds = recorded.elapsed().as_secs_f64();
                    recorded = Instant::now();
                    let iterations = self.window.iterations() as f64;
                    // A run that is given more iterations later goes on with the sums since the last regular record.
                    let regular = done.is_multiple_of(self.metrics_every) || epoch_ends;
                    let record = self.window.record(&report, validates);
                    if regular {
                        self.window = Window::default();
                    }
                    metrics.write(
                        &record
                            .time("seconds", started.elapsed().as_secs_f64())
                            .time("seconds_per_iteration", seconds / iterations),
                    )?;
                }
                metrics.tick()?;
                observe(&report, started.elapsed());
            }
            match advanced {
                Ok(()) => {}
                Err(TrainError::NotFinite { iteration, what }) => {
                    // Only one writer at a time may have the files open.
                    metrics.flush()?;
                    drop(metrics);
                    self.not_finite(iteration, &what)?;
                    metrics = self.metrics()?;
                    self.write_manifest()?;
                }
                Err(error) => {
                    // All is as before the iteration.
                    if matches!(error, TrainError::Backend(BackendError::Environment(_))) {
                        self.checkpoint(&mut metrics)?;
                    }
                    return Err(error.into());
                }
            }
            let done = self.trainer.iteration();
            if self.store.is_scheduled(done) && done < planned {
                self.checkpoint(&mut metrics)?;
                self.manifest.iterations = done;
                self.write_manifest()?;
            }
        }
        self.checkpoint(&mut metrics)?;
        if self.trainer.iteration() == planned {
            self.manifest.test = self.test()?;
        }
        if self.has_settled() {
            self.log(&format!(
                "settled: no lower validation loss than {:.6}",
                self.best.lowest.unwrap_or(f64::NAN)
            ))?;
            return Ok(Ending::Settled);
        }
        if self.trainer.iteration() < planned {
            Ok(Ending::Interrupted)
        } else {
            Ok(Ending::Finished)
        }
    }

    /// Tells if the validation loss has not improved for as long as the spec has patience.
    fn has_settled(&self) -> bool {
        let patience = self.trainer.epochs().map_or(0, |epochs| epochs.patience());
        patience > 0 && self.best.since >= patience
    }

    /// The number of iterations until a record or a checkpoint is due.
    fn until_needed(&self) -> u64 {
        let done = self.trainer.iteration();
        let record = self.metrics_every - done % self.metrics_every;
        let most = record.min(MOST as u64);
        let needed = |k: &u64| self.store.is_scheduled(done + k);
        (1..most).find(needed).unwrap_or(most)
    }

    /// The loss on the test text with the best parameters, if the task reads a text.
    fn test(&mut self) -> Result<Option<Test>, RunError> {
        if self.trainer.chunks().is_none() {
            return Ok(None);
        }
        let path = find_checkpoint(&self.directory, Which::Best)
            .or_else(|_| find_checkpoint(&self.directory, Which::Last))?;
        let (best, last) = (Checkpoint::read(&path)?, self.here()?);
        self.trainer.restore_parameters(&best)?;
        let found = self.trainer.perplexity(Part::Test)?;
        self.trainer.restore_parameters(&last)?;
        Ok(found.map(|found| Test {
            perplexity: found.value(),
            bits_per_word: found.bits(),
            words: found.words,
            iteration: best.header.iteration,
        }))
    }

    /// Writes the vocabulary of a text into the directory of a new run, or compares it with that of the run
    /// to resume.
    fn vocabulary(&self, resume: bool) -> Result<(), RunError> {
        let Some(model) = self.trainer.language() else {
            return Ok(());
        };
        let path = self.path(VOCABULARY);
        let words = model.corpus().vocabulary.to_text();
        if !resume {
            return replace(&path, words.as_bytes()).map_err(|e| RunError::file("write", &path, e));
        }
        let earlier =
            std::fs::read_to_string(&path).map_err(|e| RunError::file("read", &path, e))?;
        if earlier != words {
            return Err(self.different(format!(
                "its vocabulary is not that of {}; give the same text with `--data`",
                model.corpus().source
            )));
        }
        Ok(())
    }

    /// The writer of metrics, cut to the trainer's iteration. The record of an end that is no longer the end
    /// is cut off, because its iterations belong to the next record.
    fn metrics(&self) -> Result<MetricsWriter, RunError> {
        let done = self.trainer.iteration();
        let ends = done == self.manifest.iterations_planned;
        let done = done - if ends { 0 } else { self.window.iterations() };
        let metrics = MetricsWriter::resume(&self.path(METRICS), done)?
            .with_table(&self.path(METRICS_TABLE), done)?;
        Ok(if self.tensorboard {
            metrics.with_events(&self.directory, done)?
        } else {
            metrics
        })
    }

    /// Writes the metrics so far and then the checkpoint, so that a resumed run lacks no record.
    fn checkpoint(&mut self, metrics: &mut MetricsWriter) -> Result<(), RunError> {
        metrics.sync()?;
        let done = self.trainer.iteration();
        if self.store.is_scheduled(done) {
            let only = !self.store.is_regular(done);
            self.best.note(done, self.trainer.has_rewards(), only);
        }
        self.store.put(&self.here()?)?;
        self.log(&format!("checkpoint of iteration {done}"))
    }

    fn write_manifest(&self) -> Result<(), RunError> {
        let path = self.path(MANIFEST);
        self.manifest
            .to_yaml()
            .and_then(|text| replace(&path, text.as_bytes()))
            .map_err(|e| RunError::file("write", &path, e))
    }
}
