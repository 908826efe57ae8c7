//! `bpmc check`.

use super::options::Overrides;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc check agent.bpm
  bpmc check specs/*.bpm --deny-warnings
  bpmc check agent.bpm --set train.batch=10 --format json";

/// Check specs and show everything that is wrong with them.
///
/// All errors and warnings of a file are found in one run. Nothing is printed where nothing is wrong.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The specs
    #[arg(required = true, value_name = "SPEC")]
    pub specs: Vec<PathBuf>,

    /// How to show what is found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    #[command(flatten)]
    pub overrides: Overrides,

    /// Fail where there are warnings, too
    #[arg(long)]
    pub deny_warnings: bool,
}

/// How findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For editors: one JSON object a line, on standard output
    Json,
}
