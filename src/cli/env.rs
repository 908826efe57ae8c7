//! The command `bpmc env`: environments of Gymnasium.

use super::screen::Screen;
use super::{Failure, Outcome};
use crate::lab::shell::quoted;
use crate::lang::catalog::Actions;
use crate::learn::tasks::{environment, Surroundings};
use clap::Args;
use std::path::Path;
use std::process::Command;

const AFTER_HELP: &str = "\
Examples:
  bpmc env CartPole-v1                      a spec to begin with
  bpmc env CartPole-v1 > agent.bpm          the same in a file, as `bpmc new agent --env CartPole-v1`
  bpmc env CartPole-v1 --keep 0,2           without the velocities
  bpmc env FrozenLake-v1 --make is_slippery=false
  bpmc env CartPole-v1 --vector async       one vector environment, with a process for each lane

In a spec, `command = \"bpmc env CartPole-v1 --serve\"` is the environment itself. It needs a Python with \
gymnasium and numpy: python3, or what BPMC_PYTHON names.";

/// The program that runs the environments.
const ADAPTER: &str = include_str!("../../python/bpmc/gym.py");

/// Print a spec for an environment of Gymnasium, or serve the environment for `task process`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The environment, as Gymnasium names it; MODULE:NAME imports a module first
    #[arg(value_name = "ENV_ID")]
    pub id: String,

    /// Show only these elements of each observation, counted from 0, as 0,2
    #[arg(long, value_name = "ELEMENTS")]
    pub keep: Option<String>,

    /// An argument of the environment; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub make: Vec<String>,

    /// Make one vector environment of all lanes, as gymnasium.make_vec does
    #[arg(long, value_name = "MODE", value_parser = ["sync", "async", "vector_entry_point"])]
    pub vector: Option<String>,

    /// Be the environment: speak the protocol on standard input and output
    #[arg(long)]
    pub serve: bool,
}

impl Arguments {
    /// An environment without options.
    pub fn new(id: &str) -> Arguments {
        Arguments {
            id: id.to_owned(),
            keep: None,
            make: Vec::new(),
            vector: None,
            serve: false,
        }
    }

    /// The arguments after the program's name.
    fn words(&self) -> Vec<String> {
        let mut words = vec![self.id.clone()];
        let options = [("--keep", &self.keep), ("--vector", &self.vector)];
        for (name, value) in options {
            let value = value.iter();
            words.extend(value.flat_map(|value| [name.to_owned(), value.clone()]));
        }
        for make in &self.make {
            words.extend(["--make".to_owned(), make.clone()]);
        }
        words
    }

    /// The command of a spec.
    fn command(&self) -> String {
        let words: Vec<String> = self.words().iter().map(|word| quoted(word)).collect();
        format!("bpmc env {} --serve", words.join(" "))
    }
}

/// Prints the spec, or serves.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    if arguments.serve {
        return serve(arguments);
    }
    screen.print(&spec(arguments, "agent")?)
}

/// Becomes the adapter, so that no process stands between it and bpmc.
fn serve(arguments: &Arguments) -> Outcome {
    let python = std::env::var("BPMC_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(&python);
    command.args(["-c", ADAPTER]).args(arguments.words());
    #[cfg(unix)]
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    #[cfg(not(unix))]
    let error = std::io::Error::other("`task process` needs Linux or macOS");
    Err(Failure::Run(anyhow::anyhow!(
        "cannot start {python}: {error}"
    )))
}

/// A spec for an environment.
///
/// # Errors
/// Fails where the environment cannot be started.
pub fn spec(arguments: &Arguments, name: &str) -> Result<String, Failure> {
    let command = arguments.command();
    let found = environment(&command, Path::new(""));
    let Surroundings { inputs, actions } = found.map_err(|conflict| {
        Failure::Run(anyhow::anyhow!("{}; {}", conflict.message, conflict.help))
    })?;
    let mut declared = String::new();
    let mut read = Vec::new();
    for input in &inputs {
        let input = &input.name;
        declared += &format!("  input {input}: [task.{input}]\n");
        read.push(format!("linear({input})"));
    }
    let read = read.join(" + ");
    let text = include_str!("templates/environment.bpm.in");
    Ok(text
        .replace("NAME", name)
        .replace("ENV_ID", &arguments.id)
        .replace("  INPUTS\n", &declared)
        .replace("READ", &read)
        .replace("  POLICY\n", &policy(&actions))
        .replace("ACTIONS", &told(&actions))
        .replace("COMMAND", &command))
}

/// The outputs that decide on actions.
fn policy(actions: &Actions) -> String {
    match actions {
        Actions::Choices(heads) if heads.len() == 1 => {
            "  output policy = linear(y, task.actions)\n".to_owned()
        }
        Actions::Choices(heads) => {
            let line = |k| format!("  output policy_{k} = linear(y, task.actions_{k})\n");
            (0..heads.len()).map(line).collect()
        }
        Actions::Numbers(_) => "  // Actions are drawn from normal distributions with these means and logarithms of standard deviations.
  output policy = linear(y, task.actions)
  trained spread: [task.actions] = 0
  output log_std = spread
"
        .to_owned(),
    }
}

/// The actions in words.
fn told(actions: &Actions) -> String {
    match actions {
        Actions::Choices(heads) if heads.len() == 1 => format!("{} actions", heads[0]),
        Actions::Choices(heads) => format!("{} choices a step", heads.len()),
        Actions::Numbers(1) => "one continuous action".to_owned(),
        Actions::Numbers(size) => format!("{size} continuous actions"),
    }
}
