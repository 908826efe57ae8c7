#![doc = include_str!("../process.md")]

#[cfg(unix)]
mod child;
#[cfg(not(unix))]
#[path = "no_child.rs"]
mod child;
mod lane;
mod protocol;
mod server;
mod watch;
mod words;

pub use protocol::Ended;

use super::SUBSTEPS;
use super::{Company, Lane, Task, TaskEntry};
use crate::lang::catalog::{Actions, Interface, Port, TaskInfo, TaskPorts};
use crate::lang::settings::{Setting, SettingConflict, SettingValue, Settings};
use lane::Exchange;
use protocol::Description;
use server::{Start, StartFault};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) const ENTRY: TaskEntry = TaskEntry {
    info: TaskInfo {
        name: "process",
        summary: "an environment of your own in another process, in any language",
        page: include_str!("../process.md"),
        settings: SETTINGS,
        ports: described,
    },
    build: |settings, _| Ok(Box::new(Process::new(settings)?)),
};

const SETTINGS: &[Setting] = &[
    Setting::text(
        "command",
        "Command that starts the environment, as \"python3 world.py\"; needed. No shell reads it: it is split at blanks, and quotes keep them.",
    ),
    Setting::folder("directory", "Folder in which the command runs."),
    Setting::int(
        "steps",
        (1, 1_000_000),
        200,
        "Steps of an iteration. With `episodes = whole` an episode that is not over by then is cut off.",
    ),
    Setting::choice(
        "episodes",
        &["whole", "stream"],
        "Each lane has one episode an iteration, and waits when it is over; or begins the next one at once, and goes on with it in the next iteration.",
    ),
    Setting::int(
        "longest",
        (1, 1_000_000),
        1000,
        "Steps at which an evaluation cuts an episode off, with `episodes = stream`.",
    ),
    Setting::int(
        "processes",
        (1, 1024),
        1,
        "Processes that share the lanes; no number of the run depends on it.",
    ),
    Setting::real(
        "timeout",
        (0.001, 1e6),
        60.0,
        "Seconds within which the environment must answer in each step.",
    ),
    Setting::real(
        "start_timeout",
        (0.001, 1e6),
        120.0,
        "Seconds within which the environment must write its first line.",
    ),
    SUBSTEPS,
];

/// The name of the input that shows the action of the step before.
const LAST_ACTION: &str = "last_action";
/// The name of the signal that tells the reward of the step before.
const REWARD: &str = "reward";

/// The task with its settings.
#[derive(Clone, Debug)]
pub struct Process {
    start: Start,
    steps: usize,
    streams: bool,
    longest: usize,
    processes: usize,
    description: Arc<Description>,
}

/// The descriptions of environments that were asked before.
static KNOWN: Mutex<BTreeMap<Start, Arc<Description>>> = Mutex::new(BTreeMap::new());

fn conflict(fault: StartFault) -> SettingConflict {
    let help = match fault.last_words.as_str() {
        "" => "`bpmc explain task process` shows how an environment begins".to_owned(),
        words => format!("it wrote to standard error:{words}"),
    };
    SettingConflict {
        setting: "command",
        message: fault.message,
        help,
    }
}

/// The ports of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The inputs.
    pub inputs: Vec<Port>,
    /// The actions.
    pub actions: Actions,
}

/// Asks a command in a folder what it is.
///
/// # Errors
/// The error if it fails.
pub fn environment(command: &str, folder: &Path) -> Result<Surroundings, SettingConflict> {
    let mut settings = Settings::defaults(SETTINGS);
    settings.set("command", SettingValue::Text(Some(command.into())));
    settings.set("directory", SettingValue::Folder(Some(folder.into())));
    let task = Process::new(&settings)?;
    Ok(Surroundings {
        inputs: task.description.inputs.clone(),
        actions: task.description.actions.clone(),
    })
}

fn described(settings: &Settings, _: &Interface) -> Result<TaskPorts, SettingConflict> {
    Ok(super::ports(&Process::new(settings)?))
}

impl Process {
    /// The task; starts the command once to ask what it is, unless that is known.
    ///
    /// # Errors
    /// Fails if there is no command, or if the command fails.
    pub fn new(settings: &Settings) -> Result<Process, SettingConflict> {
        let Some(command) = settings.text("command") else {
            return Err(SettingConflict {
                setting: "command",
                message: "`process` needs a command that starts the environment".to_owned(),
                help: "write `task process { command = \"python3 world.py\" }`".to_owned(),
            });
        };
        let start = Start {
            command: command.to_owned(),
            folder: settings
                .file("directory")
                .unwrap_or(Path::new(""))
                .to_owned(),
            timeouts: ["start_timeout", "timeout"]
                .map(|name| Duration::from_secs_f64(settings.real(name))),
        };
        // Whoever else asks waits for the answer, so that a command is started once.
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let description = match known.get(&start) {
            Some(found) => Arc::clone(found),
            None => {
                let found = Arc::new(start.describe().map_err(conflict)?);
                known.insert(start.clone(), Arc::clone(&found));
                found
            }
        };
        Ok(Process {
            start,
            steps: settings.int("steps"),
            streams: settings.word("episodes") == "stream",
            longest: settings.int("longest"),
            processes: settings.int("processes"),
            description,
        })
    }

    fn gives_input(&self, name: &str) -> bool {
        self.description.inputs.iter().any(|port| port.name == name)
    }
}

impl Task for Process {
    fn steps(&self) -> usize {
        self.steps
    }

    fn sizes(&self) -> Vec<Port> {
        let mut sizes = self.inputs();
        let actions = &self.description.actions;
        sizes.push(Port::new("actions", actions.shown()));
        if let Actions::Choices(heads) = actions {
            let heads = heads.iter().enumerate().filter(|_| heads.len() > 1);
            sizes.extend(heads.map(|(k, size)| Port::new(&format!("actions_{k}"), *size)));
        }
        sizes.push(Port::new("steps", self.steps));
        sizes
    }

    fn inputs(&self) -> Vec<Port> {
        let mut inputs = self.description.inputs.clone();
        if !self.gives_input(LAST_ACTION) {
            inputs.push(Port::new(LAST_ACTION, self.description.actions.shown()));
        }
        inputs
    }

    fn signals(&self) -> Vec<&str> {
        let signals = self.description.signals.iter();
        let mut signals: Vec<&str> = signals.map(String::as_str).collect();
        if !signals.contains(&REWARD) {
            signals.push(REWARD);
        }
        signals
    }

    fn actions(&self) -> Option<Actions> {
        Some(self.description.actions.clone())
    }

    fn targets(&self) -> Vec<Port> {
        Vec::new()
    }

    fn streams(&self) -> bool {
        self.streams
    }

    fn longest(&self) -> usize {
        match self.streams {
            true => self.longest,
            false => self.steps,
        }
    }

    fn groups(&self) -> Option<usize> {
        Some(self.processes)
    }

    fn companies(&self, sizes: &[usize]) -> Result<Vec<Company>, String> {
        let processes = self.processes.min(sizes.len()).max(1);
        let process_of = |group: usize| group * processes / sizes.len().max(1);
        let mut lanes = vec![0; processes];
        for (group, size) in sizes.iter().enumerate() {
            lanes[process_of(group)] += size;
        }
        let servers = self.start.serve(&lanes, &self.description);
        let servers = servers.map_err(|fault| match fault.last_words.as_str() {
            "" => fault.message,
            words => format!(
                "{}; its last words on standard error:{words}",
                fault.message
            ),
        })?;
        let (mut first, mut begun) = (0, vec![0; processes]);
        let companies = sizes.iter().enumerate().map(|(group, size)| {
            let process = process_of(group);
            let own = [first, begun[process]];
            first += size;
            begun[process] += size;
            let (lanes, exchange) = Exchange::lanes(
                &servers[process],
                &self.description,
                self.streams,
                own,
                *size,
            );
            Company {
                lanes,
                together: Some(Box::new(exchange)),
            }
        });
        Ok(companies.collect())
    }

    fn lane(&self) -> Box<dyn Lane> {
        unreachable!("its lanes are made in companies")
    }
}
