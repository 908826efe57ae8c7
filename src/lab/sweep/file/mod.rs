//! `sweep.yaml`: what it may say, read and checked. All that is wrong with it is found in one go.

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

/// Most seeds of a sweep.
const MAX_SEEDS: u64 = 10_000;

/// A setting with its value, as `--set` has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The path, such as `train.batch`.
    pub path: String,
    /// The value in the language of specs; one with a leading `~` is an initialiser.
    pub value: String,
    /// Its place in the file, for [`SweepFile::problem`].
    pub at: usize,
}

impl Assignment {
    /// As an argument of `--set`.
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
    /// What it is called in the sweep.
    pub label: String,
    /// Where it is: relative to the working directory, or absolute.
    pub path: PathBuf,
    /// Settings of this spec alone; they come after those of the sweep.
    pub set: Vec<Assignment>,
    /// Its place in the file.
    pub at: usize,
}

/// How cells are run unless the command line says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// Cells at a time on this machine.
    pub workers: Option<usize>,
    /// Threads of a cell.
    pub threads: Option<usize>,
    /// What Slurm is asked for.
    pub slurm: SlurmSettings,
}

/// What Slurm is asked for; see the manual page of `sbatch`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlurmSettings {
    /// `--partition`
    pub partition: Option<String>,
    /// `--account`
    pub account: Option<String>,
    /// `--time` of a cell, as Slurm writes it; a cell that takes longer goes on in another turn.
    pub time: Option<String>,
    /// `--mem`, as Slurm writes it.
    pub memory: Option<String>,
    /// Most cells at a time.
    pub at_once: Option<usize>,
    /// Further options, one each.
    pub extra: Vec<String>,
}

/// What a `sweep.yaml` says.
#[derive(Clone, Debug)]
pub struct SweepFile {
    /// Its path, as given.
    pub path: PathBuf,
    /// Name of the sweep.
    pub name: String,
    /// Specs, in order.
    pub specs: Vec<SpecEntry>,
    /// Settings of all specs.
    pub set: Vec<Assignment>,
    /// What is varied.
    pub vary: Vary,
    /// Seeds, in order.
    pub seeds: Vec<u64>,
    /// How to run it.
    pub engine: Engine,
    /// The directory of the text that language models read: relative to the working directory, or absolute.
    pub data: Option<PathBuf>,
    /// Where cells run.
    pub device: Option<DeviceKind>,
    text: String,
}

impl SweepFile {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(path: &Path) -> Result<SweepFile, Vec<Problem>> {
        let text = read::text(path).map_err(|problem| vec![problem])?;
        SweepFile::parse(path, text)
    }

    /// Checks a text; `path` names it in messages, and specs are looked for beside it.
    ///
    /// # Errors
    /// All that is wrong with it.
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

    /// A problem with what stands at `at`.
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

    /// Where cells run.
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

    /// What is varied cannot be fixed as well.
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

    /// A path, or a mapping with `path` and `set`; the label is left empty.
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

    /// Settings with one value each.
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
