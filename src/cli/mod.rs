//! The command line: one file per subcommand. Only this module prints.

mod bench;
mod check;
mod cite;
mod compare;
mod compile;
mod completions;
mod device;
pub mod docs;
mod doctor;
mod env;
mod eval;
pub mod explain;
mod export;
mod fmt;
mod grad;
mod http;
pub mod lsp;
mod man;
mod new;
mod options;
mod output;
mod panic;
mod progress;
mod replay;
mod report;
mod run;
mod screen;
mod spec;
mod sweep;
mod timing;
mod train;
mod trained;
mod verify;
mod watch;

use clap::{Parser, Subcommand};
use screen::{ColorChoice, Screen};
use std::ffi::OsString;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Examples:
  bpmc new agent                  write a commented spec to agent.bpm
  bpmc train agent.bpm            train it
  bpmc explain E0205              the meaning of an error code, and the remedy

Exit status:
  0    success
  1    the spec or the run has errors
  2    wrong usage of the command
  101  an error in bpmc itself; please report it
  130  interrupted (Ctrl-C or SIGTERM); the training so far is saved";

/// Compiles and trains networks with plastic connections, which change while the network runs.
///
/// A spec is a file that ends in .bpm. It describes the network, the rules that change its connections within
/// an episode, the task, and the training.
#[derive(Debug, Parser)]
#[command(name = "bpmc", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    /// Colours of the output
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    color: ColorChoice,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::Arguments),
    Check(check::Arguments),
    Fmt(fmt::Arguments),
    Explain(explain::Arguments),
    Compile(compile::Arguments),
    Train(train::Arguments),
    Sweep(sweep::Arguments),
    Eval(eval::Arguments),
    Run(run::Arguments),
    Export(export::Arguments),
    Replay(replay::Arguments),
    Report(report::Arguments),
    Compare(compare::Arguments),
    Watch(watch::Arguments),
    Cite(cite::Arguments),
    Grad(grad::Arguments),
    Bench(bench::Arguments),
    Verify(verify::Arguments),
    Docs(docs::Arguments),
    Doctor(doctor::Arguments),
    Env(env::Arguments),
    Lsp(lsp::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// The reason why a subcommand did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The spec or the run has errors, which were shown.
    Reported,
    /// The run was interrupted, which was shown.
    Interrupted,
    /// A child process was killed, which was shown.
    Killed,
    /// The command was used incorrectly; the text is one sentence.
    Usage(String),
    /// An error occurred while running.
    Run(anyhow::Error),
    /// The reader of the output has closed it, so nothing more is printed.
    OutputClosed,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Run(error)
    }
}

/// The result of a subcommand.
pub type Outcome = Result<(), Failure>;

/// Parses the arguments of the process, runs the subcommand and returns its exit status. `pages` are those of the guide.
///
/// To be called before any thread exists.
pub fn main(pages: docs::Pages) -> ExitCode {
    ExitCode::from(run(std::env::args_os(), pages))
}

/// Parses arguments, of which the first is the name of the program, runs the subcommand and returns its exit status. `pages`
/// are those of the guide: the program has them and not this library, so that a change of a page does not compile the
/// library again.
///
/// To be called before any thread exists.
pub fn run(arguments: impl IntoIterator<Item = OsString>, pages: docs::Pages) -> u8 {
    // Candle's own threads would make the order of sums depend on the machine; bpmc splits lanes over
    // threads of its own.
    std::env::set_var("RAYON_NUM_THREADS", "1");
    panic::install();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Printing fails only if the reader is gone, and then nobody reads an error either.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let screen = Screen::new(arguments.color);
    if let Err(message) = crate::machine::check_limit() {
        return status(Err(anyhow::Error::msg(message).into()), &screen);
    }
    let outcome = match arguments.command {
        Command::New(arguments) => new::run(&arguments, &screen),
        Command::Check(arguments) => check::run(&arguments, &screen),
        Command::Fmt(arguments) => fmt::run(&arguments, &screen),
        Command::Compile(arguments) => compile::run(&arguments, &screen),
        Command::Train(arguments) => train::run(&arguments, &screen),
        Command::Sweep(arguments) => sweep::run(&arguments, &screen),
        Command::Eval(arguments) => eval::run(&arguments, &screen),
        Command::Run(arguments) => run::run(&arguments, &screen),
        Command::Export(arguments) => export::run(&arguments, &screen),
        Command::Replay(arguments) => replay::run(&arguments, &screen),
        Command::Report(arguments) => report::run(&arguments, &screen),
        Command::Compare(arguments) => compare::run(&arguments, &screen),
        Command::Watch(arguments) => watch::run(&arguments, &screen),
        Command::Cite(arguments) => cite::run(&arguments, &screen),
        Command::Grad(arguments) => grad::run(&arguments, &screen),
        Command::Bench(arguments) => bench::run(&arguments, &screen),
        Command::Verify(arguments) => verify::run(&arguments, &screen),
        Command::Explain(arguments) => explain::run(&arguments, &screen),
        Command::Docs(arguments) => docs::run(&arguments, pages, &screen),
        Command::Doctor(arguments) => doctor::run(&arguments, &screen),
        Command::Env(arguments) => env::run(&arguments, &screen),
        Command::Lsp(arguments) => lsp::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, &screen),
        Command::Man(arguments) => man::run(&arguments, &screen),
    };
    status(outcome, &screen)
}

fn status(outcome: Outcome, screen: &Screen) -> u8 {
    match outcome {
        Ok(()) | Err(Failure::OutputClosed) => 0,
        Err(Failure::Reported) => 1,
        Err(Failure::Interrupted) => 130,
        Err(Failure::Killed) => crate::lab::sweep::slurm::TRY_AGAIN,
        Err(Failure::Run(error)) => {
            screen.error(&sentence(&error));
            1
        }
        Err(Failure::Usage(message)) => {
            screen.error(&message);
            2
        }
    }
}

/// An error with its causes, without those that the previous text already contains.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut before = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !before.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
        before = cause;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let inner = anyhow::anyhow!("no room");
        let outer = inner.context("cannot write a: no room").context("stopped");
        assert_eq!(sentence(&outer), "stopped: cannot write a: no room");
    }

    #[test]
    fn every_subcommand_is_taught_by_example() {
        for command in Arguments::command().get_subcommands_mut() {
            let name = command.get_name().to_owned();
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{name}: {help}");
            assert!(help.contains(&format!("bpmc {name}")), "{name}: {help}");
        }
    }

    /// The words of a line for a shell, without what follows a pipe or a comment.
    fn shell_words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut rest = line.trim();
        while let Some(first) = rest.chars().next() {
            if matches!(first, '#' | '|' | '>' | '&' | ';') {
                break;
            }
            let (word, after) = match first {
                '"' | '\'' => rest[1..].split_once(first).unwrap_or((&rest[1..], "")),
                _ => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
            };
            words.push(word.to_owned());
            rest = after.trim_start();
        }
        words
    }

    #[test]
    fn commands_on_the_pages_are_accepted() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = vec![root.join("README.md")];
        let pages = std::fs::read_dir(root.join("docs")).unwrap();
        paths.extend(pages.map(|entry| entry.unwrap().path()));
        let mut tried = 0;
        for path in paths {
            if path.extension().is_none_or(|end| end != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for block in text.split("```sh\n").skip(1) {
                let block = block.split("```").next().unwrap().replace("\\\n", " ");
                for line in block.lines().filter(|line| line.starts_with("bpmc ")) {
                    let told = Arguments::try_parse_from(shell_words(line));
                    assert!(
                        told.is_ok(),
                        "{}: {line}\n{}",
                        path.display(),
                        told.unwrap_err()
                    );
                    tried += 1;
                }
            }
        }
        assert!(tried > 20, "{tried}");
    }

    /// Lines that end in the text itself would be broken once more by a narrow terminal.
    #[test]
    fn paragraphs_of_help_are_wrapped_by_the_terminal_alone() {
        fn check(command: &mut clap::Command) {
            let name = command.get_name().to_owned();
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let lines: Vec<&str> = help.lines().collect();
            for pair in lines.windows(2) {
                let prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
                let broken = prose(pair[0]) && prose(pair[1]) && !pair[0].ends_with(':');
                assert!(!broken, "{name}: {pair:?}");
            }
            command.get_subcommands_mut().for_each(check);
        }
        check(&mut Arguments::command());
    }
}
