//! The command `bpmc compile`.

use super::options::{Overrides, Passes};
use super::screen::Screen;
use super::{output, spec, timing, Failure, Outcome};
use crate::driver::Compilation;
use crate::lab::report::gather::equations::Equations;
use crate::lab::report::gather::latex;
use crate::lang::{sema, syntax};
use crate::step::autodiff::Options;
use crate::step::passes::{self, Pass, Run, Selection};
use crate::step::{adjoint, Compiled};
use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::{Args, ValueEnum};
use std::ffi::OsStr;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc compile agent.bpm --emit graph            one time step, as text
  bpmc compile agent.bpm --emit svg -o step.svg  the same as a picture
  bpmc compile agent.bpm --emit opt              step and adjoint after all passes
  bpmc compile agent.bpm --emit after:gate_merging --no-pass constant_folding
  bpmc compile agent.bpm --emit kernels          what runs at every step, per connection and vector
  bpmc compile agent.bpm --emit after:plastic_fusion       the same after one of the passes over it
  bpmc compile agent.bpm --time-passes           what each pass did, and how long compiling takes";

/// Show the output of one stage of the compiler.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The spec
    pub spec: PathBuf,

    /// The stage
    #[arg(long, value_name = "STAGE", value_parser = StageParser, required_unless_present = "time_passes")]
    pub emit: Option<Stage>,

    /// Write to this file instead of standard output
    #[arg(short, long, alias = "output", value_name = "FILE")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    pub overrides: Overrides,

    #[command(flatten)]
    pub passes: Passes,
}

/// The output to print.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// The output of a stage of the compiler.
    Emit(Emit),
    /// The graphs, or the program, after a pass.
    After(&'static Pass),
}

/// A parser of a stage, or `after:` and the name of a pass.
#[derive(Clone, Copy, Debug)]
struct StageParser;

impl TypedValueParser for StageParser {
    type Value = Stage;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Stage, clap::Error> {
        let name = value.to_str().and_then(|text| text.strip_prefix("after:"));
        match name {
            Some(name) => passes::find(name).map(Stage::After).map_err(|error| {
                let message = format!("{error}\n");
                clap::Error::raw(clap::error::ErrorKind::InvalidValue, message).with_cmd(command)
            }),
            None => EnumValueParser::<Emit>::new()
                .parse_ref(command, argument, value)
                .map(Stage::Emit),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let after = PossibleValue::new("after:PASS")
            .help("Step and adjoint after this pass, or the kernels after a pass over them");
        let stages = Emit::value_variants().iter();
        let stages = stages.filter_map(|stage| stage.to_possible_value());
        Some(Box::new(stages.chain([after])))
    }
}

/// A stage of the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// The syntax tree
    Ast,
    /// Names, kinds and sizes after checking
    Model,
    /// The graph of one time step
    Graph,
    /// The graph of its adjoint (the backward pass)
    Grad,
    /// Step and adjoint after all passes
    Opt,
    /// The kernels: their instructions, and the computations per connection
    Kernels,
    /// The kernels as CUDA C, for a GPU such as an H100
    Cuda,
    /// The division of lanes, and the memory of the run
    Plan,
    /// The equations of a step as LaTeX
    Latex,
    /// The step graph in Graphviz form
    Dot,
    /// The step graph as a picture
    Svg,
}

/// Prints the stage asked for.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let selection = arguments.passes.selection(Selection::default())?;
    let compilation = spec::compile(&arguments.spec, &arguments.overrides.set)?;
    if let Some(Stage::Emit(Emit::Ast)) = arguments.emit {
        // The tree exists whatever errors later stages find.
        screen.show(&compilation.diagnostics, &compilation.sources);
        let own = compilation.files.iter().take(compilation.own_files);
        let text: String = own.map(syntax::dump).collect();
        output::write(arguments.out.as_deref(), &text, screen)?;
        if compilation.program.is_none() {
            return Err(Failure::Reported);
        }
        return Ok(());
    }
    let program = spec::program(&compilation, screen)?;
    if let Some(stage) = arguments.emit {
        let text = text(program, stage, &selection)?;
        output::write(arguments.out.as_deref(), &text, screen)?;
    }
    if arguments.passes.time_passes {
        screen.say(&timed(&compilation, program, &selection)?);
    }
    Ok(())
}

fn text(program: &Compiled, stage: Stage, selection: &Selection) -> Result<String, Failure> {
    let step = &program.step;
    let emit = match stage {
        Stage::Emit(emit) => emit,
        Stage::After(pass) if matches!(pass.run, Run::Kernels(_)) => {
            let experiment = spec::kernels(program, &selection.through(pass))?;
            return Ok(experiment.listing());
        }
        Stage::After(pass) => {
            return Ok(spec::stages(program, selection, Some(pass))?.graphs());
        }
    };
    Ok(match emit {
        Emit::Ast | Emit::Model => sema::dump(&program.model),
        Emit::Graph => step.to_string(),
        Emit::Grad => adjoint(step, Options::default())
            .map_err(internal)?
            .to_string(),
        Emit::Opt => spec::stages(program, selection, None)?.graphs(),
        Emit::Kernels => spec::kernels(program, selection)?.listing(),
        Emit::Cuda => spec::cuda(program, selection)?,
        Emit::Plan => spec::plan(program, selection)?,
        Emit::Latex => latex::equations(&Equations::of(&program.model)),
        Emit::Dot => crate::ir::dot(step),
        Emit::Svg => crate::ir::svg(step),
    })
}

/// The table of passes and stages, including the generation of kernels if the spec allows it.
fn timed(
    compilation: &Compilation,
    program: &Compiled,
    selection: &Selection,
) -> Result<String, Failure> {
    let experiment = match spec::kernels(program, selection) {
        Ok(experiment) => experiment,
        Err(_) => spec::stages(program, selection, None)?,
    };
    Ok(timing::table(
        compilation,
        &experiment,
        experiment.times().iter(),
    ))
}

fn internal(fault: crate::step::InternalFault) -> Failure {
    Failure::Run(anyhow::Error::new(fault))
}
