//! `bpmc train`.

use super::options::{Backend, Device, Overrides};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc train specs/quickstart.bpm
  bpmc train agent.bpm --out runs/agent --seed 3 --threads 2
  bpmc train agent.bpm --set train.iterations=1000 --set optimizer.lr=3e-4

The same spec and seed give the same numbers, bit by bit, whatever the number of threads.";

/// Train the network of a spec.
///
/// Shows a progress bar, or plain lines where the output is not a terminal, and writes metrics.jsonl and
/// a checkpoint into the run directory.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The spec
    pub spec: PathBuf,

    /// The run directory [default: runs/ and the name of the spec]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Threads to split the lanes over [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// Where to run
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,

    /// Seed of the run: first weights, episodes, actions and noise
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    #[command(flatten)]
    pub overrides: Overrides,

    /// What runs the compiled program
    #[arg(long, value_enum, default_value_t = Backend::Candle)]
    pub backend: Backend,

    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}
