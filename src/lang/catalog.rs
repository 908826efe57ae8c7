//! The catalog: names, settings and ports of the tasks, trainers and optimizers that a spec can use.
//!
//! The tables stand beside the code that runs them; a compilation receives them as a [`Catalog`].

use super::formula::Formula;
use super::settings::{Setting, SettingConflict, Settings};
use crate::ir::GivenArray;
use std::path::{Path, PathBuf};

/// Reads an array of a file for a parameter with a path; an error is a message and its remedy.
pub type ReadArray = fn(&Path, &str) -> Result<GivenArray, (String, String)>;

/// All tasks, trainers and optimizers that a spec can name.
#[derive(Clone)]
pub struct Catalog {
    /// The tasks.
    pub tasks: Vec<&'static TaskInfo>,
    /// The trainers.
    pub trainers: Vec<&'static TrainerInfo>,
    /// The optimizers.
    pub optimizers: Vec<&'static OptimizerInfo>,
    /// The optimizer of a `train` block that names none.
    pub default_optimizer: &'static str,
    /// Reads an array from a file: that with the path, or the only one.
    pub read_array: ReadArray,
    /// The folder of the spec; paths in the spec are relative to it.
    pub directory: PathBuf,
}

/// A named vector between task and network, with one value per step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name.
    pub name: String,
    /// The number of elements.
    pub size: usize,
    /// The mark of a vector that stands for one of `size` classes, with a single 1.
    pub classes: bool,
}

impl Port {
    /// A vector of numbers.
    pub fn new(name: &str, size: usize) -> Port {
        Port {
            name: name.to_owned(),
            size,
            classes: false,
        }
    }
}

/// The actions of a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actions {
    /// One of so many, for each of several heads.
    Choices(Vec<usize>),
    /// So many real numbers, each drawn from a normal distribution.
    Numbers(usize),
}

/// The output with the mean of each number or, with a single head, the logits.
pub const POLICY: &str = "policy";
/// The output with the logarithms of the standard deviations.
pub const LOG_STD: &str = "log_std";

impl Actions {
    /// The actions that a network without a task can take, from the sizes of its outputs by name.
    pub fn of_outputs(size: impl Fn(&str) -> Option<usize>) -> Actions {
        let heads: Vec<usize> = (0..).map_while(|k| size(&head(k))).collect();
        match (size(POLICY), size(LOG_STD)) {
            (Some(policy), Some(_)) => Actions::Numbers(policy),
            (None, _) if !heads.is_empty() => Actions::Choices(heads),
            (policy, _) => Actions::Choices(vec![policy.unwrap_or(1)]),
        }
    }

    /// The outputs that decide on the actions, with their sizes, in the order of the trainer.
    pub fn outputs(&self) -> Vec<(String, usize)> {
        match self {
            Actions::Choices(sizes) if sizes.len() > 1 => {
                let heads = sizes.iter().enumerate();
                heads.map(|(k, size)| (head(k), *size)).collect()
            }
            Actions::Choices(sizes) => sizes
                .iter()
                .map(|size| (POLICY.to_owned(), *size))
                .collect(),
            Actions::Numbers(size) => {
                vec![(POLICY.to_owned(), *size), (LOG_STD.to_owned(), *size)]
            }
        }
    }

    /// The numbers of one action.
    pub fn width(&self) -> usize {
        match self {
            Actions::Choices(sizes) => sizes.len(),
            Actions::Numbers(size) => *size,
        }
    }

    /// The dimensions of an action where it is recorded or given.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Actions::Choices(sizes) if sizes.len() == 1 => Vec::new(),
            _ => vec![self.width()],
        }
    }

    /// The elements of an action as an input shows it: one-hot for each head, or the numbers.
    pub fn shown(&self) -> usize {
        match self {
            Actions::Choices(sizes) => sizes.iter().sum(),
            Actions::Numbers(size) => *size,
        }
    }
}

/// The output with the logits of one of several heads.
fn head(k: usize) -> String {
    format!("{POLICY}_{k}")
}

/// The first values of a state, one for each episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The path of the state.
    pub path: String,
    /// The dimensions.
    pub dims: Vec<usize>,
    /// The origin, as messages name it.
    pub origin: String,
}

/// The names of a network that a task may serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The inputs.
    pub inputs: Vec<String>,
    /// The outputs.
    pub outputs: Vec<String>,
}

/// The ports of a task with fixed settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPorts {
    /// The number of steps per episode.
    pub steps: usize,
    /// The sizes that a spec can name as `task.NAME`, in a fixed order.
    pub sizes: Vec<Port>,
    /// The vectors that the task feeds to inputs each step.
    pub inputs: Vec<Port>,
    /// The scalars that the task provides as `external NAME`.
    pub signals: Vec<String>,
    /// The outputs that the task has targets for; empty for a reward task.
    pub targets: Vec<Port>,
    /// The actions; `None` for tasks with targets.
    pub actions: Option<Actions>,
    /// The states that begin an episode with values of the task.
    pub starts: Vec<Start>,
    /// True if the task is a text, read from beginning to end.
    pub is_text: bool,
    /// True if episodes begin within a run of a lane, which goes on where the one before ended.
    pub streams: bool,
    /// The number of different episodes, if they come from a file: an epoch shows each of them once.
    pub sequences: Option<usize>,
}

/// A task as the language sees it.
pub struct TaskInfo {
    /// The word after `task`.
    pub name: &'static str,
    /// A summary in one sentence.
    pub summary: &'static str,
    /// The page that `bpmc explain task NAME` prints, in Markdown: episode, observation, actions, reward,
    /// differences from the paper.
    pub page: &'static str,
    /// The settings.
    pub settings: &'static [Setting],
    /// Computes the ports for given settings and names of the network; an error if settings contradict each other.
    pub ports: fn(&Settings, &Interface) -> Result<TaskPorts, SettingConflict>,
}

/// The setting of a task that tells how many steps the network takes in each of its own.
pub const SUBSTEPS: &str = "substeps";

/// The steps of the network in each step of a task with these settings.
pub fn substeps(info: &TaskInfo, settings: &Settings) -> usize {
    let has = info.settings.iter().any(|row| row.name == SUBSTEPS);
    if has {
        settings.int(SUBSTEPS)
    } else {
        1
    }
}

/// A trainer as the language sees it.
pub struct TrainerInfo {
    /// The word after `train`.
    pub name: &'static str,
    /// A summary in one sentence.
    pub summary: &'static str,
    /// The settings.
    pub settings: &'static [Setting],
    /// The blocks that its block may contain, each at most once.
    pub blocks: &'static [TrainerBlock],
    /// The kind of feedback it learns from.
    pub kind: TrainerKind,
    /// Its loss; more than one where the setting `loss` chooses.
    pub losses: &'static [Formula],
    /// More facts about the loss and its gradients.
    pub about_loss: &'static str,
}

impl TrainerInfo {
    /// The loss that the settings choose.
    pub fn loss(&self, settings: &Settings) -> &'static Formula {
        match self.losses {
            [only] => only,
            _ => self.formula(settings.word("loss")),
        }
    }

    /// The loss of this name, or the only one.
    pub fn formula(&self, name: &str) -> &'static Formula {
        let chosen = |formula: &&Formula| formula.choice.is_empty() || formula.choice == name;
        let found = self.losses.iter().find(chosen);
        found.expect("a test goes through the choices of each trainer")
    }
}

/// The kind of feedback that a trainer learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainerKind {
    /// Rewards: the spec needs a task with actions, and outputs `policy` and `value`.
    Reward,
    /// Targets: the spec needs a task with targets.
    Supervised,
    /// A text: the spec needs the task `text`, and an output `next_word`.
    Language,
}

/// A block inside a `train` block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainerBlock {
    /// `optimizer NAME { ... }`, with NAME and settings from [`Catalog::optimizers`].
    Optimizer,
    /// `grad_scale { PATH = number, ... }`: factors on the gradients of parameters, before clipping.
    GradScale,
    /// `loss { OUTPUT = number * NAME, ... }`: a loss for each output, with a factor.
    Loss,
}

impl TrainerBlock {
    /// The keyword of the block.
    pub fn name(self) -> &'static str {
        match self {
            TrainerBlock::Optimizer => "optimizer",
            TrainerBlock::GradScale => "grad_scale",
            TrainerBlock::Loss => "loss",
        }
    }

    /// A summary in one sentence.
    pub fn summary(self) -> &'static str {
        match self {
            TrainerBlock::Optimizer => "how parameters move along their gradients",
            TrainerBlock::GradScale => {
                "factors on the gradients of parameters, by path, before the norm is clipped"
            }
            TrainerBlock::Loss => {
                "a loss for each output with a target, instead of one for all: `loss { label = cross_entropy, recall = 0.5 * mean_squares }`"
            }
        }
    }
}

/// An optimizer as the language sees it.
pub struct OptimizerInfo {
    /// The word after `optimizer`.
    pub name: &'static str,
    /// A summary in one sentence.
    pub summary: &'static str,
    /// The settings.
    pub settings: &'static [Setting],
    /// Checks given settings; an error if they contradict each other.
    pub check: fn(&Settings) -> Result<(), SettingConflict>,
}
