//! Results that go to a file or to standard output.

use super::screen::Screen;
use super::Outcome;
use anyhow::Context;
use std::path::Path;

/// Writes `text` to the file, or prints it if no file is named.
///
/// # Errors
/// The error names the file.
pub fn write(path: Option<&Path>, text: &str, screen: &Screen) -> Outcome {
    match path {
        Some(path) => {
            std::fs::write(path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(())
        }
        None => screen.print(text),
    }
}
