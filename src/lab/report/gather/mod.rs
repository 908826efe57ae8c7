//! The contents of a report, gathered from the directory of a run or a sweep, without any layout.

pub mod alignment;
pub mod behaviour;
pub mod commands;
pub mod compare;
pub mod equations;
pub mod formula;
pub mod latex;
pub mod learned;
pub mod metrics;
mod precedence;
pub mod preset;
pub mod run;
pub mod sweep;
pub mod traces;

use crate::driver::Compilation;
use crate::lang::sema::Model;
use equations::Equations;
use preset::Difference;

/// The experiment: the network and task that were trained.
#[derive(Clone, Debug, Default)]
pub struct Experiment {
    /// The equations and parameters; `None` if this version cannot compile the spec.
    pub equations: Option<Equations>,
    /// The name of the task.
    pub task: Option<&'static str>,
    /// The difference from the paper; `None` if the paper has no such task.
    pub difference: Option<Difference>,
}

impl Experiment {
    /// A network by itself.
    pub fn of_model(model: &Model) -> Experiment {
        Experiment {
            equations: Some(Equations::of(model)),
            task: model.task.as_ref().map(|task| task.info.name),
            difference: None,
        }
    }

    /// The experiment of a compiled spec. `stem` is the name of its file.
    pub fn of(compilation: &Compilation, overrides: &[String], stem: &str) -> Experiment {
        let model = compilation.program.as_ref().map(|program| &program.model);
        Experiment {
            equations: model.map(Equations::of),
            task: model.and_then(|model| model.task.as_ref().map(|task| task.info.name)),
            difference: preset::nearest(compilation, overrides, stem),
        }
    }
}
