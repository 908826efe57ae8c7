//! `bpmc grad`.

use super::options::Backend;
use clap::{ArgGroup, Args, ValueEnum};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc grad agent.bpm --template -o values.json     an empty file of values, to be filled in
  bpmc grad agent.bpm --values values.json          loss, final states and all gradients

With it the numbers of bpmc can be compared with those of any other framework.";

/// Evaluate the loss of a spec and all its gradients for given values.
///
/// Inputs, initial states and parameters are named by their path in the spec, such as rec.alpha.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
#[command(group = ArgGroup::new("source").required(true).args(["values", "template"]))]
pub struct Arguments {
    /// The spec
    pub spec: PathBuf,

    /// A JSON file with the values
    #[arg(long, value_name = "FILE")]
    pub values: Option<PathBuf>,

    /// Print a file of values with zeros in the right places
    #[arg(long)]
    pub template: bool,

    /// Precision; f32 is that of training
    #[arg(long, value_enum, default_value_t = Precision::F64)]
    pub dtype: Precision,

    /// What evaluates [default: reference for f64, candle for f32]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,

    /// How far to optimise the graph: 0 not at all
    #[arg(long, value_name = "LEVEL", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub opt: u8,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The type of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 32 bits
    F32,
    /// 64 bits
    F64,
}
