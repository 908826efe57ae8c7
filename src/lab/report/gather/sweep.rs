//! The contents of the report of a sweep.

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
    /// The directory, as it was given.
    pub directory: PathBuf,
    /// The name of the sweep.
    pub name: String,
    /// The sweep file it was made from.
    pub file: PathBuf,
    /// The factor on the number of iterations.
    pub scale: Option<f64>,
    /// The settings of all cells from the command line.
    pub set: Vec<String>,
    /// The number of cells in each state; states without cells are left out.
    pub states: Vec<(State, usize)>,
    /// The collected metrics.
    pub collection: Collection,
    /// The group that others are tested against.
    pub baseline: String,
    /// The groups.
    pub groups: Vec<GroupReport>,
}

/// A group: cells that differ only in their seed.
pub struct GroupReport {
    /// The group.
    pub group: Group,
    /// The experiment.
    pub experiment: Experiment,
    /// The finished cell with the lowest seed.
    pub example: Option<Example>,
}

/// The example cell of a group.
pub struct Example {
    /// The directory.
    pub directory: PathBuf,
    /// The name.
    pub name: String,
    /// The manifest.
    pub manifest: Manifest,
    /// The behaviour of its network, or the reason why it is unknown.
    pub behaviour: Result<Behaviour, String>,
}

/// The example runs of the groups, in their order.
///
/// # Errors
/// Fails if one is finished and cannot be opened.
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

/// The number of passes over the episodes.
pub fn work(examples: &[Option<(String, OpenedRun)>], options: &Options) -> usize {
    let opened = examples.iter().flatten();
    opened.map(|(_, opened)| jobs(opened, options)).sum()
}

/// Gathers the contents of a report; the directory is not changed.
///
/// # Errors
/// [`ReportError`]. Missing cells are left out, and the report says so.
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
        // `collect` skips damaged lines, and a report must not.
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

/// The baseline: the group asked for, or the first.
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
