//! Going on with a run from its last checkpoint: the same experiment, to the planned iterations or to more, and
//! with `--change` under other settings of `train`.

use super::manifest::{now, Earlier};
use super::window::Window;
use super::{init, opened, spec, OnNan, Run, RunError, INIT};
use crate::lang::catalog::TrainerKind;
use crate::lang::sema::model::TrainModel;
use crate::lang::sema::{dump, Model};
use crate::learn::checkpoint::{BestTracker, Checkpoint};
use std::fmt::Write;

/// A setting that a run went on with another value of.
struct Change {
    /// The path, as in `--set`.
    path: String,
    then: String,
    now: String,
    /// The mark of a change that needs no permission: the iterations so far would have been the same.
    free: bool,
    /// The reason why no run can change it, as a clause.
    fixed: Option<&'static str>,
}

impl Change {
    fn line(&self) -> String {
        format!("{}: {} -> {}", self.path, self.then, self.now)
    }
}

/// The lines of an error about changes.
fn lines<'a>(changes: impl Iterator<Item = &'a Change>) -> String {
    let mut text = String::new();
    for change in changes {
        write!(text, "\n  {}", change.line()).expect("writing to a string");
    }
    text
}

/// The settings of `train` that differ.
fn changes(then: &TrainModel, now: &TrainModel) -> Vec<Change> {
    let mut found = Vec::new();
    // A rate that falls until the end of the run was another one before.
    let falls_to_the_end = then.trainer.kind != TrainerKind::Language
        && [then, now]
            .iter()
            .any(|train| train.settings.word("rate") == "cosine");
    let mut differ = |path: String, then: String, now: String| {
        if then != now {
            let length = matches!(path.as_str(), "train.iterations" | "train.epochs");
            let free = length && !falls_to_the_end;
            let fixed = fixed(&path, now == NO_LIMIT);
            found.push(Change {
                path,
                then,
                now,
                free,
                fixed,
            });
        }
    };
    let (trainers, optimizers) = ((then.trainer, now.trainer), (then.optimizer, now.optimizer));
    differ(
        "train".to_owned(),
        trainers.0.name.to_owned(),
        trainers.1.name.to_owned(),
    );
    differ(
        "train.optimizer".to_owned(),
        optimizers.0.name.to_owned(),
        optimizers.1.name.to_owned(),
    );
    let tables = [
        ("train", &then.settings, &now.settings),
        (
            "train.optimizer",
            &then.optimizer_settings,
            &now.optimizer_settings,
        ),
    ];
    for (prefix, then, now) in tables {
        for (name, value) in now.iter() {
            let before = then.iter().find(|(other, _)| *other == name);
            let before = before.map_or("none".to_owned(), |(_, value)| value.to_string());
            differ(format!("{prefix}.{name}"), before, value.to_string());
        }
    }
    if now.trainer.kind == TrainerKind::Language {
        for change in found
            .iter_mut()
            .filter(|change| change.path == "train.batch")
        {
            change.fixed = Some("the place in the text is counted in chunks of all lanes");
        }
    }
    found
}

/// The text for a size without a limit, which no override can say.
const NO_LIMIT: &str = "no limit";

/// The reason why a run cannot change a setting, as a clause.
fn fixed(path: &str, without_limit: bool) -> Option<&'static str> {
    match path {
        "train" => Some("outputs and loss belong to the trainer"),
        "train.optimizer" => Some("the checkpoint holds the moments of the optimizer"),
        "train.chunk" => Some("the place in the sequences is counted in chunks"),
        "train.seed" => Some("all random numbers of the run are drawn from it"),
        _ if without_limit => Some("a limit can only be replaced by another limit"),
        _ => None,
    }
}

impl Run {
    /// Restores the last checkpoint in the directory, if it belongs to this run, and notes changed settings.
    pub(super) fn go_on(&mut self, model: &Model, may_change: bool) -> Result<(), RunError> {
        let earlier = self.read_manifest()?;
        let now_is = &self.manifest;
        for (what, then, now) in [
            ("bpmc", &earlier.version, &now_is.version),
            ("backend", &earlier.backend, &now_is.backend),
            ("passes", &earlier.passes, &now_is.passes),
            ("device", &earlier.device, &now_is.device),
        ] {
            if then != now {
                return Err(self.different(format!("it ran with {what} {then}, not {now}")));
            }
        }
        let mut changes = Vec::new();
        if earlier.spec_hash != self.manifest.spec_hash {
            changes = self.changed_settings(&earlier, model, may_change)?;
        }
        self.manifest.history.clone_from(&earlier.history);
        // The spec in the directory stays as it is, so its overrides say what changed.
        self.manifest.overrides.clone_from(&earlier.overrides);
        if !changes.is_empty() {
            self.manifest.history.push(Earlier {
                until: u64::MAX,
                changed: now(),
                settings: changes.iter().map(Change::line).collect(),
                overrides: earlier.overrides.clone(),
                spec_hash: earlier.spec_hash.clone(),
                iterations_planned: earlier.iterations_planned,
            });
        }
        for change in &changes {
            let own = format!("{}=", change.path);
            let overrides = &mut self.manifest.overrides;
            overrides.retain(|set| !set.replace(' ', "").starts_with(&own));
            overrides.push(own + &change.now);
        }
        self.manifest.init.clone_from(&earlier.init);
        if let Some(checkpoint) = self.store.last(&self.directory)? {
            self.restore(&checkpoint)?;
            self.store.mend(&checkpoint)?;
        } else if earlier.init.is_some() {
            let first = init::first(&self.directory)?;
            let first = first.ok_or_else(|| RunError::NothingThere(self.path(INIT)))?;
            self.restore(&first)?;
        }
        let done = self.trainer.iteration();
        if done > self.manifest.iterations_planned {
            return Err(RunError::Done {
                path: self.directory.clone(),
                done,
                planned: self.manifest.iterations_planned,
            });
        }
        for part in &mut self.manifest.history {
            part.until = part.until.min(done);
        }
        self.forget_end(done);
        // Iterations after the checkpoint will be repeated.
        self.manifest.not_finite = earlier.not_finite;
        let mut rollbacks = self.trainer.rollbacks();
        self.manifest
            .not_finite
            .retain(|incident| match incident.done {
                OnNan::Stop => false,
                OnNan::Skip => incident.iteration <= done,
                OnNan::Rollback => {
                    let known = rollbacks > 0;
                    rollbacks = rollbacks.saturating_sub(1);
                    known
                }
            });
        self.manifest.started = earlier.started;
        self.manifest.spec = earlier.spec;
        self.manifest.iterations = done;
        Ok(())
    }

    /// The settings of `train` that have changed, if the run may go on with them.
    fn changed_settings(
        &self,
        earlier: &super::Manifest,
        model: &Model,
        may_change: bool,
    ) -> Result<Vec<Change>, RunError> {
        let opened = opened::open_with(&self.directory, earlier)?;
        let program = opened.program()?;
        let (then, now) = (dump(&program.model), dump(model));
        let settings = program.model.train.as_ref().zip(model.train.as_ref());
        let changes = settings.map_or(Vec::new(), |(then, now)| changes(then, now));
        let network = |text: &str| {
            let end = text.find("\ntrain ").unwrap_or(text.len());
            text[..end].to_owned()
        };
        if changes.is_empty() || network(&then) != network(&now) {
            let mut message = "the spec has changed".to_owned();
            if earlier.overrides != self.manifest.overrides {
                message.push_str(", or its overrides: they were ");
                message.push_str(&match earlier.overrides.as_slice() {
                    [] => "none".to_owned(),
                    all => format!("`--set {}`", all.join(" --set ")),
                });
            }
            return Err(self.different(message + &spec::difference(&then, &now)));
        }
        if let Some(change) = changes.iter().find(|change| change.fixed.is_some()) {
            return Err(RunError::Fixed {
                path: self.directory.clone(),
                setting: change.path.clone(),
                reason: change.fixed.unwrap_or_default(),
                lines: lines(std::iter::once(change)),
            });
        }
        if !may_change && changes.iter().any(|change| !change.free) {
            return Err(RunError::Changed {
                path: self.directory.clone(),
                lines: lines(changes.iter().filter(|change| !change.free)),
            });
        }
        Ok(changes)
    }

    /// Takes back what only the end of a run does, if this is no longer the end: its checkpoint counted as the
    /// best for want of another.
    fn forget_end(&mut self, done: u64) {
        let best = self.best.best.as_ref().map(|best| best.iteration);
        if done > 0 && best == Some(done) && !self.store.is_scheduled(done) {
            self.best.best = None;
        }
    }

    /// Restores a checkpoint of this run.
    pub(super) fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), RunError> {
        let header = &checkpoint.header;
        let mut described = checkpoint.describe();
        if self.manifest.wrote(header.iteration, &header.spec_hash) {
            described = described.replace(&header.spec_hash, &self.manifest.spec_hash);
        }
        let lines = spec::difference(&described, &self.here()?.describe());
        if !lines.is_empty() {
            return Err(self.different(format!("its checkpoint is not of this run{lines}")));
        }
        let batch = self.trainer.batch();
        let lanes = |dims: &[usize]| dims.first() == Some(&batch);
        if checkpoint.states.values().any(|state| !lanes(&state.dims)) {
            return Err(RunError::Fixed {
                path: self.directory.clone(),
                setting: "train.batch".to_owned(),
                reason: "each lane has states that outlive episodes",
                lines: String::new(),
            });
        }
        self.trainer.restore(checkpoint)?;
        self.window = Window::restore(header.pending.as_ref());
        let standing = header.standing.clone();
        self.best = standing.unwrap_or_else(BestTracker::new);
        Ok(())
    }
}
