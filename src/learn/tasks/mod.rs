//! Tasks: where observations, rewards and targets come from. One task a file, one line in [`TASKS`].

mod bandit;
mod cue_reward;
mod delayed_match;
mod maze;
mod pattern_completion;
mod process;
mod sequences;
mod substeps;
mod text;

pub use bandit::Bandit;
pub use cue_reward::CueReward;
pub use delayed_match::DelayedMatch;
pub use maze::Maze;
pub use pattern_completion::PatternCompletion;
pub use process::{environment, Ended, Process, Surroundings};
pub use sequences::Sequences;
use substeps::Substeps;
pub use text::Text;

use crate::ir::rng::{Key, Place, Stream};
use crate::lang::catalog::{self, substeps, Actions, Port, TaskInfo, TaskPorts};
use crate::lang::sema::model::TaskModel;
use crate::lang::settings::{Setting, SettingConflict, Settings};
use crate::machine::device::TaskSource;

/// A task: what the language knows of it, and how it is built.
pub struct TaskEntry {
    /// Name, settings and ports.
    pub info: TaskInfo,
    /// Builds it from checked settings.
    pub build: fn(&Settings, &TaskPorts) -> Built,
}

/// A task, or the setting that it cannot be built with.
pub type Built = Result<Box<dyn Task>, SettingConflict>;

/// All tasks, by name.
pub static TASKS: &[TaskEntry] = &[
    bandit::ENTRY,
    cue_reward::ENTRY,
    delayed_match::ENTRY,
    maze::ENTRY,
    pattern_completion::ENTRY,
    process::ENTRY,
    sequences::ENTRY,
    text::ENTRY,
];

/// The task with this name.
pub fn find(name: &str) -> Option<&'static TaskEntry> {
    TASKS.iter().find(|task| task.info.name == name)
}

/// The task that a spec names, built.
///
/// # Errors
/// Where its files are not there any more, or not what they were when the spec was compiled.
pub fn of_model(model: &TaskModel) -> Built {
    let entry = find(model.info.name).expect("the catalog holds no other tasks than these");
    let count = substeps(model.info, &model.settings);
    let mut ports = model.ports.clone();
    ports.steps /= count;
    let task = (entry.build)(&model.settings, &ports)?;
    Ok(match count {
        1 => task,
        _ => Box::new(Substeps::new(task, count)),
    })
}

/// The setting of all tasks with episodes.
const SUBSTEPS: Setting = Setting::int(
    catalog::SUBSTEPS,
    (1, 1000),
    1,
    "Steps of the network in each step of the task, with the same observation.",
);

/// The ports of a task.
fn ports(task: &dyn Task) -> TaskPorts {
    TaskPorts {
        steps: task.steps(),
        sizes: task.sizes(),
        inputs: task.inputs(),
        signals: task
            .signals()
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        targets: task.targets(),
        actions: task.actions(),
        starts: Vec::new(),
        is_text: task.text().is_some(),
        streams: task.streams(),
        sequences: task.sequences(Part::Train),
    }
}

/// A task with fixed settings. Shared by all lanes; holds no episode state.
pub trait Task: Send + Sync {
    /// Steps of an episode.
    fn steps(&self) -> usize;

    /// Sizes a spec can name as `task.NAME`, in a fixed order.
    fn sizes(&self) -> Vec<Port>;

    /// Vectors it gives as inputs each step, in the order [`Lane::observe`] writes them.
    fn inputs(&self) -> Vec<Port>;

    /// Scalars it gives as `external NAME`, in the order [`Lane::signals`] writes them.
    fn signals(&self) -> Vec<&str>;

    /// The actions of a reward task; `None` for others.
    fn actions(&self) -> Option<Actions> {
        let sizes = self.sizes();
        let size = sizes.iter().find(|port| port.name == "actions")?.size;
        Some(Actions::Choices(vec![size]))
    }

    /// Outputs for which it has targets; empty for a reward task.
    fn targets(&self) -> Vec<Port>;

    /// The number of different episodes of a part of the data; `None` where there is no such part, or where episodes are
    /// drawn without end.
    fn sequences(&self, _part: Part) -> Option<usize> {
        None
    }

    /// A small file that says what the task's files look like, in the place of which the network can be compiled.
    fn outline(&self) -> Option<Vec<u8>> {
        None
    }

    /// The task of predicting a text, for trainers that read it from beginning to end.
    fn text(&self) -> Option<&Text> {
        None
    }

    /// The task for generated kernels, with the same episodes as [`Task::lane`]; `None` where the host must give them.
    fn device(&self) -> Option<TaskSource> {
        None
    }

    /// A fresh lane. [`Lane::reset`] must be called before anything else.
    fn lane(&self) -> Box<dyn Lane>;

    /// The steps of the network in each step of the task.
    fn substeps(&self) -> usize {
        1
    }

    /// Returns true if the lanes of training begin new episodes within a run, and go on where the run before ended.
    fn streams(&self) -> bool {
        false
    }

    /// Steps of the longest episode of an evaluation.
    fn longest(&self) -> usize {
        self.steps()
    }

    /// The number of groups of lanes that the task would like to be run in, as by a process each; `None` where it does not
    /// matter.
    fn groups(&self) -> Option<usize> {
        None
    }

    /// Fresh lanes in groups of these sizes.
    ///
    /// # Errors
    /// The fault, if something that they need could not be started.
    fn companies(&self, sizes: &[usize]) -> Result<Vec<Company>, String> {
        let company = |size: &usize| Company {
            lanes: (0..*size).map(|_| self.lane()).collect(),
            together: None,
        };
        Ok(sizes.iter().map(company).collect())
    }
}

/// Lanes that go in step.
pub struct Company {
    /// The lanes.
    pub lanes: Vec<Box<dyn Lane>>,
    /// The exchange of all lanes between steps, if there is one.
    pub together: Option<Box<dyn Together>>,
}

/// The common exchange of a group of lanes, such as a question to another process.
pub trait Together: Send {
    /// Begins the episodes of lanes after [`Lane::reset`], or ends their step `step` after [`Lane::act`].
    ///
    /// # Errors
    /// The fault, as a sentence that names step and lane.
    fn exchange(&mut self, step: Option<usize>) -> Result<(), String>;
}

/// The result of a step of a lane whose episodes may end at any step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The reward that the action earned.
    pub reward: f32,
    /// True if the episode is over now.
    pub ended: Ended,
    /// The mark of a step after the end of an episode, whose action does nothing.
    pub idle: bool,
}

/// A part of data from files; where episodes are drawn, all parts are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The sequences to learn from.
    #[default]
    Train,
    /// The sequences that decide which parameters are the best.
    Valid,
    /// The sequences that a trained network is evaluated on.
    Test,
}

/// The key of an episode's random numbers: the same key gives the same episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpisodeKey {
    /// Seed of the run.
    pub seed: u64,
    /// Iteration of the trainer.
    pub iteration: u32,
    /// Lane in the batch.
    pub lane: u32,
    /// Lanes of the batch.
    pub batch: u32,
    /// The part of the data that it comes from.
    pub part: Part,
}

impl EpisodeKey {
    /// The number of the episode in its part of the data. Parts that are not learned from count their iterations down
    /// from the largest number.
    pub fn index(self) -> u64 {
        let turn = match self.part {
            Part::Train => self.iteration,
            Part::Valid | Part::Test => u32::MAX - self.iteration,
        };
        u64::from(turn) * u64::from(self.batch) + u64::from(self.lane)
    }

    /// The place of random numbers drawn before the episode's first step.
    pub fn episode(self) -> Place {
        Key::new(self.seed, Stream::Task).at(self.iteration, 0, self.lane)
    }

    /// The place of the random numbers of step `step` (from 0).
    pub fn step(self, step: usize) -> Place {
        Key::new(self.seed, Stream::Task).at(self.iteration, step as u32 + 1, self.lane)
    }
}

/// One lane of a task: one episode at a time.
pub trait Lane: Send + Sync {
    /// Starts the episode of `key` at step 0.
    fn reset(&mut self, key: EpisodeKey);

    /// Writes the first values of the state with this path, where the episode has some: tells if it has.
    fn first_state(&mut self, _path: &str, _out: &mut [f32]) -> bool {
        false
    }

    /// Goes to a step of the episode, from the first, where it can do so at once: tells if it did.
    fn seek(&mut self, _step: usize) -> bool {
        false
    }

    /// Writes the inputs of the current step, one after another, into `inputs`.
    fn observe(&mut self, inputs: &mut [f32]);

    /// Writes the signals of the current step.
    fn signals(&mut self, signals: &mut [f32]);

    /// Returns true if the current step is the first of a trial.
    fn trial_starts(&self) -> bool {
        false
    }

    /// Ends the current step of a reward task with `action`; returns the reward it earned.
    fn act(&mut self, action: usize) -> f32;

    /// The same for an action of any kind: a number for each head, or the numbers themselves.
    fn act_with(&mut self, action: &[f32]) -> f32 {
        self.act(action.first().map_or(0, |choice| *choice as usize))
    }

    /// The result of the step, after what lanes do [together](Together); `None` where [`Lane::act`] tells the reward and
    /// all episodes have [`Task::steps`] steps.
    fn outcome(&self) -> Option<Outcome> {
        None
    }

    /// Returns true if the network's last step was not the last of a step of the task, so that nothing came of it.
    fn is_between(&self) -> bool {
        false
    }

    /// Returns true if nothing that later steps of this run give would be used.
    fn is_over(&self) -> bool {
        false
    }

    /// Returns true if this run goes on where the run before ended, and the next one where this one ends.
    fn streams(&self) -> bool {
        false
    }

    /// Writes the targets of the current step of a supervised task and, for each output with one, the weight of its loss
    /// (0 where the output does not matter), and ends the step.
    fn target(&mut self, targets: &mut [f32], weights: &mut [f32]);

    /// Writes the targets of the current step, for rules that read them; 0 where there is none. Does not end the step.
    fn show_targets(&mut self, targets: &mut [f32]) {
        targets.fill(0.0);
    }

    /// The reason why the episode could not be given, such as a NaN in a file.
    fn fault(&self) -> Option<&str> {
        None
    }

    /// The task's own measure of the episode, where it has one, from the `outputs` of the last step (in the
    /// order and sizes of [`Task::targets`], one after another). Called after the episode, before the
    /// next [`Lane::reset`]; not part of the loss.
    fn score(&self, outputs: &[f32]) -> Option<Score> {
        let _ = outputs;
        None
    }
}

/// A task's own measure of one episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Its name in the metrics.
    pub name: &'static str,
    /// Its value; averaged over lanes.
    pub value: f64,
}

#[cfg(test)]
mod tests {
    use super::{find, EpisodeKey, Part, Task, TASKS};
    use crate::lang::catalog::Interface;
    use crate::lang::settings::{SettingKind, SettingValue, Settings};

    /// The task with these settings; `None` where it needs a file.
    fn built(entry: &super::TaskEntry, settings: &Settings) -> Option<Box<dyn Task>> {
        match (entry.info.ports)(settings, &Interface::default()) {
            Ok(ports) => {
                let task = (entry.build)(settings, &ports);
                Some(task.map_err(|conflict| conflict.message).unwrap())
            }
            Err(conflict) => {
                let needs = ["needs a file", "needs a command"];
                assert!(needs.iter().any(|text| conflict.message.contains(text)));
                None
            }
        }
    }

    #[test]
    fn tables_are_sound_and_defaults_build() {
        for entry in TASKS {
            let info = &entry.info;
            assert!(find(info.name).is_some_and(|found| std::ptr::eq(found, entry)));
            for (k, row) in info.settings.iter().enumerate() {
                assert!(info.settings[..k].iter().all(|r| r.name != row.name));
                assert!(row.doc.ends_with('.'), "{}.{}", info.name, row.name);
                match (row.kind, row.default.clone()) {
                    (SettingKind::Int { min, max }, SettingValue::Int(x)) => {
                        assert!((min..=max).contains(&x));
                    }
                    (SettingKind::Real { min, max }, SettingValue::Real(x)) => {
                        assert!((min..=max).contains(&x));
                    }
                    (SettingKind::Bool, SettingValue::Bool(_))
                    | (SettingKind::Bytes, SettingValue::Bytes(_))
                    | (SettingKind::File, SettingValue::File(None))
                    | (SettingKind::Folder, SettingValue::Folder(None))
                    | (SettingKind::Text, SettingValue::Text(None)) => {}
                    (SettingKind::Choice(words), SettingValue::Word(word)) => {
                        assert!(words.contains(&word));
                    }
                    (kind, default) => panic!("{}: {kind:?} {default:?}", row.name),
                }
            }
            assert!(info.page.starts_with("# "));
            for row in info.settings {
                let quoted = format!("`{}", row.name);
                assert!(info.page.contains(&quoted), "{}: {quoted}", info.name);
            }
            let Some(task) = built(entry, &Settings::defaults(info.settings)) else {
                continue;
            };
            let sizes = task.sizes();
            let has = |name| sizes.iter().any(|port| port.name == name);
            assert!(has("obs") && has("steps"));
        }
        assert!(find("no_such_task").is_none());
    }

    /// Everything an episode shows, with actions that depend only on the step.
    fn episode(task: &dyn Task, key: EpisodeKey) -> Vec<f32> {
        let mut lane = task.lane();
        lane.reset(key);
        let width: usize = task.inputs().iter().map(|port| port.size).sum();
        let outputs: usize = task.targets().iter().map(|port| port.size).sum();
        let mut record = Vec::new();
        let mut inputs = vec![f32::NAN; width];
        let mut signals = vec![f32::NAN; task.signals().len()];
        let mut targets = vec![f32::NAN; outputs];
        let mut weights = vec![f32::NAN; task.targets().len()];
        for step in 0..task.steps() {
            lane.observe(&mut inputs);
            lane.signals(&mut signals);
            record.extend(inputs.iter().chain(&signals));
            if outputs == 0 {
                record.push(lane.act((step / 2) * 7 % 5 % 4));
            } else {
                lane.target(&mut targets, &mut weights);
                record.extend(weights.iter().chain(&targets));
            }
        }
        assert!(record.iter().all(|x| x.is_finite()));
        record
    }

    #[test]
    fn an_episode_depends_on_its_key_and_on_nothing_else() {
        for entry in TASKS {
            let info = &entry.info;
            let key = EpisodeKey {
                seed: 1 << 40,
                iteration: 3,
                lane: 2,
                batch: 4,
                part: Part::Train,
            };
            // A random start, so that the first steps of a maze episode already differ.
            let mut settings = Settings::defaults(info.settings);
            if info.name == "maze" {
                settings.set("start", SettingValue::Word("random"));
            }
            let Some(task) = built(entry, &settings) else {
                continue;
            };
            let first = episode(task.as_ref(), key);
            let others = [
                EpisodeKey { seed: 0, ..key },
                EpisodeKey {
                    iteration: 4,
                    ..key
                },
                EpisodeKey { lane: 3, ..key },
            ];
            for other in others {
                let differs = first != episode(task.as_ref(), other);
                assert!(differs, "{}: {other:?}", info.name);
            }
            assert!(first == episode(task.as_ref(), key), "{}", info.name);

            let mut used = task.lane();
            used.reset(others[0]);
            used.act(1);
            used.reset(key);
            let width: usize = task.inputs().iter().map(|port| port.size).sum();
            let mut inputs = vec![0.0; width];
            used.observe(&mut inputs);
            assert_eq!(inputs, first[..width], "{}: a used lane", info.name);
        }
    }
}
