//! All that a report says, gathered from the directory of a run or a sweep: nothing here knows how it will look.

pub mod alignment;
pub mod behaviour;
pub mod commands;
pub mod equations;
pub mod formula;
pub mod metrics;
pub mod preset;
pub mod run;
pub mod sweep;
pub mod traces;

use crate::driver::Compilation;
use equations::Equations;
use preset::Difference;

/// What was trained.
#[derive(Clone, Debug, Default)]
pub struct Experiment {
    /// Its equations and parameters; `None` where its spec does not compile with this version.
    pub equations: Option<Equations>,
    /// Name of its task.
    pub task: Option<&'static str>,
    /// What differs from the paper; `None` where the paper has no such task.
    pub difference: Option<Difference>,
}

impl Experiment {
    /// Of a compiled spec. `stem` is the name of its file.
    pub fn of(compilation: &Compilation, overrides: &[String], stem: &str) -> Experiment {
        let model = compilation.program.as_ref().map(|program| &program.model);
        Experiment {
            equations: model.map(Equations::of),
            task: model.and_then(|model| model.task.as_ref().map(|task| task.info.name)),
            difference: preset::nearest(compilation, overrides, stem),
        }
    }
}
