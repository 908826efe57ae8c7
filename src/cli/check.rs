//! The command `bpmc check`.

use super::options::Overrides;
use super::screen::Screen;
use super::{sentence, spec, Failure, Outcome};
use crate::lang::diag::{render_json, Diagnostics, Severity};
use crate::step::passes::Selection;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc check agent.bpm
  bpmc check specs/*.bpm --deny-warnings
  bpmc check agent.bpm --set train.batch=10 --format json
  bpmc check agent.bpm --plan                    memory and time of a run";

/// Check specs and show all errors and warnings.
///
/// All errors and warnings of a file are found in one run. A spec without any prints nothing.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The specs
    #[arg(required = true, value_name = "SPEC")]
    pub specs: Vec<PathBuf>,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    #[command(flatten)]
    pub overrides: Overrides,

    /// Show the requirements of a run: lanes at once, memory by purpose, time per iteration on this machine
    #[arg(long)]
    pub plan: bool,

    /// Fail on warnings, too
    #[arg(long)]
    pub deny_warnings: bool,
}

/// The output format of diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For editors: one JSON object per line, on standard output
    Json,
}

/// Compiles all specs and shows their diagnostics.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let (mut errors, mut warnings, mut affected) = (0, 0, 0);
    for path in &arguments.specs {
        let compilation = match spec::compile(path, &arguments.overrides.set) {
            Ok(compilation) => compilation,
            // The other specs are still checked.
            Err(Failure::Run(error)) => {
                screen.error(&sentence(&error));
                errors += 1;
                affected += 1;
                continue;
            }
            Err(other) => return Err(other),
        };
        let found = &compilation.diagnostics;
        match arguments.format {
            Format::Text => screen.show(found, &compilation.sources),
            Format::Json => screen.print(&render_json(found, &compilation.sources))?,
        }
        errors += found.error_count();
        warnings += warning_count(found);
        affected += usize::from(!found.is_empty());
        if let (true, Some(program)) = (arguments.plan, &compilation.program) {
            if arguments.specs.len() > 1 {
                screen.print(&format!("{}:\n", path.display()))?;
            }
            screen.print(&spec::plan(program, &Selection::default())?)?;
        }
    }
    if affected > 0 && arguments.specs.len() > 1 && arguments.format == Format::Text {
        screen.say(&format!(
            "{} and {} in {affected} of {} specs",
            count(errors, "error"),
            count(warnings, "warning"),
            arguments.specs.len()
        ));
    }
    if errors > 0 || (arguments.deny_warnings && warnings > 0) {
        return Err(Failure::Reported);
    }
    Ok(())
}

fn warning_count(diagnostics: &Diagnostics) -> usize {
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity() == Severity::Warning)
        .count()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
