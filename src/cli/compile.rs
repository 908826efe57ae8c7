//! `bpmc compile`.

use super::options::Overrides;
use super::screen::Screen;
use super::{output, spec, Failure, Outcome};
use bpmc::autodiff::Options;
use bpmc::driver::{adjoint, Compiled};
use bpmc::ir::Graph;
use bpmc::{sema, syntax};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc compile agent.bpm --emit graph            one time step, as text
  bpmc compile agent.bpm --emit svg -o step.svg  the same as a picture";

/// Show what a spec becomes at a stage of the compiler.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The spec
    pub spec: PathBuf,

    /// The stage
    #[arg(long, value_enum, value_name = "STAGE")]
    pub emit: Emit,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub overrides: Overrides,
}

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// The syntax tree
    Ast,
    /// Names, kinds and sizes after checking
    Model,
    /// The graph of one time step
    Graph,
    /// The graph of its adjoint
    Grad,
    /// How lanes are split, and how much memory the run takes
    Plan,
    /// The step graph in Graphviz form
    Dot,
    /// The step graph as a picture
    Svg,
}

/// Prints the stage asked for.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let compilation = spec::compile(&arguments.spec, &arguments.overrides.set)?;
    let text = if arguments.emit == Emit::Ast {
        // The tree is there whatever the later stages think of it.
        screen.show(&compilation.diagnostics, &compilation.sources);
        compilation
            .files
            .iter()
            .take(compilation.own_files)
            .map(syntax::dump)
            .collect()
    } else {
        stage(spec::program(&compilation, screen)?, arguments.emit)?
    };
    output::write(arguments.output.as_deref(), &text, screen)?;
    if compilation.program.is_none() {
        return Err(Failure::Reported);
    }
    Ok(())
}

fn stage(program: &Compiled, emit: Emit) -> Result<String, Failure> {
    let step = &program.step;
    Ok(match emit {
        Emit::Ast | Emit::Model => sema::dump(&program.model),
        Emit::Graph => step.to_string(),
        Emit::Grad => backward(step)?.to_string(),
        Emit::Plan => spec::plan(program)?,
        Emit::Dot => bpmc::ir::dot(step),
        Emit::Svg => bpmc::ir::svg(step),
    })
}

fn backward(step: &Graph) -> Result<Graph, Failure> {
    adjoint(step, Options::default()).map_err(|fault| Failure::Run(anyhow::Error::new(fault)))
}
