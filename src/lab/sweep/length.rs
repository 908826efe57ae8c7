//! The length of the cells of a sweep: iterations, or epochs of a text.

use crate::driver::Compilation;
use crate::lang::catalog::TrainerKind;
use crate::learn::language::stream::{epoch, Lanes};
use crate::learn::tasks::{self, Text};
use crate::learn::text::{Corpus, CorpusError, Part};
use crate::learn::trainer::planned;
use crate::step::Compiled;
use std::path::PathBuf;

/// The setting that gives the length of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrainingLength {
    /// The setting `train.iterations`.
    Iterations(u64),
    /// The setting `train.epochs`.
    Epochs(u64),
}

impl TrainingLength {
    /// The length in a spec; `None` without a `train` block.
    pub(super) fn of(compilation: &Compilation) -> Option<TrainingLength> {
        let train = compilation.program.as_ref()?.model.train.as_ref()?;
        let setting = |name: &str| train.settings.int(name) as u64;
        Some(match train.trainer.kind {
            TrainerKind::Language => TrainingLength::Epochs(setting("epochs")),
            TrainerKind::Supervised if setting("epochs") > 0 => {
                TrainingLength::Epochs(setting("epochs"))
            }
            TrainerKind::Reward | TrainerKind::Supervised => {
                TrainingLength::Iterations(setting("iterations"))
            }
        })
    }

    /// The setting for `scale` times the length, at least one iteration or epoch.
    pub(super) fn scaled(self, scale: f64) -> String {
        // A cast from a float saturates.
        let times = |count: u64| ((count as f64 * scale).round() as u64).max(1);
        match self {
            TrainingLength::Iterations(count) => format!("train.iterations={}", times(count)),
            TrainingLength::Epochs(count) => format!("train.epochs={}", times(count)),
        }
    }
}

/// The texts of language models, as far as their length is known.
pub(super) struct Texts {
    data: Option<PathBuf>,
    /// The number of tokens in the training text of `data`.
    tokens: Option<usize>,
}

impl Texts {
    pub(super) fn new(data: Option<PathBuf>) -> Texts {
        // Cells may run in another working directory.
        let whole = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Texts {
            data: data.map(whole),
            tokens: None,
        }
    }

    /// The directory of the text that a cell reads, if it reads one.
    pub(super) fn directory(&self, program: &Compiled) -> Option<PathBuf> {
        text(program).and(self.data.clone())
    }

    /// The number of iterations of a cell.
    pub(super) fn iterations(
        &mut self,
        compilation: &Compilation,
        seed: u64,
    ) -> Result<u64, CorpusError> {
        let Some(program) = &compilation.program else {
            return Ok(0);
        };
        let Some(train) = &program.model.train else {
            return Ok(0);
        };
        let Some(task) = text(program) else {
            let task = program.model.task.as_ref();
            return Ok(task.map_or(0, |task| planned(train, task)));
        };
        let tokens = match (&self.data, self.tokens) {
            (_, Some(tokens)) => tokens,
            (Some(directory), None) => {
                let corpus = Corpus::read(directory, task.words, task.unknown)?;
                let tokens = corpus.part(Part::Train).len();
                self.tokens = Some(tokens);
                tokens
            }
            (None, None) => Corpus::generate(task.words, seed).part(Part::Train).len(),
        };
        // Only the number of tokens matters.
        let words = vec![0; tokens];
        let total = Lanes::new(&words, train.settings.int("batch")).steps();
        let chunks = (0..train.settings.int("epochs"))
            .map(|k| epoch(k, total, task.steps, task.random_lengths, seed).len() as u64);
        Ok(chunks.sum())
    }
}

/// The text of a language model.
fn text(program: &Compiled) -> Option<Text> {
    let train = program.model.train.as_ref()?;
    let task = tasks::of_model(program.model.task.as_ref()?).ok()?;
    let text = task.text()?.clone();
    (train.trainer.kind == TrainerKind::Language).then_some(text)
}
