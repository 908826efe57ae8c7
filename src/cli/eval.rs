//! `bpmc eval`.

use super::options::{Passes, Threads};
use super::screen::Screen;
use super::{spec, timing, Failure, Outcome};
use anyhow::Context;
use bpmc::statistics::quantile;
use bpmc::train::checkpoint::Checkpoint;
use bpmc::train::run::{self, CHECKPOINT};
use bpmc::train::trainer::{BackendKind, Evaluation, Trainer, TrainerOptions};
use clap::Args;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc eval runs/agent-0
  bpmc eval runs/agent-0 --episodes 1000 --greedy --json

The episodes are others than those of the training, and the same each time.";

/// Run a trained network on fresh episodes and show its reward or error.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The run directory
    pub run: PathBuf,

    /// How many episodes
    #[arg(long, value_name = "N", default_value = "100")]
    pub episodes: NonZeroUsize,

    /// Take the most probable action instead of drawing one
    #[arg(long)]
    pub greedy: bool,

    #[command(flatten)]
    pub threads: Threads,

    #[command(flatten)]
    pub passes: Passes,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What is shown. The field names are those of the JSON form.
#[derive(Debug, Serialize)]
struct Report {
    run: String,
    iteration: u64,
    episodes: usize,
    greedy: bool,
    /// Loss of a batch.
    loss: f64,
    /// What `statistics` are of: `reward`, or the task's own measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    measure: Option<&'static str>,
    #[serde(flatten)]
    statistics: Option<Statistics>,
}

/// Of one number per episode.
#[derive(Debug, PartialEq, Serialize)]
struct Statistics {
    mean: f64,
    standard_deviation: f64,
    minimum: f64,
    lower_quartile: f64,
    median: f64,
    upper_quartile: f64,
    maximum: f64,
}

/// Evaluates and prints.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let directory = &arguments.run;
    let opened = run::open(directory).map_err(anyhow::Error::new)?;
    // Warnings were shown when the run was started.
    let program = match &opened.compilation.program {
        Some(program) => program,
        None => spec::program(&opened.compilation, screen)?,
    };
    let backend = BackendKind::parse(&opened.manifest.backend).unwrap_or_default();
    // Those of another version of bpmc may be unknown here; then the usual ones do.
    let usual = opened.manifest.passes.parse().unwrap_or_default();
    let path = directory.join(CHECKPOINT);
    if !path.exists() {
        return Err(Failure::Run(anyhow::anyhow!(
            "{} has no checkpoint yet",
            directory.display()
        )));
    }
    let checkpoint = Checkpoint::read(&path).map_err(anyhow::Error::new)?;
    let options = TrainerOptions {
        threads: arguments.threads.count(),
        backend,
        passes: arguments.passes.selection(usual)?,
        memory: bpmc::plan::free_memory(),
    };
    let mut trainer = Trainer::new(program, options).map_err(anyhow::Error::new)?;
    if arguments.passes.time_passes {
        screen.say(&timing::table(&opened.compilation, trainer.prepared()));
    }
    trainer
        .restore_parameters(&checkpoint)
        .map_err(anyhow::Error::new)?;
    let evaluation = trainer
        .evaluate(arguments.episodes.get(), arguments.greedy)
        .map_err(anyhow::Error::new)?;
    let report = Report::new(arguments, trainer.iteration(), &evaluation);
    let text = if arguments.json {
        serde_json::to_string(&report).context("cannot write the report as JSON")? + "\n"
    } else {
        report.text()
    };
    screen.print(&text)
}

impl Report {
    fn new(arguments: &Arguments, iteration: u64, evaluation: &Evaluation) -> Report {
        let (measure, values) = if evaluation.rewards.is_empty() {
            (evaluation.score_name, &evaluation.scores)
        } else {
            (Some("reward"), &evaluation.rewards)
        };
        Report {
            run: arguments.run.display().to_string(),
            iteration,
            episodes: arguments.episodes.get(),
            greedy: arguments.greedy,
            loss: evaluation.loss,
            measure,
            statistics: Statistics::of(values),
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} after {} iterations, {} episodes{}\n\n",
            self.run,
            self.iteration,
            self.episodes,
            if self.greedy { ", greedy" } else { "" }
        );
        let mut row = |name: &str, value: f64| {
            text.push_str(&format!("{name:<20}{value:>12.4}\n"));
        };
        if let (Some(measure), Some(s)) = (self.measure, &self.statistics) {
            row(&format!("mean {measure}"), s.mean);
            row("standard deviation", s.standard_deviation);
            row("minimum", s.minimum);
            row("lower quartile", s.lower_quartile);
            row("median", s.median);
            row("upper quartile", s.upper_quartile);
            row("maximum", s.maximum);
        }
        row("loss of a batch", self.loss);
        text
    }
}

impl Statistics {
    /// `None` where there are no values.
    fn of(values: &[f64]) -> Option<Statistics> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (minimum, maximum) = (*sorted.first()?, *sorted.last()?);
        let count = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let squares: f64 = sorted.iter().map(|x| (x - mean).powi(2)).sum();
        Some(Statistics {
            mean,
            standard_deviation: (squares / (count - 1.0).max(1.0)).sqrt(),
            minimum,
            lower_quartile: quantile(&sorted, 0.25)?,
            median: quantile(&sorted, 0.5)?,
            upper_quartile: quantile(&sorted, 0.75)?,
            maximum,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_values() {
        let found = Statistics::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        let wanted = Statistics {
            mean: 2.5,
            standard_deviation: (5.0f64 / 3.0).sqrt(),
            minimum: 1.0,
            lower_quartile: 1.75,
            median: 2.5,
            upper_quartile: 3.25,
            maximum: 4.0,
        };
        assert_eq!(found, wanted);
        assert_eq!(Statistics::of(&[7.0]).unwrap().standard_deviation, 0.0);
        assert_eq!(Statistics::of(&[]), None);
    }
}
