//! The command line: one file a subcommand. The only place that prints.

mod check;
mod compile;
mod doctor;
mod eval;
mod explain;
mod fmt;
mod grad;
mod new;
mod options;
pub mod panic;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "for the subcommands that compile")
)]
mod progress;
mod screen;
mod train;

use clap::{Parser, Subcommand};
use screen::{Screen, When};
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Examples:
  bpmc new agent                  write a commented spec to agent.bpm
  bpmc explain E0205              what an error code means and how to mend it

Exit status:
  0    fine
  1    the spec or the run has errors
  2    wrong usage of the command
  101  an error in bpmc itself; please report it
  130  interrupted (Ctrl-C)";

/// Compiles and trains networks whose connections change by rules of their own.
///
/// A spec, a file that ends in .bpm, says what the network is, by which rules its connections change
/// within an episode, on which task, and how it is trained.
#[derive(Debug, Parser)]
#[command(name = "bpmc", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    /// When to colour the output
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    color: When,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::Arguments),
    Explain(explain::Arguments),
    Doctor(doctor::Arguments),
}

/// Why a subcommand did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The spec or the run has errors, and they have been shown.
    #[expect(dead_code, reason = "for the subcommands that compile")]
    Reported,
    /// The command was used wrongly: one sentence.
    Usage(String),
    /// Something went wrong while running.
    Run(anyhow::Error),
    /// Whoever read the output has closed it: nothing more to say.
    OutputClosed,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Run(error)
    }
}

/// What a subcommand returns.
pub type Outcome = Result<(), Failure>;

/// Parses the arguments, runs the subcommand and gives its exit status.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Printing fails only where the reader has gone, and then there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let screen = Screen::new(arguments.color);
    let outcome = match arguments.command {
        Command::New(arguments) => new::run(&arguments, &screen),
        Command::Explain(arguments) => explain::run(&arguments, &screen),
        Command::Doctor(arguments) => doctor::run(&arguments, &screen),
    };
    status(outcome, &screen)
}

fn status(outcome: Outcome, screen: &Screen) -> ExitCode {
    match outcome {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Reported) => ExitCode::from(1),
        Err(Failure::Run(error)) => {
            screen.error(&format!("{error:#}"));
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            screen.error(&message);
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, CommandFactory};

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    /// Subcommands whose arguments are checked although the command does not offer them yet.
    #[test]
    fn arguments_of_every_subcommand_are_consistent_and_taught() {
        type Augment = fn(clap::Command) -> clap::Command;
        let all: [(&str, Augment); 9] = [
            ("new", new::Arguments::augment_args),
            ("check", check::Arguments::augment_args),
            ("fmt", fmt::Arguments::augment_args),
            ("explain", explain::Arguments::augment_args),
            ("compile", compile::Arguments::augment_args),
            ("train", train::Arguments::augment_args),
            ("eval", eval::Arguments::augment_args),
            ("grad", grad::Arguments::augment_args),
            ("doctor", doctor::Arguments::augment_args),
        ];
        for (name, augment) in all {
            let mut command = augment(clap::Command::new(name));
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{name}: {help}");
            assert!(help.contains(&format!("bpmc {name}")), "{name}: {help}");
            command.debug_assert();
        }
    }
}
