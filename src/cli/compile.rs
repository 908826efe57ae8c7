//! `bpmc compile`.

use super::options::Overrides;
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
    /// Buffers and the order of work
    Plan,
    /// The step graph in Graphviz form
    Dot,
    /// The step graph as a picture
    Svg,
}
