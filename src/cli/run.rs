//! `bpmc run`.

use super::options::{from_one, Backend, Overrides, Passes, Threads};
use super::screen::Screen;
use super::{spec, trained, Failure, Outcome};
use crate::lab::inference::{read_states, Given, Network, Stream};
use crate::lab::replay::{archive, find_part, probes, split_names, tensors, Probe};
use crate::lab::run::Which;
use crate::learn::data::Source;
use crate::learn::replace::replace;
use crate::learn::trainer::{BackendKind, TrainerOptions};
use crate::machine::device::DeviceChoice;
use crate::step::Compiled;
use anyhow::Context;
use clap::Args;
use std::fmt::Write;
use std::io::BufRead;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc run runs/agent-0 --inputs trials.npz -o out.npz
  bpmc run runs/agent-0 --inputs more.npz --state out.npz --probe dopamine,rec.hebb -o more_out.npz
  bpmc run agent.bpm --inputs trials.npz -o untrained.npz --seed 3
  bpmc run runs/agent-0 --stream

An array of the inputs has the name of an input or signal of the network, and the axes [sequences, \
steps, size]; an array `length` says where sequences end. The output file has outputs and probes with \
the same axes, and the states after the last step as `start.NAME`, which `--state` reads to go on. \
With --stream a line {\"x\": [0, 1]} on standard input runs one step, and a line with its outputs \
answers; `\"reset\": true` returns to the first states.";

/// Run a network on given inputs, without training.
///
/// Writes outputs, probes and the states to go on from, or answers step by step.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// A run directory, or a spec, whose parameters then have their first values
    #[arg(value_name = "RUN|SPEC")]
    pub source: PathBuf,

    /// The inputs: .npz, .safetensors, .csv, or a folder of .npy
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "stream",
        conflicts_with = "stream"
    )]
    pub inputs: Option<PathBuf>,

    /// The states to begin with, arrays called `start.NAME` [default: those of the inputs, or the first values of the spec]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Names of further values to write, with commas between, as for `bpmc replay`
    #[arg(long, value_name = "NAME")]
    pub probe: Vec<String>,

    /// File to write, which ends in .npz or .safetensors. With --stream it gets the last states
    #[arg(
        short,
        long,
        alias = "output",
        value_name = "FILE",
        required_unless_present = "stream"
    )]
    pub out: Option<PathBuf>,

    /// Answer step by step on standard input and output, a line of JSON for each step
    #[arg(long)]
    pub stream: bool,

    /// Networks side by side that --stream runs; each value then has a list for each
    #[arg(long, value_name = "N", default_value = "1", value_parser = from_one, requires = "stream")]
    pub lanes: NonZeroUsize,

    /// Checkpoint of a run: last, best or the number of an iteration
    #[arg(long, value_name = "WHICH", default_value = "last")]
    pub checkpoint: Which,

    /// Seed of the noise, and for a spec of the first values [default: train.seed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    #[command(flatten)]
    pub overrides: Overrides,

    /// Backend that runs the network [default: that of the run, or fused]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,

    #[command(flatten)]
    pub passes: Passes,

    #[command(flatten)]
    pub threads: Threads,
}

/// Runs and writes, or answers.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let threads = arguments.threads.count();
    let seed = arguments.seed;
    let trained = trained::load(
        &arguments.source,
        &arguments.overrides.set,
        arguments.checkpoint,
        seed,
        screen,
    )?;
    let passes = arguments.passes.selection(trained.passes)?;
    let backend = match (arguments.backend, trained.backend) {
        (Some(backend), _) => backend.kind(),
        (None, Some(kind)) => kind,
        (None, None) => Backend::usual(&passes).kind(),
    };
    let options = TrainerOptions {
        threads,
        backend,
        device: DeviceChoice::CPU,
        passes,
        memory: crate::machine::memory::free(),
    };
    let program = spec::program(&trained.compilation, screen)?;
    go(
        arguments,
        screen,
        (program, trained.parameters, options, trained.seed),
    )
}

type Prepared<'a> = (&'a Compiled, Vec<Vec<f64>>, TrainerOptions, u64);

fn go(
    arguments: &Arguments,
    screen: &Screen,
    (program, parameters, options, seed): Prepared<'_>,
) -> Outcome {
    let all = probes(program);
    let mut wanted: Vec<Probe> = Vec::new();
    for name in arguments.probe.iter().flat_map(|list| split_names(list)) {
        let probe = find_part(&all, name).map_err(|error| Failure::Usage(error.to_string()))?;
        if wanted.iter().any(|other| other.name == probe.name) {
            return Err(Failure::Usage(format!("`{name}` is asked for twice")));
        }
        wanted.push(probe);
    }
    if let Some(output) = &arguments.out {
        format(output)?;
    }
    let wide = options.backend == BackendKind::Reference;
    let network = |lanes| {
        let network = Network::new(program, parameters.clone(), &wanted, options, lanes);
        network
            .map(|network| network.with_seed(seed))
            .map_err(anyhow::Error::new)
    };
    let state = arguments.state.as_deref().map(Source::open).transpose();
    let state = state.map_err(anyhow::Error::new)?;
    let Some(inputs) = &arguments.inputs else {
        let network = network(arguments.lanes.get())?;
        return stream(arguments, network, state.as_ref(), wide, screen);
    };
    let source = Source::open(inputs).map_err(anyhow::Error::new)?;
    let mut given = Given::read(&source, &program.step).map_err(anyhow::Error::new)?;
    let mut network = network(given.lanes)?;
    if let Some(state) = &state {
        read_states(state, &program.step, given.lanes, &mut given.states)
            .map_err(anyhow::Error::new)?;
    }
    let results = network.run(&given).map_err(anyhow::Error::new)?;
    let mut arrays: Vec<Array<'_>> = Vec::new();
    let mut summary = format!("{} sequences of {} steps\n", given.lanes, given.steps);
    for (kept, values) in network.kept().iter().zip(&results.values) {
        let mut dims = vec![given.lanes, given.steps];
        dims.extend(&kept.dims);
        writeln!(summary, "{} {dims:?}", kept.name).expect("writing to a string");
        arrays.push((kept.name.clone(), dims, values));
    }
    let states = results.states.iter().map(Vec::as_slice);
    arrays.extend(ends(&network, states));
    let Some(output) = &arguments.out else {
        return Ok(());
    };
    write(output, &arrays, wide)?;
    writeln!(summary, "wrote {}", output.display()).expect("writing to a string");
    screen.print(&summary)
}

type Array<'a> = (String, Vec<usize>, &'a [f64]);

/// The states to go on from, as arrays.
fn ends<'a>(network: &Network, states: impl Iterator<Item = &'a [f64]>) -> Vec<Array<'a>> {
    let slots = network.graph().states.iter().zip(states);
    let arrays = slots.map(|(slot, values)| {
        let mut dims = vec![network.lanes()];
        dims.extend(&slot.dims);
        (format!("start.{}", slot.path), dims, values)
    });
    arrays.collect()
}

fn stream(
    arguments: &Arguments,
    network: Network,
    state: Option<&Source>,
    wide: bool,
    screen: &Screen,
) -> Outcome {
    let mut states = network.first_states();
    if let Some(state) = state {
        read_states(state, network.graph(), network.lanes(), &mut states)
            .map_err(anyhow::Error::new)?;
    }
    let mut stream = Stream::new(network, states);
    for (k, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.context("cannot read standard input")?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = stream.answer(&line);
        let answer = answer.with_context(|| format!("line {} of standard input", k + 1))?;
        screen.print(&format!("{answer}\n"))?;
    }
    if let Some(output) = &arguments.out {
        let states = stream
            .states()
            .iter()
            .map(|state| state.as_deref().unwrap_or_default());
        write(output, &ends(stream.network(), states), wide)?;
    }
    Ok(())
}

/// Makes a file of arrays, with 64 bits if asked.
type Writer = fn(&[Array<'_>], bool) -> Vec<u8>;

/// The writer of a file of arrays, by the ending of its name.
fn format(path: &Path) -> Result<Writer, Failure> {
    match path.extension().and_then(|end| end.to_str()) {
        Some("npz") => Ok(archive),
        Some("safetensors") => Ok(tensors),
        _ => Err(Failure::Usage(format!(
            "{} ends neither in .npz nor in .safetensors",
            path.display()
        ))),
    }
}

fn write(path: &Path, arrays: &[Array<'_>], wide: bool) -> Outcome {
    let bytes = format(path)?(arrays, wide);
    replace(path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
