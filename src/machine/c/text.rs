//! Source text with indentation.

use std::fmt::Write;

/// Lines of a source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    text: String,
    depth: usize,
}

impl Text {
    /// Adds a line.
    pub(crate) fn line(&mut self, line: &str) {
        let depth = self.depth * 4;
        writeln!(self.text, "{:depth$}{line}", "").expect("writing to a string");
    }

    /// Adds a line that opens a block.
    pub(crate) fn open(&mut self, line: &str) {
        self.line(line);
        self.depth += 1;
    }

    /// Adds a line that closes a block.
    pub(crate) fn close(&mut self, line: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.line(line);
    }

    /// Adds text unchanged.
    pub(crate) fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The finished text.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}
