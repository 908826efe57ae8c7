//! The plan of a sweep: every cell, with its spec compiled and its settings checked.

use super::file::{Assignment, SpecEntry, SweepFile};
use super::length::{Texts, TrainingLength};
use super::vary::Combination;
use super::Problem;
use crate::driver::{self, Compilation};
use crate::lab::run::{hash, merged};
use crate::lang::settings::SettingValue;
use crate::machine::device::DeviceKind;
use crate::step::InternalFault;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The largest number of cells in a sweep.
const MAX_CELLS: usize = 10_000;
/// The number of hexadecimal digits in a cell's name.
const DIGITS: usize = 8;

/// Changes made on the command line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The settings of all cells, as `--set` takes them.
    pub set: Vec<String>,
    /// The factor on the iterations of each cell, or on the epochs if it reads a text.
    pub scale: Option<f64>,
    /// The directory of the text, instead of the one in the file.
    pub data: Option<PathBuf>,
    /// The device, instead of the one in the file.
    pub device: Option<DeviceKind>,
}

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The name, derived from label, settings and seed.
    pub name: String,
    /// The index of its group in [`Plan::groups`].
    pub group: usize,
    /// The seed.
    pub seed: u64,
    /// The hash of its meaning, as in the manifest of its run.
    pub spec_hash: String,
}

/// Cells that differ only in their seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The name: the label of the spec, and the varied settings.
    pub name: String,
    /// The label of the spec.
    pub label: String,
    /// The varied settings, with their values in this group.
    pub varied: Combination,
    /// All settings that differ from the spec, as `--set` takes them, without the seed.
    pub overrides: Vec<String>,
    /// The iterations of a cell; if the chunks of a text have random lengths, those of the first seed.
    pub iterations: u64,
    /// The directory of the text, if it is read from files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
}

/// All cells of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The name of the sweep.
    pub name: String,
    /// The path of the sweep file, as it was given.
    pub file: PathBuf,
    /// The factor on the number of iterations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// The device of the cells, as `--device` takes it; `None` for the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The settings of all cells from the command line; the groups contain them, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// The version of bpmc.
    pub version: String,
    /// The groups, in order.
    pub groups: Vec<Group>,
    /// The cells, seed by seed, so that all groups progress alike.
    pub cells: Vec<Cell>,
    /// The text of each spec with its imports, by label. Each has its own file.
    #[serde(skip)]
    pub specs: Vec<(String, String)>,
}

/// A spec that has errors, or rejects its settings.
pub struct Refusal {
    /// The problem, with the spec and its settings.
    pub problem: Problem,
    /// The compilation with its diagnostics.
    pub compilation: Compilation,
}

/// The reason why there is no plan.
#[derive(thiserror::Error)]
pub enum PlanError {
    /// The sweep file has problems.
    #[error("the sweep has errors")]
    Problems(Vec<Problem>),
    /// Specs have errors, or reject their settings.
    #[error("specs have errors")]
    Refused(Vec<Refusal>),
    /// The compiler failed.
    #[error(transparent)]
    Internal(#[from] InternalFault),
}

impl std::fmt::Debug for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PlanError::Problems(problems) => f.debug_list().entries(problems).finish(),
            PlanError::Refused(refusals) => f
                .debug_list()
                .entries(refusals.iter().map(|refusal| &refusal.problem))
                .finish(),
            PlanError::Internal(fault) => fault.fmt(f),
        }
    }
}

impl Plan {
    /// Plans all cells of `file`. Each spec is compiled with each of its settings.
    ///
    /// # Errors
    /// [`PlanError`] with all problems, not only the first.
    pub fn new(file: &SweepFile, changes: &Changes) -> Result<Plan, PlanError> {
        check_changes(file, changes)?;
        let count = file
            .vary
            .count()
            .saturating_mul(file.specs.len())
            .saturating_mul(file.seeds.len());
        if count > MAX_CELLS {
            let message = format!("the sweep has {count} cells, and {MAX_CELLS} are the most");
            let help = "vary less, or make several sweeps".to_owned();
            let problem = file.problem(0, message, Some(help));
            return Err(PlanError::Problems(vec![problem]));
        }
        let mut planner = Planner {
            file,
            changes,
            plan: Plan {
                name: file.name.clone(),
                file: file.path.clone(),
                scale: changes.scale,
                device: changes
                    .device
                    .or(file.device)
                    .filter(|kind| *kind != DeviceKind::Cpu)
                    .map(|kind| kind.to_string()),
                set: changes.set.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                groups: Vec::new(),
                cells: Vec::new(),
                specs: Vec::new(),
            },
            problems: Vec::new(),
            refused: Vec::new(),
            told: BTreeSet::new(),
            texts: Texts::new(changes.data.clone().or_else(|| file.data.clone())),
        };
        let combinations = file.vary.combinations();
        for spec in &file.specs {
            planner.spec(spec, &combinations)?;
        }
        if !planner.problems.is_empty() {
            return Err(PlanError::Problems(planner.problems));
        }
        if !planner.refused.is_empty() {
            return Err(PlanError::Refused(planner.refused));
        }
        let order: Vec<u64> = file.seeds.clone();
        let rank = |cell: &Cell| (order.iter().position(|seed| *seed == cell.seed), cell.group);
        planner.plan.cells.sort_by_key(rank);
        Ok(planner.plan)
    }

    /// The cell with this name.
    pub fn cell(&self, name: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.name == name)
    }

    /// The group of a cell.
    pub fn group(&self, cell: &Cell) -> &Group {
        &self.groups[cell.group]
    }

    /// The number of iterations of all cells together.
    pub fn iterations(&self) -> u64 {
        self.cells
            .iter()
            .map(|cell| self.group(cell).iterations)
            .sum()
    }
}

/// Reports changes of the command line that are not allowed.
fn check_changes(file: &SweepFile, changes: &Changes) -> Result<(), PlanError> {
    let varied = file.vary.paths();
    let mut problems = Vec::new();
    for argument in &changes.set {
        let path = path_of(argument);
        let (message, help) = if path == "train.seed" {
            ("a sweep sets `train.seed` itself", "use `seeds`")
        } else if varied.contains(&path) {
            ("it is what the sweep varies", "leave it out")
        } else {
            continue;
        };
        problems.push(Problem {
            path: PathBuf::from(format!("--set {argument}")),
            place: None,
            message: message.to_owned(),
            help: Some(help.to_owned()),
        });
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(PlanError::Problems(problems))
    }
}

struct Planner<'a> {
    file: &'a SweepFile,
    changes: &'a Changes,
    plan: Plan,
    problems: Vec<Problem>,
    refused: Vec<Refusal>,
    /// Diagnostics already reported, so that no variant repeats them.
    told: BTreeSet<String>,
    /// The lengths of the texts.
    texts: Texts,
}

impl Planner<'_> {
    fn spec(
        &mut self,
        spec: &SpecEntry,
        combinations: &[Combination],
    ) -> Result<(), InternalFault> {
        let text = match driver::read_text(&spec.path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot read the spec {}: {error}", spec.path.display());
                self.problems
                    .push(self.file.problem(spec.at, message, None));
                return Ok(());
            }
        };
        for (k, combination) in combinations.iter().enumerate() {
            let mut overrides = self.overrides(spec, combination);
            let Some(mut compilation) = self.compile(spec, &text, &overrides)? else {
                continue;
            };
            let Some(length) = TrainingLength::of(&compilation) else {
                let message = format!("the spec `{}` has no `train` block", spec.label);
                let help = "add `train a2c { ... }`; `bpmc new` writes one".to_owned();
                let problem = self.file.problem(spec.at, message, Some(help));
                self.problems.push(problem);
                return Ok(());
            };
            if let Some(scale) = self.changes.scale {
                put(&mut overrides, length.scaled(scale));
                match self.compile(spec, &text, &overrides)? {
                    Some(scaled) => compilation = scaled,
                    None => continue,
                }
            }
            let seed = self.file.seeds.first().copied().unwrap_or(0);
            let iterations = match self.texts.iterations(&compilation, seed) {
                Ok(iterations) => iterations,
                Err(error) => {
                    let message =
                        format!("the spec `{}` cannot read its text: {error}", spec.label);
                    let help = "name its directory with `--data DIR`".to_owned();
                    self.problems
                        .push(self.file.problem(spec.at, message, Some(help)));
                    return Ok(());
                }
            };
            if k == 0 {
                let whole = merged(&compilation);
                self.plan.specs.push((spec.label.clone(), whole));
            }
            self.group(spec, combination, overrides, iterations, compilation);
        }
        Ok(())
    }

    /// All settings of a variant. A later setting replaces an earlier one of the same name.
    fn overrides(&self, spec: &SpecEntry, combination: &Combination) -> Vec<String> {
        let mut all = Vec::new();
        for assignment in self.file.set.iter().chain(&spec.set) {
            put(&mut all, assignment.argument());
        }
        for (path, value) in combination {
            let assignment = Assignment {
                path: path.clone(),
                value: value.clone(),
                at: 0,
            };
            put(&mut all, assignment.argument());
        }
        for argument in &self.changes.set {
            put(&mut all, argument.clone());
        }
        all
    }

    /// Compiles the spec with its settings; `None` if it rejects them.
    fn compile(
        &mut self,
        spec: &SpecEntry,
        text: &str,
        overrides: &[String],
    ) -> Result<Option<Compilation>, InternalFault> {
        let name = spec.path.display().to_string();
        let mut compilation = driver::compile(&name, text, overrides, &driver::from_disk)?;
        if compilation.required().is_some() {
            return Ok(Some(compilation));
        }
        let mut new = false;
        for finding in compilation.diagnostics.iter() {
            let source = &compilation.sources.file(finding.primary.span.source).name;
            new |= self.told.insert(format!("{source}\n{}", finding.message));
        }
        if new {
            let with = match overrides {
                [] => String::new(),
                all => format!(" with {}", all.join(", ")),
            };
            let message = format!("the spec `{}`{with} has errors", spec.label);
            let problem = self.file.problem(spec.at, message, None);
            self.refused.push(Refusal {
                problem,
                compilation,
            });
        }
        Ok(None)
    }

    fn group(
        &mut self,
        spec: &SpecEntry,
        combination: &Combination,
        overrides: Vec<String>,
        iterations: u64,
        mut compilation: Compilation,
    ) {
        let Some(program) = compilation.program.as_mut() else {
            return;
        };
        let mut name = spec.label.clone();
        for (path, value) in combination {
            name.push_str(&format!(" {path}={value}"));
        }
        let data = self.texts.directory(program);
        let number = self.plan.groups.len();
        for &seed in &self.file.seeds {
            if let Some(train) = &mut program.model.train {
                train.settings.set("seed", SettingValue::Int(seed));
            }
            self.plan.cells.push(Cell {
                name: cell_name(&spec.label, &overrides, seed),
                group: number,
                seed,
                spec_hash: hash(&program.model),
            });
        }
        self.plan.groups.push(Group {
            name,
            label: spec.label.clone(),
            varied: combination.clone(),
            overrides,
            iterations,
            data,
        });
    }
}

/// The path of an argument of `--set`.
fn path_of(argument: &str) -> &str {
    argument.split(['=', '~']).next().unwrap_or(argument).trim()
}

/// Adds an argument in the place of an earlier one for the same setting.
fn put(all: &mut Vec<String>, argument: String) {
    all.retain(|other| path_of(other) != path_of(&argument));
    all.push(argument);
}

/// A cell name that depends only on label, settings and seed, not on the order of the settings.
fn cell_name(label: &str, overrides: &[String], seed: u64) -> String {
    if overrides.is_empty() {
        return format!("{label}-{seed}");
    }
    let mut sorted = overrides.to_vec();
    sorted.sort();
    let mut name = format!("{label}-");
    for byte in &Sha256::digest(sorted.join("\n").as_bytes())[..DIGITS / 2] {
        name.push_str(&format!("{byte:02x}"));
    }
    format!("{name}-{seed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_what_a_cell_is() {
        let set = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let name = cell_name("agent", &set(&["a=1", "b=2"]), 3);
        assert_eq!(name.len(), "agent--3".len() + DIGITS);
        assert_eq!(name, cell_name("agent", &set(&["b=2", "a=1"]), 3));
        assert_ne!(name, cell_name("agent", &set(&["b=2", "a=3"]), 3));
        assert_eq!(cell_name("agent", &[], 4), "agent-4");
    }

    #[test]
    fn later_settings_take_the_place_of_earlier_ones() {
        let mut all = vec!["a.b=1".to_owned(), "w~uniform(0, 1)".to_owned()];
        put(&mut all, "a.b=2".to_owned());
        put(&mut all, "w=3".to_owned());
        assert_eq!(all, ["a.b=2", "w=3"]);
    }
}
