//! `bpmc export`.

use super::options::{Overrides, Passes};
use super::screen::Screen;
use super::{spec, trained, Failure, Outcome};
use crate::engine::experiment::{Experiment, Target};
use crate::ir::Op;
use crate::lab::export::{Dialect, Export, Form};
use crate::lab::run::Which;
use crate::step::Horizon;
use clap::{Args, ValueEnum};
use std::fmt::Write;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc export runs/agent-0 --to numpy -o exported
  bpmc export runs/agent-0 --to pytorch --checkpoint best -o exported
  bpmc export runs/agent-0 --to onnx -o exported
  bpmc export agent.bpm --to numpy --opt 0 -o exported

Two files are written, NETWORK.py with one operation a line and NETWORK.npz with the weights:
  net = Network()
  state = net.start(lanes=1)
  outputs, state = net.step({\"x\": x}, state)       # x: [lanes, size]
  outputs, state = net.run({\"x\": xs})              # xs: [lanes, steps, size]
In PyTorch the class is a torch.nn.Module, and `step` is its call. A model of ONNX has an input for \
each input and state of the network, and an output `next.NAME` for each state.";

/// Write a trained network as a module for another program.
///
/// The states are handed in and out, with all traces: the network is as plastic there as here.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// A run directory, or a spec, whose parameters then have their first values
    #[arg(value_name = "RUN|SPEC")]
    pub source: PathBuf,

    /// The program to write for
    #[arg(long, value_enum, value_name = "WHAT")]
    pub to: To,

    /// The folder to write into
    #[arg(short, long, alias = "output", value_name = "FOLDER")]
    pub out: PathBuf,

    /// Checkpoint of a run: last, best or the number of an iteration
    #[arg(long, value_name = "WHICH", default_value = "last")]
    pub checkpoint: Which,

    /// Seed of the first values of a spec [default: train.seed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    #[command(flatten)]
    pub overrides: Overrides,

    #[command(flatten)]
    pub passes: Passes,
}

/// The program that a network is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// A class of Python on NumPy
    Numpy,
    /// A module of PyTorch
    Pytorch,
    /// Models of ONNX, in 32 bits: NETWORK.onnx is a step, NETWORK_scan.onnx goes over all steps
    Onnx,
}

/// Writes the module and its weights.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let trained = trained::load(
        &arguments.source,
        &arguments.overrides.set,
        arguments.checkpoint,
        arguments.seed,
        screen,
    )?;
    let program = spec::program(&trained.compilation, screen)?;
    let mut states = program.step.states.iter();
    if let Some(state) = states.find(|state| state.first.is_some()) {
        return Err(Failure::Usage(format!(
            "`{}` begins with an array, and exported modules begin with numbers only; begin with a number, and give the array as the first state",
            state.path
        )));
    }
    let step = &program.step;
    let sparse = |id| matches!(step.value(id).op, Op::Gather(_) | Op::Scatter(_));
    if step.ids().any(sparse) {
        return Err(Failure::Usage(
            "exported modules have no sparse bundles; multiply with the mask in the place of `connect where`".to_owned(),
        ));
    }
    let passes = arguments.passes.selection(trained.passes)?;
    // Nothing reads a trace by another name, so it keeps its form.
    let experiment = Experiment::of_graphs(
        &program.step,
        Horizon::Observed,
        Target::Graphs,
        &passes,
        None,
    )
    .map_err(anyhow::Error::new)?;
    let export = Export {
        name: &program.model.name,
        step: &experiment.whole().graphs.step,
        parameters: &trained.parameters,
        origin: trained.origin,
    };
    let form = match arguments.to {
        To::Numpy => Form::Module(Dialect::Numpy),
        To::Pytorch => Form::Module(Dialect::Pytorch),
        To::Onnx => Form::Onnx,
    };
    let paths = export.write(form, &arguments.out);
    let paths = paths.map_err(anyhow::Error::new)?;
    let mut text = String::new();
    for path in paths {
        writeln!(text, "wrote {}", path.display()).expect("writing to a string");
    }
    screen.print(&text)
}
