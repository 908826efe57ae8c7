//! Standard output and error: colour, width, and readers that go away.

use super::{Failure, Outcome};
use crate::lang::diag::{render, Diagnostics, SourceMap, Style};
use clap::ValueEnum;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

/// The assumed number of columns if the output is not a terminal.
const DEFAULT_WIDTH: usize = 120;

/// The choice of coloured output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The output of a subcommand. Results go to standard output, everything else to standard error.
#[derive(Debug)]
pub struct Screen {
    color: ColorChoice,
}

impl Screen {
    /// A screen with colours as asked for.
    pub fn new(color: ColorChoice) -> Screen {
        Screen { color }
    }

    /// Prints a result.
    ///
    /// # Errors
    /// Fails if it cannot be written; a closed pipe is a separate error.
    pub fn print(&self, text: &str) -> Outcome {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Run(anyhow::Error::new(error).context("cannot write the output")),
        })
    }

    /// Prints a line about the progress.
    pub fn say(&self, line: &str) {
        emergency(&format!("{line}\n"));
    }

    /// Prints an error without a place in a spec.
    pub fn error(&self, message: &str) {
        if self.colors(io::stderr().is_terminal()) {
            self.say(&format!("\u{1b}[1;31merror\u{1b}[0m: {message}"));
        } else {
            self.say(&format!("error: {message}"));
        }
    }

    /// Prints diagnostics in their order.
    pub fn show(&self, diagnostics: &Diagnostics, sources: &SourceMap) {
        emergency(&render(diagnostics, sources, self.error_style()));
    }

    /// Returns true if standard error is a terminal that can redraw a line.
    pub fn is_live(&self) -> bool {
        io::stderr().is_terminal() && !dumb()
    }

    /// Returns true if text on standard output should be coloured.
    pub fn color(&self) -> bool {
        self.colors(io::stdout().is_terminal())
    }

    fn error_style(&self) -> Style {
        Style {
            color: self.colors(io::stderr().is_terminal()),
            width: width(terminal_size::terminal_size_of(io::stderr())),
        }
    }

    fn colors(&self, terminal: bool) -> bool {
        let no_color = std::env::var_os("NO_COLOR");
        decide(self.color, terminal, dumb(), no_color.as_deref())
    }
}

/// Writes to standard error and ignores failure: there is nowhere else to report it.
pub fn emergency(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

fn decide(when: ColorChoice, terminal: bool, dumb: bool, no_color: Option<&OsStr>) -> bool {
    match when {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal && !dumb && no_color.is_none_or(OsStr::is_empty),
    }
}

fn width(size: Option<(terminal_size::Width, terminal_size::Height)>) -> usize {
    match size {
        Some((terminal_size::Width(columns), _)) if columns > 0 => usize::from(columns).max(40),
        Some(_) | None => DEFAULT_WIDTH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_follows_the_flag_then_the_terminal() {
        assert!(decide(
            ColorChoice::Always,
            false,
            true,
            Some(OsStr::new("1"))
        ));
        assert!(!decide(ColorChoice::Never, true, false, None));
        assert!(decide(ColorChoice::Auto, true, false, None));
        assert!(decide(ColorChoice::Auto, true, false, Some(OsStr::new(""))));
        assert!(!decide(
            ColorChoice::Auto,
            true,
            false,
            Some(OsStr::new("1"))
        ));
        assert!(!decide(ColorChoice::Auto, true, true, None));
        assert!(!decide(ColorChoice::Auto, false, false, None));
    }

    #[test]
    fn a_width_is_never_too_small_to_read() {
        use terminal_size::{Height, Width};
        assert_eq!(width(None), DEFAULT_WIDTH);
        assert_eq!(width(Some((Width(0), Height(0)))), DEFAULT_WIDTH);
        assert_eq!(width(Some((Width(10), Height(5)))), 40);
        assert_eq!(width(Some((Width(200), Height(5)))), 200);
    }
}
