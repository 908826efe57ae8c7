//! The command `bpmc completions`.

use super::screen::Screen;
use super::Outcome;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

const AFTER_HELP: &str = "\
Examples:
  bpmc completions bash > ~/.local/share/bash-completion/completions/bpmc
  bpmc completions zsh > ~/.zfunc/_bpmc           with `fpath+=~/.zfunc` in ~/.zshrc, before `compinit`
  bpmc completions fish > ~/.config/fish/completions/bpmc.fish

A shell reads such a file when it starts.";

/// Print what a shell needs to complete commands and options.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// Output that cannot be written.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let mut text = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "bpmc", &mut text);
    screen.print(&String::from_utf8_lossy(&text))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, ValueEnum};
    use clap_complete::Shell;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let mut text = Vec::new();
            let mut command = crate::cli::Arguments::command();
            clap_complete::generate(*shell, &mut command, "bpmc", &mut text);
            let text = String::from_utf8(text).unwrap();
            for command in command.get_subcommands() {
                assert!(
                    text.contains(command.get_name()),
                    "{shell}: {}",
                    command.get_name()
                );
            }
        }
    }
}
