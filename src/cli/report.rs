//! `bpmc report`.

use super::options::{from_one, Threads};
use super::screen::Screen;
use super::{Failure, Outcome};
use crate::lab::report::{self, Options, Report, Stage};
use crate::lab::run::Which;
use crate::learn::replace::replace;
use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc report runs/agent-0 -o report.html
  bpmc report runs/agent-0 -o report.html --episodes 500 --figures figures
  bpmc report runs/cue_reward -o report.html --baseline nonplastic
  bpmc report runs/cue_reward -o report.html --no-ablations --partial

The page needs no other file and no network. It has the equations as they ran, parameters, what \
differs from the paper, curves, what modulators and traces do in fresh episodes, ablations, the \
rules of traces with the numbers that training found, and the commands that reproduce it; of a \
sweep, medians and quartiles over seeds with rank-sum tests, and one network of each condition.";

/// Write a page about a run or a sweep: equations, curves, modulators, traces, ablations.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The directory of a run or of a sweep
    #[arg(value_name = "RUN|SWEEP")]
    pub directory: PathBuf,

    /// The page to write, an HTML file; one that is there is replaced
    #[arg(short, long, alias = "output", value_name = "FILE")]
    pub out: PathBuf,

    /// Fresh episodes that a network is run on
    #[arg(long, value_name = "N", default_value = "100", value_parser = from_one)]
    pub episodes: NonZeroUsize,

    /// Leave the ablations out, which take most of the time
    #[arg(long)]
    pub no_ablations: bool,

    /// Checkpoint of a run: last, best or the number of an iteration
    #[arg(long, value_name = "WHICH", default_value = "last")]
    pub checkpoint: Which,

    /// The condition of a sweep that the others are tested against [default: the first]
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,

    /// Take what unfinished cells of a sweep have into the curves, too
    #[arg(long)]
    pub partial: bool,

    /// Also write every figure into this directory, as SVG and PNG
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,

    #[command(flatten)]
    pub threads: Threads,
}

/// Makes the report and writes it.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let options = Options {
        episodes: arguments.episodes.get(),
        ablations: !arguments.no_ablations,
        checkpoint: arguments.checkpoint,
        baseline: arguments.baseline.clone(),
        partial: arguments.partial,
        threads: arguments.threads.count(),
    };
    let mut display = Display::new(screen);
    let report = report::make(&arguments.directory, &options, &mut |stage| {
        display.show(&stage)
    });
    drop(display);
    let report = report.map_err(|error| match error {
        report::ReportError::NoGroup { .. } => Failure::Usage(format!("--baseline: {error}")),
        error => Failure::Run(anyhow::Error::new(error)),
    })?;
    let mut said: String = report
        .rules
        .iter()
        .map(|rule| format!("rule as trained: {rule}\n"))
        .collect();
    if let Some(directory) = &arguments.figures {
        figures(&report, directory)?;
        let count = report.figures.len();
        said.push_str(&format!(
            "wrote {count} figures, each as SVG and PNG, into {}\n",
            directory.display()
        ));
    }
    let output = &arguments.out;
    replace(output, report.page.as_bytes())
        .with_context(|| format!("cannot write {}", output.display()))?;
    screen.print(&format!("{said}wrote {}\n", output.display()))
}

fn figures(report: &Report, directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    for figure in &report.figures {
        let write = |ending: &str, bytes: &[u8]| {
            let path = directory.join(format!("{}.{ending}", figure.name));
            replace(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
        };
        let svg = figure.svg().map_err(anyhow::Error::new)?;
        write("svg", svg.as_bytes())?;
        let png = figure.png().map_err(anyhow::Error::new)?;
        write("png", &png)?;
    }
    Ok(())
}

/// Shows stages on standard error: a bar on a terminal, else a line each.
struct Display<'a> {
    screen: &'a Screen,
    bar: Option<ProgressBar>,
}

impl<'a> Display<'a> {
    fn new(screen: &'a Screen) -> Display<'a> {
        let bar = screen.is_live().then(|| {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{wide_bar} {percent:>3}%\n{msg}")
                .expect("the template is fixed and names known parts")
                .progress_chars("=> ");
            bar.set_style(style);
            bar
        });
        Display { screen, bar }
    }

    fn show(&mut self, stage: &Stage) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(stage.total.max(1) as u64);
                bar.set_position(stage.done as u64);
                bar.set_message(stage.doing.clone());
                bar.tick();
            }
            None => {
                let (now, total) = (stage.done + 1, stage.total);
                self.screen.say(&format!("{now}/{total} {}", stage.doing));
            }
        }
    }
}

impl Drop for Display<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
