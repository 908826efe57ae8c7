//! `bpmc eval`.

use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc eval runs/agent
  bpmc eval runs/agent other_task.bpm --episodes 1000";

/// Run a trained network on fresh episodes and show its reward or error.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// A run directory, or a checkpoint file in it
    pub checkpoint: PathBuf,

    /// The spec to run it in [default: the one it was trained with]
    pub spec: Option<PathBuf>,

    /// How many episodes
    #[arg(long, value_name = "N", default_value = "100")]
    pub episodes: NonZeroUsize,
}
