//! The command `bpmc fmt`.

use super::screen::Screen;
use super::{sentence, spec, Failure, Outcome};
use crate::lang::diag::{Diagnostics, SourceMap};
use crate::lang::syntax::{self, ast::File};
use crate::learn::replace;
use anyhow::Context;
use clap::Args;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc fmt agent.bpm              rewrite the file in the canonical layout
  bpmc fmt specs/*.bpm --check    only say which files are not in it
  bpmc fmt agent.bpm --upgrade    also rewrite what an older bpmc accepted, and name the version (bpm 1)";

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

    /// Rewrite what older versions of bpmc accepted and this one refuses, and name the version of the language
    #[arg(long)]
    pub upgrade: bool,
}

/// Rewrites the files, or names those that would change.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let mut failed = false;
    for path in &arguments.specs {
        match format(path, arguments, screen) {
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
fn format(path: &Path, arguments: &Arguments, screen: &Screen) -> Result<bool, Failure> {
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
    let mut canonical = syntax::print(&file, &text);
    if arguments.upgrade {
        canonical = upgraded(path, &file, &text, screen)?;
    }
    if canonical == text {
        return Ok(false);
    }
    if !arguments.check {
        // A symbolic link stays a link: the file it points to is replaced.
        std::fs::canonicalize(path)
            .and_then(|target| replace::replace(&target, canonical.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(true)
}

/// The canonical text in today's language. Each change is printed with its place in the old text.
fn upgraded(path: &Path, file: &File, text: &str, screen: &Screen) -> Result<String, Failure> {
    let mut new = text.to_owned();
    let found = syntax::upgrades(file, text);
    for one in &found {
        let line = 1 + text[..one.at].matches('\n').count();
        screen.print(&format!("{}:{line}: {}\n", path.display(), one.reason))?;
    }
    for one in found.iter().rev() {
        new.insert_str(one.at, &one.new);
    }
    let mut diagnostics = Diagnostics::new();
    let file = syntax::parse(file.source, &new, &mut diagnostics);
    Ok(syntax::print(&file, &new))
}
