//! The command `bpmc man`.

use super::screen::Screen;
use super::Outcome;
use anyhow::Context;
use clap::{Args, CommandFactory};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc man ~/.local/share/man/man1      then `man bpmc` and `man bpmc-train`";

/// Write the manual pages of bpmc and of each command.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The folder to write to; made if it is not there
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// A folder that cannot be written.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let folder = &arguments.folder;
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(super::Arguments::command(), folder));
    written.with_context(|| format!("cannot write manual pages into {}", folder.display()))?;
    screen.say(&format!("wrote {}", folder.join("bpmc.1").display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::ColorChoice;

    #[test]
    fn every_command_has_its_page() {
        let folder = std::env::temp_dir().join(format!("bpmc-man-{}", std::process::id()));
        let arguments = Arguments {
            folder: folder.join("man1"),
        };
        run(&arguments, &Screen::new(ColorChoice::Never)).unwrap();
        for command in crate::cli::Arguments::command().get_subcommands() {
            let name = format!("bpmc-{}.1", command.get_name());
            let page = std::fs::read_to_string(arguments.folder.join(&name)).unwrap();
            assert!(page.contains("Examples"), "{name}: {page}");
        }
        let file = folder.join("file");
        std::fs::write(&file, "").unwrap();
        let arguments = Arguments { folder: file };
        let error = run(&arguments, &Screen::new(ColorChoice::Never)).unwrap_err();
        assert!(format!("{error:?}").contains("cannot write manual pages"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
