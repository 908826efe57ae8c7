//! What a report says of a sweep.

use super::behaviour::Behaviour;
use super::run::{behaviour, jobs};
use super::{metrics, Experiment};
use crate::driver::{self, compile};
use crate::lab::report::{Options, ReportError};
use crate::lab::run::{self, Manifest, OpenedRun, METRICS};
use crate::lab::sweep::collect::{collect, Collection, Selection};
use crate::lab::sweep::{state, Directory, Group, State};
use std::path::PathBuf;

/// A sweep.
pub struct SweepReport {
    /// Its directory, as it was given.
    pub directory: PathBuf,
    /// Name of the sweep.
    pub name: String,
    /// The file it was made from.
    pub file: PathBuf,
    /// What the iterations were multiplied by.
    pub scale: Option<f64>,
    /// Settings of all cells that the command line gave.
    pub set: Vec<String>,
    /// How many cells are in each state; states that no cell has are left out.
    pub states: Vec<(State, usize)>,
    /// Its metrics.
    pub collection: Collection,
    /// The group that others are tested against.
    pub baseline: String,
    /// Its groups.
    pub groups: Vec<GroupReport>,
}

/// A group: cells that differ in their seed alone.
pub struct GroupReport {
    /// The group.
    pub group: Group,
    /// What was trained.
    pub experiment: Experiment,
    /// The finished cell with the lowest seed.
    pub example: Option<Example>,
}

/// The cell that stands for its group.
pub struct Example {
    /// Its directory.
    pub directory: PathBuf,
    /// Its name.
    pub name: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// What its network does; else why that is not known.
    pub behaviour: Result<Behaviour, String>,
}

/// The runs that stand for the groups, in their order.
///
/// # Errors
/// Where one is finished and cannot be opened.
pub fn examples(directory: &Directory) -> Result<Vec<Option<(String, OpenedRun)>>, ReportError> {
    let plan = &directory.plan;
    let of_group = |number: usize| {
        let cells = plan.cells.iter().filter(|cell| cell.group == number);
        let mut done: Vec<_> = cells
            .filter(|cell| state(directory, cell).state == State::Done)
            .collect();
        done.sort_by_key(|cell| cell.seed);
        let Some(cell) = done.first() else {
            return Ok(None);
        };
        let opened = run::open(&directory.cell(cell))?;
        Ok(Some((cell.name.clone(), opened)))
    };
    (0..plan.groups.len()).map(of_group).collect()
}

/// How many times episodes are run.
pub fn work(examples: &[Option<(String, OpenedRun)>], options: &Options) -> usize {
    let opened = examples.iter().flatten();
    opened.map(|(_, opened)| jobs(opened, options)).sum()
}

/// Gathers it all; the directory stays as it is.
///
/// # Errors
/// [`ReportError`]. Cells that are missing are left out, and the report says so.
pub fn gather(
    directory: &Directory,
    examples: Vec<Option<(String, OpenedRun)>>,
    options: &Options,
    tell: &mut dyn FnMut(&str),
) -> Result<SweepReport, ReportError> {
    let plan = &directory.plan;
    let baseline = baseline(directory, options)?;
    let mut states: Vec<(State, usize)> = Vec::new();
    for cell in &plan.cells {
        let now = state(directory, cell).state;
        match states.iter_mut().find(|(state, _)| *state == now) {
            Some((_, count)) => *count += 1,
            None => states.push((now, 1)),
        }
        // Collecting passes over damaged lines, and a report must not.
        metrics::read(&directory.cell(cell).join(METRICS))?;
    }
    states.sort();
    let selection = Selection {
        partial: options.partial,
        ..Selection::default()
    };
    let collection = collect(directory, &selection)?;
    let mut groups = Vec::new();
    for (group, example) in plan.groups.iter().zip(examples) {
        let path = directory.spec(&group.label);
        let text = driver::read_text(&path).map_err(|e| ReportError::file("read", &path, e))?;
        let name = path.display().to_string();
        let compilation = compile(&name, &text, &group.overrides, &driver::from_disk)?;
        let mut found = None;
        if let Some((name, opened)) = example {
            let mut told = |what: &str| tell(&format!("{}: {what}", group.name));
            found = Some(Example {
                behaviour: behaviour(&opened, options, &mut told)?,
                directory: opened.directory,
                manifest: opened.manifest,
                name,
            });
        }
        groups.push(GroupReport {
            group: group.clone(),
            experiment: Experiment::of(&compilation, &group.overrides, &group.label),
            example: found,
        });
    }
    Ok(SweepReport {
        directory: directory.path().to_owned(),
        name: plan.name.clone(),
        file: plan.file.clone(),
        scale: plan.scale,
        set: plan.set.clone(),
        states,
        collection,
        baseline,
        groups,
    })
}

/// The group that is asked for, or the first.
fn baseline(directory: &Directory, options: &Options) -> Result<String, ReportError> {
    let names = || directory.plan.groups.iter().map(|group| group.name.clone());
    match &options.baseline {
        None => Ok(names().next().unwrap_or_default()),
        Some(name) if names().any(|known| known == *name) => Ok(name.clone()),
        Some(name) => Err(ReportError::NoGroup {
            name: name.clone(),
            known: names().collect(),
        }),
    }
}
