//! The command `bpmc fmt`.

use super::screen::Screen;
use super::{sentence, spec, Failure, Outcome};
use crate::lang::diag::{Diagnostics, SourceMap};
use crate::lang::syntax;
use crate::learn::replace;
use anyhow::Context;
use clap::Args;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc fmt agent.bpm              rewrite the file in the canonical layout
  bpmc fmt specs/*.bpm --check    only say which files are not in it";

/// Format specs; comments are kept.
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

/// Rewrites the files, or names those that would change.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let mut failed = false;
    for path in &arguments.specs {
        match format(path, arguments.check, screen) {
            Ok(changed) => {
                if changed && arguments.check {
                    screen.print(&format!("{}\n", path.display()))?;
                    failed = true;
                }
            }
            Err(Failure::Run(error)) => {
                screen.error(&sentence(&error));
                failed = true;
            }
            Err(Failure::Reported) => failed = true,
            Err(other) => return Err(other),
        }
    }
    if failed {
        return Err(Failure::Reported);
    }
    Ok(())
}

/// Formats one file; returns whether its layout changed.
fn format(path: &Path, check: bool, screen: &Screen) -> Result<bool, Failure> {
    let text = spec::read(path)?;
    let mut sources = SourceMap::new();
    let mut diagnostics = Diagnostics::new();
    let source = sources.add(path.display().to_string(), text.clone());
    let file = syntax::parse(source, &text, &mut diagnostics);
    if diagnostics.has_errors() {
        diagnostics.sort();
        screen.show(&diagnostics, &sources);
        return Err(Failure::Reported);
    }
    let canonical = syntax::print(&file, &text);
    if canonical == text {
        return Ok(false);
    }
    if !check {
        // A symbolic link stays a link: the file it points to is replaced.
        std::fs::canonicalize(path)
            .and_then(|target| replace::replace(&target, canonical.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(true)
}
