//! `bpmc eval`.

mod report;
mod text;

use super::options::{from_one, Passes, Threads};
use super::screen::Screen;
use super::{spec, timing, Failure, Outcome};
use crate::lab::evaluation::{Ablation, AblationError, Evaluator, Wanted};
use crate::lab::run::{self, OpenedRun, Which};
use crate::step::reads_text;
use anyhow::Context;
use clap::Args;
use report::Report;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc eval runs/agent-0
  bpmc eval runs/agent-0 --episodes 1000 --greedy --json
  bpmc eval runs/net-0 --data other.npz
  bpmc eval runs/agent-0 --ablate alpha=0 --ablate freeze --ablate shuffle:m --ablate reset:60

The episodes are others than those of the training, and the same each time. What is ablated:
  PARAMETER=NUMBER      parameters of this path, or of this name in any bundle, are all this number
  freeze[:MODULATOR]    the modulator (or all) always has its mean
  shuffle[:MODULATOR]   the modulator (or all) has its values of the same episode in random order
  reset:STEP            all traces go back to their first values before this step (counted from 0)
Each is compared with the intact network on the same episodes: Cohen's d, and the matched-pairs \
rank-biserial correlation, from -1 (worse in every episode that changed) to 1.";

/// Run a trained network on fresh episodes, also with parts of it taken away.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The run directory
    pub run: PathBuf,

    /// Number of episodes [default: 100; of a file, all its sequences, which are also the most]
    #[arg(long, value_name = "N", value_parser = from_one)]
    pub episodes: Option<NonZeroUsize>,

    /// Take the most probable action instead of drawing one
    #[arg(long)]
    pub greedy: bool,

    /// Checkpoint: last, best or the number of an iteration
    #[arg(long, value_name = "WHICH", default_value = "last")]
    pub checkpoint: Which,

    /// Also run it with a part taken away; may be repeated
    #[arg(long, value_name = "PART")]
    pub ablate: Vec<Ablation>,

    #[command(flatten)]
    pub threads: Threads,

    #[command(flatten)]
    pub passes: Passes,

    /// Other data: a file of sequences, or the directory of the text for a language model [default: those of the training]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The episodes of an evaluation where their number is not given and the task draws them without end.
const EPISODES: usize = 100;

/// Has a task that reads files take its test from the file that is given.
fn other_file(arguments: &Arguments, opened: &mut OpenedRun) -> Result<(), Failure> {
    let Some(path) = &arguments.data else {
        return Ok(());
    };
    opened.test_on(path).map_err(|task| {
        let path = path.display();
        Failure::Usage(format!("--data {path}: the task `{task}` reads no files"))
    })
}

/// Evaluates and prints.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let opened = match &arguments.data {
        Some(_) => run::open_apart(&arguments.run),
        None => run::open(&arguments.run),
    };
    let mut opened = opened.map_err(anyhow::Error::new)?;
    other_file(arguments, &mut opened)?;
    // Warnings were shown when the run was started.
    let program = match &opened.compilation.program {
        Some(program) => program,
        None => spec::program(&opened.compilation, screen)?,
    };
    let checkpoint = opened
        .checkpoint(arguments.checkpoint)
        .map_err(anyhow::Error::new)?;
    if reads_text(&program.model) {
        return text::run(arguments, screen, &opened, program, &checkpoint);
    }
    let parameters = opened.parameters(&checkpoint).map_err(anyhow::Error::new)?;
    let mut options = opened.options(arguments.threads.count());
    options.passes = arguments.passes.selection(opened.passes())?;
    let mut evaluator = Evaluator::new(program, options, parameters).map_err(anyhow::Error::new)?;
    if arguments.passes.time_passes {
        let experiment = evaluator.experiment();
        let times = experiment.times().iter();
        screen.say(&timing::table(&opened.compilation, experiment, times));
    }
    let wanted = Wanted {
        episodes: match arguments.episodes {
            Some(episodes) => episodes.get(),
            None => evaluator.sequences().unwrap_or(EPISODES),
        },
        greedy: arguments.greedy,
        seed: opened.manifest.seed,
    };
    let intact = evaluator.intact(wanted).map_err(anyhow::Error::new)?;
    let mut report = Report::new(arguments, checkpoint.header.iteration, &intact);
    for ablation in &arguments.ablate {
        let outcome = evaluator
            .ablated(ablation, wanted)
            .map_err(|error| match error {
                AblationError::NoSuchPart(_) => {
                    Failure::Usage(format!("--ablate {ablation}: {error}"))
                }
                AblationError::Train(error) => Failure::Run(
                    anyhow::Error::new(error).context(format!("cannot ablate {ablation}")),
                ),
            })?;
        report.add(ablation, &intact, &outcome);
    }
    let text = if arguments.json {
        serde_json::to_string(&report).context("cannot write the report as JSON")? + "\n"
    } else {
        report.text()
    };
    screen.print(&text)
}
