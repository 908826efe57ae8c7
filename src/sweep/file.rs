//! `sweep.yaml`: what it may say, read and checked. All that is wrong with it is found in one go.

use super::read::{Fields, Reading};
use super::vary::{Random, Range, Vary};
use super::yaml::Node;
use super::Problem;
use std::path::{Path, PathBuf};

/// Most seeds of a sweep.
const MAX_SEEDS: u64 = 10_000;
/// Most random combinations.
const MAX_RANDOM: u64 = 10_000;

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
    text: String,
}

impl SweepFile {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(path: &Path) -> Result<SweepFile, Vec<Problem>> {
        let text = super::read::text(path).map_err(|problem| vec![problem])?;
        SweepFile::parse(path, text)
    }

    /// Checks a text; `path` names it in messages, and specs are looked for beside it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(path: &Path, text: String) -> Result<SweepFile, Vec<Problem>> {
        let mut reading = Reading::new(path, &text);
        let file = match super::yaml::read(&text) {
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
            place: super::yaml::locate(&self.text, at),
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
            &["name", "specs", "set", "vary", "seeds", "engine"],
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
        let file = SweepFile {
            path: path.to_owned(),
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

    fn vary(&mut self, node: &Node) -> Vary {
        let mut vary = Vary::default();
        let Some(fields) = self.fields(node, "`vary`", &["grid", "list", "random"]) else {
            return vary;
        };
        if let Some(grid) = fields.get("grid") {
            for (path, at, values) in self.entries(grid, "`grid`") {
                if self.is_setting(&path, at) {
                    let values = self.values(values, &path);
                    vary.grid.push((path, values));
                }
            }
        }
        if let Some(list) = fields.get("list") {
            for item in self
                .list(list, "`list`", "mappings from settings to values")
                .unwrap_or_default()
            {
                let set = self.set(item);
                let combination: Vec<_> = set.into_iter().map(|a| (a.path, a.value)).collect();
                if vary.list.contains(&combination) {
                    self.report(
                        item.at,
                        "this combination is there already".to_owned(),
                        None,
                    );
                }
                vary.list.push(combination);
            }
        }
        if let Some(random) = fields.get("random") {
            vary.random = self.random(random);
        }
        let paths = vary.paths();
        let twice = paths
            .iter()
            .enumerate()
            .find(|(k, path)| paths[..*k].contains(path));
        if let Some((_, path)) = twice {
            self.report(
                node.at,
                format!("`{path}` is in more than one of `grid`, `list` and `random`"),
                Some("keep one of them"),
            );
        }
        vary
    }

    fn random(&mut self, node: &Node) -> Option<Random> {
        let fields = self.fields(node, "`random`", &["count", "seed", "ranges"])?;
        let count = match fields.get("count") {
            Some(count) => self.integer(count, "`count`", 1, MAX_RANDOM),
            None => self.missing(node, "`random` has no `count`", "add `count: 20`"),
        };
        let seed = match fields.get("seed") {
            Some(seed) => self.integer(seed, "`seed`", 0, u64::MAX),
            None => Some(0),
        };
        let Some(ranges) = fields.get("ranges") else {
            let help = "add `ranges: { train.optimizer.lr: { log_uniform: [1e-5, 1e-2] } }`";
            return self.missing(node, "`random` has no `ranges`", help);
        };
        let mut found = Vec::new();
        for (path, at, range) in self.entries(ranges, "`ranges`") {
            if self.is_setting(&path, at) {
                if let Some(range) = self.range(range, &path) {
                    found.push((path, range));
                }
            }
        }
        Some(Random {
            count: count? as usize,
            seed: seed?,
            ranges: found,
        })
    }

    fn range(&mut self, node: &Node, path: &str) -> Option<Range> {
        let kinds = ["uniform", "log_uniform", "integer", "choice"];
        let fields = self.fields(node, &format!("the range of `{path}`"), &kinds)?;
        let [(kind, value)] = fields.all() else {
            self.report(
                node.at,
                format!("the range of `{path}` needs one kind"),
                Some("one of `uniform: [0, 1]`, `log_uniform: [1e-5, 1e-2]`, `integer: [8, 64]`, `choice: [a, b]`"),
            );
            return None;
        };
        if *kind == "choice" {
            let values = self.values(value, path);
            return (!values.is_empty()).then_some(Range::Choice(values));
        }
        let bounds = self.list(value, &format!("`{kind}`"), "two numbers")?;
        let numbers: Vec<f64> = bounds
            .iter()
            .filter_map(|bound| self.number(bound, &format!("a bound of `{path}`")))
            .collect();
        let [low, high] = numbers[..] else {
            if numbers.len() == bounds.len() {
                let message = format!("`{kind}` needs two numbers, the lowest and the highest");
                self.report(value.at, message, None);
            }
            return None;
        };
        let mut wrong = |message: &str| {
            self.report(value.at, format!("{message} of `{path}`"), None);
        };
        if low > high {
            wrong("the lower bound is above the upper one in the range");
        } else if *kind == "log_uniform" && low <= 0.0 {
            wrong("the bounds must be above 0 in the logarithmic range");
        } else if *kind == "integer" && (low.fract() != 0.0 || high.fract() != 0.0) {
            wrong("the bounds must be whole numbers in the range");
        } else {
            return Some(match *kind {
                "uniform" => Range::Uniform(low, high),
                "log_uniform" => Range::LogUniform(low, high),
                _ => Range::Integer(low as i64, high as i64),
            });
        }
        None
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

    fn engine(&mut self, node: &Node) -> Engine {
        let mut engine = Engine::default();
        let Some(fields) = self.fields(node, "`engine`", &["workers", "threads", "slurm"]) else {
            return engine;
        };
        engine.workers = self.count(&fields, "workers");
        engine.threads = self.count(&fields, "threads");
        let Some(slurm) = fields.get("slurm") else {
            return engine;
        };
        let known = ["partition", "account", "time", "memory", "at_once", "extra"];
        let Some(fields) = self.fields(slurm, "`slurm`", &known) else {
            return engine;
        };
        let mut option = |name: &str| {
            let node = fields.get(name)?;
            let value = self.value(node, name)?;
            self.is_one_line(&value, node.at).then_some(value)
        };
        engine.slurm = SlurmSettings {
            partition: option("partition"),
            account: option("account"),
            time: option("time"),
            memory: option("memory"),
            at_once: None,
            extra: Vec::new(),
        };
        engine.slurm.at_once = self.count(&fields, "at_once");
        if let Some(extra) = fields.get("extra") {
            for item in self
                .list(extra, "`extra`", "options such as `--gres=gpu:1`")
                .unwrap_or_default()
            {
                let Some(option) = self.text_of(item, "an option of Slurm") else {
                    continue;
                };
                if !option.starts_with('-') {
                    self.report(
                        item.at,
                        format!("`{option}` is no option of `sbatch`"),
                        Some("options begin with `-`, as in `--qos=long`"),
                    );
                } else if self.is_one_line(&option, item.at) {
                    engine.slurm.extra.push(option);
                }
            }
        }
        engine
    }

    fn count(&mut self, fields: &Fields<'_>, name: &str) -> Option<usize> {
        let node = fields.get(name)?;
        let number = self.integer(node, &format!("`{name}`"), 1, 4096)?;
        Some(number as usize)
    }
}
