//! `bpmc replay`.

use super::options::{from_one, Threads};
use super::screen::Screen;
use super::{spec, Failure, Outcome};
use crate::lab::replay::{
    find_part, probes, record_to, split_names, Format, Npz, Probe, Recording, Safetensors, Wanted,
};
use crate::lab::run;
use clap::Args;
use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc replay runs/agent-0 --list
  bpmc replay runs/agent-0 --iteration 500 --probe dopamine,rec.hebb -o traces.npz
  bpmc replay runs/agent-0 --iteration 500 --probe y --lanes 0,3 -o y.safetensors
  bpmc replay runs/agent-0 --iteration 500 --probe 'rec.hebb[0 .. 4, 3]' --every 10 -o traces.npz

The episodes are those of the training, to the bit (but for rounding where `bpmc check --plan` says \
that a trace is stored in another form): the run is trained again, in memory, from the last \
checkpoint before the iteration. Arrays are [steps, lanes, ...]; a state or trace is what enters the \
step, and `next NAME` what leaves it. The file is written while the episodes run: it may be larger \
than the memory.";

/// Run an iteration of a training again and write what happened in its episodes.
///
/// Any state, trace, modulator or other value of the network is written over time.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The run directory
    pub run: PathBuf,

    /// Iteration, counted from 1
    #[arg(long, value_name = "K", required_unless_present = "list")]
    pub iteration: Option<u64>,

    /// Names of values to record, with commas between. `rec.hebb[0 .. 4, 3]` is a part: the connections from the neurons
    /// 0 to 3 to the neuron 3
    #[arg(long, value_name = "NAME", required_unless_present = "list")]
    pub probe: Vec<String>,

    /// Record every K-th step only, from step 0 on [default: 1]
    #[arg(long, value_name = "K", value_parser = from_one)]
    pub every: Option<NonZeroUsize>,

    /// Lanes to record, counted from 0 [default: all]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub lanes: Vec<usize>,

    /// Output file, which ends in .npz or .safetensors
    #[arg(
        short,
        long,
        alias = "output",
        value_name = "FILE",
        required_unless_present = "list"
    )]
    pub out: Option<PathBuf>,

    /// List what can be recorded, with dimensions within a step and lane
    #[arg(long, conflicts_with_all = ["iteration", "probe", "out", "lanes", "every"])]
    pub list: bool,

    #[command(flatten)]
    pub threads: Threads,
}

/// Replays and writes.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let mut opened = run::open(&arguments.run).map_err(anyhow::Error::new)?;
    if let Some(iteration) = arguments.iteration {
        opened = opened.as_of(iteration).map_err(anyhow::Error::new)?;
    }
    let program = match &opened.compilation.program {
        Some(program) => program,
        None => spec::program(&opened.compilation, screen)?,
    };
    let all = probes(program);
    let (Some(iteration), Some(output)) = (arguments.iteration, &arguments.out) else {
        return screen.print(&listing(&all));
    };
    let format = format(output)?;
    let mut wanted: Vec<Probe> = Vec::new();
    for name in arguments.probe.iter().flat_map(|list| split_names(list)) {
        let probe = find_part(&all, name).map_err(|error| Failure::Usage(error.to_string()))?;
        if wanted.iter().any(|other| other.name == probe.name) {
            return Err(Failure::Usage(format!("`{name}` is asked for twice")));
        }
        wanted.push(probe);
    }
    let threads = arguments.threads.count();
    let mut told = false;
    let before = opened
        .before_iteration(iteration, threads, &mut |done| {
            if !told {
                screen.say(&format!(
                    "training again from iteration {} to {}",
                    done - 1,
                    iteration - 1
                ));
                told = true;
            }
        })
        .map_err(anyhow::Error::new)?;
    let wanted = Wanted {
        probes: &wanted,
        lanes: &arguments.lanes,
        every: arguments.every.map_or(1, NonZeroUsize::get),
    };
    let options = opened.options(threads);
    let recording = record_to(program, options, &before, wanted, (output, format))
        .map_err(anyhow::Error::new)?;
    screen.print(&summary(&recording, output))
}

fn format(path: &Path) -> Result<&'static dyn Format, Failure> {
    match path.extension().and_then(|end| end.to_str()) {
        Some("npz") => Ok(&Npz),
        Some("safetensors") => Ok(&Safetensors),
        _ => Err(Failure::Usage(format!(
            "{} ends neither in .npz nor in .safetensors",
            path.display()
        ))),
    }
}

fn listing(all: &[Probe]) -> String {
    let width = all.iter().map(|probe| probe.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for probe in all {
        let dims = format!("{:?}", probe.dims);
        let (name, what) = (&probe.name, probe.what);
        writeln!(text, "{name:<width$}  {dims:<12}  {what}").expect("writing to a string");
    }
    text
}

fn summary(recording: &Recording, output: &Path) -> String {
    let mut text = format!(
        "iteration {}, {} steps, {} lanes, loss {}\n",
        recording.iteration,
        recording.steps,
        recording.lanes.len(),
        recording.loss
    );
    for series in &recording.series {
        let mut dims = vec![recording.steps, recording.lanes.len()];
        dims.extend(&series.dims);
        let (name, source) = (&series.name, series.source.name());
        writeln!(text, "{name} {dims:?}, from the {source}").expect("writing to a string");
    }
    writeln!(text, "wrote {}", output.display()).expect("writing to a string");
    text
}
