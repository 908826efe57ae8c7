//! `bpmc replay`.

use super::options::Threads;
use super::screen::Screen;
use super::{spec, Failure, Outcome};
use anyhow::Context;
use bpmc::lab::replay::{find_probe, probes, record, to_npz, to_safetensors, Probe, Recording};
use bpmc::lab::run;
use bpmc::learn::replace::replace;
use clap::Args;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc replay runs/agent-0 --list
  bpmc replay runs/agent-0 --iteration 500 --probe dopamine,rec.hebb -o traces.npz
  bpmc replay runs/agent-0 --iteration 500 --probe y --lanes 0,3 -o y.safetensors

The episodes are those of the training, to the bit (but for rounding where `bpmc check --plan` says
that a trace is stored in another form): the run is trained again, in memory, from the last
checkpoint before the iteration. Arrays are [steps, lanes, ...]; a state or trace is what enters the
step, and `next NAME` what leaves it.";

/// Run an iteration of a training again and write what happened in its episodes.
///
/// Any state, trace, modulator or other value of the network is written over time.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The run directory
    pub run: PathBuf,

    /// Which iteration, counted from 1
    #[arg(long, value_name = "K", required_unless_present = "list")]
    pub iteration: Option<u64>,

    /// What to record: names, with commas between
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        required_unless_present = "list"
    )]
    pub probe: Vec<String>,

    /// Which lanes to record, counted from 0 [default: all]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub lanes: Vec<usize>,

    /// Where to write: a file that ends in .npz or .safetensors
    #[arg(short, long, value_name = "FILE", required_unless_present = "list")]
    pub output: Option<PathBuf>,

    /// List what can be recorded, with dimensions within a step and lane
    #[arg(long, conflicts_with_all = ["iteration", "probe", "output", "lanes"])]
    pub list: bool,

    #[command(flatten)]
    pub threads: Threads,
}

/// Replays and writes.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let opened = run::open(&arguments.run).map_err(anyhow::Error::new)?;
    let program = match &opened.compilation.program {
        Some(program) => program,
        None => spec::program(&opened.compilation, screen)?,
    };
    let all = probes(program);
    let (Some(iteration), Some(output)) = (arguments.iteration, &arguments.output) else {
        return screen.print(&listing(&all));
    };
    let encode = encoder(output)?;
    let wanted = arguments
        .probe
        .iter()
        .map(|name| find_probe(&all, name.trim()).cloned())
        .collect::<Result<Vec<Probe>, _>>()
        .map_err(|error| Failure::Usage(error.to_string()))?;
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
    let recording = record(
        program,
        opened.options(threads),
        &before,
        &wanted,
        &arguments.lanes,
    )
    .map_err(anyhow::Error::new)?;
    let bytes = encode(&recording).context("cannot encode the recording")?;
    replace(output, &bytes).with_context(|| format!("cannot write {}", output.display()))?;
    screen.print(&summary(&recording, output))
}

type Encoder = fn(&Recording) -> std::io::Result<Vec<u8>>;

fn encoder(path: &Path) -> Result<Encoder, Failure> {
    match path.extension().and_then(|end| end.to_str()) {
        Some("npz") => Ok(to_npz),
        Some("safetensors") => Ok(to_safetensors),
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
