//! The meaning of words that no spec declares: settings, blocks, functions, words of the language.

use super::words::Context;
use crate::lang::catalog::Catalog;
use crate::lang::library;
use crate::lang::sema::functions::{FunctionInfo, FUNCTIONS};
use crate::lang::settings::{Setting, SettingKind};

/// The words of the language with what they mean.
pub const KEYWORDS: [(&str, &str); 29] = [
    ("bpm", "The version of the language, first in a file: `bpm 1`."),
    ("network", "The network of an experiment: inputs, states, bundles, values and outputs of one time step."),
    ("rule", "A reusable rule for plastic bundles, with parameters."),
    ("cell", "A reusable part of a network, or the use of one: `cell memory: lstm(obs, 200)`."),
    ("dim", "A named size, `dim N = 200`."),
    ("import", "Reads another file, relative to this one: `import \"common.bpm\"`."),
    ("task", "The task of the experiment with its settings."),
    ("train", "The trainer with its settings."),
    ("optimizer", "The optimizer of the trainer with its settings."),
    ("input", "A vector that the task gives at each step."),
    ("state", "A vector carried from step to step, from its initial value on."),
    ("noise", "Random numbers, new at every step and in every lane."),
    ("weight", "A trained parameter, one per connection unless `per` says otherwise."),
    ("coeff", "A trained plasticity coefficient, one per connection unless `per` says otherwise."),
    ("trained", "A trained parameter, one for the bundle unless `per` says otherwise."),
    ("const", "A value that is drawn or set once and never trained."),
    ("trace", "A memory of each connection within an episode."),
    ("modulator", "A signal that rules may use. Ablations freeze and shuffle it."),
    ("output", "A value for the task, the trainer or you."),
    ("plastic", "A bundle of plastic connections: `plastic rec: h -> y { ... }`."),
    ("transmit", "The effective weight of a connection."),
    ("connect", "Keeps only the connections where a constant is not 0: `connect where mask`."),
    ("on", "Statements for a range of neurons: `on post[0 .. 10] { ... }`."),
    ("when", "Updates that take place only in some steps: `when reward != 0 { ... }`."),
    ("next", "The value of a state at the end of this step."),
    ("external", "A signal of the task: `external reward`."),
    ("using", "The rule of a bundle: `using retroactive(m)`."),
    ("per", "The granularity of a parameter: `per connection`, `per pre`, `per post`, `per network`."),
    ("reset", "When a state returns to its initial value: `reset episode`, `trial`, `never` or `carry`."),
];

/// The meaning of a word of the language.
pub fn keyword(word: &str) -> Option<&'static str> {
    let found = KEYWORDS.iter().find(|(known, _)| *known == word);
    found.map(|(_, meaning)| *meaning)
}

/// The function of a name.
pub fn function(name: &str) -> Option<&'static FunctionInfo> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The form of a call of a function.
pub fn usage(function: &FunctionInfo) -> String {
    let own = format!("{}(", function.name);
    function.usage.replacen("f(", &own, 1)
}

/// The settings of the block around a place.
pub fn settings(context: &Context<'_>, catalog: &Catalog) -> &'static [Setting] {
    match context.blocks.last() {
        Some(("task", name)) => of_task(catalog, name),
        Some(("train", name)) => of_trainer(catalog, name),
        Some(("optimizer", name)) => {
            let found = catalog.optimizers.iter().find(|info| info.name == *name);
            found.map_or(&[], |info| info.settings)
        }
        _ => &[],
    }
}

/// The settings of a task.
pub fn of_task(catalog: &Catalog, name: &str) -> &'static [Setting] {
    let found = catalog.tasks.iter().find(|info| info.name == name);
    found.map_or(&[], |info| info.settings)
}

/// The settings of a trainer.
pub fn of_trainer(catalog: &Catalog, name: &str) -> &'static [Setting] {
    let found = catalog.trainers.iter().find(|info| info.name == name);
    found.map_or(&[], |info| info.settings)
}

/// A setting as Markdown: the values it takes, its default and its effect.
pub fn setting(setting: &Setting) -> String {
    format!(
        "`{} = {}` ({})\n\n{}",
        setting.name,
        setting.default,
        values(setting.kind),
        setting.doc
    )
}

/// The values that a setting takes, in words.
pub fn values(kind: SettingKind) -> String {
    crate::cli::explain::range(kind)
}

/// A task, trainer or optimizer, by the word before it.
pub fn block(keyword: &str, name: &str, catalog: &Catalog) -> Option<String> {
    let summary = match keyword {
        "task" => catalog.tasks.iter().find(|one| one.name == name)?.summary,
        "train" => {
            catalog
                .trainers
                .iter()
                .find(|one| one.name == name)?
                .summary
        }
        "optimizer" => {
            let found = catalog.optimizers.iter().find(|one| one.name == name);
            found?.summary
        }
        _ => return None,
    };
    let more = format!("`bpmc explain {keyword} {name}` has its page.");
    Some(format!("**{keyword} {name}**: {summary}\n\n{more}"))
}

/// The comment at the top of a rule or a cell of the library.
pub fn about_library(name: &str) -> Option<String> {
    let text = library::text(name).or_else(|| library::cell_text(name))?;
    let comment = text.lines().map_while(|line| line.strip_prefix("//!"));
    Some(comment.map(str::trim).collect::<Vec<_>>().join("\n"))
}
