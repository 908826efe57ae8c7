//! Sweep files, `sweep.yaml`: their contents, read and checked. All errors are reported at once.

mod engine;
mod read;
mod varied;
mod yaml;

use super::vary::Vary;
use super::Problem;
use crate::machine::device::DeviceKind;
use read::Reading;
use std::path::{Path, PathBuf};
use yaml::Node;

/// The largest number of seeds in a sweep.
const MAX_SEEDS: u64 = 10_000;

/// A setting with its value, as `--set` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The path, such as `train.batch`.
    pub path: String,
    /// The value in the language of specs; a leading `~` marks an initialiser.
    pub value: String,
    /// The place in the file, for [`SweepFile::problem`].
    pub at: usize,
}

impl Assignment {
    /// The setting as an argument of `--set`.
    pub fn argument(&self) -> String {
        if self.value.starts_with('~') {
            format!("{}{}", self.path, self.value)
        } else {
            format!("{}={}", self.path, self.value)
        }
    }
}

/// One of the specs of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecEntry {
    /// The label of the spec in the sweep.
    pub label: String,
    /// The path: absolute, or relative to the working directory.
    pub path: PathBuf,
    /// The settings of this spec alone, applied after those of the sweep.
    pub set: Vec<Assignment>,
    /// The place in the file.
    pub at: usize,
}

/// The default settings for running cells; the command line overrides them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// The number of cells that run at once on this machine.
    pub workers: Option<usize>,
    /// The number of threads per cell.
    pub threads: Option<usize>,
    /// The settings for Slurm.
    pub slurm: SlurmSettings,
}

/// The settings for Slurm; see the manual page of `sbatch`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlurmSettings {
    /// The option `--partition`.
    pub partition: Option<String>,
    /// The option `--account`.
    pub account: Option<String>,
    /// The option `--time` of a cell, in Slurm's notation; a longer cell continues in another job.
    pub time: Option<String>,
    /// The option `--mem`, in Slurm's notation.
    pub memory: Option<String>,
    /// The largest number of cells at once.
    pub at_once: Option<usize>,
    /// Further options.
    pub extra: Vec<String>,
}

/// The contents of a `sweep.yaml`.
#[derive(Clone, Debug)]
pub struct SweepFile {
    /// The path, as given.
    pub path: PathBuf,
    /// The name of the sweep.
    pub name: String,
    /// The specs, in order.
    pub specs: Vec<SpecEntry>,
    /// The settings of all specs.
    pub set: Vec<Assignment>,
    /// The varied settings.
    pub vary: Vary,
    /// The seeds, in order.
    pub seeds: Vec<u64>,
    /// The default settings for running cells.
    pub engine: Engine,
    /// The directory of the text for language models: absolute, or relative to the working directory.
    pub data: Option<PathBuf>,
    /// The device of the cells.
    pub device: Option<DeviceKind>,
    text: String,
}

impl SweepFile {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn read(path: &Path) -> Result<SweepFile, Vec<Problem>> {
        let text = read::text(path).map_err(|problem| vec![problem])?;
        SweepFile::parse(path, text)
    }

    /// Checks a text; `path` names it in messages, and spec paths are relative to its folder.
    ///
    /// # Errors
    /// All problems of the text.
    pub fn parse(path: &Path, text: String) -> Result<SweepFile, Vec<Problem>> {
        let mut reading = Reading::new(path, &text);
        let file = match yaml::read(&text) {
            Ok(root) => reading.sweep(path, &root),
            Err((message, place)) => {
                reading.syntax(message, place);
                None
            }
        };
        let problems = reading.finish();
        match file {
            Some(file) if problems.is_empty() => Ok(SweepFile { text, ..file }),
            _ => Err(problems),
        }
    }

    /// A problem at the place `at`.
    pub fn problem(&self, at: usize, message: String, help: Option<String>) -> Problem {
        Problem {
            path: self.path.clone(),
            place: yaml::locate(&self.text, at),
            message,
            help,
        }
    }
}

impl Reading<'_> {
    fn sweep(&mut self, path: &Path, root: &Node) -> Option<SweepFile> {
        let fields = self.fields(
            root,
            "a sweep",
            &[
                "name", "specs", "set", "vary", "seeds", "engine", "data", "device",
            ],
        )?;
        let name = match fields.get("name") {
            Some(node) => self.name(node, "`name`"),
            None => self.missing(root, "the sweep has no `name`", "add `name: my_sweep`"),
        };
        let specs = match fields.get("specs") {
            Some(node) => self.specs(path, node),
            None => self.missing(
                root,
                "the sweep has no `specs`",
                "add `specs: [agent.bpm]`, paths relative to this file",
            ),
        };
        let set = fields
            .get("set")
            .map_or_else(Vec::new, |node| self.set(node));
        let vary = fields
            .get("vary")
            .map_or_else(Vary::default, |node| self.vary(node));
        let seeds = match fields.get("seeds") {
            Some(node) => self.seeds(node),
            None => Some(vec![0]),
        };
        let engine = fields
            .get("engine")
            .map_or_else(Engine::default, |node| self.engine(node));
        let data = fields.get("data").and_then(|node| {
            let written = self.text_of(node, "the directory of the text")?;
            Some(path.parent().unwrap_or_else(|| Path::new("")).join(written))
        });
        let device = fields.get("device").and_then(|node| self.device(node));
        let file = SweepFile {
            path: path.to_owned(),
            data,
            device,
            name: name?,
            specs: specs?,
            set,
            vary,
            seeds: seeds?,
            engine,
            text: String::new(),
        };
        self.no_setting_twice(&file);
        Some(file)
    }

    /// Reads the device of the cells.
    fn device(&mut self, node: &Node) -> Option<DeviceKind> {
        let written = self.text_of(node, "a device")?;
        match written.parse() {
            Ok(kind) => Some(kind),
            Err(_) => {
                let message = format!("`{written}` is no device");
                let help = "write `cpu`, `cuda`, or `cuda:1` for the second GPU";
                self.report(node.at, message, Some(help));
                None
            }
        }
    }

    /// Reports settings that are both varied and fixed.
    fn no_setting_twice(&mut self, file: &SweepFile) {
        let varied = file.vary.paths();
        for assignment in file
            .specs
            .iter()
            .flat_map(|spec| &spec.set)
            .chain(&file.set)
        {
            if varied.contains(&assignment.path.as_str()) {
                let path = &assignment.path;
                self.report(
                    assignment.at,
                    format!("`{path}` is set here and varied by `vary`"),
                    Some("keep one of the two"),
                );
            }
        }
    }

    fn specs(&mut self, file: &Path, node: &Node) -> Option<Vec<SpecEntry>> {
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        let mut specs: Vec<SpecEntry> = Vec::new();
        if let Some(entries) = self.entries_or_none(node, "`specs`") {
            for (label, at, value) in entries {
                let label = self.label(&label, at);
                if let (Some(label), Some(spec)) = (label, self.spec(folder, value)) {
                    specs.push(SpecEntry { label, at, ..spec });
                }
            }
        } else {
            for item in self.list(node, "`specs`", "paths, or a mapping from labels to paths")? {
                let Some(spec) = self.spec(folder, item) else {
                    continue;
                };
                let stem = spec.path.file_stem().unwrap_or_default().to_string_lossy();
                let Some(label) = self.label(&stem, item.at) else {
                    continue;
                };
                if specs.iter().any(|other| other.label == label) {
                    self.report(
                        item.at,
                        format!("two specs are called `{label}`"),
                        Some("give them labels: `specs: { one: a/agent.bpm, two: b/agent.bpm }`"),
                    );
                    continue;
                }
                specs.push(SpecEntry { label, ..spec });
            }
        }
        Some(specs)
    }

    /// Reads a path, or a mapping with `path` and `set`; the label stays empty.
    fn spec(&mut self, folder: &Path, node: &Node) -> Option<SpecEntry> {
        let (path, set) = if self.is_map(node) {
            let fields = self.fields(node, "a spec", &["path", "set"])?;
            let path = match fields.get("path") {
                Some(path) => path,
                None => self.missing(node, "the spec has no `path`", "add `path: agent.bpm`")?,
            };
            let set = fields
                .get("set")
                .map_or_else(Vec::new, |node| self.set(node));
            (path, set)
        } else {
            (node, Vec::new())
        };
        let written = self.text_of(path, "the path of a spec")?;
        let found = folder.join(&written);
        if !found.is_file() {
            let place = found.display();
            self.report(
                path.at,
                format!("there is no spec {place}"),
                Some("paths are relative to the folder of the sweep file"),
            );
            return None;
        }
        Some(SpecEntry {
            label: String::new(),
            path: found,
            set,
            at: node.at,
        })
    }

    /// Reads settings with one value each.
    fn set(&mut self, node: &Node) -> Vec<Assignment> {
        let mut all = Vec::new();
        for (path, at, value) in self.entries(node, "`set`") {
            if !self.is_setting(&path, at) {
                continue;
            }
            if let Some(value) = self.value(value, &path) {
                all.push(Assignment { path, value, at });
            }
        }
        all
    }

    fn seeds(&mut self, node: &Node) -> Option<Vec<u64>> {
        if !self.is_list(node) {
            let count = self.integer(node, "`seeds`", 1, MAX_SEEDS)?;
            return Some((0..count).collect());
        }
        let mut seeds = Vec::new();
        for item in self.list(node, "`seeds`", "seeds, or how many")? {
            let seed = self.integer(item, "a seed", 0, u64::MAX)?;
            if seeds.contains(&seed) {
                self.report(item.at, format!("the seed {seed} is there already"), None);
            }
            seeds.push(seed);
        }
        Some(seeds)
    }
}
