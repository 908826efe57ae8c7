//! What the language knows of tasks, trainers and optimizers: their names, settings and ports.
//!
//! The tables themselves stand beside the code that runs them; a compilation is given them as a [`Catalog`].

use super::settings::{Setting, SettingConflict, Settings};

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
}

/// A named vector that a task gives or takes each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: &'static str,
    /// Its size.
    pub size: usize,
}

/// What a task with fixed settings gives to a network and wants from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPorts {
    /// Steps of an episode.
    pub steps: usize,
    /// Sizes a spec can name as `task.NAME`, in a fixed order.
    pub sizes: Vec<Port>,
    /// Vectors it gives as inputs each step.
    pub inputs: Vec<Port>,
    /// Scalars it gives as `external NAME`.
    pub signals: &'static [&'static str],
    /// Outputs for which it has targets; empty for a reward task.
    pub targets: Vec<Port>,
    /// Whether it is a text, read from beginning to end.
    pub is_text: bool,
}

/// A task as the language sees it.
pub struct TaskInfo {
    /// The word after `task`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The page that `bpmc explain task NAME` prints: episode, observation, actions, reward, differences
    /// from the paper. Markdown.
    pub page: &'static str,
    /// Its settings.
    pub settings: &'static [Setting],
    /// Its ports with these settings; an error where settings contradict each other.
    pub ports: fn(&Settings) -> Result<TaskPorts, SettingConflict>,
}

/// A trainer as the language sees it.
pub struct TrainerInfo {
    /// The word after `train`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its settings.
    pub settings: &'static [Setting],
    /// Blocks that may stand in its block, each at most once.
    pub blocks: &'static [TrainerBlock],
    /// What it learns from.
    pub kind: TrainerKind,
}

/// What a trainer learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainerKind {
    /// Rewards: the spec needs a task with actions, and outputs `policy` and `value`.
    Reward,
    /// Targets.
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
}

impl TrainerBlock {
    /// The word that begins it.
    pub fn name(self) -> &'static str {
        match self {
            TrainerBlock::Optimizer => "optimizer",
            TrainerBlock::GradScale => "grad_scale",
        }
    }

    /// One sentence.
    pub fn summary(self) -> &'static str {
        match self {
            TrainerBlock::Optimizer => "how parameters move along their gradients",
            TrainerBlock::GradScale => {
                "factors on the gradients of parameters, by path, before the norm is clipped"
            }
        }
    }
}

/// An optimizer as the language sees it.
pub struct OptimizerInfo {
    /// The word after `optimizer`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its settings.
    pub settings: &'static [Setting],
    /// An error where settings contradict each other.
    pub check: fn(&Settings) -> Result<(), SettingConflict>,
}
