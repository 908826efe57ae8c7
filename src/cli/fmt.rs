//! `bpmc fmt`.

use clap::Args;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc fmt agent.bpm              rewrite the file in the canonical layout
  bpmc fmt specs/*.bpm --check    only say which files are not in it";

/// Lay specs out in the one canonical way, comments kept.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The specs
    #[arg(required = true, value_name = "SPEC")]
    pub specs: Vec<PathBuf>,

    /// Change nothing; fail and name the files that would change
    #[arg(long)]
    pub check: bool,
}
