#![doc = include_str!("../sequences.md")]

mod classes;
mod lane;
mod layout;
mod order;
mod outline;
mod split;

use super::SUBSTEPS;
use super::{Lane, Part, Task, TaskEntry};
use crate::lang::catalog::{Interface, Port, TaskInfo, TaskPorts};
use crate::lang::settings::{Setting, SettingConflict, Settings};
use crate::learn::data::{DataError, Source};
use lane::SequenceLane;
use layout::Layout;
use split::Split;
use std::sync::Arc;

pub(super) const ENTRY: TaskEntry = TaskEntry {
    info: TaskInfo {
        name: "sequences",
        summary: "sequences from files: inputs, targets, weights and signals are arrays by name",
        page: include_str!("../sequences.md"),
        settings: SETTINGS,
        ports: described,
    },
    build: |settings, ports| Ok(Box::new(Sequences::new(settings, ports)?)),
};

const SETTINGS: &[Setting] = &[
    Setting::file(
        "train",
        "File or folder of the sequences to learn from: .npz, .safetensors, .csv, or a folder of .npy; needed.",
    ),
    Setting::file(
        "valid",
        "Sequences that decide which parameters are the best; of the same arrays.",
    ),
    Setting::file(
        "test",
        "Sequences that are looked at after training, as by `bpmc eval`; of the same arrays.",
    ),
    Setting::choice(
        "order",
        &["shuffled", "file"],
        "Order of the sequences in an epoch: another one in each, or that of the file.",
    ),
    SUBSTEPS,
];

/// The parts of the data, as settings name them.
const PARTS: [&str; 3] = ["train", "valid", "test"];

/// The files that are given, opened: the setting and the source of each, that to learn from first.
fn sources(settings: &Settings) -> Result<Vec<(&'static str, Source)>, SettingConflict> {
    let mut sources = Vec::new();
    for part in PARTS {
        match settings.file(part) {
            Some(path) => {
                let source = Source::open(path).map_err(|error| conflict(part, error))?;
                sources.push((part, source));
            }
            None if part == "train" => {
                return Err(SettingConflict {
                    setting: part,
                    message: "`sequences` needs a file to learn from".to_owned(),
                    help: "write `task sequences { train = \"train.npz\" }`; `np.savez(\"train.npz\", x=x, label=label)` makes one".to_owned(),
                })
            }
            None => {}
        }
    }
    Ok(sources)
}

/// A fault of a file as one of the setting that names it.
fn conflict(part: &'static str, error: DataError) -> SettingConflict {
    SettingConflict {
        setting: part,
        message: error.message,
        help: error.help,
    }
}

/// The ports for a network with these names. Reads headers, and all labels where there are classes.
fn described(settings: &Settings, interface: &Interface) -> Result<TaskPorts, SettingConflict> {
    let sources = sources(settings)?;
    let mut layouts = Vec::new();
    for (part, source) in &sources {
        let layout = Layout::of(source, interface).map_err(|error| conflict(part, error))?;
        layouts.push(layout);
    }
    let (first, others) = layouts.split_at_mut(1);
    let [layout] = first else {
        unreachable!("there is a file to learn from")
    };
    for (other, (part, source)) in others.iter().zip(&sources[1..]) {
        let fits = layout.fits(other, &sources[0].1, source);
        fits.map_err(|error| conflict(part, error))?;
    }
    layout.count_classes(&sources)?;
    Ok(layout.ports())
}

/// The task with its files.
#[derive(Clone, Debug)]
pub struct Sequences {
    data: Arc<Data>,
}

/// The data that all lanes share.
#[derive(Debug)]
struct Data {
    layout: Layout,
    train: Split,
    valid: Option<Split>,
    test: Option<Split>,
    shuffled: bool,
}

impl Data {
    /// A part; what has no test of its own is evaluated on the validation, else on what it learned from.
    fn part(&self, part: Part) -> &Split {
        let valid = self.valid.as_ref().unwrap_or(&self.train);
        match part {
            Part::Train => &self.train,
            Part::Valid => valid,
            Part::Test => self.test.as_ref().unwrap_or(valid),
        }
    }
}

impl Sequences {
    /// The task with ports that were found before, for the names in them.
    ///
    /// # Errors
    /// Where a file cannot be read, or is not what it was.
    pub fn new(settings: &Settings, ports: &TaskPorts) -> Result<Sequences, SettingConflict> {
        let sources = sources(settings)?;
        let (mut train, mut valid, mut test) = (None, None, None);
        for (part, source) in &sources {
            let found = Layout::again(source, ports).map_err(|error| conflict(part, error))?;
            let split = Split::open(source, &found).map_err(|error| conflict(part, error))?;
            match *part {
                "train" => train = Some((found, split)),
                "valid" => valid = Some(split),
                _ => test = Some(split),
            }
        }
        let (layout, train) = train.expect("without a file to learn from there are no sources");
        Ok(Sequences {
            data: Arc::new(Data {
                layout,
                train,
                valid,
                test,
                shuffled: settings.word("order") == "shuffled",
            }),
        })
    }
}

impl Task for Sequences {
    fn steps(&self) -> usize {
        self.data.layout.steps
    }

    fn sizes(&self) -> Vec<Port> {
        self.data.layout.ports().sizes
    }

    fn inputs(&self) -> Vec<Port> {
        self.data.layout.ports().inputs
    }

    fn signals(&self) -> Vec<&str> {
        let signals = self.data.layout.signals.iter();
        signals.map(String::as_str).collect()
    }

    fn targets(&self) -> Vec<Port> {
        self.data.layout.ports().targets
    }

    fn sequences(&self, part: Part) -> Option<usize> {
        let data = &self.data;
        let split = match part {
            Part::Valid => data.valid.as_ref()?,
            Part::Train | Part::Test => data.part(part),
        };
        Some(split.sequences)
    }

    fn outline(&self) -> Option<Vec<u8>> {
        outline::outline(&self.data.layout)
    }

    fn lane(&self) -> Box<dyn Lane> {
        Box::new(SequenceLane::new(Arc::clone(&self.data)))
    }
}

#[cfg(test)]
mod tests;
